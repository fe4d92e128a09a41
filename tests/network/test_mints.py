"""Must show 4: while the chain stands still confirmed invoices wait, and each is minted once (TK-05, TK-12, IX-09)."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from dataclasses import dataclass

import pytest

from fintokenx.app.api_client import eventually
from tests.network.house import ALIVE, Crowd
from tests.network.lossy import LossyWire

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@dataclass(frozen=True, slots=True)
class Size:
    """``seconds``: how long all of them wait. ``hurried``: a dead platform's leases do not run out by themselves."""

    invoices: int
    seconds: float
    kills: int
    hurried: bool


SIZES = [
    pytest.param(Size(12, 1, kills=2, hurried=True), id="12"),
    pytest.param(Size(200, 60, kills=5, hurried=False), id="200", marks=[pytest.mark.soak, pytest.mark.timeout(900)]),
]


@pytest.fixture
def dice() -> random.Random:
    """FX_TEST_SEED repeats a run."""
    seed = int(os.environ.get("FX_TEST_SEED") or secrets.randbits(32))
    print(f"FX_TEST_SEED={seed}")
    return random.Random(seed)


async def _confirmed_while_it_stands_still(crowd: Crowd) -> None:
    await crowd.chain.pause()
    await crowd.confirm()


async def _all_wait(crowd: Crowd, size: Size) -> None:
    await crowd.all_are("PENDING_MINT")
    await asyncio.sleep(size.seconds)
    await crowd.all_are("PENDING_MINT")
    assert not await crowd.mints_recorded()


@pytest.mark.parametrize("size", SIZES)
async def test_all_wait_while_the_chain_stands_still_and_each_is_minted_once(crowd: Crowd, size: Size) -> None:
    await crowd.gather(size.invoices)
    before = await crowd.halts_told()
    await _confirmed_while_it_stands_still(crowd)
    await crowd.halt_is_told(before)
    await _all_wait(crowd, size)
    assert await crowd.halts_told() == before + 1, "one halt is told once, not once an invoice"
    await crowd.chain.resume()
    await crowd.minted_once()


@pytest.mark.parametrize("size", SIZES)
async def test_a_platform_killed_between_broadcast_and_receipt_mints_each_once(
    crowd: Crowd, size: Size, dice: random.Random
) -> None:
    """Killed as the mints pile up without a block, the last time when all wait: then a block comes while it is dead."""
    await crowd.gather(size.invoices)
    before, starts = await crowd.halts_told(), crowd.platform_starts()
    moments = sorted(dice.sample(range(1, size.invoices), size.kills - 1))
    killing = asyncio.create_task(_kill_at(crowd, size, moments))
    try:
        await _confirmed_while_it_stands_still(crowd)
        await asyncio.wait_for(killing, ALIVE)
    finally:
        killing.cancel()
    await crowd.halt_is_told(before)
    await _all_wait(crowd, size)
    assert await crowd.open_halts() == 1, "a platform that starts anew tells of it again, in the same alert"
    await crowd.kill_platform()
    assert await crowd.signed() > 0
    already = await crowd.minters_transactions()
    await crowd.chain.call("evm_mine")
    assert await crowd.minters_transactions() > already
    await crowd.start_platform(hurried=size.hurried)
    await crowd.chain.resume()
    await crowd.minted_once()
    assert crowd.platform_starts() == starts + size.kills


async def _kill_at(crowd: Crowd, size: Size, moments: list[int]) -> None:
    """Kill when so many mints are signed and sent, or as many as will be: no block has any of them."""
    for count in moments:

        async def piled_up(count: int = count) -> bool:
            sent = min(await crowd.signed(), await crowd.taken_by_the_chain())
            return sent >= count or (sent > 0 and await crowd.tokens() == crowd.all_in("PENDING_MINT"))

        await eventually(f"{count} mints signed and sent", piled_up, seconds=ALIVE, every=0.02)
        await crowd.kill_platform()
        await crowd.start_platform(hurried=size.hurried)


@pytest.mark.parametrize("size", SIZES)
async def test_a_third_of_all_answers_to_sent_transactions_is_lost_and_each_is_minted_once(
    crowd: Crowd, wire: LossyWire, size: Size, dice: random.Random
) -> None:
    """The chain has each transaction, the platform does not know."""
    await crowd.gather(size.invoices)
    wire.lose(1 / 3, dice)
    await _confirmed_while_it_stands_still(crowd)
    await _all_wait(crowd, size)
    await crowd.chain.resume()
    await crowd.minted_once()
    assert wire.lost > 0
