"""No domain row changes without its entry, no state outside its machine, nothing written is ever rewritten: the
database refuses it to everybody, the owner and the superuser included (P-05, P-16, AD-02, IN-14)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.kernel.db import StaleRow
from tests.database.things import THING, A, B, all_entries, change, make, moved, noted, thing
from tests.support import ROLES, World

pytestmark = pytest.mark.anyio

COUNTERS = """do $$ declare door regprocedure; begin
  for door in select oid from pg_proc where proname like 'pg\\_stat\\_get\\_xact\\_%' loop
    execute format('grant execute on function %s to fx_app', door);
  end loop;
end $$"""
"""Lets these tests count what a transaction has read; the serving role itself may not (A26)."""
LOGINS = (*ROLES, "fx_owner", "fx_writer", "fx_linker", "fx_bypass")


@pytest.fixture
async def superuser(world: World) -> AsyncIterator[asyncpg.Connection]:
    connection = await world.connect("postgres")
    yield connection
    await connection.close()


async def test_no_role_may_rewrite_the_record(world: World, superuser: asyncpg.Connection) -> None:
    """AD-02: by privilege, for every role that is not superuser, now and for columns too."""
    rows = await superuser.fetch(
        """select r.rolname, p.privilege from pg_roles r, unnest(array['UPDATE', 'DELETE', 'TRUNCATE']) as p (privilege)
            where not r.rolsuper and r.rolname like 'fx\\_%'
              and has_table_privilege(r.oid, 'app.audit_entries', p.privilege)"""
    )
    assert [tuple(row) for row in rows] == []
    updatable = await superuser.fetchval(
        """select count(*) from pg_roles r, pg_attribute a
            where not r.rolsuper and r.rolname like 'fx\\_%' and a.attrelid = 'app.audit_entries'::regclass
              and a.attnum > 0 and has_column_privilege(r.oid, a.attrelid, a.attnum, 'UPDATE')"""
    )
    assert updatable == 0
    assert await superuser.fetchval("select count(*) from pg_roles where rolname = any($1)", list(LOGINS)) == 10


REWRITES = (
    "update app.audit_entries set actor = 'x'",
    "update app.audit_entries set merkle_batch_id = merkle_batch_id",
    "delete from app.audit_entries",
    "truncate app.audit_entries cascade",
    "merge into app.audit_entries e using (select 1) on true when matched then delete",
)


@pytest.mark.parametrize("statement", REWRITES)
@pytest.mark.parametrize("mode", ["origin", "replica"])
async def test_a_trigger_stops_even_the_superuser(
    world: World, superuser: asyncpg.Connection, statement: str, mode: str
) -> None:
    await make(world, A, "t1")
    await superuser.execute(f"set session_replication_role = {mode}")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await superuser.execute(statement)
    assert len(await all_entries(world)) == 1


@pytest.mark.parametrize("statement", REWRITES)
async def test_the_owner_may_not_rewrite_the_record(world: World, statement: str) -> None:
    await make(world, A, "t1")
    migrator = await world.connect("fx_migrator")
    await migrator.execute("set role fx_owner")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await migrator.execute(statement)
    await migrator.close()


CHANGES = (
    "update app.things set note = 'x'",
    "delete from app.things",
    "insert into app.things (tenant_id, id, state, amount_pence) values ('tnt_a', 't9', 'SHUT', 1)",
    "truncate app.things cascade",
)


@pytest.mark.parametrize("statement", CHANGES)
@pytest.mark.parametrize("mode", ["origin", "replica"])
async def test_no_domain_row_changes_without_an_entry_of_the_same_transaction(
    world: World, superuser: asyncpg.Connection, statement: str, mode: str
) -> None:
    """P-05: to fx_app by privilege (test_isolation), to the superuser by trigger."""
    await make(world, A, "t1")
    await superuser.execute(f"set session_replication_role = {mode}")
    with pytest.raises(asyncpg.PostgresError) as refused:
        await superuser.execute(statement)
    assert refused.value.sqlstate == ("42501" if statement.startswith("truncate") else "FX001")


async def test_an_entry_of_an_earlier_transaction_explains_nothing(world: World, superuser: asyncpg.Connection) -> None:
    await make(world, A, "t1")
    [entry] = await all_entries(world)
    await superuser.execute(f"set fx.entry = '{entry['id']}'")
    with pytest.raises(asyncpg.PostgresError, match="no audit entry"):
        await superuser.execute("update app.things set note = 'x'")


async def test_an_entry_of_another_running_transaction_explains_nothing(
    world: World, superuser: asyncpg.Connection
) -> None:
    await make(world, A, "t1")
    async with world.database.transaction(A) as tx:
        entry_id = await change(tx, "THING_NOTE")
        await superuser.execute(f"set fx.entry = '{entry_id}'")
        with pytest.raises(asyncpg.PostgresError, match="no audit entry"):
            await superuser.execute("update app.things set note = 'x'")


async def place_of_the_entry(connection: asyncpg.Connection) -> str:
    """Where in ops.audit_pending this transaction's newest entry lies, as fx.change tells the guard."""
    return str(
        await connection.fetchval("select max(ctid)::text from ops.audit_pending where xid = pg_current_xact_id()")
    )


