"""Contract of ``AccountInformation``: the Open Banking client against the mock bank, over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fintokenx.adapters.ais.client import pence_from_amount
from fintokenx.kernel.clock import to_wire
from fintokenx.kernel.errors import Unavailable
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.settlement.ports import BankAccount
from fintokenx.sandbox.providers.bank_book import account_id
from tests.adapters.bank_house import INFORMATION_TOKEN, LENDER, NOON, SELLER, House, bank_house, instruction
from tests.fakes.credentials import FixedCredential

pytestmark = pytest.mark.anyio

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


def oddity(account: BankAccount, **changes: Any) -> dict[str, Any]:
    transaction = {
        "AccountId": account_id("open-banking", account.sort_code + account.account_number),
        "TransactionId": "odd-1",
        "CreditDebitIndicator": "Credit",
        "Status": "Booked",
        "BookingDateTime": to_wire(NOON),
        "Amount": {"Amount": "10.00", "Currency": "GBP"},
    }
    numbers = {"sort_code": account.sort_code, "account_number": account.account_number}
    return {**numbers, "transaction": transaction | changes}


async def test_a_booked_credit_is_seen_with_its_pence_narration_and_end_to_end_id(house: House) -> None:
    await house.payments().submit(instruction("disb-0001", 1_000_010))
    house.time_passes(1)
    [credit] = await house.information().credits(SELLER, EPOCH)
    assert credit.amount == Pence(1_000_010)
    assert credit.narration == "INV 42"
    assert credit.end_to_end_id == "disb-0001"
    assert credit.booked_at == NOON
    assert credit.transaction_id


async def test_a_payment_on_its_way_is_not_a_credit(house: House) -> None:
    await house.pay(OBLIGOR, SELLER, 500, "INV 1")
    assert await house.information().credits(SELLER, EPOCH) == []
    shown = await _raw_transactions(house, SELLER)
    assert [row["Status"] for row in shown] == ["Pending"]
    house.time_passes(1)
    assert len(await house.information().credits(SELLER, EPOCH)) == 1


async def test_money_that_leaves_is_not_a_credit(house: House) -> None:
    await house.pay(OBLIGOR, SELLER, 500, "INV 1")
    house.time_passes(1)
    assert await house.information().credits(OBLIGOR, EPOCH) == []
    assert [row["CreditDebitIndicator"] for row in await _raw_transactions(house, OBLIGOR)] == ["Debit"]


async def test_every_page_is_read_oldest_first(house: House) -> None:
    for number in range(10):
        house.clock.set(NOON + timedelta(minutes=number))
        await house.pay(OBLIGOR, SELLER, 100 + number, f"INV {number}")
        house.time_passes(1)
        await _raw_transactions(house, SELLER)
    seen = await house.information().credits(SELLER, EPOCH)
    assert [credit.amount.value for credit in seen] == list(range(100, 110))
    assert len({credit.transaction_id for credit in seen}) == 10


async def test_only_credits_from_the_given_instant_on_are_returned(house: House) -> None:
    """The bank filters by the second; the client to the microsecond."""
    for microsecond in (0, 499_999, 500_000, 999_999):
        house.clock.set(NOON.replace(microsecond=microsecond))
        await house.pay(OBLIGOR, SELLER, 100 + microsecond, "INV")
        house.time_passes(1)
        await _raw_transactions(house, SELLER)
    seen = await house.information().credits(SELLER, NOON.replace(microsecond=500_000))
    assert [credit.amount.value for credit in seen] == [500_100, 1_000_099]


async def test_credits_without_an_id_get_a_stable_one_and_twins_two(house: House) -> None:
    for _ in range(4):
        await house.pay(OBLIGOR, NAMELESS, 700, "RENT")
    for number in range(3):
        await house.pay(OBLIGOR, NAMELESS, 800 + number, "INV")
    house.time_passes(1)
    first = await house.information().credits(NAMELESS, EPOCH)
    again = await house.information().credits(NAMELESS, EPOCH)
    assert first == again
    assert len({credit.transaction_id for credit in first}) == 7
    assert {credit.end_to_end_id for credit in first} == {""}


async def test_a_row_without_an_id_that_moved_to_the_next_page_is_not_a_second_credit(house: House) -> None:
    for number in range(4):
        await house.pay(OBLIGOR, NAMELESS, 800 + number, "INV")
    house.time_passes(1)
    await house.mode("moving_pages", times=1)
    bank = house.information()
    with pytest.raises(Unavailable, match="changed while it was read"):
        await bank.credits(NAMELESS, EPOCH)
    assert len(await bank.credits(NAMELESS, EPOCH)) == 4


async def test_other_currencies_are_left_out_and_counted(house: House) -> None:
    await house.control("oddities", oddity(SELLER, Amount={"Amount": "10.00", "Currency": "EUR"}))
    await house.pay(OBLIGOR, SELLER, 500, "INV 1")
    house.time_passes(1)
    bank = house.information()
    assert [credit.amount.value for credit in await bank.credits(SELLER, EPOCH)] == [500]
    assert bank.foreign_credits_ignored == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"Amount": {"Amount": "10.005", "Currency": "GBP"}},
        {"Amount": {"Amount": "-10.00", "Currency": "GBP"}},
        {"Amount": {"Amount": 10.00, "Currency": "GBP"}},
        {"Amount": {"Amount": "1e3", "Currency": "GBP"}},
        {"Amount": {"Currency": "GBP"}},
        {"BookingDateTime": "2026-03-02T12:00:00"},
        {"BookingDateTime": "yesterday"},
        {"TransactionInformation": ["INV"]},
        {"AccountId": "somebody-else"},
    ],
)
async def test_a_credit_that_cannot_be_read_exactly_spoils_the_list(house: House, changes: dict[str, Any]) -> None:
    """Left out it would read as "not paid"."""
    await house.control("oddities", oddity(SELLER, **changes))
    with pytest.raises(Unavailable) as failure:
        await house.information().credits(SELLER, EPOCH)
    assert failure.value.outcome_unknown is False


async def test_one_id_on_two_credits_spoils_the_list(house: House) -> None:
    await house.control("oddities", oddity(SELLER))
    await house.control("oddities", oddity(SELLER, Amount={"Amount": "11.00", "Currency": "GBP"}))
    with pytest.raises(Unavailable):
        await house.information().credits(SELLER, EPOCH)


async def test_one_row_on_two_pages_is_one_credit(house: House) -> None:
    for _ in range(5):
        await house.control("oddities", oddity(SELLER))
    assert len(await house.information().credits(SELLER, EPOCH)) == 1


async def test_a_long_narration_is_cut_at_the_standard_length(house: House) -> None:
    await house.control("oddities", oddity(SELLER, TransactionInformation="x" * 900))
    [credit] = await house.information().credits(SELLER, EPOCH)
    assert credit.narration == "x" * 500


async def test_a_status_that_is_not_booked_is_no_credit(house: House) -> None:
    for number, status in enumerate(("Pending", "Rejected", "Teleported")):
        await house.control("oddities", oddity(SELLER, Status=status, TransactionId=f"odd-{number}"))
    assert await house.information().credits(SELLER, EPOCH) == []


@pytest.mark.parametrize(
    "mode",
    ["down", "timeout", "5xx", "malformed", "html", "wrong_shape", "rate_limited", "unauthorised", "endless_pages"],
)
async def test_a_failing_bank_is_no_empty_list(house: House, mode: str) -> None:
    """IX-07: nothing is concluded; the next call, with the bank well again, has everything."""
    for number in range(5):
        await house.pay(OBLIGOR, SELLER, 100 + number, "INV")
    house.time_passes(1)
    bank = house.information(timeout_seconds=0.4, pages_max=5)
    assert len(await bank.credits(SELLER, EPOCH)) == 5
    await house.mode(mode)
    with pytest.raises(Unavailable) as failure:
        await bank.credits(SELLER, EPOCH)
    assert failure.value.outcome_unknown is False
    await house.mode("up")
    assert len(await bank.credits(SELLER, EPOCH)) == 5


async def test_a_failure_on_a_later_page_is_no_shorter_list(house: House) -> None:
    for number in range(7):
        await house.pay(OBLIGOR, SELLER, 100 + number, "INV")
    house.time_passes(1)
    bank = house.information()
    assert len(await bank.credits(SELLER, EPOCH)) == 7
    with pytest.raises(Unavailable, match="do not end"):
        await house.information(pages_max=2).credits(SELLER, EPOCH)


async def test_the_token_does_not_follow_a_link_to_another_host(house: House) -> None:
    await house.mode("foreign_next_page")
    with pytest.raises(Unavailable, match="another host"):
        await house.information().credits(SELLER, EPOCH)
    assert len((await house.http.get("/control/log")).json()["deliveries"]) == 1


async def test_an_account_outside_the_consent_is_not_an_account_without_credits(house: House) -> None:
    with pytest.raises(Unavailable, match="consent"):
        await house.information().credits(BankAccount("Nobody", "999999", "99999999"), EPOCH)


async def test_a_wrong_token_is_refused(house: House) -> None:
    with pytest.raises(Unavailable, match="401"):
        await house.information(token=FixedCredential("stale")).credits(SELLER, EPOCH)


async def test_the_interaction_id_is_echoed(house: House) -> None:
    headers = {"Authorization": f"Bearer {INFORMATION_TOKEN}", "x-fapi-interaction-id": "an-id"}
    response = await house.http.get(f"{BASE}/accounts", headers=headers)
    assert response.headers["x-fapi-interaction-id"] == "an-id"
    assert response.json()["Links"]["Self"]


@given(st.integers(min_value=0, max_value=10**13 - 1), st.integers(min_value=0, max_value=99), st.integers(0, 3))
def test_an_amount_of_whole_pence_is_read_exactly(pounds: int, pence: int, zeros: int) -> None:
    assert pence_from_amount(f"{pounds}.{pence:02d}{'0' * zeros}") == Pence(pounds * 100 + pence)


async def _raw_transactions(house: House, account: BankAccount) -> list[dict[str, Any]]:
    wanted = account_id("open-banking", account.sort_code + account.account_number)
    headers = {"Authorization": f"Bearer {INFORMATION_TOKEN}"}
    response = await house.http.get(f"{BASE}/accounts/{wanted}/transactions", headers=headers)
    rows: list[dict[str, Any]] = response.json()["Data"]["Transaction"]
    return rows
