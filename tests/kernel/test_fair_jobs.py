"""However much waits in one tenant, whatever its rows hold and whatever it keeps locked, the others are served (A26).

What counts here is the order in which jobs are taken and the pages that are looked at, never the time that it takes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

import fintokenx.kernel.jobs.queue as queue_module
from fintokenx.kernel.db import Row
from fintokenx.kernel.jobs import Payload, Work, Worker
from fintokenx.kernel.jobs.claim import CLAIM
from fintokenx.kernel.jobs.periodic import Periodic
from fintokenx.kernel.jobs.queue import Queue
from tests.database.things import A, B
from tests.kernel.shop import Shop, claim, effect, idle_worker, until
from tests.support import World

pytestmark = pytest.mark.anyio

MANY = 20_000
BY_TIME = """
with due as materialized (
  select id, 0 as place from ops.jobs
   where state = 'READY' and run_at <= $3 and (leased_until is null or leased_until < clock_timestamp())
     and $4::jsonb is not null and $5::text[] is not null and $7::text[] is not null and $8::bigint[] is not null
     and $9::bigint[] is not null
   order by run_at limit ($6::bigint[])[1] for update skip locked)
update ops.jobs j set lease = $1, leased_until = clock_timestamp() + make_interval(secs => $2),
       attempts = j.attempts + 1, first_run_at = coalesce(j.first_run_at, $3)
  from due where j.id = due.id
returning due.place, j.id, j.tenant_id, j.name, j.lane, j.payload::text as payload, false as periodic, j.attempts,
          j.lease, j.first_run_at
"""
"""How jobs were claimed before: in the order of time."""


@pytest.fixture
async def shop(world: World) -> AsyncIterator[Shop]:
    opened = Shop(world)
    yield opened
    await opened.close()


async def pile_up(shop: Shop, tenant_id: str, count: int, *, due: timedelta = timedelta(hours=-1)) -> None:
    """Jobs of one tenant that are due since an hour, or will be."""
    await shop.sql(
        """insert into ops.jobs (id, tenant_id, name, payload, dedupe_key, state, run_at, attempts, created_at)
           select 'job_' || $1 || n, $1, 'make', jsonb_build_object('n', n), n::text, 'READY', $2, 0, $2
             from generate_series(1, $3) n""",
        tenant_id,
        shop.world.clock.now() + due,
        count,
    )


@pytest.fixture
async def worker(shop: Shop) -> AsyncIterator[Worker]:
    claims = await shop.world.pool("fx_worker", 1)
    yield idle_worker(shop.world, claims)
    await claims.close()


def tenants(rows: list[Row]) -> list[str]:
    return [row["tenant_id"] for row in rows]


async def test_a_job_is_claimed_at_once_though_another_tenant_has_twenty_thousand_waiting(
    shop: Shop, worker: Worker
) -> None:
    await pile_up(shop, A, MANY)
    await shop.promise("make", tenant=B)
    assert B in tenants(await claim(worker, 2))
    assert tenants(await claim(worker, 6)) == [A] * 4


async def test_claiming_by_time_would_leave_it_waiting(
    shop: Shop, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted fault: what the test above looks at is not so by itself."""
    monkeypatch.setattr(queue_module, "CLAIM", BY_TIME)
    await pile_up(shop, A, 100)
    await shop.promise("make", tenant=B)
    assert B not in tenants(await claim(worker, 2))


async def test_tenants_take_turns_job_by_job(shop: Shop, worker: Worker) -> None:
    for tenant_id, count in (("tnt_a", 50), ("tnt_b", 3), ("tnt_c", 3)):
        await pile_up(shop, tenant_id, count)
    order = [tenants(await claim(worker, 1))[0] for _ in range(9)]
    assert order == ["tnt_a", "tnt_b", "tnt_c"] * 3
    assert sorted(tenants(await claim(worker, 12))) == ["tnt_a"] * 8, "who is alone has all places that it may have"


async def test_two_slow_tenants_leave_places_for_a_third(shop: Shop, worker: Worker) -> None:
    for tenant_id in ("tnt_a", "tnt_b"):
        await pile_up(shop, tenant_id, 50)
    claimed = await claim(worker, 12)
    assert len(claimed) == 10, "two places of twelve are for tenants of whom nothing runs"
    worker._running = {asyncio.create_task(asyncio.sleep(0)): row for row in claimed}
    assert await claim(worker, 2) == []
    await pile_up(shop, "tnt_c", 50)
    assert tenants(await claim(worker, 2)) == ["tnt_c"]


async def test_the_third_is_found_behind_slow_tenants_that_have_their_turn_first(shop: Shop, worker: Worker) -> None:
    """They may have none of the places that are kept, and a claim looks at no more tenants than it has places."""
    for tenant_id in ("tnt_a", "tnt_b", "tnt_c"):
        await pile_up(shop, tenant_id, 50)
    worker._running = {asyncio.create_task(asyncio.sleep(0)): row for row in await claim(worker, 12)}
    await pile_up(shop, "tnt_d", 50)
    for worker._served in ("", "tnt_a", "tnt_b", "tnt_c", "tnt_d"):
        assert "tnt_d" in tenants(await claim(worker, 2))


