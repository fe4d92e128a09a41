"""Two administrators and two tenants, for the tests of reading across tenants."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import pytest

from tests.database.administrators import (
    People,
    admin_session,
    open_bypass,
    settle,
)
from tests.database.things import all_entries
from tests.support import World


@dataclass
class Place:
    """A settled world with an open BYPASS session of ann's, and her own connection."""

    world: World
    people: People
    session: str
    platform: asyncpg.Connection

    async def grant(self) -> str:
        """Step 1, committed; the entry's id."""
        async with self.platform.transaction():
            return await open_bypass(self.world, self.platform, self.session)

    async def fingerprints(self) -> list[asyncpg.Record]:
        """The RBAC_BYPASS entries of the whole record."""
        return [row for row in await all_entries(self.world) if row["action"] == "RBAC_BYPASS"]


@pytest.fixture
async def place(world: World) -> AsyncIterator[Place]:
    people = await settle(world)
    session = await admin_session(world, people)
    platform = await world.connect("fx_platform")
    yield Place(world, people, session, platform)
    await platform.close()
