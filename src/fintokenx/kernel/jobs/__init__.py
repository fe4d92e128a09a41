"""Durable jobs (the outbox): at least once, and their completion commits with their effect (decisions §2).

A module declares a :class:`Job`; its handler gets a :class:`Work`. The shape is always the same: a short transaction to
read, the call to the outside with no transaction open, a short transaction to write. The last one completes the job::

    async def mint(work: Work, payload: Payload) -> None:
        async with work.transaction() as tx:
            ...
        receipt = await chain.receipt(...)
        async with work.completing() as tx:
            ...
"""

from fintokenx.kernel.jobs.lanes import SLOTS, Job, Lane, UnknownLane, by_name, slots_of
from fintokenx.kernel.jobs.periodic import OpenTenants, Periodic
from fintokenx.kernel.jobs.work import Handler, LeaseLost, Payload, TryAgain, Work
from fintokenx.kernel.jobs.worker import BACKOFF_SECONDS, OVERRAN, Worker

__all__ = [
    "BACKOFF_SECONDS",
    "OVERRAN",
    "SLOTS",
    "Handler",
    "Job",
    "Lane",
    "LeaseLost",
    "OpenTenants",
    "Payload",
    "Periodic",
    "TryAgain",
    "UnknownLane",
    "Work",
    "Worker",
    "by_name",
    "slots_of",
]
