"""A window on holdings as a fixture."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.explorer.house import Window, window_on
from tests.support import World


@pytest.fixture
async def window(world: World) -> AsyncIterator[Window]:
    async with window_on(world) as made:
        yield made
