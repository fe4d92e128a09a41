"""What the tests of auth share: an installation at home, people, and the path of a subject."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from fintokenx import audit
from fintokenx.kernel.bus import Afterwards, Reactions
from fintokenx.kernel.caller import Caller, Role, system
from fintokenx.parties import auth
from fintokenx.parties.auth import events
from tests.modules.parties_house import HERE, House, house
from tests.support import World, names, world_from

SEED = system(HERE, "seed")

MLRO = Caller(HERE, Role.MLRO, "sub_mlro", subject_id="sub_mlro")

ADA, EVE = "Ada@example.co.uk", "eve@example.co.uk"

INVOICE, OTHER_INVOICE = "FXI-0000001", "FXI-0000002"

WEEK = timedelta(days=7)

E = auth.SubjectEvent


@pytest.fixture
async def at_home(cluster: str, template: str, tmp_path: Path) -> AsyncIterator[House]:
    reactions = Reactions(afterwards=[Afterwards(events.LoginCodeWanted, "notification.send_login_code")])
    async with world_from(cluster, template, reactions=reactions) as world:
        made = house(world, tmp_path)
        await made.open_tenants()
        async with made.client:
            yield made


async def trail(world: World, resource: str) -> list[str]:
    async with world.database.transaction(HERE) as tx:
        return names(await audit.entries_of(tx, SEED, resources=[resource]))


async def moved(world: World, subject_id: str, *path: auth.SubjectEvent) -> auth.Subject:
    """Walk a subject along its machine, each step an entry of its own, as the modules above do."""
    for event in path:
        caller = MLRO if event in (E.APPROVE, E.DECLINE, E.FREEZE, E.UNFREEZE) else SEED
        async with world.database.transaction(HERE) as tx:
            move = await auth.advance(tx, caller, subject_id=subject_id, event=event, reason="CH_STALE")
            await audit.change(tx, caller, action=auth.action_of(event), resource=subject_id, move=move)
    async with world.database.transaction(HERE) as tx:
        return await auth.subject(tx, subject_id)


TO_ACTIVE = (E.OPEN_ONBOARDING, E.SUBMIT, E.GATE_1_CLEAR, E.GATE_2_DONE, E.APPROVE)