PENDING = """insert into ops.audit_pending
               (xid, id, at, action, actor, actor_role, tenant_id, resource, request_id, diff)
             values (pg_current_xact_id(), 'aud_x', now(), 'THING_NOTE', 'a', 'system', 'tnt_a', 'r', '', '{}')"""


async def test_the_place_of_another_transactions_entry_explains_nothing(
    world: World, superuser: asyncpg.Connection
) -> None:
    """The place is a hint: forged, by a superuser even, it must still hold an entry of the very transaction."""
    await make(world, A, "t1")
    other = await world.connect("postgres")
    await other.execute("begin")
    await other.execute(PENDING)
    place = await place_of_the_entry(other)
    await superuser.execute(f"set fx.entry = '{place}'")
    with pytest.raises(asyncpg.PostgresError, match="no audit entry"):
        await superuser.execute("update app.things set note = 'while it runs'")
    await other.execute("commit")
    with pytest.raises(asyncpg.PostgresError, match="no audit entry"):
        await superuser.execute("update app.things set note = 'after it ran'")
    await superuser.execute("alter table ops.audit_pending disable trigger zz_link_at_commit")
    await superuser.execute(PENDING)  # left behind, committed, never linked
    left = await superuser.fetchval("select ctid::text from ops.audit_pending")
    await superuser.execute(f"set fx.entry = '{left}'")
    with pytest.raises(asyncpg.PostgresError, match="no audit entry"):
        await superuser.execute("update app.things set note = 'long after'")
    await other.close()


@pytest.mark.parametrize("place", ["", "(0,1)", "(4294967295,65535)", "aud_1", "(1", "'; drop table app.things; --"])
async def test_a_place_that_holds_nothing_explains_nothing(
    world: World, superuser: asyncpg.Connection, place: str
) -> None:
    await make(world, A, "t1")
    await superuser.execute("select set_config('fx.entry', $1, false)", place)
    with pytest.raises(asyncpg.PostgresError, match="no audit entry"):
        await superuser.execute("update app.things set note = 'x'")


@pytest.mark.parametrize("mode", ["origin", "replica"])
async def test_an_entry_that_is_taken_out_of_the_waiting_is_linked_all_the_same(
    world: World, superuser: asyncpg.Connection, mode: str
) -> None:
    """A superuser who records an entry, changes the row and removes the entry again has left it on record."""
    await make(world, A, "t1")
    await superuser.execute(f"set session_replication_role = {mode}")
    async with superuser.transaction():
        await superuser.execute(PENDING)
        place = await place_of_the_entry(superuser)
        await superuser.execute("select set_config('fx.entry', $1, true)", place)
        await superuser.execute("update app.things set note = 'x'")
        await superuser.execute("delete from ops.audit_pending")
    assert [entry["id"] for entry in await all_entries(world)][1:] == ["aud_x"]


@pytest.mark.parametrize("mode", ["origin", "replica"])
@pytest.mark.parametrize(
    "statement",
    [
        "delete from app.audit_actions where action = 'THING_MAKE'",
        "update app.audit_actions set action = 'THING_MADE' where action = 'THING_MAKE'",
        "truncate app.audit_actions",
        "delete from app.merkle_batches",
        "update app.merkle_batches set id = 7",
        "truncate app.merkle_batches cascade",
    ],
)
async def test_what_entries_name_cannot_be_taken_from_under_them(
    world: World, superuser: asyncpg.Connection, statement: str, mode: str
) -> None:
    """In place of foreign keys, which would lock and rewrite the row that they point to at every entry."""
    await make(world, A, "t1")
    await superuser.execute(f"set session_replication_role = {mode}")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await superuser.execute(statement)


