"""What one tenant's SQL could take from all, or learn of all: locks of tables, statistics, its own login (A23, A26)."""

from __future__ import annotations

import asyncpg
import pytest

from fintokenx.kernel import sessions
from fintokenx.kernel.db import clean_session
from tests.database.things import A
from tests.support import World

pytestmark = pytest.mark.anyio

SERVING = ("fx_app", "fx_worker", "fx_sealer", "fx_auditor", "fx_platform")
STOPS_OTHERS = ("share", "share row exclusive", "exclusive", "access exclusive", "share update exclusive")


async def _lockable(world: World) -> list[str]:
    """The tables that SQL under a tenant's pin can lock so that others wait."""
    superuser = await world.connect("postgres")
    rows = await superuser.fetch(
        "select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname in ('app', 'ops', 'fx', 'migrations') and c.relkind = 'r' order by 1"
    )
    await superuser.close()
    connection = await world.connect("fx_app")
    found = []
    for row in rows:
        for mode in STOPS_OTHERS:
            try:
                async with connection.transaction():
                    await connection.execute(f"select set_config('fx.pin', '{world.pins.pin(A)}', true)")
                    await connection.execute(f"lock table {row['name']} in {mode} mode nowait")
            except asyncpg.InsufficientPrivilegeError:
                continue
            found.append(row["name"])
            break
    await connection.close()
    assert len(rows) > 30, "this test walks the catalogue; it found nearly nothing"
    return found


async def test_the_serving_role_can_lock_no_table_against_the_others(world: World) -> None:
    """Tried before: `lock table ops.idempotency_keys` stopped every mutation of every tenant."""
    assert await _lockable(world) == []
    superuser = await world.connect("postgres")
    await superuser.execute("grant update on ops.idempotency_keys to fx_app")  # as it was
    await superuser.close()
    assert await _lockable(world) == ["ops.idempotency_keys"]


@pytest.mark.parametrize(
    "look",
    [
        "select * from pg_stat_user_tables",
        "select * from pg_stat_xact_user_tables",
        "select * from pg_statio_user_tables",
        "select * from pg_stat_user_indexes",
        "select * from pg_stat_database",
        "select * from pg_stat_wal",
        "select * from pg_stat_io",
        "select pg_relation_size('app.subjects')",
        "select pg_total_relation_size('app.subjects')",
        "select pg_database_size(current_database())",
    ],
)
async def test_how_much_all_tenants_have_together_is_told_to_no_login(world: World, look: str) -> None:
    for role in SERVING:
        connection = await world.connect(role)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch(look)
        await connection.close()


@pytest.mark.parametrize("role", SERVING)
async def test_a_login_cannot_change_what_it_is(world: World, role: str) -> None:
    """Attributes, name, comment and label are refused. Its own password and defaults Postgres lets it set, whatever is
    revoked (user.c: AlterRole, AlterRoleSet); of the defaults nothing comes: see below."""
    connection = await world.connect(role)
    for change in (
        f"alter role {role} superuser", f"alter role {role} bypassrls", f"alter role {role} createrole",
        f"alter role {role} inherit", f"alter role {role} connection limit 0", f"alter role {role} nologin",
        f"alter role {role} valid until '2000-01-01'", f"alter role {role} rename to other",
        f"comment on role {role} is 'x'", "alter role all set work_mem = '1GB'",
        "alter role fx_owner set work_mem = '1GB'",
        "alter role fx_migrator password 'x'", f"drop role {role}", "drop owned by fx_owner",
    ):  # fmt: skip
        with pytest.raises(asyncpg.PostgresError) as refused:
            await connection.execute(change)
        assert refused.value.sqlstate in ("42501", "55006", "0A000"), change
    with pytest.raises(asyncpg.PostgresError):
        await connection.execute(f"security label on role {role} is 'x'")
    await connection.close()


async def _altered(world: World, role: str) -> dict[str, str]:
    """What a new connection of the product's own pool finds set after a session has altered its login."""
    attacker = await world.connect(role)
    for change in (
        f"alter role {role} set default_transaction_read_only = on",
        f"alter role current_user in database {world.name} set search_path = redteam",
        f"alter role {role} set statement_timeout = 1",
        f"alter role {role} reset idle_in_transaction_session_timeout",
        *(["alter role fx_platform set role = fx_bypass"] if role == "fx_platform" else []),
    ):
        await attacker.execute(change)
    await attacker.close()
    pool = await world.pool(role, 2)
    try:
        connection = await clean_session(pool)
        names = ("default_transaction_read_only", "search_path", "idle_in_transaction_session_timeout")
        assert await connection.fetchval("select current_user") == role
        return {name: str(await connection.fetchval("select current_setting($1)", name)) for name in names}
    finally:
        pool.terminate()


@pytest.mark.parametrize("role", SERVING)
async def test_the_defaults_that_a_login_gives_itself_reach_no_session_and_are_taken_back(
    world: World, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = {
        "default_transaction_read_only": "off", "search_path": "app, fx", "idle_in_transaction_session_timeout": "1min",
    }  # fmt: skip
    superuser = await world.connect("postgres")
    before = await superuser.fetchval(
        "select setconfig from pg_db_role_setting where setrole = $1::text::regrole and setdatabase = 0", role
    )
    try:
        assert await _altered(world, role) == sound
        left = await superuser.fetch(
            "select unnest(setconfig) as set from pg_db_role_setting where setrole = $1::text::regrole", role
        )
        assert [row["set"] for row in left if not row["set"].startswith("idle_in")] == []

        async def nothing(_connection: object) -> None: ...

        monkeypatch.setattr(sessions, "take_back_defaults", nothing)  # the planted hole
        if role != "fx_platform":  # of which the other name shows first
            assert (await _altered(world, role))["search_path"] == "redteam"
        else:
            with pytest.raises(AssertionError):
                await _altered(world, role)
    finally:  # roles are the cluster's: the next test finds them as they were
        await superuser.execute(f"alter role {role} reset all; alter role {role} in database {world.name} reset all")
        for line in before or ():
            await superuser.execute(f"alter role {role} set {line.split('=', 1)[0]} = '{line.split('=', 1)[1]}'")
        await superuser.close()
