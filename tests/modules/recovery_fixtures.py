"""The office of recoveries as a fixture, in a world that reacts."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fintokenx.kernel.bus import Reactions
from fintokenx.lifecycle.tokenisation import reactions
from tests.modules.recovery_office import Office, recovery_office
from tests.support import World, world_from


@pytest.fixture
async def world(cluster: str, template: str) -> AsyncIterator[World]:
    async with world_from(cluster, template, reactions=Reactions(reactions.IN_STEP)) as made:
        yield made


@pytest.fixture
async def office(world: World) -> Office:
    return await recovery_office(world)
