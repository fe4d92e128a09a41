"""Nothing that one transaction leaves in a pooled session reaches the next: all that DISCARD ALL covers, piece by
piece, each with the piece of the wipe taken out, when it does (A20, TI-04)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import pytest

from fintokenx.kernel import db, sessions
from fintokenx.kernel.bus import Reactions
from fintokenx.kernel.db import Database, DatabaseUnavailable, Pool, clean_session
from tests.database.things import A, B, make
from tests.support import World

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Piece:
    """``leave`` is injected under one tenant's pin; ``look`` says under the next one's whether it is there. ``wiped``
    is what of the wipe takes it away; ``hole`` is what has to be granted before it can be left at all."""

    leave: str
    look: str
    wiped: tuple[str, ...]
    hole: str = ""
    role: str = "fx_app"


PIECES = {
    "settings": Piece(
        "set session fx.note = 'x'",
        "select coalesce(current_setting('fx.note', true), '') <> ''",
        ("RESET ALL; ",),
    ),
    "a role": Piece(
        "set session role fx_bypass",
        "select current_user <> session_user",
        ("RESET ROLE; ", "RESET SESSION AUTHORIZATION; "),
        role="fx_platform",
    ),
    "cursors": Piece(
        "declare left_open cursor with hold for select 1",
        "select exists (select from pg_cursors where name = 'left_open')",
        ("CLOSE ALL; ",),
    ),
    "channels": Piece("listen somewhere", "select exists (select from pg_listening_channels())", ("UNLISTEN *; ",)),
    "advisory locks": Piece(
        "select pg_advisory_lock(7)",
        "select exists (select from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())",
        ("pg_catalog.pg_advisory_unlock_all(), ",),
        hole="grant execute on function pg_advisory_lock(bigint), pg_lock_status() to fx_app",
    ),
    "temporary objects": Piece(
        "create temporary table left_behind as select 1",
        "select to_regclass('pg_temp.left_behind') is not null",
        ("DISCARD TEMP; ",),
        hole="do $$ begin execute format('grant temporary on database %I to fx_app', current_database()); end $$",
    ),
    "sequences": Piece(
        "select nextval('fx.invoice_numbers')",
        "select lastval() > 0",
        ("DISCARD SEQUENCES; ",),
    ),
    "prepared statements": Piece(
        "prepare sly as select 1",
        "select exists (select from pg_prepared_statements where from_sql)",
        (" AND NOT coalesce(pg_catalog.bool_or(s.from_sql), false)", "pg_catalog.count(*) = {held}"),
    ),
}


@pytest.fixture
async def one(world: World) -> AsyncIterator[Database]:
    """The product's own transactions on a pool of one connection."""
    pool = await world.pool("fx_app", 1)
    yield _database(world, pool)
    await pool.close()


def _database(world: World, pool: Pool) -> Database:
    return Database(pool, pins=world.pins, clock=world.clock, ids=world.ids, reactions=Reactions())


async def _left(world: World, piece: Piece) -> bool:
    if piece.hole:
        superuser = await world.connect("postgres")
        await superuser.execute(piece.hole)
        await superuser.close()
    pool = await world.pool(piece.role, 1)
    database = _database(world, pool)
    try:
        async with database.transaction(A) as tx:
            await tx.connection.execute(piece.leave)
        async with database.transaction(B) as tx:
            return bool(await tx.value(piece.look))
    except asyncpg.ObjectNotInPrerequisiteStateError:  # what lastval says of a session without a number
        return False
    finally:
        await pool.close()