async def test_a_tenant_whose_jobs_all_run_is_passed_over(shop: Shop, worker: Worker) -> None:
    """Its leased jobs are due too; nobody waits behind them."""
    for tenant_id in ("tnt_a", "tnt_b", "tnt_c"):
        await pile_up(shop, tenant_id, 1)
    assert [tenants(await claim(worker, 1)) for _ in range(4)] == [["tnt_a"], ["tnt_b"], ["tnt_c"], []]


async def test_one_tenants_slow_jobs_leave_places_for_the_others(shop: Shop) -> None:
    goes_on = asyncio.Event()
    begun: list[str] = []

    async def slow(work: Work, payload: Payload) -> None:
        begun.append(work.tenant_id)
        if work.tenant_id == A:
            await goes_on.wait()

    await pile_up(shop, A, 100)
    await shop.start(concurrency=6, make=slow)

    async def four_run() -> bool:
        return begun == [A] * 4

    await until(four_run)
    await shop.promise("make", 3, tenant=B)

    async def others_done() -> bool:
        return begun.count(B) == 3

    await until(others_done)
    assert begun.count(A) == 4
    goes_on.set()
    await shop.sql("delete from ops.jobs where lease is null")


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from _nodes(below)


@pytest.mark.parametrize("analysed", [False, True])
async def test_a_claim_costs_a_probe_per_tenant_and_not_a_row_per_job(shop: Shop, analysed: bool) -> None:
    """A thousand tenants with jobs that are not due, one with twenty thousand that are, and one due job of the last."""
    await shop.sql(
        """insert into ops.jobs (id, tenant_id, name, payload, dedupe_key, state, run_at, attempts, created_at)
           select format('job_%s_%s', t, n), 'tnt_' || t, 'make', '{}', n::text, 'READY', $1, 0, $1
             from generate_series(1, 1000) t, generate_series(1, 5) n""",
        shop.world.clock.now() + timedelta(days=1),
    )
    await pile_up(shop, "tnt_500x", MANY)
    await shop.promise("make", tenant="tnt_zzz")
    if analysed:
        await shop.sql("analyze ops.jobs")
    pool = await shop.world.pool("fx_worker", 1)  # the product's: its sessions plan as probes
    connection = await pool.acquire()
    asked = ("ls_x", 20, shop.world.clock.now(), {}, ["outbound"], [12], ["tnt_500x"], [8], [2])
    prepared = await connection.prepare(f"explain (analyze, buffers, format json) {CLAIM}")
    [plan] = json.loads(await prepared.fetchval(*asked))
    nodes = list(_nodes(plan["Plan"]))
    rows = sum(node["Actual Rows"] * node["Actual Loops"] for node in nodes if "Scan" in node["Node Type"])
    assert plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"] < 12_000
    assert rows < 5_000
    assert not [node for node in nodes if node["Node Type"] == "Seq Scan"]
    claimed = await connection.fetch("select tenant_id from ops.jobs where lease = 'ls_x'")
    assert sorted({row["tenant_id"] for row in claimed}) == ["tnt_500x", "tnt_zzz"]
    await pool.release(connection)
    await pool.close()


POISON = {
    "a payload deeper than a parser goes": "payload = (repeat('[', 5000) || repeat(']', 5000))::jsonb",
    "a payload that is no object": "payload = '[1]'",
    "the highest number of tries": "attempts = 1000000",
    "a name that no handler has": "name = repeat('x', 100)",
    "a time long ago": "run_at = '2000-01-01'",
}


@pytest.mark.parametrize("odd", POISON)
async def test_a_row_that_nobody_can_read_is_its_own_tenants_trouble(shop: Shop, odd: str) -> None:
    await shop.promise("make", tenant=A)
    await shop.sql(f"update ops.jobs set {POISON[odd]} where tenant_id = $1", A)
    await shop.promise("make", tenant=B)
    await shop.start(make=effect)

    async def done() -> bool:
        return ("DONE", B) in {(job["state"], job["tenant_id"]) for job in await shop.jobs()}

    await until(done)


