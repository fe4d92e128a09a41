"""Fixtures that every test may use."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from tests.support import World, drop_database, make_template, world_from

RECURSION_LIMIT = sys.getrecursionlimit()
"""What the product runs under."""
HANG_OF_A_SOAK_TEST_SECONDS = 900
"""When a soak test is taken to hang: some take minutes alone, and twice that beside another."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow files go first: one that is started last keeps a single worker busy while the others are done."""
    # py-evm raises it to ten thousand when it is imported: a JSON text that is deep enough then ends the process.
    sys.setrecursionlimit(RECURSION_LIMIT)
    for item in items:
        if item.get_closest_marker("soak") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(HANG_OF_A_SOAK_TEST_SECONDS))
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, item.path.parent.name not in ("story", "failures")))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """All asynchronous tests run on asyncio, as the product does."""
    return "asyncio"


@pytest.fixture
def logs_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what calls a command in this process: a command's logs go to its standard error, which pytest closes after
    the test, and whoever logs later in this process would fail."""
    from fintokenx.kernel import logs

    monkeypatch.setattr(logs, "configure", lambda *_: None)


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The administrator's DSN of a Postgres for this session: FX_TEST_ADMIN_DSN, or an embedded one of our own."""
    if given := os.environ.get("FX_TEST_ADMIN_DSN"):
        yield given
        return
    from fintokenx.sandbox.postgres import EmbeddedPostgres

    with tempfile.TemporaryDirectory(prefix="fxpg-", dir=_memory()) as folder:
        Path(folder).chmod(0o711)  # Postgres runs as another user when we are root
        postgres = EmbeddedPostgres(Path(folder) / "pg", superuser_password="test-only")
        postgres.start()
        dsn = postgres.dsn("postgres", "test-only", "postgres")
        asyncio.run(_hurry(dsn))
        try:
            yield dsn
        finally:
            postgres.destroy()


def _memory() -> str | None:
    """A file system in memory with room to spare, or None for the usual place.

    A database for each test makes and deletes hundreds of files, and ext4 will not give out a lately deleted inode: it
    walks past all of them at each new file. On disk that was 60 % of the suite's whole CPU time.
    """
    memory = "/dev/shm"
    try:
        found = os.statvfs(memory)
    except OSError:
        return None
    free = min(found.f_bavail * found.f_frsize, psutil.virtual_memory().available)
    fits = free >= 6 << 30 and not found.f_flag & os.ST_NOEXEC and os.access(memory, os.W_OK | os.X_OK)
    return memory if fits else None


async def _hurry(dsn: str) -> None:
    """This cluster dies with the session: it need not survive a power cut. Durability is tested on others."""
    admin = await asyncpg.connect(dsn)
    for setting in ("fsync = off", "full_page_writes = off", "max_wal_size = '1GB'"):
        await admin.execute(f"alter system set {setting}")
    await admin.execute("select pg_reload_conf()")
    await admin.close()


@pytest.fixture(scope="session")
def template(cluster: str) -> Iterator[str]:
    """A migrated database that each test copies."""
    name = asyncio.run(make_template(cluster))
    yield name
    asyncio.run(drop_database(cluster, name))


@pytest.fixture
async def world(cluster: str, template: str) -> AsyncIterator[World]:
    """A migrated database of this test's own."""
    async with world_from(cluster, template) as fresh:
        yield fresh


def pytest_addoption(parser: pytest.Parser) -> None:
    """Pictures for docs are taken by the tests that look at the pages, when they are asked to: `make screenshots`."""
    parser.addoption("--screenshots", action="store_true", help="write docs/screenshots")