async def test_a_connection_that_saw_the_tables_empty_still_reads_them_by_their_indexes(
    world: World, superuser: asyncpg.Connection
) -> None:
    """A plan that is made for empty tables lives as long as its connection; a scan in it would read the whole record
    at every COMMIT."""
    await superuser.execute("vacuum analyze ops.audit_pending")
    await superuser.execute("vacuum analyze app.audit_entries")
    await superuser.execute(COUNTERS)
    async with world.database.transaction(A) as tx:
        for number in range(8):  # more often than plans are tried before one is kept
            await change(tx, "THING_MAKE", audit.insert("things", thing(A, str(number))))
        await tx.write("set constraints all immediate")
        read = await tx.rows(
            "select relid::regclass::text, seq_scan from pg_stat_xact_user_tables"
            " where relid = any (array['app.audit_entries', 'ops.audit_pending']::regclass[])"
        )
    assert {row["relid"]: row["seq_scan"] for row in read} == {"audit_entries": 0, "ops.audit_pending": 0}


async def test_an_entry_that_a_savepoint_took_back_took_its_rows_along(world: World) -> None:
    async with world.database.transaction(A) as tx:
        await change(tx, "THING_MAKE", audit.insert("things", thing(A, "kept")))
        await tx.write("savepoint s")
        await change(tx, "THING_MAKE", audit.insert("things", thing(A, "undone")))
        await tx.write("rollback to savepoint s")
        await change(tx, "THING_NOTE", noted(A, "kept", None, "still here"))
    assert [entry["action"] for entry in await all_entries(world)] == ["THING_MAKE", "THING_NOTE"]
    async with world.database.transaction(A) as tx:
        assert [tuple(row) for row in await tx.rows("select id, note from app.things")] == [("kept", "still here")]


async def test_linking_early_keeps_the_chain_whole_and_explains_no_later_row(world: World) -> None:
    """Injected SQL may ask for the deferred link at once; then the entry is linked and no longer pending."""
    with pytest.raises(asyncpg.PostgresError, match="no audit entry"):
        async with world.database.transaction(A) as tx:
            await tx.write("set constraints all immediate")
            await change(tx, "THING_MAKE", audit.insert("things", thing(A, "t1")))
    async with world.database.transaction(A) as tx:
        await change(tx, "THING_MAKE", audit.insert("things", thing(A, "t1")))
        await tx.write("savepoint s")
        await tx.write("set constraints all immediate")
        await tx.write("rollback to savepoint s")
    assert [entry["seq"] for entry in await all_entries(world)] == [1]


@pytest.mark.parametrize("source", ["SHUT", "OPEN"])
@pytest.mark.parametrize("target", ["SHUT", "OPEN", "MELTED"])
@pytest.mark.parametrize("action", ["THING_OPEN", "THING_SHUT", "THING_NOTE"])
async def test_a_state_changes_as_its_machine_says_or_not_at_all(
    world: World, source: str, target: str, action: str
) -> None:
    """IN-14: with an entry, and still refused."""
    await make(world, A, "t1")
    if source == "OPEN":
        async with world.database.transaction(A) as tx:
            await change(tx, "THING_OPEN", moved(A, "t1", "SHUT", "OPEN"))
    listed = source == target or any(
        (t.source, t.target, t.action) == (source, target, action) for t in THING.transitions
    )
    try:
        async with world.database.transaction(A) as tx:
            await change(tx, action, moved(A, "t1", source, target))
        happened = True
    except asyncpg.PostgresError as fault:
        happened = fault.sqlstate != "FX002"
    assert happened == listed


async def test_a_row_is_born_in_a_first_state_only(world: World) -> None:
    with pytest.raises(asyncpg.PostgresError, match="may not go from  to OPEN"):
        await make(world, A, "t1", state="OPEN")


