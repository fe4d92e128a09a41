"""What is mined and not recorded yet, and what a node that lags did not tell: the explorer claims no more than it
knows, and catches up (CH-03)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fintokenx.adapters.chain import HistoryClient, Rpc
from fintokenx.adapters.chain.history import NEWEST_READ_AGAIN
from tests.explorer.house import Window, window_on
from tests.explorer.lag import Lagging
from tests.support import World
from tests.support.wire import laid

pytestmark = pytest.mark.anyio


@pytest.fixture
async def window(world: World) -> AsyncIterator[Window]:
    async with window_on(world) as made:
        yield made


@pytest.fixture
async def node(window: Window) -> AsyncIterator[Lagging]:
    """The explorer's logs come from this one; the newest block was told by the one before the failover."""
    town = window.town
    async with laid(Lagging(upstream=town.anvil.rpc_url)) as made:
        rpc = Rpc([made.url])
        window.chain.real = HistoryClient(rpc, town.deployment, town.state)
        try:
            yield made
        finally:
            await rpc.aclose()


# ── Mined and not recorded


async def test_a_transfer_has_no_entry_and_no_proof_until_its_confirmation_is_recorded(window: Window) -> None:
    """The newest entry of its row, that it was signed, is sealed by then and is nobody's own."""
    town = window.town
    token = await town.house.minted()
    await town.anvil.control.call("evm_setAutomine", False)
    key = await town.promise_transfer(token, town.lenders[0])

    async def signed() -> bool:
        return (await town.house.promise(key)).state == "SIGNED"

    await town.house.work_until(signed)
    await town.anvil.control.call("evm_mine")
    await window.seal()
    [event] = await window.transfers(window.lender(0))
    assert event["tx_hash"] == (await town.house.promise(key)).tx_hash
    assert (event["entry"], event["proof"]) == (None, None)
    await town.anvil.control.call("evm_setAutomine", True)
    await town.house.until_idle()
    await window.seal()
    [event] = await window.transfers(window.lender(0))
    assert event["entry"]["action"] == "TOKEN_TRANSFER"
    assert (await window.get(window.lender(0), event["proof"])).status_code == 200


# ── A node that lags


async def test_an_event_that_a_lagging_node_kept_back_is_shown_when_it_has_caught_up(
    window: Window, node: Lagging
) -> None:
    first = await window.held(0)
    node.newest = (await window.town.chain.head()).number
    second = await window.held(0)
    lender = window.lender(0)
    assert [each["token_reference"] for each in await window.transfers(lender)] == [first.reference]
    node.newest = None
    shown = [each["token_reference"] for each in await window.transfers(lender)]
    assert shown == [second.reference, first.reference]


async def test_of_a_wallets_past_only_the_newest_blocks_are_read_again(window: Window, node: Lagging) -> None:
    token = await window.held(0)
    await window.town.anvil.control.call("anvil_mine", hex(NEWEST_READ_AGAIN))
    head = (await window.town.chain.head()).number
    lender = window.lender(0)
    for _ in range(2):
        assert [each["token_reference"] for each in await window.transfers(lender)] == [token.reference]
    assert node.asked == [(window.town.deployment.from_block, head), (head - NEWEST_READ_AGAIN + 1, head)]
