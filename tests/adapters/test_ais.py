"""Contract of ``AccountInformation``: the Open Banking client against the mock bank, over real HTTP."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fintokenx.adapters.ais.rows import booked_balance, pence_from_amount
from fintokenx.kernel.clock import to_wire
from fintokenx.kernel.errors import Unavailable
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.settlement.ports import BankAccount
from fintokenx.sandbox.providers.bank_book import account_id
from tests.adapters.bank_house import INFORMATION_TOKEN, LENDER, NOON, SELLER, House, bank_house, instruction
from tests.support.fakes.credentials import FixedCredential
from tests.support.wire import Wire, laid

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


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("next_is_balances", "another list"),
        ("next_is_accounts", "another list"),
        ("error_with_200", "malformed"),
        ("data_without_list", "malformed"),
        ("no_next_page", "1 pages were read, and there are 3"),
        ("page_count_grows", "changed while they were read"),
    ],
)
async def test_a_list_with_a_hole_is_no_list(house: House, mode: str, reason: str) -> None:
    for number in range(7):
        await house.pay(OBLIGOR, SELLER, 100 + number, "INV")
    house.time_passes(1)
    bank = house.information()
    assert len(await bank.credits(SELLER, EPOCH)) == 7
    await house.mode(mode)
    with pytest.raises(Unavailable, match=reason):
        await bank.credits(SELLER, EPOCH)
    await house.mode("up")
    assert len(await bank.credits(SELLER, EPOCH)) == 7


@dataclass(kw_only=True)
class Edited(Wire):
    """A bank whose pages of transactions a test has changed on their way."""

    edit: Callable[[dict[str, Any]], Any]

    def heard(self, request: bytes, answer: bytes) -> bytes:
        head, _, body = answer.partition(b"\r\n\r\n")
        if b"/transactions" not in request.split(b"\r\n")[0]:
            return answer
        page = json.loads(body)
        changed = json.dumps(self.edit(page) or page).encode()
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length:")]
        return b"\r\n".join([*lines, b"content-length: %d" % len(changed), b"", changed])


def pages_with(**members: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda page: page.update(members)


@pytest.mark.parametrize(
    "edit",
    [
        pages_with(Code="500 InternalServerError", Message="Something went wrong"),
        pages_with(Errors=[]),
        pages_with(Links=None),
        pages_with(Links={}),
        pages_with(Links={"Self": "x", "Next": 2}),
        pages_with(Links={"Self": "x", "Next": ""}),
        pages_with(Links={"Self": "x", "Next": "http://["}),
        pages_with(Meta=None),
        pages_with(Meta={"TotalPages": "1"}),
        pages_with(Meta={"TotalPages": True}),
        pages_with(Meta={"TotalPages": -1}),
        pages_with(Meta={"TotalPages": 0}),
        pages_with(Meta={"TotalPages": 2}),
        pages_with(Data=None),
        pages_with(Data=[]),
        pages_with(Data={}),
        pages_with(Data={"Transaction": None}),
        pages_with(Data={"Transaction": {}}),
        pages_with(Data={"Transaction": ["row"]}),
        pages_with(Data={"Balance": []}),
        lambda page: [page],
        lambda page: page.pop("Links") and None,
        lambda page: page.pop("Meta") and None,
    ],
)
async def test_a_page_that_is_not_as_the_standard_says_refuses_the_list(
    house: House, edit: Callable[[dict[str, Any]], Any]
) -> None:
    await house.pay(OBLIGOR, SELLER, 500, "INV 1")
    house.time_passes(1)
    async with laid(Edited(upstream=house.url, edit=edit)) as wire:
        with pytest.raises(Unavailable):
            await house.information(base_url=wire.url).credits(SELLER, EPOCH)
    async with laid(Edited(upstream=house.url, edit=lambda page: None)) as wire:
        assert len(await house.information(base_url=wire.url).credits(SELLER, EPOCH)) == 1


async def test_a_bank_that_counts_no_pages_is_believed(house: House) -> None:
    """TotalPages is optional; what there is of it must agree."""
    for number in range(7):
        await house.pay(OBLIGOR, SELLER, 100 + number, "INV")
    house.time_passes(1)
    async with laid(Edited(upstream=house.url, edit=lambda page: page["Meta"].clear())) as wire:
        assert len(await house.information(base_url=wire.url).credits(SELLER, EPOCH)) == 7
    async with laid(Edited(upstream=house.url, edit=_count_on_the_first_page)) as wire:
        with pytest.raises(Unavailable, match="changed"):
            await house.information(base_url=wire.url).credits(SELLER, EPOCH)


def _count_on_the_first_page(page: dict[str, Any]) -> None:
    if "page=" in page["Links"]["Self"]:
        page["Meta"].clear()


# ── The balance


async def test_the_balance_is_what_is_booked_and_not_what_is_available(house: House) -> None:
    assert await house.information().balance(OBLIGOR) == Pence(10_000_000)
    await house.pay(OBLIGOR, SELLER, 500, "INV 1")
    assert await house.information().balance(OBLIGOR) == Pence(10_000_000)
    assert await house.information().balance(SELLER) == Pence(0)
    house.time_passes(1)
    assert await house.information().balance(OBLIGOR) == Pence(9_999_500)
    assert await house.information().balance(SELLER) == Pence(500)


async def test_an_overdrawn_account_is_below_zero(house: House) -> None:
    numbers = {"sort_code": SELLER.sort_code, "account_number": SELLER.account_number}
    await house.control("adjustments", {**numbers, "amount_pence": -1_250})
    assert await house.information().balance(SELLER) == Pence(-1_250)


def _balance(**changes: Any) -> dict[str, Any]:
    row = {"AccountId": "a", "CreditDebitIndicator": "Credit", "Type": "InterimBooked", "DateTime": to_wire(NOON)}
    return row | {"Amount": {"Amount": "10.00", "Currency": "GBP"}} | changes


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [_balance(Type="InterimAvailable")],
        [_balance(Type="ClosingBooked")],
        [_balance(), _balance()],
        [_balance(), _balance(Type="ITBD")],
        [_balance(Amount={"Amount": "10.00", "Currency": "EUR"})],
        [_balance(Amount={"Amount": "-10.00", "Currency": "GBP"})],
        [_balance(CreditDebitIndicator="CRDT")],
        [_balance(AccountId="b")],
        [_balance(DateTime="2026-03-02")],
        [_balance(CreditLine=[{"Included": True}])],
        [_balance(), _balance(Type="Expected", Amount={"Amount": "ten", "Currency": "GBP"})],
    ],
)
def test_a_balance_that_is_not_plain_is_none(rows: list[Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        booked_balance(rows, "a")


def test_the_booked_balance_is_found_among_others() -> None:
    others = [_balance(Type=kind, CreditDebitIndicator="Debit") for kind in ("InterimAvailable", "Expected")]
    assert booked_balance([*others, _balance()], "a")[0] == Pence(1_000)


# ── The mock


@pytest.mark.parametrize(
    ("path", "headers", "status", "code"),
    [
        ("/accounts", {"Authorization": "Bearer stale"}, 401, ""),
        ("/accounts", {"Accept": "text/html"}, 406, "UK.OBIE.Header.Invalid"),
        ("/accounts", {"x-fapi-interaction-id": "an-id"}, 400, "UK.OBIE.Header.Invalid"),
        ("/accounts", {"x-fapi-auth-date": "2026-03-02"}, 400, "UK.OBIE.Header.Invalid"),
        ("/accounts?fromBookingDateTime=2026-03-02", {}, 400, "UK.OBIE.Field.Unexpected"),
        ("/accounts?page=0", {}, 400, "UK.OBIE.Field.Invalid"),
        ("/accounts/nobody/balances", {}, 400, "UK.OBIE.Resource.NotFound"),
        ("{seller}/balances?fromBookingDateTime=2026-03-02", {}, 400, "UK.OBIE.Field.Unexpected"),
        ("{seller}/transactions?from=2026-03-02", {}, 400, "UK.OBIE.Field.Unexpected"),
        ("{seller}/transactions?fromBookingDateTime=2026-03-02T00:00:00Z", {}, 400, "UK.OBIE.Field.InvalidDate"),
        ("{seller}/transactions?toBookingDateTime=2026-03-02T00:00:00%2B00:00", {}, 400, "UK.OBIE.Field.InvalidDate"),
        ("{seller}/transactions?fromBookingDateTime=today", {}, 400, "UK.OBIE.Field.InvalidDate"),
        (
            "{seller}/transactions?fromBookingDateTime=2026-03-01&fromBookingDateTime=2026-03-02",
            {},
            400,
            "UK.OBIE.Field.Unexpected",
        ),
    ],
)
async def test_the_mock_refuses_what_the_standard_refuses(
    house: House, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    place = path.format(seller=f"/accounts/{account_id('open-banking', SELLER.sort_code + SELLER.account_number)}")
    whole = {"Authorization": f"Bearer {INFORMATION_TOKEN}"} | headers
    answer = await house.http.get(f"{BASE}{place}", headers=whole)
    assert answer.status_code == status, answer.text
    assert (not code and not answer.content) or answer.json()["Errors"][0]["ErrorCode"] == code


@pytest.mark.parametrize("query", ["", "?fromBookingDateTime=2026-03-01", "?toBookingDateTime=2026-03-03T00:00:00"])
async def test_a_date_with_or_without_a_time_and_no_date_are_taken(house: House, query: str) -> None:
    await house.pay(OBLIGOR, SELLER, 500, "INV 1")
    house.time_passes(1)
    place = f"{BASE}/accounts/{account_id('open-banking', SELLER.sort_code + SELLER.account_number)}/transactions"
    answer = await house.http.get(place + query, headers={"Authorization": f"Bearer {INFORMATION_TOKEN}"})
    assert len(answer.json()["Data"]["Transaction"]) == 1


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


async def test_the_interaction_id_is_echoed_and_made_up_where_there_is_none(house: House) -> None:
    sent = "93bac548-d2de-4546-b106-880a5018460d"
    headers = {"Authorization": f"Bearer {INFORMATION_TOKEN}", "x-fapi-interaction-id": sent}
    response = await house.http.get(f"{BASE}/accounts", headers=headers)
    assert response.headers["x-fapi-interaction-id"] == sent
    assert response.json()["Links"]["Self"]
    headers.pop("x-fapi-interaction-id")
    response = await house.http.get(f"{BASE}/accounts", headers=headers)
    assert uuid.UUID(response.headers["x-fapi-interaction-id"])


@given(st.integers(min_value=0, max_value=10**13 - 1), st.integers(min_value=0, max_value=99), st.integers(0, 3))
def test_an_amount_of_whole_pence_is_read_exactly(pounds: int, pence: int, zeros: int) -> None:
    assert pence_from_amount(f"{pounds}.{pence:02d}{'0' * zeros}") == Pence(pounds * 100 + pence)


async def _raw_transactions(house: House, account: BankAccount) -> list[dict[str, Any]]:
    wanted = account_id("open-banking", account.sort_code + account.account_number)
    headers = {"Authorization": f"Bearer {INFORMATION_TOKEN}"}
    response = await house.http.get(f"{BASE}/accounts/{wanted}/transactions", headers=headers)
    rows: list[dict[str, Any]] = response.json()["Data"]["Transaction"]
    return rows
