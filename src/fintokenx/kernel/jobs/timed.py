"""A handler within its time: cancelled when that is up, and left behind if it does not heed it."""

from __future__ import annotations

import asyncio

import structlog

from fintokenx.kernel.jobs.lanes import Job
from fintokenx.kernel.jobs.work import Payload, Work

log = structlog.get_logger("fintokenx.jobs")


class Overran(Exception):
    """The handler took longer than its job may."""


class Timed:
    """Runs handlers, each for ``seconds_max`` of machine time at most.

    One that is cancelled may take ``grace_seconds`` to roll back. Whoever goes on all the same is abandoned: its slot
    is free for others, and as its work was revoked before, it can begin and commit no transaction of the job's.
    """

    def __init__(self, *, grace_seconds: float) -> None:
        self._grace_seconds = grace_seconds
        self._abandoned: set[asyncio.Task[None]] = set()
        self.overran: set[str] = set()
        """Ids of jobs whose time is up and whose handlers are rolling back: their leases are renewed no more."""

    async def run(self, job: Job, work: Work, payload: Payload) -> None:
        """Let the handler do it.

        :raises Overran: it did not end in time; what it had open is rolled back
        :raises Exception: whatever the handler raises
        """
        handling = asyncio.create_task(_handled(job, work, payload))
        try:
            await asyncio.wait((handling,), timeout=job.seconds_max)
            if handling.done():
                await handling
                return
            work.revoke()
            self.overran.add(work.id)
            log.error("job_overran", job=job.name, job_id=work.id, lane=job.lane, seconds_max=job.seconds_max)
            handling.cancel()
            await asyncio.wait((handling,), timeout=self._grace_seconds)
        except asyncio.CancelledError:
            handling.cancel()
            raise
        finally:
            self.overran.discard(work.id)
        if not handling.done():
            self._abandoned.add(handling)
            log.error("job_abandoned", job=job.name, job_id=work.id, left_behind=len(self._abandoned))
            handling.add_done_callback(self._ended)
        elif not handling.cancelled() and (fault := handling.exception()) is not None:
            log.warning("job_overran_fault", job=job.name, job_id=work.id, fault=type(fault).__name__)
        if not work.completed:
            raise Overran(job.name)

    def _ended(self, handling: asyncio.Task[None]) -> None:
        """Whoever was left behind came to an end after all; what of is of no interest."""
        self._abandoned.discard(handling)
        if not handling.cancelled():
            handling.exception()


async def _handled(job: Job, work: Work, payload: Payload) -> None:
    await job.handler(work, payload)
