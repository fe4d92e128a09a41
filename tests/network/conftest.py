"""One running system for these tests, and each leaves it whole."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest

from tests.failures.house import House, open_house
from tests.network.house import Crowd, crowd_in
from tests.network.lossy import LossyWire
from tests.network.system import WiredSystem
from tests.support.wire import laid

LIGHT = "tests.network.light"


@pytest.fixture(scope="session")
async def wire(anyio_backend: str) -> AsyncIterator[LossyWire]:
    """Between the platform and its chain."""
    async with laid(LossyWire()) as ready:
        yield ready


@pytest.fixture(scope="session")
async def home(wire: LossyWire, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A whole system: Postgres, anvil, mock servers, and the platform as a process."""
    async with open_house(tmp_path_factory.mktemp("network"), WiredSystem("network", wire, LIGHT)) as running:
        with running.at_home():
            yield running


@pytest.fixture
async def crowd(home: House, wire: LossyWire) -> AsyncIterator[Crowd]:
    """Invoices of one test; the chain makes blocks again afterwards and no answer is lost, also when it failed."""
    async with crowd_in(home) as gathered:
        try:
            yield gathered
        finally:
            wire.lose(0, random.Random(0))
            await home.heal()
