"""kill -9 of every Postgres process under load: what was acknowledged is there, the chain is whole (AD-04, P-14)."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.kernel.errors import Unavailable
from fintokenx.sandbox.postgres import EmbeddedPostgres
from tests.database.things import A, all_entries, change, lay, thing, verify
from tests.support import World, make_template, world_from

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
WRITERS = 16
ACKNOWLEDGED_BEFORE_THE_KILL = 150


@pytest.fixture
def postgres() -> Iterator[EmbeddedPostgres]:
    """A cluster that this test may kill."""
    with tempfile.TemporaryDirectory(prefix="fx-crash-") as folder:
        own = EmbeddedPostgres(Path(folder) / "pg", superuser_password="test-only")
        own.start()
        yield own
        own.destroy()


async def write_until_it_breaks(world: World, writer: int, acknowledged: list[str]) -> None:
    for number in range(100_000):
        thing_id = f"{writer}-{number}"
        try:
            async with world.database.transaction(A) as tx:
                await change(tx, "THING_MAKE", audit.insert("things", thing(A, thing_id)), resource=thing_id)
        except (Unavailable, asyncpg.PostgresError, OSError):
            return
        acknowledged.append(thing_id)


async def crash_once(postgres: EmbeddedPostgres, world: World) -> None:
    """Write with sixteen writers, kill everything, start again, and look."""
    acknowledged: list[str] = []
    earlier = len(await all_entries(world))
    writers = [
        asyncio.create_task(write_until_it_breaks(world, earlier * 100 + number, acknowledged))
        for number in range(WRITERS)
    ]
    async with asyncio.timeout(60):
        while len(acknowledged) < ACKNOWLEDGED_BEFORE_THE_KILL:
            await asyncio.sleep(0.005)
    await asyncio.to_thread(postgres.kill)
    await asyncio.gather(*writers)
    await asyncio.to_thread(postgres.start)
    entries = await all_entries(world)
    assert set(acknowledged) <= {entry["resource"] for entry in entries}, "an acknowledged entry is lost"
    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1)), "the chain has a gap"
    verdict = await verify(world)
    assert verdict.faults == ()
    superuser = await world.connect("postgres")
    things = {row["id"] for row in await superuser.fetch("select id from app.things")}
    assert await superuser.fetchval("select count(*) from ops.audit_pending") == 0
    await superuser.close()
    assert things == {entry["resource"] for entry in entries}, "a row without its entry, or an entry without its row"


async def survived(postgres: EmbeddedPostgres, rounds: int) -> int:
    """How many of so many crashes were survived."""
    done = 0
    admin_dsn = postgres.dsn("postgres", "test-only", "postgres")
    template = await make_template(admin_dsn)
    await lay(f"{admin_dsn.rsplit('/', 1)[0].replace('postgres:', 'fx_migrator:', 1)}/{template}")
    # The world's own administrator connection was killed, too; its clean-up says so.
    with contextlib.suppress(asyncpg.PostgresConnectionError, asyncpg.InterfaceError):
        async with world_from(admin_dsn, template, pool_size=WRITERS) as world:
            for _ in range(rounds):
                await crash_once(postgres, world)
                done += 1
    return done


async def test_what_was_acknowledged_survives_a_kill_of_the_whole_server(postgres: EmbeddedPostgres) -> None:
    assert await survived(postgres, 1) == 1


@pytest.mark.soak
async def test_what_was_acknowledged_survives_kill_after_kill(postgres: EmbeddedPostgres) -> None:
    assert await survived(postgres, 8) == 8
