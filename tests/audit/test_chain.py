"""One strict chain: no gap, no fork, the entry before its rows, its place taken inside COMMIT (P-05, AD-03, AD-04)."""

from __future__ import annotations

import asyncio
import itertools
from datetime import timedelta

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.kernel.db import StaleRow
from tests.database.things import ACTOR, A, B, all_entries, change, make, noted, thing, verify
from tests.support import World, world_from

pytestmark = pytest.mark.anyio


async def test_sixteen_writers_make_one_chain_without_a_gap(cluster: str, things_template: str) -> None:
    """AD-04."""
    async with world_from(cluster, things_template, pool_size=16) as world:

        async def write(writer: int) -> None:
            tenant = (A, B)[writer % 2]
            for number in range(100):
                async with world.database.transaction(tenant) as tx:
                    row = thing(tenant, f"{writer}-{number}")
                    await change(tx, "THING_MAKE", audit.insert("things", row))

        await asyncio.gather(*(write(writer) for writer in range(16)))
        verdict = await verify(world)
        assert (verdict.sound, verdict.entries) == (True, 1600)
        entries = await all_entries(world)
        assert [entry["seq"] for entry in entries] == list(range(1, 1601))
        assert all(later["prev_hash"] == earlier["hash"] for earlier, later in itertools.pairwise(entries))
        superuser = await world.connect("postgres")
        assert await superuser.fetchval("select count(*) from ops.audit_pending") == 0
        await superuser.close()


async def test_entries_stand_in_the_order_of_their_commits_and_not_of_their_beginnings(world: World) -> None:
    async with world.database.transaction(A) as slow:
        await change(slow, "THING_MAKE", audit.insert("things", thing(A, "began first")), resource="slow")
        await make(world, A, "quick")
    assert [entry["resource"] for entry in await all_entries(world)] == ["quick", "slow"]
    assert (await verify(world)).sound


async def test_entries_of_one_transaction_stand_together_in_their_own_order(world: World) -> None:
    async with world.database.transaction(A) as tx:
        for number in range(5):
            await change(tx, "THING_MAKE", audit.insert("things", thing(A, str(number))), resource=str(number))
        await make(world, A, "between")
    assert [entry["resource"] for entry in await all_entries(world)] == ["between", "0", "1", "2", "3", "4"]
    assert (await verify(world)).sound


async def test_a_writer_with_an_old_snapshot_is_refused_and_forks_nothing(world: World) -> None:
    """Trap (postgres.md §2c): REPEATABLE READ cannot see the head that it must link to."""
    connection = await world.connect("fx_app")
    await connection.execute(f"begin isolation level repeatable read; set local fx.pin = '{world.pins.pin(A)}'")
    await connection.fetchval("select count(*) from app.things")
    await make(world, A, "meanwhile")
    await connection.execute(
        "select fx.change('aud_x', now(), 'THING_NOTE', 'a', 'system', null, 'r', '', '{\"facts\":[],\"rows\":[]}')"
    )
    with pytest.raises(asyncpg.PostgresError) as refused:
        await connection.execute("commit")
    await connection.close()
    assert refused.value.sqlstate in ("23505", "40001")
    assert (await verify(world)).entries == 1


async def test_the_entry_is_recorded_before_its_rows_are_touched(world: World) -> None:
    """P-05: seen from inside, by a trigger on each of the two tables."""
    superuser = await world.connect("postgres")
    await superuser.execute("""
        create table public.steps (n bigint generated always as identity, what text);
        create function public.step() returns trigger language plpgsql security definer as $$
        begin insert into public.steps (what) values (tg_table_name); return new; end $$;
        create trigger b_step before insert on app.things for each row execute function public.step();
        create trigger b_step before insert on ops.audit_pending for each row execute function public.step();
        create trigger b_step before insert on app.audit_entries for each row execute function public.step();
        grant usage on schema public to public; grant execute on function public.step() to public;
    """)
    await make(world, A, "t1")
    steps = [row["what"] for row in await superuser.fetch("select what from public.steps order by n")]
    await superuser.close()
    assert steps == ["audit_pending", "things", "audit_entries"]


@pytest.mark.parametrize("table", ["ops.audit_pending", "app.audit_entries"])
async def test_where_the_entry_cannot_be_written_no_row_changes(world: World, table: str) -> None:
    """P-05: the fault is injected where the entry is recorded, and where it is linked."""
    await make(world, A, "t1")
    superuser = await world.connect("postgres")
    await superuser.execute(f"alter table {table} add constraint broken check (false) not valid")
    for operation in (
        audit.insert("things", thing(A, "t2")),
        noted(A, "t1", None, "x"),
        audit.delete("things", key={"tenant_id": A, "id": "t1"}, before={"state": "SHUT"}),
    ):
        with pytest.raises(asyncpg.CheckViolationError):
            async with world.database.transaction(A) as tx:
                await change(tx, "THING_MAKE", operation)
    things = [tuple(row) for row in await superuser.fetch("select id, note from app.things")]
    await superuser.close()
    assert things == [("t1", None)]
    assert len(await all_entries(world)) == 1


