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
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import asyncpg
import structlog

from fintokenx.kernel.caller import Caller, system
from fintokenx.kernel.clock import Clock, Instant
from fintokenx.kernel.db import Database, Pool, Row, Tx
from fintokenx.kernel.errors import Refused, Unavailable
from fintokenx.kernel.ids import Ids

log = structlog.get_logger("fintokenx.jobs")

Payload = Mapping[str, Any]

BACKOFF_SECONDS: Final = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 28800)
"""Delay after the n-th failure; then the last one again, until the job is older than a day (→ DEAD)."""

LIFE_HOURS: Final = 24
LEASE_SECONDS: Final = 20
"""How long a job stays with a worker that says nothing: after a kill it is claimed again that much later."""

RENEW_SECONDS: Final = 5.0
SLOT_SECONDS: Final = 1.0
"""How often one looks whether the last job of a periodic one has ended."""
ALIVE_SECONDS: Final = 30.0
SWEEP_EVERY: Final = timedelta(hours=1)
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
        self._lease: str = row["lease"]
        self.completed = False

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


@dataclass(frozen=True, slots=True)
class Periodic:
    """A job that falls due every ``every`` of business time for one tenant: once per slot, and not again while the
    last one is unfinished, so that an outage leaves one job to catch up and not a thousand."""

    name: str
    every: timedelta
    tenant_id: str


