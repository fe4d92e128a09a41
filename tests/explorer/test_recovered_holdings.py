"""A holder whose wallet was lost sees its holdings go over to the next one by order of the platform, and can prove it
(CH-03, CH-17)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fintokenx.kernel.bus import Reactions
from fintokenx.lifecycle.tokenisation import reactions
from tests.explorer.house import Window, window_on
from tests.modules.tokens_house import FACE
from tests.reconciliation.recovery_house import Dying, approved, state_of
from tests.reconciliation.split_token import split
from tests.support import world_from

pytestmark = pytest.mark.anyio


@pytest.fixture
async def window(cluster: str, template: str) -> AsyncIterator[Window]:
    async with (
        world_from(cluster, template, reactions=Reactions(reactions.IN_STEP)) as world,
        window_on(world) as made,
    ):
        yield made


async def _recovering(window: Window) -> tuple[str, Dying]:
    """The first lender's wallet is given up; the platform dies when the chain has moved its holdings."""
    town = window.town
    dying = Dying(town.rpc, town.vault, town.deployment)
    town.house.chain = dying  # type: ignore[assignment]
    town.house.restart()
    recovery_id = await approved(town, town.lenders[0])

    async def died() -> bool:
        return dying.dead

    await town.house.work_until(died)
    return recovery_id, dying


async def _carried_on(window: Window) -> None:
    window.town.house.chain = window.town.chain  # type: ignore[assignment]
    window.town.house.restart()
    await window.town.house.until_idle()


async def _wallets(window: Window) -> tuple[str, str]:
    """The first lender's lost one and the one that it uses."""
    async with window.town.house.tx() as tx:
        rows = await tx.rows(
            "select address from app.wallets where subject_id = $1 order by created_at, id", window.town.lenders[0]
        )
    lost, new = [row["address"] for row in rows]
    return lost, new


async def _seen(window: Window) -> dict[str, tuple[int, int, str]]:
    """By wallet of the first lender: what chain and database say, and whether they agree."""
    return {
        each["wallet"]: (each["chain_pence"], each["database_pence"], each["agreement"])
        for each in await window.holdings(window.lender(0))
    }


async def _proved(window: Window, event: dict[str, Any]) -> str:
    """The entry's bytes, which its holder gets and another does not."""
    proof = await window.get(window.lender(0), event["proof"])
    assert proof.status_code == 200, proof.text
    foreign = await window.get(window.lender(1), event["proof"])
    missing = await window.get(window.lender(1), "/v1/audit/entries/aud_none/proof")
    assert (foreign.status_code, foreign.content) == (404, missing.content)
    [entry] = proof.json()["entries"]
    canonical = str(entry["canonical"])
    assert json.loads(canonical)["id"] == event["entry"]["id"]
    return canonical


async def test_a_recovery_that_is_mined_and_not_recorded_is_under_way_and_no_discrepancy(window: Window) -> None:
    await window.held(0)
    recovery_id, _ = await _recovering(window)
    lost, new = await _wallets(window)
    found = await window.town.reconciled()
    assert (found.drifts, await state_of(window.town, recovery_id)) == ((), "MOVING")
    assert await _seen(window) == {lost: (0, FACE.value, "in_flight"), new: (FACE.value, 0, "in_flight")}
    await window.seal()
    event = (await window.transfers(window.lender(0)))[0]
    assert (event["kind"], event["direction"], event["counterparty"]) == ("recovery", "within", "own_wallet")
    assert (event["entry"], event["proof"]) == (None, None)


async def test_a_recovery_of_ours_is_told_with_its_entry_and_proved_to_its_holder_alone(window: Window) -> None:
    await window.held(0)
    await window.held(1)
    recovery_id, _ = await _recovering(window)
    await _carried_on(window)
    await window.seal()
    assert await state_of(window.town, recovery_id) == "COMPLETED"
    lost, new = await _wallets(window)
    assert await _seen(window) == {lost: (0, 0, "equal"), new: (FACE.value, FACE.value, "equal")}
    event = (await window.transfers(window.lender(0)))[0]
    assert (event["kind"], event["direction"], event["amount_pence"]) == ("recovery", "within", FACE.value)
    assert event["entry"]["action"] == "TOKEN_RECOVER"
    canonical = (await _proved(window, event)).lower()
    for wallet in (lost, new):
        assert wallet.lower() in canonical
    for stranger in window.town.lenders[1:]:
        assert (await window.town.house.wallet(stranger)).address.lower()[2:] not in canonical
        assert stranger not in canonical


async def test_the_entry_of_a_shared_tokens_recovery_names_nobody_who_shares_it(window: Window) -> None:
    _token, lost, other = await split(window.town)
    others_before = await window.holdings(window.lender(1))
    recovery_id, _ = await _recovering(window)
    assert [each["agreement"] for each in await window.holdings(window.lender(1))] == ["equal"]
    await _carried_on(window)
    assert await state_of(window.town, recovery_id) == "COMPLETED"
    assert {agreement for *_, agreement in (await _seen(window)).values()} == {"equal"}
    assert await window.holdings(window.lender(1)) == others_before
    await window.seal()
    canonical = (await _proved(window, (await window.transfers(window.lender(0)))[0])).lower()
    assert lost.lower()[2:] in canonical
    assert "slc_0" in canonical
    for word in ("slc_1", other.lower()[2:], window.town.lenders[1]):
        assert word not in canonical