@pytest.mark.parametrize(
    "attempt",
    [
        "update ops.jobs set leased_until = 'infinity'",
        "update ops.jobs set attempts = 2147483647",
        "update ops.jobs set run_at = 'infinity'",
        "update ops.jobs set first_run_at = '0044-03-15 BC'",
        "update ops.jobs set lease = 'ls_mine'",
        "update ops.jobs set payload = '{}'",
        """insert into ops.jobs (id, tenant_id, name, payload, dedupe_key, state, run_at, attempts, created_at)
           values ('job_x', fx.tenant(), 'make', '{"every_seconds": 5}', 'x', 'READY', now(), 0, now())""",
        """insert into ops.jobs (id, tenant_id, name, payload, dedupe_key, state, run_at, attempts, created_at)
           values ('job_x', fx.tenant(), 'make', '{}', 'x', 'READY', '-infinity', 0, now())""",
        """insert into ops.jobs (id, tenant_id, name, payload, dedupe_key, state, run_at, attempts, created_at)
           values ('job_x', fx.tenant(), 'make', '{}', 'x', 'READY', now(), 2147483647, now())""",
        """insert into ops.jobs (id, tenant_id, name, payload, dedupe_key, state, run_at, attempts, created_at)
           values ('job_x', fx.tenant(), 'make', to_jsonb(repeat('x', 70000)), 'x', 'READY', now(), 0, now())""",
    ],
)
async def test_a_tenants_sql_leases_nothing_and_dates_nothing_out_of_reach(shop: Shop, attempt: str) -> None:
    await shop.promise("make", tenant=A)
    with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.CheckViolationError)):
        async with shop.world.database.transaction(A) as tx:
            await tx.write(attempt)


async def test_rows_that_one_tenant_keeps_locked_stop_neither_claims_nor_renewals_nor_the_clock(shop: Shop) -> None:
    """One transaction of A locks all its rows and stays open; meanwhile B's job runs, its lease is renewed, what ended
    badly is put back, and what falls due by the clock is promised."""
    await pile_up(shop, A, 50)
    claims = await shop.world.pool("fx_worker", 2)
    worker = idle_worker(shop.world, claims)
    [mine] = await claim(worker, 1)
    await shop.promise("make", tenant=B)
    async with shop.world.database.transaction(A) as tx:
        await tx.rows("select id from ops.jobs for update")
        [others] = await claim(worker, 5)
        assert others["tenant_id"] == B
        before = await shop.leases()
        worker._running = {asyncio.create_task(asyncio.sleep(0)): row for row in (mine, others)}
        async with asyncio.timeout(20):
            await worker._renew()
            await worker._queue.put_back(mine, seconds=1, error="x", counted=True)
            await worker._queue.sweep(shop.world.clock.now())
        after = await shop.leases()
        assert after[others["id"]] > before[others["id"]]
        assert after[mine["id"]] == before[mine["id"]], "that one alone waits"
    await claims.close()


async def test_a_job_that_was_put_back_is_not_leased_again_by_a_renewal_under_way(shop: Shop, worker: Worker) -> None:
    """It would rest until that lease ran out, twenty seconds, whatever it was put back for."""
    await shop.promise("make")
    [row] = await claim(worker, 1)
    await worker._queue.put_back(row, seconds=0, error="x", counted=False)
    worker._running = {asyncio.create_task(asyncio.sleep(0)): row}
    await worker._renew()
    assert [each["id"] for each in await claim(worker, 6)] == [row["id"]]


async def test_a_clock_that_cannot_be_looked_at_stops_no_claim(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(_worker: Worker) -> None:
        raise TimeoutError

    monkeypatch.setattr(Worker, "_look_at_the_clock", fails)
    await shop.promise("make")
    await shop.start(make=effect)

    async def done() -> bool:
        return [job["state"] for job in await shop.jobs()] == ["DONE"]

    await until(done)


async def test_a_sweep_goes_on_in_batches_and_one_that_fails_is_not_tried_again_at_once(
    shop: Shop, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "SWEPT_AT_ONCE", 2)
    await pile_up(shop, A, 3)
    await shop.sql("update ops.jobs set state = 'DONE', finished_at = '2000-01-01'")
    worker._queue._swept_at -= timedelta(hours=2)
    left = []
    for _ in range(2):
        await worker._look_at_the_clock()
        left.append(len(await shop.jobs()))
    assert left == [1, 0]

    async def fails(_queue: Queue, _now: object) -> str:
        raise TimeoutError

    monkeypatch.setattr(Queue, "sweep", fails)
    worker._queue._swept_at -= timedelta(hours=2)
    with pytest.raises(TimeoutError):
        await worker._look_at_the_clock()
    await worker._look_at_the_clock()


async def test_a_job_of_the_platform_that_another_tenant_promised_is_buried_and_not_run(shop: Shop) -> None:
    ran: list[str] = []

    async def anchor(work: Work, _payload: Payload) -> None:
        ran.append(work.tenant_id)

    await shop.promise("anchor", tenant=B)
    await shop.start(periodic=(Periodic("anchor", timedelta(hours=1), A),), anchor=anchor)

    async def settled() -> bool:
        return {(job["tenant_id"], job["state"]) for job in await shop.jobs()} == {(A, "DONE"), (B, "DEAD")}

    await until(settled)
    assert ran == [A]


async def test_the_turn_of_a_job_that_moved_to_another_tenant_is_deleted(shop: Shop) -> None:
    claims = await shop.world.pool("fx_worker", 1)
    for tenant_id in (A, B):
        worker = idle_worker(shop.world, claims, periodic=(Periodic("anchor", timedelta(hours=1), tenant_id),))
        await worker._look_at_the_clock()
    assert await claims.fetch("select tenant_id from ops.periodic_turns where name = 'anchor'") == [(B,)]
    await claims.close()
