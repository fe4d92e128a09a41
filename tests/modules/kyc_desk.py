"""The desk of gates as a fixture, with its routes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fintokenx.kernel.bus import Reactions
from fintokenx.parties.kyc import reactions
from tests.modules.gates_desk import Desk, open_desk
from tests.support import world_from


@pytest.fixture
async def desk(cluster: str, template: str, tmp_path: Path) -> AsyncIterator[Desk]:
    wired = Reactions(reactions.IN_STEP, reactions.AFTERWARDS)
    async with world_from(cluster, template, reactions=wired) as world, open_desk(world, tmp_path) as opened:
        yield opened