@pytest.mark.parametrize("piece", PIECES.values(), ids=PIECES.keys())
async def test_what_one_tenant_leaves_in_a_session_is_gone_before_the_next_one_comes(
    world: World, piece: Piece, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not await _left(world, piece)
    wipe = sessions._WIPE
    for part in piece.wiped:
        assert part in wipe
        wipe = wipe.replace(part, "true" if "{held}" in part else "")
    monkeypatch.setattr(sessions, "_WIPE", wipe)
    assert await _left(world, piece), "the hole was planted and is not seen"


@pytest.mark.parametrize("name", ["advisory locks", "temporary objects"])
async def test_what_nobody_needs_cannot_be_left_at_all(world: World, name: str) -> None:
    for role in ("fx_app", "fx_worker", "fx_sealer", "fx_auditor", "fx_platform"):
        connection = await world.connect(role)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(PIECES[name].leave)
        await connection.close()


async def _swap(connection: object, statement: str, instead: str) -> None:
    """As injected SQL: another statement under the name of one of the driver's."""
    assert isinstance(connection, asyncpg.pool.PoolConnectionProxy)
    name = await connection.fetchval("select name from pg_prepared_statements where statement = $1", statement)
    await connection.execute(f'deallocate "{name}"')
    if instead:
        await connection.execute(f'prepare "{name}" {instead}')


THINGS = "select count(*) from app.things where note is not distinct from $1"


@pytest.mark.parametrize("instead", ["(text) as select 4711::bigint", ""], ids=["replaced", "only taken away"])
async def test_the_drivers_own_statements_are_the_drivers_in_the_next_transaction(
    world: World, one: Database, instead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the ten attacks the worst: the next tenant's pin, or its entry, went where the attacker's statement said."""

    async def attack() -> int:
        async with one.transaction(A) as tx:
            await tx.value(THINGS, None)
            await _swap(tx.connection, THINGS, instead)
        async with one.transaction(B) as tx:
            return int(await tx.value(THINGS, None))

    await make(world, B, "b1")
    assert await attack() == 1
    monkeypatch.setattr(sessions, "_WIPE", "SELECT {held}")  # the planted hole
    if instead:
        assert await attack() == 4711
    else:
        with pytest.raises(asyncpg.InvalidSQLStatementNameError):
            await attack()


async def test_the_next_pin_never_passes_through_a_prepared_statement(
    world: World, one: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where nothing is wiped."""
    await make(world, B, "b1")
    monkeypatch.setattr(sessions, "_WIPE", "SELECT {held}")
    async with one.transaction(A) as tx:
        for row in await tx.rows("select name, statement from pg_prepared_statements"):
            await _swap(tx.connection, row["statement"], "as select 1")
    async with one.transaction(B) as tx:
        assert await tx.connection.execute("select from app.things") == "SELECT 1"


@pytest.mark.parametrize("timeout", ["statement_timeout", "idle_session_timeout"])
async def test_a_session_that_would_end_the_next_request_is_replaced_before_it(one: Database, timeout: str) -> None:
    for tenant in (A, B) * 5:
        async with one.transaction(tenant) as tx:
            assert await tx.value("select 1") == 1
            await tx.connection.execute(f"set session {timeout} = 1")


async def test_a_thousand_statements_left_behind_cost_the_session_and_nobody_else(one: Database) -> None:
    pids = set()
    for _ in range(3):
        async with one.transaction(A) as tx:
            pids.add(await tx.value("select pg_backend_pid()"))
            await tx.connection.execute(
                "do $$ begin for n in 1..1000 loop execute format('prepare s%s as select 1', n); end loop; end $$"
            )
    assert len(pids) == 3


async def test_the_drivers_cache_may_overflow_and_run_out_and_the_session_stays(one: Database) -> None:
    """Or every busy session would be thrown away for the statements that the driver itself drops."""
    pids = set()
    for turn in range(6):
        async with one.transaction((A, B)[turn % 2]) as tx:
            pids.add(await tx.value("select pg_backend_pid()"))
            for number in range(60):
                await tx.value(f"select {turn} + {number}")
    assert len(pids) == 1


PLANNED = "select note from app.things where tenant_id = $1 and id = $2"
POISON = (
    "set local plan_cache_mode = force_generic_plan; set local seq_page_cost = 0; set local cpu_tuple_cost = 0;"
    "set local cpu_operator_cost = 0; set local enable_indexscan = off; set local enable_bitmapscan = off;"
    "set local enable_indexonlyscan = off"
)


async def _plan_left(one: Database) -> bool:
    """Whether a plan that one tenant had made under its own costs is what the next one's statement runs by."""
    async with one.transaction(A) as tx:
        for _ in range(5):
            await tx.value(PLANNED, A, "x")
        await tx.connection.execute(POISON)
        await tx.value(PLANNED, A, "x")
    async with one.transaction(B) as tx:
        name = await tx.value("select name from pg_prepared_statements where statement = $1", PLANNED)
        rows = await tx.rows(f"explain execute \"{name}\" ('{B}', 'x')")
    return any("Seq Scan" in row[0] for row in rows)


@pytest.mark.parametrize(("lives", "left"), [(0.0, False), (1e9, True)], ids=["made anew", "kept"])
async def test_plans_are_made_anew_when_they_are_due(
    world: World, one: Database, monkeypatch: pytest.MonkeyPatch, lives: float, *, left: bool
) -> None:
    """Not at each transaction, which would double its cost: such a plan is slow, and shows what a good one shows."""
    superuser = await world.connect("postgres")
    await superuser.execute(
        "alter table app.things disable trigger all;"
        "insert into app.things (tenant_id, id, state, amount_pence) select 'tnt_b', n::text, 'SHUT', 1"
        " from generate_series(1, 20000) n; analyze app.things"
    )
    await superuser.close()
    monkeypatch.setattr(sessions, "PLANS_LIVE_SECONDS", lives)
    assert await _plan_left(one) is left


@pytest.mark.parametrize("role", ["fx_app", "fx_worker", "fx_sealer", "fx_auditor", "fx_platform"])
async def test_every_pool_comes_clean_by_the_same_rule(world: World, role: str) -> None:
    pool = await world.pool(role, 1)
    for poison in ("prepare sly as select 1", "set session statement_timeout = 1", "listen somewhere"):
        await pool.execute(poison)
        connection = await clean_session(pool)
        assert await connection.fetchval("select count(*) from pg_prepared_statements where from_sql") == 0
        assert await connection.fetchval("select current_setting('statement_timeout')") == "0"
        assert await connection.fetchval("select count(*) from pg_listening_channels()") == 0
        await pool.release(connection)
    await pool.close()


async def test_a_database_in_which_no_session_comes_clean_is_unavailable_until_one_does(
    one: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as spoilt:
        spoilt.setattr(sessions, "_WIPE", "SELECT 1/0 -- {held} {plans}")
        spoilt.setattr(db, "_SESSIONS_TRIED", 3)
        with pytest.raises(DatabaseUnavailable):
            async with one.transaction(A):
                pass
    async with one.transaction(A) as tx:
        assert await tx.value("select 1") == 1


async def test_the_workers_sessions_keep_their_plans_through_every_wipe_and_report_nobody(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Bootstrap once set these as the role's defaults, which each first session took back as somebody's SQL."""
    pool = await world.pool("fx_worker", 1)
    for _ in range(3):
        assert await pool.fetchval("select current_setting('enable_seqscan')") == "off"
        await pool.execute("set session enable_seqscan = on")
    await pool.close()
    assert not [record for record in caplog.records if "taken back" in record.getMessage()]
