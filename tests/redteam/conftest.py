"""A system per test, on a copy of the session's template."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.redteam.house import House, house


@pytest.fixture
async def place(cluster: str, template: str, tmp_path: Path) -> AsyncIterator[House]:
    """A system without holes."""
    async with house(cluster, template, tmp_path) as made:
        yield made
