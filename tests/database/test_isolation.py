"""One tenant never sees or touches another's rows, whatever SQL reaches the database as fx_app (TI-01 … TI-05)."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.kernel.db import PinSigner
from tests.database.things import A, B, change, make, noted, thing
from tests.support import ROLES, World, world_from

pytestmark = pytest.mark.anyio
KEY = b"p" * 32


@pytest.fixture(scope="module")
async def filled(cluster: str, things_template: str) -> AsyncIterator[World]:
    """A world in which both tenants have rows everywhere that a test can put some; nothing here changes it."""
    async with world_from(cluster, things_template) as world:
        for tenant in (A, B):
            await make(world, tenant, f"{tenant}-1")
            async with world.database.transaction(tenant) as tx:
                part = {"tenant_id": tenant, "id": "p1", "thing_id": f"{tenant}-1"}
                await change(tx, "PART_ADD", audit.insert("parts", part))
                tx.enqueue("job", {}, dedupe_key="x")
                for sql in (
                    "insert into ops.idempotency_keys values ($1, 'k', 'p', 'r', '\\x00', 200, '{}', '', now())",
                    "insert into ops.inbox values ($1, 'bank', $1, now())",
                    "insert into ops.subject_keys values ($1, 'sub_1', '\\x00', now(), null, 'w')",
                    "insert into ops.tenant_keys values ($1, 'k', '\\x00', now(), null, 'w')",
                ):
                    await tx.write(sql, tenant)
        superuser = await world.connect("postgres")
        await superuser.execute("set session_replication_role = replica")  # without the API key and the session
        for tenant in (A, B):
            for sql in (
                "insert into ops.api_key_use values ($1, 'k', now())",
                "insert into ops.page_links values ($1, 'ses_1', 'pgl_' || repeat('0', 26), now(), null)",
            ):
                await superuser.execute(sql, tenant)
        await superuser.close()
        yield world


async def tenant_tables(connection: asyncpg.Connection) -> list[str]:
    """Every table that carries a tenant, from the catalogue and not from a list."""
    rows = await connection.fetch(
        """select format('%I.%I', n.nspname, c.relname) as name
             from pg_class c join pg_namespace n on n.oid = c.relnamespace
             join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
            where c.relkind in ('r', 'p', 'v', 'm') and n.nspname in ('app', 'ops', 'fx') order by 1"""
    )
    return [row["name"] for row in rows]


async def visible(world: World, role: str, pin: str | None) -> dict[str, set[str]]:
    """Whose rows each tenant table shows to a role under a pin; tables that the role may not read are left out."""
    connection = await world.connect(role)
    found = {}
    try:
        for table in await tenant_tables(connection):
            async with connection.transaction():
                if pin is not None:
                    await connection.execute("select set_config('fx.pin', $1, true)", pin)
                try:
                    async with connection.transaction():
                        rows = await connection.fetch(f"select distinct tenant_id from {table}")
                except asyncpg.InsufficientPrivilegeError:
                    continue
            found[table] = {row["tenant_id"] for row in rows}
    finally:
        await connection.close()
    return found


async def test_with_a_pin_only_that_tenants_rows_show_in_every_table(filled: World) -> None:
    for tenant in (A, B):
        found = await visible(filled, "fx_app", filled.pins.pin(tenant))
        assert len(found) > 20, "this test walks the catalogue; it found nearly nothing"
        assert {name: who for name, who in found.items() if who - {tenant}} == {}
        with_rows = {name for name, who in found.items() if who}
        assert with_rows >= {
            "app.things", "app.parts", "app.audit_entries", "ops.jobs", "ops.idempotency_keys", "ops.inbox",
            "ops.subject_keys", "ops.tenant_keys", "ops.api_key_use", "ops.page_links",
        }  # fmt: skip


def pin(tenant: str, expires: int | str, key: bytes = KEY) -> str:
    """A pin as anybody could write it."""
    body = f"{tenant}.{expires}"
    return f"{body}.{hmac.new(key, body.encode(), hashlib.sha256).hexdigest()}"


SOON = int(time.time()) + 3600
GOOD = pin(A, SOON)
UNSOUND = {
    "none": None,
    "empty": "",
    "the bare tenant": A,
    "another key": pin(A, SOON, b"q" * 32),
    "expired": pin(A, int(time.time()) - 1),
    "another tenant under this signature": GOOD.replace(A, B),
    "a longer life under this signature": GOOD.replace(str(SOON), str(SOON + 1)),
    "no signature": f"{A}.{SOON}.",
    "half a signature": GOOD[:-2],
    "one wrong digit": GOOD[:-1] + ("0" if GOOD[-1] != "0" else "1"),
    "upper case": GOOD.rsplit(".", 1)[0] + "." + GOOD.rsplit(".", 1)[1].upper(),
    "no expiry": f"{A}..{hmac.new(KEY, (A + '.').encode(), hashlib.sha256).hexdigest()}",
    "an endless expiry": pin(A, "9" * 13),
    "an expiry that is no number": pin(A, "never"),
    "an extra part": GOOD + ".x",
    "SQL": "tnt_a' or 'a'='a",
}


async def test_the_sound_pin_that_the_unsound_ones_are_made_from_works(filled: World) -> None:
    """Or the test below could not fail."""
    assert (await visible(filled, "fx_app", GOOD))["app.things"] == {A}


@pytest.mark.parametrize("unsound", UNSOUND.values(), ids=UNSOUND.keys())
async def test_without_a_sound_pin_no_row_shows_in_any_table(filled: World, unsound: str | None) -> None:
    found = await visible(filled, "fx_app", unsound)
    assert len(found) > 20
    assert {name: who for name, who in found.items() if who} == {}


@pytest.mark.parametrize("role", sorted(set(ROLES) - {"fx_app"}))
async def test_a_pin_opens_nothing_to_roles_that_do_not_serve_tenants(filled: World, role: str) -> None:
    """The auditor reads the record and the state that it explains, the worker the jobs, the sealer nothing that names
    a tenant; that is all."""
    found = {name for name, who in (await visible(filled, role, filled.pins.pin(A))).items() if who}
    if role == "fx_auditor":
        # Of keys only whose are destroyed: see the migration of the keys.
        assert {name for name in found if not name.startswith("app.")} <= {"ops.subject_keys"}
        assert found - {"ops.subject_keys"}
    else:
        assert found <= {"fx_worker": {"ops.jobs"}}.get(role, set())


@pytest.mark.parametrize("role", ROLES)
async def test_no_serving_role_can_become_another(filled: World, role: str) -> None:
    connection = await filled.connect(role)
    others = ["postgres", "fx_owner", "fx_writer", "fx_linker", "fx_fingerprint", "fx_bypass", *ROLES]
    migrator = {"fx_owner", "fx_writer", "fx_linker", "fx_fingerprint"}
    allowed = {role} | {"fx_migrator": migrator, "fx_platform": {"fx_bypass"}}.get(role, set())
    for other in others:
        if other in allowed:
            continue
        for statement in (f"set role {other}", f"set session authorization {other}"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    await connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "select * from fx.pin_keys",
        "update fx.pin_keys set retired_at = null",
        "select * from ops.audit_pending",
        "insert into ops.audit_pending (xid, id) values (pg_current_xact_id(), 'x')",
        "select fx.apply('app', '[]')",
        "select fx.take_chain_lock()",
        "insert into fx.machine_transitions values ('thing', 'OPEN', 'x', 'GONE', 'THING_OPEN')",
        "update app.audit_actions set actor_roles = '{seller}'",
        "update app.merkle_batches set root = null",
        "insert into app.chain_anchors values (1, 1, '\\x00', '', 1, now())",
        "create function fx.tenant() returns text language sql as $$ select 'tnt_b' $$",
        "create function app.f() returns int language sql as $$ select 1 $$",
        "create table app.x (a int)",
        "create table public.x (a int)",
        "create temporary table things (tenant_id text)",
        "alter table app.things disable row level security",
        "alter table app.things disable trigger all",
        "set session_replication_role = replica",
        "set row_security = off; select * from app.things",
        "copy app.things to program 'cat'",
        "select pg_read_file('postgresql.conf')",
        "truncate app.things",
        "delete from app.things",
        "update app.things set note = 'x'",
        "insert into app.things (tenant_id, id, state, amount_pence) values ('tnt_a', 'x', 'SHUT', 1)",
        "delete from ops.jobs",
        "truncate ops.jobs",
        "delete from ops.idempotency_keys",
        "update ops.inbox set event_id = 'x'",
        "delete from ops.subject_keys",
    ],
)
async def test_the_serving_role_may_not(filled: World, statement: str) -> None:
    """Under a sound pin, so that it is not the missing pin that refuses."""
    connection = await filled.connect("fx_app")
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("select set_config('fx.pin', $1, true)", filled.pins.pin(A))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(statement)
    await connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        """insert into ops.jobs (id, tenant_id, name, payload, dedupe_key, state, run_at, attempts, created_at)
           values ('j', 'tnt_b', 'n', '{}', 'd', 'READY', now(), 0, now())""",
        "insert into ops.idempotency_keys values ('tnt_b', 'k9', 'p', 'r', '\\x00', 200, '{}', '', now())",
        "insert into ops.inbox values ('tnt_b', 'bank', 'e9', now())",
        "insert into ops.page_links values ('tnt_b', 'ses_9', 'pgl_' || repeat('9', 26), now(), null)",
        "update ops.jobs set tenant_id = 'tnt_b'",
        "update ops.page_links set tenant_id = 'tnt_b'",
        "update ops.idempotency_keys set tenant_id = 'tnt_b'",
    ],
)
async def test_writes_are_pinned_too(filled: World, statement: str) -> None:
    """TI-05."""
    connection = await filled.connect("fx_app")
    await connection.execute(f"begin; set local fx.pin = '{filled.pins.pin(A)}'")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match=r"row-level security|permission denied"):
        await connection.execute(statement)
    await connection.close()


async def test_a_row_for_another_tenant_is_refused_even_through_the_record(world: World) -> None:
    """TI-05: fx.change runs as fx_writer, under the same pin."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        async with world.database.transaction(A) as tx:
            await change(tx, "THING_MAKE", audit.insert("things", thing(B, "t1")))


