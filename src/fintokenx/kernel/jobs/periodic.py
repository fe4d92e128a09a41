"""Jobs that fall due by the clock, for one tenant or for each that is open: found in one statement, not asked for each.

A tenant where nothing is open rests: its jobs fall due rarely until a job of its own runs. So many tenants without
business cost next to nothing, and one with business waits no longer than it ever did.
"""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Connection, Pool, Row
from fintokenx.kernel.ids import Ids

LOOK_SECONDS: Final = 0.5
"""How often one looks what is due: half of the second within which it is to start."""
TENANTS_SECONDS: Final = 15.0
"""How often one asks which tenants are open: a new one is served within a minute."""
AWAKE_SECONDS: Final = 600.0
"""How long after a job of its own a tenant does not rest, whatever its periodic jobs find: it may still be at it."""
WAKE_AGAIN_SECONDS: Final = 60.0
AT_ONCE_MAX: Final = 1000

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

OpenTenants = Callable[[], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Periodic:
    """A job that falls due every ``every`` of business time: once per slot, and not again while the last one is
    unfinished, so that an outage leaves one job to catch up and not a thousand.

    Either for ``tenant_id`` or, with ``each_tenant``, for each tenant that is open at the time, spread over the slot.
    Where its handler says that nothing is open (:meth:`~fintokenx.kernel.jobs.work.Work.may_rest`) it falls due every
    ``resting`` instead.
    """

    name: str
    every: timedelta
    tenant_id: str = ""
    each_tenant: bool = False
    resting: timedelta | None = None

    def __post_init__(self) -> None:
        if self.each_tenant == bool(self.tenant_id):
            raise ValueError(f"{self.name} is for one tenant or for each")

    def next_turn(self, tenant_id: str, after: Instant, *, resting: bool = False) -> Instant:
        """When the slot after the one of ``after`` begins for this tenant."""
        every = (self.resting or self.every) if resting else self.every
        length = every // _MICROSECOND
        key = f"{self.name}:{tenant_id}".encode()
        offset = zlib.crc32(key) * length >> 32 if self.each_tenant else 0
        slots = ((after - _EPOCH) // _MICROSECOND - offset) // length + 1
        return _EPOCH + (slots * length + offset) * _MICROSECOND


class Schedule:
    """Promises the jobs that are due, each once, however many processes do so."""

    def __init__(
        self,
        claims: Pool,
        periodic: Sequence[Periodic],
        *,
        open_tenants: OpenTenants,
        ids: Ids,
        machine_seconds: Callable[[], float],
    ) -> None:
        self._claims = claims
        self._periodic = {job.name: job for job in periodic}
        self._open_tenants = open_tenants
        self._ids = ids
        self._machine_seconds = machine_seconds
        self._look_at = 0.0
        self._ask_at = 0.0
        self._kept: tuple[str, ...] | None = None
        self._woken: dict[str, float] = {}

    async def promise_due(self, now: Instant) -> None:
        """Insert the jobs that are due; twice a second at most, whoever calls how often."""
        machine = self._machine_seconds()
        if not self._periodic or machine < self._look_at:
            return
        self._look_at = machine + LOOK_SECONDS
        if machine >= self._ask_at:
            await self._keep_turns(now)
            self._ask_at = machine + TENANTS_SECONDS
        names = list(self._periodic)
        due = "select exists (select from ops.periodic_turns where due_at <= $1 and name = any($2))"
        if await self._claims.fetchval(due, now, names):
            async with self._claims.acquire() as connection, connection.transaction():
                await self._promise(connection, names, now)

    async def _promise(self, connection: Connection, names: list[str], now: Instant) -> None:
        """What is unfinished keeps its turn, and is looked at again: it falls due when that ends, and not a whole slot
        later. It is left out before anything is locked or inserted, so that no tenant's open transaction is waited
        for."""
        due = await connection.fetch(
            """select t.tenant_id, t.name, t.resting from ops.periodic_turns t
                where t.due_at <= $1 and t.name = any($2)
                  and not exists (select from ops.jobs j where j.tenant_id = t.tenant_id and j.name = t.name
                                   and j.state = 'READY' and j.payload ? 'every_seconds')
                order by t.due_at limit $3 for update skip locked""",
            now,
            names,
            AT_ONCE_MAX,
        )
        if not due:
            return
        await connection.execute(
            """with turn as materialized (
                 select * from unnest($2::text[], $3::text[], $4::text[], $5::float8[], $6::timestamptz[])
                     as t (id, tenant_id, name, every_seconds, next_at)),
               fresh as (
                 insert into ops.jobs (id, tenant_id, name, payload, dedupe_key, state, run_at, attempts, created_at)
                 select id, tenant_id, name, jsonb_build_object('every_seconds', every_seconds), id, 'READY', $1, 0, $1
                   from turn on conflict do nothing returning id)
               update ops.periodic_turns p set due_at = turn.next_at, resting = false
                 from turn join fresh using (id) where p.tenant_id = turn.tenant_id and p.name = turn.name""",
            now,
            [self._ids.new("job") for _ in due],
            [row["tenant_id"] for row in due],
            [row["name"] for row in due],
            [self._cadence(row).total_seconds() for row in due],
            [self._periodic[row["name"]].next_turn(row["tenant_id"], now) for row in due],
        )

    def _cadence(self, row: Row) -> timedelta:
        job = self._periodic[row["name"]]
        return (job.resting or job.every) if row["resting"] else job.every

    async def _keep_turns(self, now: Instant) -> None:
        """A turn for each periodic job of each open tenant, due at once; none for a tenant that is open no more,
        or that had the job of another one once."""
        of_each = [job.name for job in self._periodic.values() if job.each_tenant]
        of_one = [job for job in self._periodic.values() if not job.each_tenant]
        tenants = tuple(await self._open_tenants()) if of_each else ()
        if tenants == self._kept:
            return
        await self._claims.execute(
            """insert into ops.periodic_turns (tenant_id, name, due_at, resting)
               select tenant_id, name, $1, false
                 from (select tenant_id, name from unnest($2::text[]) tenant_id cross join unnest($3::text[]) name
                       union all select * from unnest($4::text[], $5::text[]) as fixed (tenant_id, name)) wanted
               on conflict do nothing""",
            now,
            tenants,
            of_each,
            [job.tenant_id for job in of_one],
            [job.name for job in of_one],
        )
        await self._claims.execute(
            """delete from ops.periodic_turns where name = any($1) and tenant_id <> all($2) or name = any($3)
                  and (tenant_id, name) not in (select * from unnest($4::text[], $3::text[]))""",
            of_each,
            tenants,
            [job.name for job in of_one],
            [job.tenant_id for job in of_one],
        )
        self._kept = tenants

    async def wake(self, tenant_ids: Collection[str], now: Instant) -> None:
        """Jobs of these tenants run: what rests there is due now. Said once a minute per tenant."""
        machine = self._machine_seconds()
        woken = [name for name in set(tenant_ids) if machine >= self._woken.get(name, 0.0)]
        if not woken or not self._periodic:
            return
        await self._claims.execute(
            """update ops.periodic_turns t set woken_at = clock_timestamp(), resting = false,
                      due_at = case when t.resting then least(t.due_at, $2) else t.due_at end
                 from (select tenant_id, name from ops.periodic_turns where tenant_id = any($1)
                        order by tenant_id, name for update) locked
                where t.tenant_id = locked.tenant_id and t.name = locked.name""",
            woken,
            now,
        )
        self._woken |= dict.fromkeys(woken, machine + WAKE_AGAIN_SECONDS)

    async def rest(self, name: str, tenant_id: str, now: Instant) -> None:
        """Its job found nothing open there: it falls due rarely from now on, unless a job of the tenant ran lately."""
        job = self._periodic.get(name)
        if job is None or job.resting is None:
            return
        await self._claims.execute(
            """update ops.periodic_turns set due_at = $3, resting = true where tenant_id = $1 and name = $2
                  and (woken_at is null or woken_at < clock_timestamp() - make_interval(secs => $4))""",
            tenant_id,
            name,
            job.next_turn(tenant_id, now, resting=True),
            AWAKE_SECONDS,
        )
