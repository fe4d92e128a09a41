"""Fixtures that every test may use."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.support import World, drop_database, make_template, world_from


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """All asynchronous tests run on asyncio, as the product does."""
    return "asyncio"


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The administrator's DSN of a Postgres for this session: FX_TEST_ADMIN_DSN, or an embedded one of our own."""
    if given := os.environ.get("FX_TEST_ADMIN_DSN"):
        yield given
        return
    from fintokenx.sandbox.postgres import EmbeddedPostgres

    with tempfile.TemporaryDirectory(prefix="fxpg-") as folder:
        postgres = EmbeddedPostgres(Path(folder) / "pg", superuser_password="test-only")
        postgres.start()
        dsn = postgres.dsn("postgres", "test-only", "postgres")
        asyncio.run(_hurry(dsn))
        try:
            yield dsn
        finally:
            postgres.destroy()


async def _hurry(dsn: str) -> None:
    """This cluster dies with the session: it need not survive a power cut. Durability is tested on others."""
    admin = await asyncpg.connect(dsn)
    for setting in ("fsync = off", "full_page_writes = off", "max_wal_size = '2GB'"):
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