async def test_a_row_that_is_refused_takes_its_entry_along(world: World) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await make(world, A, "t1", amount_pence=-1)
    with pytest.raises(StaleRow):
        async with world.database.transaction(A) as tx:
            await change(tx, "THING_NOTE", noted(A, "nobody", None, "x"))
    assert await all_entries(world) == []


async def test_a_trail_is_scoped_to_its_tenant_and_resource(world: World) -> None:
    """AD-13."""
    await make(world, A, "shared", "other")
    await make(world, B, "shared")
    for tenant in (A, B):
        async with world.database.transaction(tenant) as tx:
            trail = await audit.entries_of(tx, ACTOR[tenant], resources=["shared"])
            assert [(entry.tenant_id, entry.resource) for entry in trail] == [(tenant, "shared")]


@pytest.mark.parametrize("tables", [("things", "parts")])
async def test_replaying_the_diffs_reproduces_the_tables(world: World, tables: tuple[str, ...]) -> None:
    """P-06: state is the fold of the record, with the function that writes it."""
    extra = {"raw": b"\x00\xff", "made_at": world.clock.now(), "extra": {"deep": [1, None, "é\u2028"]}}
    await make(world, A, "t1", "t2", "t3", note='quote " and \\ and \u0001', **extra)
    await make(world, B, "t1", amount_pence=2**53 - 1)
    async with world.database.transaction(A) as tx:
        part = {"tenant_id": A, "id": "p1", "thing_id": "t1"}
        await change(
            tx,
            "PART_ADD",
            audit.insert("parts", part),
            noted(A, "t2", 'quote " and \\ and \u0001', None),
            audit.delete("things", key={"tenant_id": A, "id": "t3"}, before={"state": "SHUT", "raw": b"\x00\xff"}),
        )
    superuser = await world.connect("postgres")
    await superuser.execute("create schema shadow")
    for table in tables:
        await superuser.execute(f"create table shadow.{table} (like app.{table} including all)")
    for entry in await all_entries(world):
        await superuser.execute("select fx.apply('shadow', ($1::text::jsonb) -> 'rows')", entry["diff"])
    for table in tables:
        both = [
            [dict(row) for row in await superuser.fetch(f"select * from {schema}.{table} order by tenant_id, id")]
            for schema in ("app", "shadow")
        ]
        assert both[0] == both[1]
        assert both[0], "nothing to compare"
    await superuser.close()


@pytest.mark.soak
async def test_sixty_four_writers_of_a_thousand_entries_make_one_chain(cluster: str, things_template: str) -> None:
    """AD-04, at the size that its check names."""
    writers, each = 64, 1000
    async with world_from(cluster, things_template, pool_size=writers) as world:

        async def write(writer: int) -> None:
            tenant = (A, B)[writer % 2]
            for number in range(each):
                await make(world, tenant, f"{writer}-{number}")

        await asyncio.gather(*(write(writer) for writer in range(writers)))
        verdict = await verify(world)
        assert (verdict.faults, verdict.entries) == ((), writers * each)
        superuser = await world.connect("postgres")
        gaps = await superuser.fetchval(
            "select count(*) from (select seq - lag(seq, 1, 0::bigint) over (order by seq) as step,"
            " prev_hash = lag(hash, 1, decode(repeat('00', 32), 'hex')) over (order by seq) as linked"
            " from app.audit_entries) as links where step <> 1 or not linked"
        )
        await superuser.close()
        assert gaps == 0


async def test_a_clock_that_goes_backwards_changes_no_order_and_breaks_no_batch(world: World) -> None:
    """Places come from the chain's lock and not from any clock; a batch covers what was recorded, whenever that was."""
    sealer = await world.pool("fx_sealer", 1)
    await make(world, A, "first")
    first = await audit.seal(sealer, world.clock.now())
    world.clock.set(world.clock.now() - timedelta(hours=3))
    await make(world, A, "second", "third")
    second = await audit.seal(sealer, world.clock.now())
    await sealer.close()
    assert first is not None
    assert second is not None
    assert [(b.first_seq, b.last_seq) for b in (first, second)] == [(1, 1), (2, 3)]
    entries = await all_entries(world)
    assert [entry["resource"] for entry in entries] == ["first", "second", "third"]
    assert entries[1]["timestamp"] < entries[0]["timestamp"]
    assert (await verify(world)).faults == ()
