"""A transaction is pinned, whole, and on disk before anybody is told (decisions §3, §4)."""

from __future__ import annotations

import asyncio
import contextlib
import os

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.kernel.bus import Reactions
from fintokenx.kernel.db import Database, DatabaseUnavailable, PinSigner, StaleRow, UnsafeRole, open_pool
from fintokenx.kernel.errors import Invalid
from tests.database.things import A, B, all_entries, change, make, noted, thing
from tests.support import PASSWORD, World

pytestmark = pytest.mark.anyio


async def test_what_a_block_that_raises_has_done_is_gone(world: World) -> None:
    with pytest.raises(RuntimeError):
        async with world.database.transaction(A) as tx:
            await change(tx, "THING_MAKE", audit.insert("things", thing(A, "t1")))
            tx.enqueue("job", {}, dedupe_key="x")
            raise RuntimeError
    async with world.database.transaction(A) as tx:
        assert await tx.value("select count(*) from app.things") == 0
        assert await tx.value("select count(*) from ops.jobs") == 0
    assert await all_entries(world) == []


async def test_a_commit_of_an_aborted_transaction_is_an_error_and_not_a_silent_rollback(world: World) -> None:
    """Trap (postgres.md §2c): Postgres answers such a COMMIT with the tag ROLLBACK and no error."""
    with pytest.raises(asyncpg.InFailedSQLTransactionError):
        async with world.database.transaction(A) as tx:
            await change(tx, "THING_MAKE", audit.insert("things", thing(A, "t1")))
            with contextlib.suppress(asyncpg.DivisionByZeroError):  # goes on after a database error, as none should
                await tx.write("select 1/0")
    assert await all_entries(world) == []


async def test_the_commit_waits_for_the_disk(world: World) -> None:
    """When the block has ended, the log is flushed beyond the place where the commit record stands."""
    superuser = await world.connect("postgres")
    for number in range(20):
        async with world.database.transaction(A) as tx:
            await change(tx, "THING_MAKE", audit.insert("things", thing(A, f"t{number}")))
            written = await superuser.fetchval("select pg_current_wal_insert_lsn()")
        assert await superuser.fetchval("select pg_current_wal_flush_lsn() > $1", written)
    await superuser.close()


async def test_two_changes_of_one_row_at_once_leave_one_and_refuse_the_other(world: World) -> None:
    await make(world, A, "t1")

    async def write(text: str) -> None:
        async with world.database.transaction(A) as tx:
            await change(tx, "THING_NOTE", noted(A, "t1", None, text))

    outcomes = await asyncio.gather(*(write(str(n)) for n in range(8)), return_exceptions=True)
    assert sum(outcome is None for outcome in outcomes) == 1
    assert sum(isinstance(outcome, StaleRow) for outcome in outcomes) == 7


async def test_a_pool_of_one_leaks_no_tenant_from_one_transaction_to_the_next(world: World) -> None:
    """TI-04: A, then B, then nobody, on the same connection."""
    await make(world, A, "a1")
    await make(world, B, "b1", "b2")
    pool = await world.pool("fx_app", 1)
    database = Database(pool, pins=world.pins, clock=world.clock, ids=world.ids, reactions=Reactions())
    try:
        seen = []
        for tenant in (A, B, A):
            async with database.transaction(tenant) as tx:
                seen.append([row["id"] for row in await tx.rows("select id from app.things order by id")])
        with pytest.raises(RuntimeError):
            async with database.transaction(B) as tx:
                await tx.rows("select id from app.things")
                raise RuntimeError
        nobody = await pool.fetchval("select count(*) from app.things")
        pinned = await pool.fetchval("select fx.tenant()")
    finally:
        await pool.close()
    assert seen == [["a1"], ["b1", "b2"], ["a1"]]
    assert (nobody, pinned) == (0, None)


async def test_a_block_that_is_cancelled_leaves_nothing_and_a_usable_connection(world: World) -> None:
    pool = await world.pool("fx_app", 1)
    database = Database(pool, pins=world.pins, clock=world.clock, ids=world.ids, reactions=Reactions())
    inside = asyncio.Event()

    async def slow() -> None:
        async with database.transaction(A) as tx:
            await change(tx, "THING_MAKE", audit.insert("things", thing(A, "t1")))
            inside.set()
            await tx.value("select pg_sleep(30)")

    try:
        task = asyncio.create_task(slow())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with database.transaction(A) as tx:
            assert await tx.value("select count(*) from app.things") == 0
    finally:
        await pool.close()


