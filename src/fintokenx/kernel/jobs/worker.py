"""The worker: serves lanes, claims due jobs of all tenants, and runs their handlers within their time."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from typing import Final, TypeVar

import structlog

from fintokenx.kernel.clock import Clock, Instant
from fintokenx.kernel.db import Database, Pool, Row
from fintokenx.kernel.errors import Refused, Unavailable
from fintokenx.kernel.ids import Ids
from fintokenx.kernel.jobs.lanes import SLOTS, Job, Lane, Served, by_name
from fintokenx.kernel.jobs.periodic import OpenTenants, Periodic, Schedule
from fintokenx.kernel.jobs.queue import AWAY, Queue
from fintokenx.kernel.jobs.timed import Overran, Timed
from fintokenx.kernel.jobs.work import LeaseLost, Payload, TryAgain, Work

log = structlog.get_logger("fintokenx.jobs")

Result = TypeVar("Result")

BACKOFF_SECONDS: Final = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 28800)
"""Delay after the n-th failure; then the last one again, until the job is older than a day (→ DEAD)."""

OVERRAN: Final = "JOB_OVERRAN"
"""The last error of a job whose time was up."""
LIFE_HOURS: Final = 24
RENEW_SECONDS: Final = 5.0
GRACE_SECONDS: Final = 5.0
"""How long a cancelled handler may take to roll back."""
ALIVE_SECONDS: Final = 30.0


async def _nobody() -> tuple[str, ...]:
    return ()


async def _nobody_told(_work: Work) -> None:
    return


class Worker:
    """Claims due jobs of all tenants (as fx_worker) and runs their handlers (as fx_app, pinned).

    It serves the lanes of ``slots``, so many jobs of each at once; all processes know all ``jobs``, and promise what
    falls due by the clock, whichever lanes they serve. Within a lane tenants take turns, one job each, and one tenant
    has two thirds of the slots at most (:class:`Served`).

    ``tell_dead`` tells people of a job that is given up; raising means that it is not.

    :raises ValueError: a job with two owners, or a periodic one that is nobody's
    """

    def __init__(
        self,
        *,
        claims: Pool,
        database: Database,
        jobs: Iterable[Job],
        periodic: tuple[Periodic, ...],
        clock: Clock,
        ids: Ids,
        open_tenants: OpenTenants = _nobody,
        tell_dead: Callable[[Work], Awaitable[None]] = _nobody_told,
        slots: Mapping[Lane, int] = SLOTS,
        poll_seconds: float = 0.25,
        grace_seconds: float = GRACE_SECONDS,
        machine_seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._jobs = by_name(jobs, promised=[job.name for job in periodic])
        self._tell_dead = tell_dead
        self._schedule = Schedule(claims, periodic, open_tenants=open_tenants, ids=ids, machine_seconds=machine_seconds)
        self._queue = Queue(claims, clock=clock, ids=ids)
        self._timed = Timed(grace_seconds=grace_seconds)
        self._home = {job.name: job.tenant_id for job in periodic if job.tenant_id}
        self._clock = clock
        self._lanes = {lane: Served(lane, size) for lane, size in slots.items()}
        self._poll_seconds = poll_seconds
        self._due = asyncio.Event()
        self._declared = False
        self._stopping = False
        self._running: dict[asyncio.Task[None], Row] = {}
        self._machine_seconds = machine_seconds
        self._came_round_at = machine_seconds()
        database.on_commit(self._due.set)

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """Those that it serves."""
        return tuple(self._lanes)

    def stop(self) -> None:
        """Claim nothing more; :meth:`run` returns when the running jobs have ended."""
        self._stopping = True
        self._due.set()

    async def run(self) -> None:
        """Work until stopped."""
        renewing = asyncio.create_task(self._renew_leases())
        try:
            await self._work()
            if self._running:
                await asyncio.wait(self._running)
        finally:
            renewing.cancel()

    @property
    def alive(self) -> bool:
        """Whether the loop has come round within the last half minute of machine time."""
        return self._machine_seconds() - self._came_round_at < ALIVE_SECONDS

    async def _work(self) -> None:
        while not self._stopping:
            self._came_round_at = self._machine_seconds()
            await self._or_none("clock_look_failed", self._look_at_the_clock())  # a fault in it stops no claim
            free = self._free()
            claimed = (await self._or_none("job_claim_failed", self._claim(free)) if any(free.values()) else None) or []
            for row in claimed:
                task = asyncio.create_task(self._run_one(row))
                self._running[task] = row
                task.add_done_callback(self._ended)
            if claimed:
                await self._wake({row["tenant_id"] for row in claimed if not row["periodic"]})
            else:
                await self._rest()

    def _free(self) -> dict[Lane, int]:
        taken = Counter(row["lane"] for row in self._running.values())
        return {lane: served.slots - taken[lane] for lane, served in self._lanes.items()}

    async def _claim(self, free: Mapping[Lane, int]) -> list[Row]:
        running: dict[Lane, Counter[str]] = {}
        for row in self._running.values():
            running.setdefault(row["lane"], Counter())[row["tenant_id"]] += 1
        return await self._queue.claim(free, self._lanes.values(), running)

    async def _or_none(self, failed: str, what: Awaitable[Result]) -> Result | None:
        try:
            return await what
        except AWAY as fault:
            log.warning(failed, fault=type(fault).__name__)
        except Exception:  # whatever it is, a worker that stops silently is worse: loud, and round again
            log.exception("worker_fault")
        return None

    async def _wake(self, tenant_ids: set[str]) -> None:
        """Best effort: what rests falls due later by itself."""
        try:
            await self._schedule.wake(tenant_ids, self._clock.now())
        except AWAY as fault:
            log.warning("tenants_not_woken", fault=type(fault).__name__)

    async def _renew_leases(self) -> None:
        """A job whose task is gone runs out by itself."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await self._renew()
            except AWAY as fault:
                log.warning("job_renew_failed", fault=type(fault).__name__)

    async def _renew(self) -> None:
        await self._queue.renew([row for row in self._running.values() if row["id"] not in self._timed.overran])

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        self._due.set()

    async def _rest(self) -> None:
        try:
            await asyncio.wait_for(self._due.wait(), self._poll_seconds)
        except TimeoutError:
            return
        self._due.clear()

    async def _look_at_the_clock(self) -> None:
        if not self._declared:
            await self._queue.declare(self._jobs.values())
            self._declared = True
        now = self._clock.now()
        await self._schedule.promise_due(now)
        await self._queue.sweep_when_due(now)

    async def _run_one(self, row: Row) -> None:
        work = Work(self._database, row)
        if self._home.get(work.name, work.tenant_id) != work.tenant_id:  # any tenant's SQL may promise by any name
            await self._queue.bury(row, "not a job of this tenant")
            return
        try:
            job = self._jobs[work.name]
            payload: Payload = json.loads(row["payload"])
            if row["periodic"]:
                work.every_seconds = float(payload["every_seconds"])
            await self._timed.run(job, work, payload)
            if not work.completed:
                async with work.completing():
                    pass
        except TryAgain as wait:
            await self._queue.put_back(row, seconds=wait.seconds, error=wait.reason, counted=False)
        except LeaseLost:
            log.warning("job_lease_lost", job=work.name, job_id=work.id)
        except Overran:
            await self._failed(row, work, OVERRAN)
        except (Refused, Unavailable) as fault:
            await self._failed(row, work, _named(fault))
        except Exception as fault:  # a fault of ours: loud in the log, retried like the rest, dead after a day
            log.exception("job_fault", job=work.name, job_id=work.id)
            await self._failed(row, work, f"{type(fault).__name__} {getattr(fault, 'sqlstate', '')}".strip())
        else:
            if work.rests and row["periodic"]:
                await self._let_rest(work)

    async def _let_rest(self, work: Work) -> None:
        """Best effort: otherwise its next turn says it again."""
        try:
            await self._schedule.rest(work.name, work.tenant_id, self._clock.now())
        except AWAY as fault:
            log.warning("tenant_not_resting", fault=type(fault).__name__)

    async def _failed(self, row: Row, work: Work, error: str) -> None:
        log.warning("job_failed", job=row["name"], job_id=row["id"], attempts=row["attempts"], error=error)
        first: Instant = row["first_run_at"]
        if self._clock.now() - first > timedelta(hours=LIFE_HOURS) and row["attempts"] > len(BACKOFF_SECONDS):
            await self._give_up(row, error)
            return
        seconds: float = BACKOFF_SECONDS[min(row["attempts"], len(BACKOFF_SECONDS)) - 1]
        if work.every_seconds is not None:  # a periodic job waits no longer than for its next turn
            seconds = min(seconds, work.every_seconds)
        await self._queue.put_back(row, seconds=seconds, error=error, counted=True)

    async def _give_up(self, row: Row, error: str) -> None:
        """When somebody has been told; while nobody can be, it goes on."""
        try:
            await self._tell_dead(Work(self._database, row))  # the run's own may be revoked
        except Exception:  # whatever it is: what nobody has been told of is not given up
            log.exception("job_death_not_told", job=row["name"], job_id=row["id"])
            await self._queue.put_back(row, seconds=BACKOFF_SECONDS[-1], error=error, counted=True)
        else:
            await self._queue.bury(row, error)


def _named(fault: Refused | Unavailable) -> str:
    """What stands as a job's last error: a refusal's code, or the system that did not answer."""
    return fault.code if isinstance(fault, Refused) else f"{fault.system} unavailable"
