"""Account information when the bank or its pages fail: no list is better than a shorter one; balances; the mock."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
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
from tests.adapters.ais_house import BASE, EPOCH, OBLIGOR, house
from tests.adapters.bank_house import INFORMATION_TOKEN, NOON, SELLER, House
from tests.support.fakes.credentials import FixedCredential
from tests.support.wire import Wire, laid

pytestmark = pytest.mark.anyio
__all__ = ["house"]


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
