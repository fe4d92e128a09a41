"""One running system for these tests, and each leaves it whole."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.failures.house import House, open_house
from tests.pauses.house import Crowd, crowd_in


@pytest.fixture(scope="session")
async def home(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A whole system: Postgres, anvil, mock servers, and the platform as a process."""
    async with open_house(tmp_path_factory.mktemp("pauses")) as running:
        with running.at_home():
            yield running


@pytest.fixture
async def crowd(home: House) -> AsyncIterator[Crowd]:
    """Invoices of one test; the chain makes blocks again afterwards, also when it failed."""
    async with crowd_in(home) as gathered:
        try:
            yield gathered
        finally:
            await home.heal()
