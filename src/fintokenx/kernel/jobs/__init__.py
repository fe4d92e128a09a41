"""Durable jobs (the outbox): at least once, and their completion commits with their effect (decisions §2)."""

from fintokenx.kernel.jobs.worker import (
    BACKOFF_SECONDS,
    Handler,
    LeaseLost,
    Payload,
    Periodic,
    TryAgain,
    Work,
    Worker,
)

__all__ = ["BACKOFF_SECONDS", "Handler", "LeaseLost", "Payload", "Periodic", "TryAgain", "Work", "Worker"]
