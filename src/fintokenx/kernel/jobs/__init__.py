"""Durable jobs: what a module promises to do with the outside, done at least once, however often a process dies."""

from fintokenx.kernel.jobs.lanes import LIMIT_SECONDS, SLOTS, Lane, Slots, UnknownLane, lanes_in
from fintokenx.kernel.jobs.periodic import OpenTenants, Periodic
from fintokenx.kernel.jobs.work import Handler, Job, LeaseLost, Payload, TryAgain, Work
from fintokenx.kernel.jobs.worker import BACKOFF_SECONDS, Worker

__all__ = [
    "BACKOFF_SECONDS",
    "LIMIT_SECONDS",
    "SLOTS",
    "Handler",
    "Job",
    "Lane",
    "LeaseLost",
    "OpenTenants",
    "Payload",
    "Periodic",
    "Slots",
    "TryAgain",
    "UnknownLane",
    "Work",
    "Worker",
    "lanes_in",
]
