"""Durable jobs (the outbox): at least once, and their completion commits with their effect (decisions §2).

A job's handler gets a :class:`Work`. The shape is always the same: a short transaction to read, the call to the
outside with no transaction open, a short transaction to write. The last one completes the job::

    async def mint(work: Work, payload: Payload) -> None:
        async with work.transaction() as tx:
            ...
        receipt = await chain.receipt(...)
        async with work.completing() as tx:
            ...
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final, TypeVar

import asyncpg
import structlog

from fintokenx.kernel.caller import Caller, system
from fintokenx.kernel.jobs.claim import CLAIM
from fintokenx.kernel.clock import Clock, Instant
from fintokenx.kernel.db import Database, Pool, Row, Tx
from fintokenx.kernel.errors import Refused, Unavailable
from fintokenx.kernel.ids import Ids
from fintokenx.kernel.periodic import OpenTenants, Periodic, Schedule

log = structlog.get_logger("fintokenx.jobs")

Payload = Mapping[str, Any]
Result = TypeVar("Result")

BACKOFF_SECONDS: Final = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 28800)
"""Delay after the n-th failure; then the last one again, until the job is older than a day (→ DEAD)."""

LIFE_HOURS: Final = 24
LEASE_SECONDS: Final = 20
"""How long a job stays with a worker that says nothing: after a kill it is claimed again that much later."""

RENEW_SECONDS: Final = 5.0
SETTLE_PAUSES_SECONDS: Final = (0.05, 0.2, 0.0)
"""A lease that is being renewed at this moment is locked for a millisecond."""
ALIVE_SECONDS: Final = 30.0
SWEEP_EVERY: Final = timedelta(hours=1)
SWEPT_AT_ONCE: Final = 1000
KEPT_FOR: Final = timedelta(days=30)


class LeaseLost(Exception):
    """Another worker has taken this job over; whatever this one was about to write is rolled back."""


class TryAgain(Exception):
    """Raised by a handler: not done, nothing wrong; look again after ``seconds``. Not counted as a failure."""

    def __init__(self, reason: str, *, seconds: float = 1.0) -> None:
        self.reason = reason
        self.seconds = seconds
        super().__init__(reason)


class Work:
    """One claimed job, handed to its handler."""

    def __init__(self, database: Database, row: Row) -> None:
        self._database = database
        self.id: str = row["id"]
        self.name: str = row["name"]
        self.tenant_id: str = row["tenant_id"]
        self.attempts: int = row["attempts"]
        self.every_seconds: float | None = None
        """Of a periodic job: when it falls due next."""
        self._lease: str = row["lease"]
        self.completed = False
        self.rests = False

    def may_rest(self) -> None:
        """For a periodic job: nothing is open in this tenant, so that looking again rarely is enough until one of its
        other jobs runs."""
        self.rests = True

    @property
    def caller(self) -> Caller:
        """The platform itself, working through this job."""
        return system(self.tenant_id, self.name)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        """A transaction of the job's tenant that leaves the job open. When it ends, all that it read is on disk:
        the outside never hears of something that a crash can still undo."""
        async with self._database.transaction(self.tenant_id, request_id=self.id) as tx:
            tx.wrote = True
            yield tx

    @asynccontextmanager
    async def completing(self) -> AsyncIterator[Tx]:
        """The last transaction: what it writes and the job's completion commit together or not at all.

        :raises LeaseLost: another worker has this job by now
        """
        async with self._database.transaction(self.tenant_id, request_id=self.id) as tx:
            yield tx
            done = await tx.write(
                "update ops.jobs set state = 'DONE', finished_at = $3, leased_until = null, last_error = null"
                " where id = $1 and lease = $2 and state = 'READY'",
                self.id,
                self._lease,
                tx.at,
            )
            if done != "UPDATE 1":
                raise LeaseLost(self.id)
        self.completed = True


Handler = Callable[[Work, Payload], Awaitable[None]]


async def _nobody() -> tuple[str, ...]:
    return ()


async def _nobody_told(_work: Work) -> None:
    return


class Worker:
    """Claims due jobs of all tenants (as fx_worker) and runs their handlers (as fx_app, pinned).

    Tenants take turns, one job each, and one tenant has ``per_tenant`` jobs running at most (default: two thirds of all
    places), so that however much waits there, and however slow it is, others are served.

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
        concurrency: int = 12,
        per_tenant: int | None = None,
        poll_seconds: float = 0.25,
        machine_seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._claims = claims
        self._database = database
        self._handlers = dict(handlers)
        self._tell_dead = tell_dead
        self._schedule = Schedule(claims, periodic, open_tenants=open_tenants, ids=ids, machine_seconds=machine_seconds)
        self._home = {job.name: job.tenant_id for job in periodic if job.tenant_id}
        self._clock = clock
        self._ids = ids
        self._concurrency = concurrency
        self._per_tenant = per_tenant or max(1, concurrency * 2 // 3)
        self._kept_free = concurrency // 6
        self._served = ""
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
            free = self._concurrency - len(self._running)
            claimed = (await self._or_none("job_claim_failed", self._claim(free)) if free else None) or []
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

    async def _claim(self, limit: int) -> list[Row]:
        """Lease due jobs, from the tenant after the one that was served last. Leases run on the database's clock:
        moving the business clock must not expire them."""
        running = Counter(row["tenant_id"] for row in self._running.values())
        claimed = await self._claims.fetch(
            CLAIM,
            self._ids.new("ls"),
            LEASE_SECONDS,
            self._clock.now(),
            limit,
            self._served,
            self._per_tenant,
            dict(running),
            self._kept_free,
        )
        if claimed:
            self._served = max(claimed, key=lambda row: row["place"])["tenant_id"]
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
            await handler(work, payload)
            if not work.completed:
                async with work.completing():
                    pass
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
            "leased_until = null, last_error = $3, run_at = $4, attempts = attempts - $5",
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


def _named(fault: Refused | Unavailable) -> str:
    """What stands as a job's last error: a refusal's code, or the system that did not answer."""
    return fault.code if isinstance(fault, Refused) else f"{fault.system} unavailable"
