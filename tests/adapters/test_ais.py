"""Contract of ``AccountInformation``: the Open Banking client against the mock bank, over real HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fintokenx.kernel.clock import to_wire
from fintokenx.kernel.errors import Unavailable
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.settlement.ports import BankAccount
from fintokenx.sandbox.providers.bank_book import account_id
from tests.adapters.ais_house import BASE, EPOCH, NAMELESS, OBLIGOR, house
from tests.adapters.bank_house import INFORMATION_TOKEN, NOON, SELLER, House, instruction

pytestmark = pytest.mark.anyio
__all__ = ["house"]


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


async def test_credits_without_an_id_are_given_none_and_twins_are_two(house: House) -> None:
    """Which line each is, is settled by whoever knows the lines before."""
    for _ in range(4):
        await house.pay(OBLIGOR, NAMELESS, 700, "RENT")
    for number in range(3):
        await house.pay(OBLIGOR, NAMELESS, 800 + number, "INV")
    house.time_passes(1)
    first = await house.information().credits(NAMELESS, EPOCH)
    again = await house.information().credits(NAMELESS, EPOCH)
    assert first == again
    assert len(first) == 7
    assert {(credit.transaction_id, credit.end_to_end_id) for credit in first} == {("", "")}


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


async def test_what_is_not_booked_is_no_credit(house: House) -> None:
    for number, status in enumerate(("Pending", "Rejected", "PDNG", "RJCT", "INFO", "FUTR")):
        await house.control("oddities", oddity(SELLER, Status=status, TransactionId=f"odd-{number}"))
    assert await house.information().credits(SELLER, EPOCH) == []


async def test_the_word_of_version_4_for_booked_is_known_too(house: House) -> None:
    await house.control("oddities", oddity(SELLER, Status="BOOK"))
    assert len(await house.information().credits(SELLER, EPOCH)) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"Status": "Teleported"},
        {"Status": "booked"},
        {"Status": None},
        {"CreditDebitIndicator": "CRDT"},
        {"CreditDebitIndicator": ""},
        {"CreditDebitIndicator": None},
    ],
)
async def test_a_word_that_no_code_list_has_refuses_the_list(house: House, changes: dict[str, Any]) -> None:
    """Passed over it would be a credit that nobody ever sees."""
    await house.pay(OBLIGOR, SELLER, 500, "INV 1")
    house.time_passes(1)
    await house.control("oddities", oddity(SELLER, **changes))
    with pytest.raises(Unavailable, match="malformed"):
        await house.information().credits(SELLER, EPOCH)


@pytest.mark.parametrize("direction", ["Debit", "Credit"])
@pytest.mark.parametrize("status", ["Booked", "Pending"])
@pytest.mark.parametrize(
    "changes",
    [
        {"BookingDateTime": "yesterday"},
        {"BookingDateTime": "2026-03-02T12:00:00"},
        {"Amount": {"Amount": "ten", "Currency": "EUR"}},
        {"Amount": {"Amount": "10.00", "Currency": "pound"}},
        {"Amount": {"Amount": "10.00"}},
        {"TransactionId": 7},
        {"SupplementaryData": "none"},
    ],
)
async def test_a_row_of_any_kind_that_cannot_be_read_refuses_the_list(
    house: House, changes: dict[str, Any], status: str, direction: str
) -> None:
    """Whether it is a credit is itself something that has been read."""
    await house.control("oddities", oddity(SELLER, Status=status, CreditDebitIndicator=direction, **changes))
    with pytest.raises(Unavailable, match="malformed"):
        await house.information().credits(SELLER, EPOCH)


async def _raw_transactions(house: House, account: BankAccount) -> list[dict[str, Any]]:
    wanted = account_id("open-banking", account.sort_code + account.account_number)
    headers = {"Authorization": f"Bearer {INFORMATION_TOKEN}"}
    response = await house.http.get(f"{BASE}/accounts/{wanted}/transactions", headers=headers)
    rows: list[dict[str, Any]] = response.json()["Data"]["Transaction"]
    return rows
