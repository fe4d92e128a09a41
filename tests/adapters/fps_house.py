"""The mock bank and its client, for the tests of payments."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.adapters.bank_house import LENDER, SELLER, House, bank_house

OPENING_PENCE = 10_000_000


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with bank_house(tmp_path / "bank.jsonl") as running:
        await running.open_account(LENDER, OPENING_PENCE)
        await running.open_account(SELLER)
        yield running


async def assert_paid_once(house: House, end_to_end_id: str, amount_pence: int = 12_345) -> None:
    house.time_passes(1)
    seen = await house.instruction(end_to_end_id)
    assert seen is not None
    assert seen["effects"] == 1
    assert await house.balance_pence(LENDER) == OPENING_PENCE - amount_pence
    assert await house.balance_pence(SELLER) == amount_pence