async def test_another_tenants_row_cannot_be_changed_or_named(world: World) -> None:
    await make(world, B, "b1")
    for operation, fault in (
        (noted(B, "b1", None, "mine"), "CONCURRENT_CHANGE"),
        (audit.delete("things", key={"tenant_id": B, "id": "b1"}, before={"state": "SHUT"}), "CONCURRENT_CHANGE"),
    ):
        with pytest.raises(Exception) as refused:
            async with world.database.transaction(A) as tx:
                await change(tx, "THING_NOTE", operation)
        assert getattr(refused.value, "code", None) == fault
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        async with world.database.transaction(A) as tx:
            await change(tx, "PART_ADD", audit.insert("parts", {"tenant_id": A, "id": "p1", "thing_id": "b1"}))


async def test_a_row_cannot_move_to_another_tenant(world: World) -> None:
    await make(world, A, "a1")
    move = audit.update("things", key={"tenant_id": A, "id": "a1"}, before={"tenant_id": A}, after={"tenant_id": B})
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        async with world.database.transaction(A) as tx:
            await change(tx, "THING_NOTE", move)


async def test_injected_sql_cannot_pin_another_tenant(world: World) -> None:
    """TI-04: it may overwrite the pin, but only with what the application signed."""
    await make(world, B, "b1")
    async with world.database.transaction(A) as tx:
        forged = PinSigner(b"guess" * 8).pin(B)
        await tx.write("select set_config('fx.pin', $1, true)", forged)
        assert await tx.value("select count(*) from app.things") == 0
        assert await tx.value("select fx.tenant()") is None


async def test_a_savepoint_gives_the_pin_back_and_nothing_more(world: World) -> None:
    await make(world, A, "a1")
    await make(world, B, "b1")
    connection = await world.connect("fx_app")
    await connection.execute(f"begin; set local fx.pin = '{world.pins.pin(A)}'; savepoint s")
    await connection.execute("set local fx.pin = ''")
    assert await connection.fetchval("select count(*) from app.things") == 0
    await connection.execute("rollback to savepoint s")
    assert [row["id"] for row in await connection.fetch("select id from app.things")] == ["a1"]
    await connection.execute("commit")
    assert await connection.fetchval("select count(*) from app.things") == 0
    await connection.close()
