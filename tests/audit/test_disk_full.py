"""A disk that fills up in the middle of COMMIT: nobody is told of an entry that is not there, and what was told stays
(AD-03, AD-04, P-14).

Postgres takes a file-size limit of its processes for a full disk (it ignores SIGXFSZ for that very purpose), so the
limit stands in for the disk: it needs no rights, no mount, and it can be lifted again.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.kernel.errors import Unavailable
from fintokenx.sandbox.postgres import EmbeddedPostgres, unprivileged_account
from tests.database.things import A, all_entries, change, lay, thing, verify
from tests.support import World, make_template, world_from

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
WRITERS = 8
FULL_BYTES = 1 << 20
"""Below the 16 MiB of a WAL segment: the next one cannot be made."""


@pytest.fixture
def postgres() -> Iterator[EmbeddedPostgres]:
    """A cluster whose disk this test may fill."""
    with tempfile.TemporaryDirectory(prefix="fx-full-") as folder:
        own = EmbeddedPostgres(Path(folder) / "pg", superuser_password="test-only")
        own.start()
        yield own
        own.destroy()


async def fill_the_disk(superuser: asyncpg.Connection) -> None:
    """No process of the cluster can make a file grow beyond a mebibyte; a new segment is due at once."""
    postmaster = int((await superuser.fetchval("select pg_read_file('postmaster.pid')")).splitlines()[0])
    pids = [row["pid"] for row in await superuser.fetch("select pid from pg_stat_activity")]
    for pid in (postmaster, *pids):
        # As the server's own user: it may lower its limits without any right.
        limit = ["prlimit", "--pid", str(pid), f"--fsize={FULL_BYTES}:"]
        subprocess.run(limit, check=False, cwd="/", **unprivileged_account())
    with contextlib.suppress(asyncpg.PostgresError, OSError):
        await superuser.execute("select pg_switch_wal()")


async def write_until_it_breaks(world: World, writer: int, told: list[str], broken: list[BaseException]) -> None:
    for number in range(100_000):
        thing_id = f"{writer}-{number}"
        try:
            async with world.database.transaction(A) as tx:
                await change(tx, "THING_MAKE", audit.insert("things", thing(A, thing_id)), resource=thing_id)
        except (Unavailable, asyncpg.PostgresError) as fault:
            broken.append(fault)
            return
        told.append(thing_id)


async def test_a_disk_that_fills_up_during_commit_loses_nothing_that_was_told(postgres: EmbeddedPostgres) -> None:
    admin_dsn = postgres.dsn("postgres", "test-only", "postgres")
    template = await make_template(admin_dsn)
    await lay(f"{admin_dsn.rsplit('/', 1)[0].replace('postgres:', 'fx_migrator:', 1)}/{template}")
    came_to_its_end = False
    # The world's own administrator connection breaks with the server; its clean-up says so.
    with contextlib.suppress(asyncpg.PostgresConnectionError, asyncpg.InterfaceError):
        async with world_from(admin_dsn, template, pool_size=WRITERS) as world:
            told: list[str] = []
            broken: list[BaseException] = []
            writers = [asyncio.create_task(write_until_it_breaks(world, n, told, broken)) for n in range(WRITERS)]
            async with asyncio.timeout(60):
                while len(told) < 100:
                    await asyncio.sleep(0.005)
            superuser = await world.connect("postgres")
            await fill_the_disk(superuser)
            async with asyncio.timeout(60):
                await asyncio.gather(*writers)
            assert len(broken) == WRITERS, "the disk was not full"
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await superuser.close()
            await asyncio.to_thread(postgres.kill)  # room is made and the server is started again
            await asyncio.to_thread(postgres.start)
            entries = await all_entries(world)
            assert set(told) <= {entry["resource"] for entry in entries}, "an entry that was told is lost"
            assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
            assert (await verify(world)).faults == ()
            async with world.database.transaction(A) as tx:
                await change(tx, "THING_MAKE", audit.insert("things", thing(A, "after")), resource="after")
            again = await world.connect("postgres")
            things = {row["id"] for row in await again.fetch("select id from app.things")}
            await again.close()
            assert things == {entry["resource"] for entry in await all_entries(world)}
            assert (await verify(world)).faults == ()
            came_to_its_end = True
    assert came_to_its_end