class Worker:
    """Claims due jobs of all tenants (as fx_worker) and runs their handlers (as fx_app, pinned)."""

    def __init__(
        self,
        *,
        claims: Pool,
        database: Database,
        handlers: Mapping[str, Handler],
        periodic: tuple[Periodic, ...],
        clock: Clock,
        ids: Ids,
        concurrency: int = 8,
        poll_seconds: float = 0.25,
        machine_seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._claims = claims
        self._database = database
        self._handlers = dict(handlers)
        self._periodic = periodic
        self._clock = clock
        self._ids = ids
        self._concurrency = concurrency
        self._poll_seconds = poll_seconds
        self._due = asyncio.Event()
        self._stopping = False
        self._running: dict[asyncio.Task[None], Row] = {}
        self._slots: dict[Periodic, int] = {}
        self._not_before: dict[Periodic, float] = {}
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
            try:
                await self._insert_due_periodic_jobs()
                free = self._concurrency - len(self._running)
                claimed = await self._claim(free) if free else []
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as fault:
                log.warning("job_claim_failed", fault=type(fault).__name__)
                claimed = []
            except Exception:  # whatever it is, a worker that stops silently is worse: loud, and round again
                log.exception("worker_fault")
                claimed = []
            for row in claimed:
                task = asyncio.create_task(self._run_one(row))
                self._running[task] = row
                task.add_done_callback(self._ended)
            if not claimed:
                await self._rest()

    async def _renew_leases(self) -> None:
        """Keep what is being worked on; a job whose task is gone runs out by itself."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            rows = list(self._running.values())
            if not rows:
                continue
            try:
                await self._claims.execute(
                    "update ops.jobs set leased_until = clock_timestamp() + make_interval(secs => $1)"
                    " where id = any($2) and lease = any($3) and state = 'READY'",
                    LEASE_SECONDS,
                    [row["id"] for row in rows],
                    [row["lease"] for row in rows],
                )
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as fault:
                log.warning("job_renew_failed", fault=type(fault).__name__)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        self._due.set()

    async def _rest(self) -> None:
        try:
            await asyncio.wait_for(self._due.wait(), self._poll_seconds)
        except TimeoutError:
            return
        self._due.clear()

    async def _insert_due_periodic_jobs(self) -> None:
        now = self._clock.now()
        for periodic in self._periodic:
            slot = int(now.timestamp() // periodic.every.total_seconds())
            if self._slots.get(periodic) == slot or self._machine_seconds() < self._not_before.get(periodic, 0.0):
                continue
            # A slot that begins while the last job is unfinished is looked at again: its job falls due when that ends,
            # and not a whole slot later. What happened in between would wait for so long.
            there = await self._claims.fetchval(
                "with fresh as ("
                " insert into ops.jobs (id, tenant_id, name, payload, dedupe_key, state, run_at, attempts, created_at)"
                " select $1, $2, $3, jsonb_build_object('every_seconds', $6::float8), $4, 'READY', $5, 0, $5"
                " where not exists (select from ops.jobs where tenant_id = $2 and name = $3 and state = 'READY')"
                " on conflict (tenant_id, name, dedupe_key) do nothing returning 1)"
                " select exists (select from fresh) or exists"
                " (select from ops.jobs where tenant_id = $2 and name = $3 and dedupe_key = $4)",
                self._ids.new("job"),
                periodic.tenant_id,
                periodic.name,
                f"slot:{slot}",
                now,
                periodic.every.total_seconds(),
            )
            if there:
                self._slots[periodic] = slot
            else:
                self._not_before[periodic] = self._machine_seconds() + SLOT_SECONDS
        if now - self._swept_at > SWEEP_EVERY:
            await self._sweep(now)
            self._swept_at = now

    async def _sweep(self, now: Instant) -> None:
        """Forget finished jobs: periodic ones after an hour, others after a month. What is dead stays to be seen."""
        await self._claims.execute(
            "delete from ops.jobs where state = 'DONE' and finished_at <"
            " case when payload ? 'every_seconds' then $1::timestamptz else $2::timestamptz end",
            now - SWEEP_EVERY,
            now - KEPT_FOR,
        )

    async def _claim(self, limit: int) -> list[Row]:
        """Lease due jobs. Leases run on the database's clock: moving the business clock must not expire them."""
        return await self._claims.fetch(
            # Materialised: as a subquery it may be run once per row, and then claims more than the limit.
            """with due as materialized (
                 select id from ops.jobs
                  where state = 'READY' and run_at <= $3
                    and (leased_until is null or leased_until < clock_timestamp())
                  order by run_at limit $4 for update skip locked)
               update ops.jobs j
                  set lease = $1, leased_until = clock_timestamp() + make_interval(secs => $2),
                      attempts = j.attempts + 1, first_run_at = coalesce(j.first_run_at, $3)
                 from due where j.id = due.id
              returning j.id, j.tenant_id, j.name, j.payload, j.attempts, j.lease, j.first_run_at""",
            self._ids.new("ls"),
            LEASE_SECONDS,
            self._clock.now(),
            limit,
        )

    async def _run_one(self, row: Row) -> None:
        work = Work(self._database, row)
        try:
            handler = self._handlers[work.name]
            await handler(work, row["payload"])
            if not work.completed:
                async with work.completing():
                    pass
        except TryAgain as wait:
            await self._put_back(row, seconds=wait.seconds, error=wait.reason, counted=False)
        except LeaseLost:
            log.warning("job_lease_lost", job=work.name, job_id=work.id)
        except (Refused, Unavailable) as fault:
            await self._failed(row, _named(fault))
        except Exception as fault:  # a fault of ours: loud in the log, retried like the rest, dead after a day
            log.exception("job_fault", job=work.name, job_id=work.id)
            await self._failed(row, f"{type(fault).__name__} {getattr(fault, 'sqlstate', '')}".strip())

    async def _failed(self, row: Row, error: str) -> None:
        log.warning("job_failed", job=row["name"], job_id=row["id"], attempts=row["attempts"], error=error)
        first: Instant = row["first_run_at"]
        if self._clock.now() - first > timedelta(hours=LIFE_HOURS) and row["attempts"] > len(BACKOFF_SECONDS):
            await self._bury(row, error)
            return
        seconds: float = BACKOFF_SECONDS[min(row["attempts"], len(BACKOFF_SECONDS)) - 1]
        if "every_seconds" in row["payload"]:  # a periodic job waits no longer than for its next turn
            seconds = min(seconds, row["payload"]["every_seconds"])
        await self._put_back(row, seconds=seconds, error=error, counted=True)

    async def _put_back(self, row: Row, *, seconds: float, error: str, counted: bool) -> None:
        await self._settle(
            "update ops.jobs set leased_until = null, last_error = $3, run_at = $4, attempts = attempts - $5"
            " where id = $1 and lease = $2 and state = 'READY'",
            row,
            error,
            self._clock.now() + timedelta(seconds=seconds),
            0 if counted else 1,
        )

    async def _bury(self, row: Row, error: str) -> None:
        log.error("job_dead", job=row["name"], job_id=row["id"], error=error)
        await self._settle(
            "update ops.jobs set state = 'DEAD', leased_until = null, last_error = $3, finished_at = $4"
            " where id = $1 and lease = $2 and state = 'READY'",
            row,
            error,
            self._clock.now(),
        )

    async def _settle(self, sql: str, row: Row, *arguments: Any) -> None:
        """Best effort: when this fails the lease runs out and the job is claimed again."""
        try:
            await self._claims.execute(sql, row["id"], row["lease"], *arguments)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as fault:
            log.warning("job_settle_failed", job_id=row["id"], fault=type(fault).__name__)


def _named(fault: Refused | Unavailable) -> str:
    """What stands as a job's last error: a refusal's code, or the system that did not answer."""
    return fault.code if isinstance(fault, Refused) else f"{fault.system} unavailable"
