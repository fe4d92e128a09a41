"""A thousand tenants without business cost a running platform next to nothing, and none of them waits for another.

What is measured is the processor time that the platform and its database take, which holds on a machine that has other
work as well, and when jobs start.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import psutil
import pytest

from fintokenx.app import provision, wiring
from fintokenx.app.local import DATABASE, LocalSystem, open_collections_account
from fintokenx.parties import partner
from tests.story.house import running

pytestmark = [pytest.mark.anyio, pytest.mark.soak]

TENANTS = 1000
SHARE_MAX = 0.05
"""Of a core, the platform's own; what Postgres uses is printed beside it."""
JOBS_A_SECOND_MAX = 1.5 * TENANTS * (2 / 900 + 4 / 3600) + 1
"""Resting tenants: their account is read and its balance held against the books every quarter of an hour, four nets
look every hour."""
WINDOWS, WINDOW_SECONDS = 2, 45
JOB = "settlement.release_held"
"""A job that finds nothing to do for a subject that nobody knows: its work is its two transactions."""


@pytest.fixture(scope="module")
async def system(anyio_backend: str) -> AsyncIterator[LocalSystem]:
    """A running platform with a thousand tenants, all of whose first jobs have run."""
    async with running(datetime(2026, 6, 10, 9, tzinfo=UTC)) as made:
        settings = made.settings()
        async with wiring.base(settings, pool_size=4) as on:
            for number in range(TENANTS):
                tenant_id = f"tnt_idle{number:04d}"
                account = partner.CollectionsAccount("Idle", "990011", f"{number:08d}")
                terms = partner.TenantTerms(
                    "Idle", None, {}, "partner", provision.ALL_FEATURES, "invoices@idle.example", account, 150
                )
                await open_collections_account(settings, account)
                await provision.open_tenant(on.database, tenant_id, terms)
        async with sql(made) as database:

            async def all_rest() -> bool:
                return bool(
                    await database.fetchval(
                        "select count(*) filter (where tenant_id like 'tnt_idle%' and not resting) = 0"
                        " and count(distinct tenant_id) > $1"
                        " and (select count(*) from ops.jobs where state = 'READY') < 5 from ops.periodic_turns",
                        TENANTS,
                    )
                )

            deadline = time.monotonic() + 600
            while not await all_rest():
                assert time.monotonic() < deadline, await database.fetch(
                    "select name, resting, count(*) from ops.periodic_turns group by 1, 2 order by 1, 2"
                )
                await asyncio.sleep(1)
        yield made


class sql:  # noqa: N801 — reads as a statement
    """A superuser's connection to the system's database."""

    def __init__(self, system: LocalSystem) -> None:
        self._system = system

    async def __aenter__(self) -> asyncpg.Connection:
        postgres = await self._system.postgres()
        password = await self._system.vault().secret(provision.password_of("postgres"))
        self._connection = await asyncpg.connect(postgres.dsn("postgres", password, DATABASE))
        return self._connection

    async def __aexit__(self, *_fault: object) -> None:
        await self._connection.close()


def cpu_seconds(process: psutil.Process) -> float:
    """What it, its living children and those that have ended used so far."""
    own = process.cpu_times()
    used = own.user + own.system + own.children_user + own.children_system
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            used += child.cpu_times().user + child.cpu_times().system
    return used


async def test_a_thousand_idle_tenants_use_at_most_a_twentieth_of_a_core(system: LocalSystem) -> None:
    platform = psutil.Process(json.loads((system.folder / "run" / "platform.pid").read_text())["pid"])
    async with sql(system) as database:
        postgres = psutil.Process(await database.fetchval("select pg_backend_pid()")).parent()
        assert postgres is not None
        ran = "select coalesce(sum(n_tup_ins), 0)::float8 from pg_stat_user_tables where relname = 'jobs'"
        shares = []
        for _ in range(WINDOWS):
            before = [cpu_seconds(platform), cpu_seconds(postgres)]
            jobs, begun = await database.fetchval(ran), time.monotonic()
            await asyncio.sleep(WINDOW_SECONDS)
            length = time.monotonic() - begun
            used = [(cpu_seconds(platform) - before[0]) / length, (cpu_seconds(postgres) - before[1]) / length]
            promised = (await database.fetchval(ran) - jobs) / length
            shares.append(used[0])
            print(f"platform {used[0]:.2%} postgres {used[1]:.2%} of a core, {promised:.1f} jobs/s")
            assert promised <= JOBS_A_SECOND_MAX
    assert min(shares) <= SHARE_MAX


async def delays(system: LocalSystem, tenants: list[str]) -> list[float]:
    """For a job of each of these tenants, how long it was due when it was started; promised by another process, so that
    nothing but its own look tells the platform."""
    async with wiring.base(system.settings(), pool_size=2) as on:
        for tenant_id in tenants:
            async with on.database.transaction(tenant_id) as tx:
                tx.enqueue(JOB, {"subject_id": "sub_nobody"}, dedupe_key=on.ids.new("once"))
            await asyncio.sleep(0.05)
    async with sql(system) as database:
        waited: list[float] = []
        deadline = time.monotonic() + 120
        while len(waited) < len(tenants):
            assert time.monotonic() < deadline
            rows = await database.fetch(
                "select extract(epoch from first_run_at - run_at)::float8 as waited from ops.jobs"
                " where name = $1 and tenant_id = any($2) and first_run_at is not null and dedupe_key like 'once%'",
                JOB,
                tenants,
            )
            waited = [row["waited"] for row in rows]
            await asyncio.sleep(0.2)
    print(f"waited {statistics.median(waited):.2f} s in the middle, {max(waited):.2f} s at most")
    return waited


async def test_a_job_of_any_tenant_starts_within_a_second(system: LocalSystem) -> None:
    assert statistics.median(await delays(system, [f"tnt_idle{n:04d}" for n in range(0, TENANTS, 20)])) <= 1


async def test_ten_thousand_waiting_jobs_of_one_tenant_delay_the_others_by_two_seconds_at_most(
    system: LocalSystem,
) -> None:
    async with sql(system) as database:
        await database.execute(
            """insert into ops.jobs (id, tenant_id, name, payload, dedupe_key, state, run_at, attempts, created_at)
               select 'job_many' || n, 'tnt_idle0500', $1, '{"subject_id": "sub_x"}', 'many' || n, 'READY', $2, 0, $2
                 from generate_series(1, 10000) n""",
            JOB,
            system.clock().now(),
        )
        waited = await delays(system, [f"tnt_idle{n:04d}" for n in range(10, TENANTS, 50)])
        left = await database.fetchval(
            "select count(*) from ops.jobs where state = 'READY' and dedupe_key like 'many%'"
        )
        await database.execute("delete from ops.jobs where dedupe_key like 'many%'")
    assert left > 0, "they were to wait meanwhile"
    assert statistics.median(waited) <= 2