async def test_what_changed_meanwhile_is_not_overwritten(world: World) -> None:
    """The row must be as the command read it, column by column, NULL included."""
    await make(world, A, "t1", note="first")
    for before in (None, "second"):
        with pytest.raises(StaleRow):
            async with world.database.transaction(A) as tx:
                await change(tx, "THING_NOTE", noted(A, "t1", before, "x"))
    row = audit.delete("things", key={"tenant_id": A, "id": "t1"}, before={"note": "second"})
    with pytest.raises(StaleRow):
        async with world.database.transaction(A) as tx:
            await change(tx, "THING_NOTE", row)


async def test_a_change_finds_its_row_by_the_primary_key_however_many_rows_there_are(
    world: World, superuser: asyncpg.Connection
) -> None:
    await superuser.execute("alter table app.things disable trigger a_guard_change")
    await superuser.execute(
        "insert into app.things (tenant_id, id, state, amount_pence)"
        " select 'tnt_a', 't' || n, 'SHUT', 1 from generate_series(1, 20000) n"
    )
    await superuser.execute("alter table app.things enable always trigger a_guard_change; analyze app.things")
    await superuser.execute(COUNTERS)
    async with world.database.transaction(A) as tx:
        await change(tx, "THING_NOTE", noted(A, "t7", None, "x"))
        read = await tx.row(
            "select seq_scan, idx_tup_fetch from pg_stat_xact_user_tables where relid = 'app.things'::regclass"
        )
    assert read is not None
    assert read["seq_scan"] == 0
    assert read["idx_tup_fetch"] <= 2


@pytest.mark.parametrize(
    ("arguments", "sqlstate"),
    [
        ({"action": "NO_SUCH_ACTION"}, "FX005"),
        ({"role": "buyer"}, "FX006"),
        ({"role": "platform_admin"}, "FX006"),
        ({"on_behalf_of": "sub_1"}, "FX007"),
        ({"diff": '{"facts":[],"rows":[{"before":{},"key":{},"op":"upsert","table":"things"}]}'}, "FX013"),
        ({"diff": '{"facts":[],"rows":[],"rows":[]}'}, "FX008"),
        ({"diff": '{"facts":[{"a":1,"a":2}],"rows":[]}'}, "FX008"),
        ({"diff": '{"facts":[]}'}, "FX008"),
        ({"diff": '{"facts":[],"rows":[],"more":[]}'}, "FX008"),
        ({"diff": '["facts","rows"]'}, "FX008"),
        ({"diff": '{"facts":[],"rows":[{"op":"insert","row":{"seq":1},"table":"audit_entries"}]}'}, "FX013"),
        ({"diff": '{"facts":[],"rows":[{"op":"insert","row":{"action":"XYZ"},"table":"audit_actions"}]}'}, "FX013"),
        ({"diff": '{"facts":[],"rows":[{"op":"insert","row":{"a":1},"table":"../x"}]}'}, "FX013"),
        ({"pin": ""}, "42501"),
    ],
)
async def test_an_entry_that_does_not_fit_is_refused(world: World, arguments: dict[str, str], sqlstate: str) -> None:
    """AD-15 … AD-18 in the database: closed taxonomy, role, on_behalf_of; and a diff reaches domain tables only."""
    given = {"action": "THING_NOTE", "role": "system", "on_behalf_of": None, "diff": '{"facts":[],"rows":[]}'}
    given |= {"pin": world.pins.pin(B)} | arguments
    connection = await world.connect("fx_app")
    await connection.execute("begin")
    await connection.execute("select set_config('fx.pin', $1, true)", given["pin"])
    with pytest.raises(asyncpg.PostgresError) as refused:
        await connection.execute(
            "select fx.change('aud_1', now(), $1, 'a', $2, $3, 'r', '', $4::text::json)",
            given["action"],
            given["role"],
            given["on_behalf_of"],
            given["diff"],
        )
    assert refused.value.sqlstate == sqlstate
    await connection.close()


@pytest.mark.parametrize("role", ROLES)
async def test_nobody_changes_the_schema_outside_a_migration(world: World, role: str) -> None:
    connection = await world.connect(role)
    statements = (
        "alter table app.audit_entries disable trigger all",
        "alter table app.audit_entries rename to gone",
        "create rule r as on update to app.audit_entries do instead nothing",
        "drop trigger a_append_only_rows on app.audit_entries",
        "drop policy tenant_only on app.audit_entries",
        "drop function fx.deny()",
    )
    for statement in statements:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    await connection.close()
