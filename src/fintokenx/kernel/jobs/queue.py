"""The queue as the worker uses it: lanes declared, jobs leased, leases kept, jobs put back, buried and forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import asyncpg
import structlog

from fintokenx.kernel.clock import Clock, Instant
from fintokenx.kernel.db import Pool, Row
from fintokenx.kernel.ids import Ids
from fintokenx.kernel.jobs.claim import CLAIM
from fintokenx.kernel.jobs.lanes import Job, Lane, Served

log = structlog.get_logger("fintokenx.jobs")

LEASE_SECONDS: Final = 20
"""How long a job stays with a worker that says nothing: after a kill it is claimed again that much later."""
SETTLE_PAUSES_SECONDS: Final = (0.05, 0.2, 0.0)
"""A lease that is being renewed at this moment is locked for a millisecond."""
SWEEP_EVERY: Final = timedelta(hours=1)
SWEPT_AT_ONCE: Final = 1000
KEPT_FOR: Final = timedelta(days=30)

AWAY: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What the driver raises while the database is away or says no."""


class Queue:
    """``ops.jobs`` of all tenants, as fx_worker. ``claims`` logs in as that."""

    def __init__(self, claims: Pool, *, clock: Clock, ids: Ids) -> None:
        self._claims = claims
        self._clock = clock
        self._ids = ids
        self._swept_at = clock.now()

    async def declare(self, jobs: Iterable[Job]) -> None:
        """Tell the database which lane each name has. What waits already changes to it, so that a version that moves
        a job to another lane, or knows a name that none knew, finds it there."""
        lanes = {job.name: str(job.lane) for job in jobs}
        if not lanes:
            return
        await self._claims.execute(
            """with declared as materialized (
                 select * from unnest($1::text[], $2::text[]) as t (name, lane)),
               told as (
                 insert into ops.job_lanes as known (name, lane) select name, lane from declared order by name
                 on conflict (name) do update set lane = excluded.lane where known.lane <> excluded.lane)
               update ops.jobs j set lane = moved.lane
                 from (select w.id, declared.lane from ops.jobs w join declared using (name)
                        where w.state = 'READY' and w.lane <> declared.lane for update of w skip locked) moved
                where j.id = moved.id""",
            list(lanes),
            list(lanes.values()),
        )

    async def claim(
        self, free: Mapping[Lane, int], lanes: Collection[Served], running: Mapping[Lane, Mapping[str, int]]
    ) -> list[Row]:
        """Lease due jobs: of each lane so many as are ``free``, from the tenant after the one that was served last.
        ``running`` counts by lane and tenant. Leases run on the database's clock: moving the business clock must not
        expire them."""
        asked = [lane for lane in lanes if free.get(lane.lane, 0) > 0]
        claimed = await self._claims.fetch(
            CLAIM,
            self._ids.new("ls"),
            LEASE_SECONDS,
            self._clock.now(),
            running,
            [str(lane.lane) for lane in asked],
            [free[lane.lane] for lane in asked],
            [lane.served_last for lane in asked],
            [lane.per_tenant for lane in asked],
            [lane.kept_free for lane in asked],
        )
        for lane in asked:
            if mine := [row for row in claimed if row["lane"] == lane.lane]:
                lane.served_last = max(mine, key=lambda row: row["place"])["tenant_id"]
        return claimed

    async def renew(self, rows: Sequence[Row]) -> None:
        """Keep what is being worked on. A row that its own transaction has locked waits for the next time: it must not
        keep all the others from being renewed."""
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

    async def put_back(self, row: Row, *, seconds: float, error: str, counted: bool) -> None:
        """Due again after ``seconds``. Its lease is void: whoever still holds it completes nothing."""
        await self._settle(
            "lease = null, leased_until = null, last_error = $3, run_at = $4, attempts = attempts - $5",
            row,
            error,
            self._clock.now() + timedelta(seconds=seconds),
            0 if counted else 1,
        )

    async def bury(self, row: Row, error: str) -> None:
        """Given up; it stays to be seen."""
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
        except AWAY as fault:
            log.warning("job_settle_failed", job_id=row["id"], fault=type(fault).__name__)

    async def sweep_when_due(self, now: Instant) -> None:
        """Forget finished jobs, once an hour."""
        if now - self._swept_at > SWEEP_EVERY:
            before, self._swept_at = self._swept_at, now  # what fails is tried again in an hour
            if await self.sweep(now) == f"DELETE {SWEPT_AT_ONCE}":
                self._swept_at = before  # there is more: on when what is due has been claimed

    async def sweep(self, now: Instant) -> str:
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
