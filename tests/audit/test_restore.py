"""A backup put back: the newest one keeps every proof (PR-05), an older one is found out by the anchors (AD-03)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.sandbox.postgres import client_program
from tests.database.things import A, B, make
from tests.support import World, drop_database
from tests.support.fakes.anchors import AnchorsInMemory

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def run(program: str, *arguments: str) -> None:
    path = client_program(program)
    assert path is not None, f"{program} did not come with the embedded Postgres"
    child = await asyncio.create_subprocess_exec(str(path), *arguments, stderr=asyncio.subprocess.PIPE)
    _, said = await child.communicate()
    assert child.returncode == 0, said.decode()


async def seal_and_anchor(world: World, anchors: AnchorsInMemory) -> None:
    sealer = await world.pool("fx_sealer", 1)
    await audit.seal(sealer, world.clock.now())
    await audit.anchor_sealed(sealer, anchors, world.clock.now)
    await sealer.close()


@asynccontextmanager
async def restored(world: World, backup: Path) -> AsyncIterator[asyncpg.Connection]:
    """A new database made from the backup, as its superuser sees it."""
    name = f"fx_restored_{secrets.token_hex(4)}"
    admin = await asyncpg.connect(world.admin_dsn)
    await admin.execute(f"create database {name} template template0")
    await admin.close()
    address = f"{world.admin_dsn.rsplit('/', 1)[0]}/{name}"
    await run("pg_restore", "--exit-on-error", "--dbname", address, str(backup))
    connection = await asyncpg.connect(address)
    await connection.set_type_codec("json", schema="pg_catalog", encoder=str, decoder=str)
    try:
        yield connection
    finally:
        await connection.close()
        await drop_database(world.admin_dsn, name)


async def test_a_backup_keeps_the_proofs_and_an_older_one_is_found_out(world: World, tmp_path: Path) -> None:
    anchors = AnchorsInMemory()
    await make(world, A, "t1", "t2")
    await seal_and_anchor(world, anchors)
    older = tmp_path / "older.dump"
    await run("pg_dump", "--format=custom", "--file", str(older), world.dsn("postgres"))
    await make(world, B, "t3")
    await seal_and_anchor(world, anchors)
    newest = tmp_path / "newest.dump"
    await run("pg_dump", "--format=custom", "--file", str(newest), world.dsn("postgres"))

    async with restored(world, newest) as database:
        verdict = await audit.verify(database, anchors)
        assert (verdict.faults, verdict.entries, verdict.anchors) == ((), 3, 2)
        forced = await database.fetchval(
            "select count(*) from pg_class where relnamespace = 'app'::regnamespace and relforcerowsecurity"
        )
        assert forced > 20, "tenant isolation came back, too"
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await database.execute("delete from app.audit_entries")

    async with restored(world, older) as database:
        assert (await audit.verify(database, None)).faults == (), "by itself the old state looks perfect"
        verdict = await audit.verify(database, anchors)
        assert verdict.faults == ("batch 2: anchored on chain at 3 entries, unknown to the database",)


async def test_the_anchoring_of_a_restored_database_stops_at_the_first_conflict(world: World, tmp_path: Path) -> None:
    """What is recorded after an older backup was put back can never be anchored as if nothing had happened."""
    anchors = AnchorsInMemory()
    await make(world, A, "t1")
    await seal_and_anchor(world, anchors)
    await anchors.publish(2, 5, b"\x05" * 32)  # the life after the backup that this database has forgotten
    await make(world, A, "t2")
    with pytest.raises(audit.AnchorConflict, match="batches 2"):
        await seal_and_anchor(world, anchors)
