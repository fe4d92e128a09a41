"""The mock bank for the tests of account information."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from fintokenx.lifecycle.settlement.ports import BankAccount
from tests.adapters.bank_house import LENDER, NOON, SELLER, House, bank_house

OBLIGOR = BankAccount("Big Shop plc", "050505", "33333333")

NAMELESS = BankAccount("Account at a bank that names nothing", "060606", "44444444")

EPOCH = NOON - timedelta(days=1)

BASE = "/open-banking/v3.1/aisp"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """Three transactions to a page, so that nearly every test turns pages."""
    async with bank_house(tmp_path / "bank.jsonl", page_size=3) as running:
        await running.open_account(OBLIGOR, 10_000_000)
        await running.open_account(LENDER, 10_000_000)
        await running.open_account(SELLER)
        await running.open_account(NAMELESS, passes_end_to_end=False, shows_transaction_ids=False)
        yield running