async def test_a_connection_that_breaks_is_told_as_unavailable_and_the_next_transaction_works(world: World) -> None:
    superuser = await world.connect("postgres")
    with pytest.raises(DatabaseUnavailable) as told:
        async with world.database.transaction(A) as tx:
            pid = await tx.value("select pg_backend_pid()")
            await superuser.execute("select pg_terminate_backend($1, 5000)", pid)
            await tx.value("select 1")
    await superuser.close()
    assert told.value.outcome_unknown
    await make(world, A, "t1")
    assert await world.database.healthy()


async def test_text_that_postgres_cannot_hold_is_refused_as_the_callers_fault(world: World) -> None:
    with pytest.raises(Invalid, match=r"U\+0000"):
        await make(world, A, "t1", note="a\x00b")
    with pytest.raises(Invalid, match=r"U\+0000"):
        async with world.database.transaction(A) as tx:
            await tx.row("select id from app.things where id = $1", "a\x00b")


async def test_a_database_that_is_not_there_is_unavailable_and_unhealthy(world: World) -> None:
    pool = await world.pool("fx_app", 1)
    await pool.close()
    database = Database(pool, pins=world.pins, clock=world.clock, ids=world.ids, reactions=Reactions())
    assert not await database.healthy()
    with pytest.raises(DatabaseUnavailable):
        async with database.transaction(A):
            pass


async def test_jobs_wake_the_worker_after_the_commit_and_only_then(world: World) -> None:
    woken: list[str] = []
    world.database.on_commit(lambda: woken.append("now"))
    async with world.database.transaction(A) as tx:
        tx.enqueue("job", {"n": 1}, dedupe_key="x")
        tx.enqueue("job", {"n": 2}, dedupe_key="x")
        assert woken == []
    assert woken == ["now"]
    async with world.database.transaction(A) as tx:
        assert await tx.value("select count(*) from ops.jobs") == 1, "a second request of one promise is nothing"
    assert woken == ["now"]


async def test_the_same_promise_in_two_tenants_is_two_jobs(world: World) -> None:
    """TI-06: another tenant's dedupe key neither shows nor swallows mine."""
    for tenant in (A, B):
        async with world.database.transaction(tenant) as tx:
            tx.enqueue("job", {}, dedupe_key="same")
    for tenant in (A, B):
        async with world.database.transaction(tenant) as tx:
            assert await tx.value("select count(*) from ops.jobs") == 1


@pytest.mark.parametrize("role", ["postgres", "fx_migrator"])
async def test_the_process_refuses_to_start_as_a_role_that_could_bypass_isolation(world: World, role: str) -> None:
    """TI-03. A real product shipped without this."""
    dsn, _, rest = world.dsn(role).partition("@")
    password = dsn.rsplit(":", 1)[1]
    with pytest.raises(UnsafeRole, match="refusing to start"):
        await open_pool(f"postgresql://{role}@{rest}", password, size_max=1)


async def test_the_roles_that_serve_may_start(world: World) -> None:
    for role in ("fx_app", "fx_worker", "fx_sealer", "fx_auditor", "fx_platform"):
        pool = await world.pool(role, 1)
        await pool.close()


async def test_a_role_that_may_become_the_owner_is_unsafe_too(world: World) -> None:
    name = f"fx_sly_{os.urandom(4).hex()}"
    superuser = await world.connect("postgres")
    await superuser.execute(f"create role {name} login password '{PASSWORD}'; grant fx_owner to {name}")
    await superuser.execute(f"grant connect on database {world.name} to {name}")
    host = world.admin_dsn.rsplit("@", 1)[1].rsplit("/", 1)[0]
    try:
        with pytest.raises(UnsafeRole):
            await open_pool(f"postgresql://{name}@{host}/{world.name}", PASSWORD, size_max=1)
    finally:
        await superuser.execute(f"drop owned by {name}; drop role {name}")
        await superuser.close()


@pytest.mark.parametrize("name", ["", "a", "tnt_", "tnt_A", "tnt_a.b", "tnt_a'", "tnt_a\n", "tnt_" + "a" * 41])
def test_only_a_tenant_id_can_be_pinned(name: str) -> None:
    with pytest.raises(ValueError, match="not a tenant id"):
        PinSigner(b"k" * 32).pin(name)


@pytest.mark.parametrize("length", [16, 64, 100])
async def test_the_pads_verify_pins_of_keys_of_any_length(world: World, length: int) -> None:
    """RFC 2104: keys beyond a block are hashed first."""
    signer = PinSigner(os.urandom(length))
    superuser = await world.connect("postgres")
    await superuser.execute("update fx.pin_keys set inner_pad = $1, outer_pad = $2", *signer.pads())
    connection = await world.connect("fx_app")
    await connection.execute(f"set fx.pin = '{signer.pin(A)}'")
    assert await connection.fetchval("select fx.tenant()") == A
    await connection.close()
    await superuser.close()
