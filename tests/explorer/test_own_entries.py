"""A holder while the chain is away, and the entries behind what happened to its tokens (CH-03)."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fintokenx.lifecycle.explorer import OwnEntries
from fintokenx.lifecycle.explorer.service.holder import names_only
from fintokenx.lifecycle.explorer.service.own_entries import ACTIONS
from tests.explorer.house import REFERENCE, ROUTES, Window
from tests.explorer.own_window import window
from tests.modules.tokens_house import TENANT

pytestmark = pytest.mark.anyio
__all__ = ["window"]

# ── The chain is away


async def test_without_the_chain_nothing_is_said_at_all(window: Window) -> None:
    """The database's word is not passed off as the chain's; the anchors are the database's own and stay."""
    token = await window.held(0)
    async with window.nobody_listens():
        for path in (each.format(reference=token.reference) for each in ROUTES):
            answer = await window.get(window.lender(0), path)
            assert (answer.status_code, answer.json()["code"]) == (503, "CHAIN_UNAVAILABLE")
            assert token.reference not in answer.text
        assert (await window.get(window.lender(0), "/v1/explorer/anchors")).status_code == 200
        missing = await window.get(window.lender(0), f"/v1/explorer/holdings/{REFERENCE}")
        assert (missing.status_code, missing.json()["code"]) == (503, "CHAIN_UNAVAILABLE")


async def test_a_paused_chain_is_shown_as_of_its_last_block(window: Window) -> None:
    token = await window.held(0)
    await window.town.anvil.control.pause()
    before = (await window.town.chain.head()).number
    answer = (await window.get(window.lender(0), "/v1/explorer/holdings")).json()
    assert (answer["block"]["number"], answer["items"][0]["token_reference"]) == (before, token.reference)


async def test_the_chain_is_asked_while_no_transaction_is_open(window: Window) -> None:
    """Watched looks at each question; this one makes sure that it looks."""
    await window.held(0)
    await window.holdings(window.lender(0))
    assert {"head", "events", "held"} <= set(window.chain.asked)
    async with window.world.database.transaction(TENANT):
        with pytest.raises(AssertionError, match="connections are out"):
            await window.chain.head()


# ── Entries


async def test_the_entry_behind_a_transfer_is_proved_to_its_holder_and_to_no_other(window: Window) -> None:
    token = await window.held(0)
    await window.held(1)
    [moved] = await window.transfers(window.lender(0))
    assert (moved["entry"]["sealed"], moved["entry"]["anchor"], moved["proof"]) == (False, None, None)
    await window.burned(token)
    await window.seal()
    burn, funded = await window.transfers(window.lender(0))
    assert [burn["entry"]["action"], funded["entry"]["action"]] == ["TOKEN_BURN", "TOKEN_TRANSFER"]
    for each in (burn, funded):
        anchor = each["entry"]["anchor"]
        assert (each["entry"]["sealed"], anchor["batch_id"], anchor["block_number"]) == (True, 1, 100)
        proved = await window.get(window.lender(0), each["proof"])
        assert proved.status_code == 200
        [entry] = proved.json()["entries"]
        assert json.loads(entry["canonical"])["id"] == each["entry"]["id"]
        assert entry["tree_size"] == anchor["tree_size"]
        assert proved.json()["anchors"][0]["root"] == anchor["root"]
        missing = await window.get(window.lender(1), "/v1/audit/entries/aud_none/proof")
        foreign = await window.get(window.lender(1), each["proof"])
        assert (foreign.status_code, foreign.content) == (404, missing.content)


async def test_no_other_entry_is_proved_to_a_holder_be_it_of_its_own_token(window: Window) -> None:
    """A diff holds what other parties must not learn; the entries behind its transfers hold what the chain has."""
    token = await window.held(0)
    await window.seal()
    trail = await window.town.house.entries(token.invoice_reference)
    proved = {
        entry.action
        for entry in trail
        if (await window.get(window.lender(0), f"/v1/audit/entries/{entry.id}/proof")).status_code == 200
    }
    assert proved == {"TOKEN_TRANSFER"}
    assert {"TOKEN_MINT", "FUND_INVOICE", "FIAT_IN"} <= {entry.action for entry in trail}


async def test_an_entry_that_names_another_holders_wallet_is_nobodys_own(window: Window) -> None:
    token = await window.held(0)
    promise = await window.town.house.promise(f"fund:{token.reference}:{window.town.asked}")
    minting = await window.town.chain.minting_wallet()
    mine, other = promise.arguments["to_wallet"], "0x" + "1" * 40
    assert names_only(promise, own=[mine], minting_wallet=minting)
    assert not names_only(promise, own=[other], minting_wallet=minting)
    assert not names_only(promise, own=[], minting_wallet=minting)
    bought = replace(promise, arguments={**promise.arguments, "from_wallet": other})
    assert not names_only(bought, own=[mine], minting_wallet=minting)
    await window.burned(token)
    burn = await window.town.house.promise(f"burn:{token.reference}")
    assert names_only(burn, own=[mine], minting_wallet=minting)
    shared = replace(burn, arguments={**burn.arguments, "holders": [mine, other]})
    assert not names_only(shared, own=[mine], minting_wallet=minting)


async def test_what_confirms_a_transfer_among_other_things_is_nobodys_own(window: Window) -> None:
    """Should another action ever do so: its diff may hold what only some may read."""
    token = await window.held(0)
    own = OwnEntries(window.chain)
    [entry] = [each for each in await window.town.house.entries(token.invoice_reference) if each.action in ACTIONS]
    async with window.world.database.transaction(TENANT) as tx:
        assert await own(tx, window.lender(0), entry)
        assert not await own(tx, window.lender(1), entry)
        assert not await own(tx, window.lender(0), replace(entry, action="RECEIVE_SETTLEMENT"))


async def test_anchors_are_listed_newest_first_a_page_at_a_time(window: Window) -> None:
    for _ in range(3):
        await window.held(0)
        await window.seal()
    pages, after = [], None
    while True:
        query = {"limit": 2} | ({"after": after} if after else {})
        page = (await window.get(window.lender(0), "/v1/explorer/anchors", **query)).json()
        pages.append([each["batch_id"] for each in page["items"]])
        if (after := page["next"]) is None:
            break
    assert pages == [[3, 2], [1]]
    newest = (await window.get(window.lender(0), "/v1/explorer/anchors", limit=1)).json()["items"][0]
    standing = window.anchors.standing[3]
    assert (newest["tree_size"], newest["root"]) == (standing.tree_size, standing.root.hex())
