"""What the tests of settlement share: the place as a fixture, and callers that a header names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.modules.settlement_house import (
    Place,
    settlement_house,
)


@pytest.fixture
def habits() -> dict[str, bool]:
    """How the accounts show on Open Banking; a test may say otherwise."""
    return {}


@pytest.fixture
async def place(cluster: str, template: str, tmp_path: Path, habits: dict[str, bool]) -> AsyncIterator[Place]:
    """The house with the accounts of these habits."""
    async with settlement_house(cluster, template, tmp_path, habits) as made:
        yield made
