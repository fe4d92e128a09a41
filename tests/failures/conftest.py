"""One running system for all failure tests of a test process: starting one takes longer than most of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.failures.house import House, open_house


@pytest.fixture(scope="session")
async def running_house(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """The system of this test process."""
    async with open_house(tmp_path_factory.mktemp("failures")) as running:
        yield running


@pytest.fixture
async def house(running_house: House) -> AsyncIterator[House]:
    """The system with everything up; whatever a test broke works again for the next one, also when it failed."""
    yield running_house
    await running_house.heal()
