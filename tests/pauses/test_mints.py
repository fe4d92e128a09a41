"""Must show 4: the chain stands still while invoices are confirmed; all wait, and each is minted once (TK-05, IX-09)."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import time
from dataclasses import dataclass

import pytest

from fintokenx.app.api_client import eventually
from tests.failures.house import House
from tests.pauses.house import ALIVE, Crowd, stay
from tests.pauses.wire import Wire

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@dataclass(frozen=True, slots=True)
class Size:
    """``seconds``: how long all of them wait."""

    invoices: int
    seconds: float
    kills: int


SIZES = [
    pytest.param(Size(12, 3, 2), id="12"),
    pytest.param(Size(200, 60, 5), id="200", marks=[pytest.mark.soak, pytest.mark.timeout(900)]),
]


@pytest.fixture
def dice() -> random.Random:
    """FX_TEST_SEED repeats a run."""
    seed = int(os.environ.get("FX_TEST_SEED") or secrets.randbits(32))
    print(f"FX_TEST_SEED={seed}")
    return random.Random(seed)


async def _confirmed_while_it_stands_still(crowd: Crowd, size: Size) -> None:
    """All confirmed, none minted, for as long as it lasts."""
    await crowd.gather(size.invoices)
    await crowd.chain.pause()
    await crowd.confirm()


async def _all_wait(crowd: Crowd, size: Size) -> None:
    await crowd.all_are("PENDING_MINT")
    await stay(size.seconds, time.monotonic())
    await crowd.all_are("PENDING_MINT")
    assert not await crowd.mints_recorded()


@pytest.mark.parametrize("size", SIZES)
async def test_all_wait_while_the_chain_stands_still_and_each_is_minted_once(crowd: Crowd, size: Size) -> None:
    told = await crowd.halts_told()
    await _confirmed_while_it_stands_still(crowd, size)
    await _all_wait(crowd, size)
    await crowd.chain.resume()
    await crowd.minted_once()
    assert await crowd.halts_told() == told + 1, "one halt is told once, not once an invoice"


@pytest.mark.parametrize("size", SIZES)
async def test_a_platform_killed_between_broadcast_and_receipt_mints_each_once(
    crowd: Crowd, home: House, size: Size, dice: random.Random
) -> None:
    """Killed as the mints pile up without a block, the last time when all are sent; the blocks come while it is dead."""
    told = await crowd.halts_told()
    moments = sorted(dice.sample(range(1, size.invoices), size.kills - 1))
    killing = asyncio.create_task(_kill_at(crowd, home, moments))
    await _confirmed_while_it_stands_still(crowd, size)
    await asyncio.wait_for(killing, ALIVE)
    await _all_wait(crowd, size)
    await asyncio.to_thread(home.system.platform.kill)
    assert await crowd.signed() == size.invoices
    await crowd.chain.call("evm_mine")
    await asyncio.to_thread(home.system.restart_platform)
    await crowd.chain.resume()
    await crowd.minted_once()
    assert await crowd.halts_told() - told <= 1 + size.kills


async def _kill_at(crowd: Crowd, home: House, moments: list[int]) -> None:
    """Kill when so many mints are signed, and the chain has the first of them waiting."""
    for count in moments:

        async def piled_up(count: int = count) -> bool:
            return await crowd.signed() >= count and await _waiting_on_chain(crowd) > 0

        await eventually(f"{count} mints signed", piled_up, seconds=ALIVE, every=0.02)
        await asyncio.to_thread(home.system.platform.kill)
        await asyncio.to_thread(home.system.restart_platform)


async def _waiting_on_chain(crowd: Crowd) -> int:
    """Transactions that the node has taken and put into no block."""
    return int((await crowd.chain.call("txpool_status"))["pending"], 16)


@pytest.mark.parametrize("size", SIZES)
async def test_a_third_of_all_answers_to_sent_transactions_is_lost_and_each_is_minted_once(
    crowd: Crowd, wire: Wire, size: Size, dice: random.Random
) -> None:
    wire.lose(1 / 3, dice)
    await _confirmed_while_it_stands_still(crowd, size)
    await _all_wait(crowd, size)
    await crowd.chain.resume()
    await crowd.minted_once()
    assert 0 < wire.lost < wire.sent
