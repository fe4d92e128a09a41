"""Claims due jobs, lane by lane and tenant by tenant, and runs their handlers."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final, TypeVar

import asyncpg
import structlog

from fintokenx.kernel.clock import Clock, Instant
from fintokenx.kernel.db import Database, Pool, Row
from fintokenx.kernel.errors import Refused, Unavailable
from fintokenx.kernel.ids import Ids
from fintokenx.kernel.jobs.claim import CLAIM
from fintokenx.kernel.jobs.lanes import LIMIT_SECONDS, SLOTS, Lane, Slots
from fintokenx.kernel.jobs.periodic import OpenTenants, Periodic, Schedule
from fintokenx.kernel.jobs.work import Handler, Job, LeaseLost, Payload, TryAgain, Work

log = structlog.get_logger("fintokenx.jobs")

Result = TypeVar("Result")

BACKOFF_SECONDS: Final = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 28800)
"""Delay after the n-th failure; then the last one again, until the job is older than a day (→ DEAD)."""

LIFE_HOURS: Final = 24
LEASE_SECONDS: Final = 20
"""How long a job stays with a worker that says nothing: after a kill it is claimed again that much later."""

RENEW_SECONDS: Final = 5.0
SETTLE_PAUSES_SECONDS: Final = (0.05, 0.2, 0.0)
"""A lease that is being renewed at this moment is locked for a millisecond."""
ENDING_SECONDS: Final = 5.0
"""How long a handler that overran its limit may take to end. Then its place is given to another; it cannot complete
its job any more."""
OVERRAN: Final = "JOB_OVERRAN"
ALIVE_SECONDS: Final = 30.0
SWEEP_EVERY: Final = timedelta(hours=1)
SWEPT_AT_ONCE: Final = 1000
KEPT_FOR: Final = timedelta(days=30)


class Overran(Exception):
    """A handler took longer than its job may."""


async def _nobody() -> tuple[str, ...]:
    return ()


async def _nobody_told(_work: Work) -> None:
    return


class Worker:
    """Claims due jobs of all tenants (as fx_worker) and runs their handlers (as fx_app, pinned).

    Each lane of ``slots`` has places of its own; other lanes are left to other processes. Within a lane tenants take
    turns, one job each, and one tenant has so many jobs running at most, so that however much waits there, and however
    slow it is, others are served. A handler that overruns the limit of its job (``jobs``; its lane's for one that is
    not there) is ended, and the job has failed.

    ``tell_dead`` tells people of a job that is given up; raising means that it is not.
    """

    def __init__(
        self,
        *,
        claims: Pool,
        database: Database,
        handlers: Mapping[str, Handler],
        periodic: tuple[Periodic, ...],
        clock: Clock,
        ids: Ids,
        open_tenants: OpenTenants = _nobody,
        tell_dead: Callable[[Work], Awaitable[None]] = _nobody_told,
        jobs: Sequence[Job] = (),
        slots: Mapping[Lane, Slots] = SLOTS,
        poll_seconds: float = 0.25,
        machine_seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._claims = claims
        self._database = database
        self._handlers = dict(handlers)
        self._limits_seconds = {job.name: job.limit_seconds for job in jobs}
        self._tell_dead = tell_dead
        self._schedule = Schedule(claims, periodic, open_tenants=open_tenants, ids=ids, machine_seconds=machine_seconds)
        self._home = {job.name: job.tenant_id for job in periodic if job.tenant_id}
        self._clock = clock
        self._ids = ids
        self._slots = dict(slots)
        self._served = dict.fromkeys(self._slots, "")
        self._poll_seconds = poll_seconds
        self._due = asyncio.Event()
        self._stopping = False
        self._running: dict[asyncio.Task[None], Row] = {}
        self._swept_at = clock.now()
        self._machine_seconds = machine_seconds
        self._came_round_at = machine_seconds()
        database.on_commit(self._due.set)

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
            claimed = await self._or_none("job_claim_failed", self._claim()) or []
            for row in claimed:
                task = asyncio.create_task(self._run_one(row))
                self._running[task] = row
                task.add_done_callback(self._ended)
            if claimed:
                await self._wake({row["tenant_id"] for row in claimed if not row["periodic"]})
            else:
                await self._rest()

    async def _or_none(self, failed: str, what: Awaitable[Result]) -> Result | None:
        try:
            return await what
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as fault:
            log.warning(failed, fault=type(fault).__name__)
        except Exception:  # whatever it is, a worker that stops silently is worse: loud, and round again
            log.exception("worker_fault")
        return None

    async def _wake(self, tenant_ids: set[str]) -> None:
        """Best effort: what rests falls due later by itself."""
        try:
            await self._schedule.wake(tenant_ids, self._clock.now())
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as fault:
            log.warning("tenants_not_woken", fault=type(fault).__name__)

    async def _renew_leases(self) -> None:
        """Keep what is being worked on; a job whose task is gone runs out by itself. A row that its own transaction
        has locked waits for the next time: it must not keep all the others from being renewed."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await self._renew()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as fault:
                log.warning("job_renew_failed", fault=type(fault).__name__)

    async def _renew(self) -> None:
        rows = list(self._running.values())
        if not rows:
            return
        await self._claims.execute(
            "update ops.jobs set leased_until = clock_timestamp() + make_interval(secs => $1) where id in"
            " (select id from ops.jobs where id = any($2) and lease = any($3) and state = 'READY'"
            " and leased_until is not null for update skip locked)",  # one that was put back a moment ago stays so
            LEASE_SECONDS,
            [row["id"] for row in rows],
            [row["lease"] for row in rows],
        )

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
        now = self._clock.now()
        await self._schedule.promise_due(now)
        if now - self._swept_at > SWEEP_EVERY:
            before, self._swept_at = self._swept_at, now  # what fails is tried again in an hour
            if await self._sweep(now) == f"DELETE {SWEPT_AT_ONCE}":
                self._swept_at = before  # there is more: on when what is due has been claimed

    async def _sweep(self, now: Instant) -> str:
        """Forget finished jobs: periodic ones after an hour, others after a month. What is dead stays to be seen, and
        what somebody holds locked to be swept another time."""
        return await self._claims.execute(
            "delete from ops.jobs where id in (select id from ops.jobs where state = 'DONE' and finished_at <"
            " case when payload ? 'every_seconds' then $1::timestamptz else $2::timestamptz end"
            " limit $3 for update skip locked)",
            now - SWEEP_EVERY,
            now - KEPT_FOR,
            SWEPT_AT_ONCE,
        )

    async def _claim(self) -> list[Row]:
        """Lease due jobs in every lane with a free place, from the tenant after the one that was served last there.
        Leases run on the database's clock: moving the business clock must not expire them."""
        running: dict[Lane, Counter[str]] = {lane: Counter() for lane in self._slots}
        for row in self._running.values():
            running[row["lane"]][row["tenant_id"]] += 1
        free = {
            lane: count for lane, slots in self._slots.items() if (count := slots.count - running[lane].total()) > 0
        }
        if not free:
            return []
        claimed = await self._claims.fetch(
            CLAIM,
            self._ids.new("ls"),
            LEASE_SECONDS,
            self._clock.now(),
            list(free),
            list(free.values()),
            [self._served[lane] for lane in free],
            [self._slots[lane].of_one_tenant for lane in free],
            [self._slots[lane].kept for lane in free],
            [dict(running[lane]) for lane in free],
        )
        for row in sorted(claimed, key=lambda row: row["place"]):
            self._served[row["lane"]] = row["tenant_id"]
        return claimed

    async def _run_one(self, row: Row) -> None:
        work = Work(self._database, row)
        if self._home.get(work.name, work.tenant_id) != work.tenant_id:  # any tenant's SQL may promise by any name
            await self._bury(row, "not a job of this tenant")
            return
        try:
            handler = self._handlers[work.name]
            payload: Payload = json.loads(row["payload"])
            if row["periodic"]:
                work.every_seconds = float(payload["every_seconds"])
            await self._within_limit(handler, row, work, payload)
            if not work.completed:
                async with work.completing():
                    pass
        except Overran:
            await self._failed(row, work, OVERRAN)
        except TryAgain as wait:
            await self._put_back(row, seconds=wait.seconds, error=wait.reason, counted=False)
        except LeaseLost:
            log.warning("job_lease_lost", job=work.name, job_id=work.id)
        except (Refused, Unavailable) as fault:
            await self._failed(row, work, _named(fault))
        except Exception as fault:  # a fault of ours: loud in the log, retried like the rest, dead after a day
            log.exception("job_fault", job=work.name, job_id=work.id)
            await self._failed(row, work, f"{type(fault).__name__} {getattr(fault, 'sqlstate', '')}".strip())
        else:
            if work.rests and row["periodic"]:
                await self._let_rest(work)

    async def _within_limit(self, handler: Handler, row: Row, work: Work, payload: Payload) -> None:
        """Run the handler to its end, for as long as it may take.

        :raises Overran: it did not end in time. It has ended by now, or it is left alone and can complete nothing.
        """
        limit_seconds = self._limits_seconds.get(work.name, LIMIT_SECONDS[row["lane"]])
        running = asyncio.ensure_future(handler(work, payload))
        try:
            done, _ = await asyncio.wait({running}, timeout=limit_seconds)
        except asyncio.CancelledError:
            running.cancel()
            raise
        if not done:
            running.cancel()
            done, _ = await asyncio.wait({running}, timeout=ENDING_SECONDS)
            if not done:
                log.error("job_left_alone", job=work.name, job_id=work.id)
                running.add_done_callback(_heard)
            elif work.completed:
                return  # its last transaction had committed when it was told to end
            else:
                with suppress(BaseException):
                    running.result()
            log.error("job_overran", job=work.name, job_id=work.id, seconds=limit_seconds)
            raise Overran
        running.result()

    async def _let_rest(self, work: Work) -> None:
        """Best effort: otherwise its next turn says it again."""
        try:
            await self._schedule.rest(work.name, work.tenant_id, self._clock.now())
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as fault:
            log.warning("tenant_not_resting", fault=type(fault).__name__)

    async def _failed(self, row: Row, work: Work, error: str) -> None:
        log.warning("job_failed", job=row["name"], job_id=row["id"], attempts=row["attempts"], error=error)
        first: Instant = row["first_run_at"]
        if self._clock.now() - first > timedelta(hours=LIFE_HOURS) and row["attempts"] > len(BACKOFF_SECONDS):
            await self._give_up(row, work, error)
            return
        seconds: float = BACKOFF_SECONDS[min(row["attempts"], len(BACKOFF_SECONDS)) - 1]
        if work.every_seconds is not None:  # a periodic job waits no longer than for its next turn
            seconds = min(seconds, work.every_seconds)
        await self._put_back(row, seconds=seconds, error=error, counted=True)

    async def _put_back(self, row: Row, *, seconds: float, error: str, counted: bool) -> None:
        await self._settle(
            "leased_until = null, lease = null, last_error = $3, run_at = $4, attempts = attempts - $5",
            row,
            error,
            self._clock.now() + timedelta(seconds=seconds),
            0 if counted else 1,
        )

    async def _give_up(self, row: Row, work: Work, error: str) -> None:
        """When somebody has been told; while nobody can be, it goes on."""
        try:
            await self._tell_dead(work)
        except Exception:  # whatever it is: what nobody has been told of is not given up
            log.exception("job_death_not_told", job=row["name"], job_id=row["id"])
            await self._put_back(row, seconds=BACKOFF_SECONDS[-1], error=error, counted=True)
        else:
            await self._bury(row, error)

    async def _bury(self, row: Row, error: str) -> None:
        log.error("job_dead", job=row["name"], job_id=row["id"], error=error)
        await self._settle(
            "state = 'DEAD', leased_until = null, last_error = $3, finished_at = $4", row, error, self._clock.now()
        )

    async def _settle(self, change: str, row: Row, *arguments: Any) -> None:
        """Best effort: when this fails the lease runs out and the job is claimed again. What somebody holds locked is
        not waited for: whoever waits keeps a connection from the claims of all tenants."""
        sql = (
            f"update ops.jobs set {change} where id in"
            " (select id from ops.jobs where id = $1 and lease = $2 and state = 'READY' for update skip locked)"
        )
        try:
            for pause in SETTLE_PAUSES_SECONDS:
                if await self._claims.execute(sql, row["id"], row["lease"], *arguments) != "UPDATE 0":
                    return
                await asyncio.sleep(pause)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as fault:
            log.warning("job_settle_failed", job_id=row["id"], fault=type(fault).__name__)


def _heard(task: asyncio.Future[None]) -> None:
    """What a handler that was left alone comes to at last is of no effect, and no news."""
    if not task.cancelled():
        task.exception()


def _named(fault: Refused | Unavailable) -> str:
    """What stands as a job's last error: a refusal's code, or the system that did not answer."""
    return fault.code if isinstance(fault, Refused) else f"{fault.system} unavailable"
