"""Fixtures that every test may use."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support import World, make_template, world_from


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
        try:
            yield postgres.dsn("postgres", "test-only", "postgres")
        finally:
            postgres.stop()


@pytest.fixture(scope="session")
def template(cluster: str) -> str:
    """A migrated database that each test copies."""
    return asyncio.run(make_template(cluster))


@pytest.fixture
async def world(cluster: str, template: str) -> AsyncIterator[World]:
    """A migrated database of this test's own."""
    async with world_from(cluster, template) as fresh:
        yield fresh
