"""The books against the bank's own balance, and what may not leave while they differ (SE-17, ADR 0014)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fintokenx.kernel.money import ZERO, Pence
from fintokenx.lifecycle import ledger
from fintokenx.lifecycle.settlement.service import balances
from fintokenx.lifecycle.settlement.service.balances import explains
from fintokenx.lifecycle.settlement.store.balances import open_difference
from fintokenx.lifecycle.settlement.types import Difference
from fintokenx.parties import auth
from tests.modules.settlement_house import BUYER, COLLECTIONS, FACE, LENDER, NET, PLATFORM, Place, settlement_house

pytestmark = pytest.mark.anyio

ACCOUNT = COLLECTIONS.sort_code + COLLECTIONS.account_number
ALERT = ("BOOKS_DIFFER_FROM_BANK", ACCOUNT)
PART = 400_000


@pytest.fixture
async def place(cluster: str, template: str, tmp_path: Path) -> AsyncIterator[Place]:
    async with settlement_house(cluster, template, tmp_path) as made:
        yield made


async def plant(place: Place, pence: int) -> None:
    """Money that is more or less at the bank, and no line says why."""
    numbers = {"sort_code": COLLECTIONS.sort_code, "account_number": COLLECTIONS.account_number}
    await place.bank.control("adjustments", {**numbers, "amount_pence": pence})


async def check(place: Place) -> Difference | None:
    """Run the standing check; the difference that is open then."""
    await place.ask("settlement.check_balance")

    async def checked() -> bool:
        return not await place.jobs("settlement.check_balance")

    await place.work_until(checked)
    async with place.tx() as tx:
        return await open_difference(tx, COLLECTIONS)


async def collected(place: Place) -> None:
    """Read the statement and do what does not wait."""
    place.time_passes(1)
    await place.ask("settlement.collect")

    async def settled() -> bool:
        waiting = await place.jobs("settlement.collect") + await place.jobs("settlement.allocate")
        return not waiting and await _nothing_to_pay(place)

    await place.work_until(settled)


async def _nothing_to_pay(place: Place) -> bool:
    """No payment has still to be tried: what is left says that it waits."""
    return all("books and bank differ" in (job["last_error"] or "") for job in await place.jobs("settlement.pay"))


async def states(place: Place, purpose: str) -> list[str]:
    async with place.tx() as tx:
        rows = await tx.rows(
            "select state from app.payment_instructions where purpose = $1 order by queued_at", purpose
        )
    return [row["state"] for row in rows]


async def test_a_planted_surplus_is_told_and_never_paid_out(place: Place) -> None:
    """Must show 2: nothing that is booked while there is a surplus leaves, for it may be the surplus."""
    made = await place.funded()
    assert await check(place) is None
    await plant(place, PART)
    found = await check(place)
    assert found is not None
    assert (found.bank, found.books, found.surplus) == (Pence(PART), ZERO, Pence(PART))
    assert await place.alerts() == {ALERT: 1}
    await place.bank.pay(BUYER, COLLECTIONS, PART, made.invoice_reference)
    await collected(place)
    assert await states(place, "onward") == ["QUEUED"]
    assert await place.bank.balance_pence(COLLECTIONS) == 2 * PART
    assert await check(place) == found
    assert await place.alerts() == {ALERT: 1}
    await plant(place, -PART)
    assert await check(place) is None
    await place.until_idle()
    assert await states(place, "onward") == ["SETTLED"]
    assert await place.balances() == {}
    assert await place.trail(ACCOUNT) == ["BALANCE_DIFFERS", "ALERT_RAISE", "BALANCE_AGREES", "ALERT_CLEAR"]


async def test_what_the_books_owed_before_a_surplus_goes_on(place: Place) -> None:
    """The bank holds that money, whatever the surplus is."""
    made = await place.funded()
    await place.tell("lender", auth.SubjectEvent.FREEZE)
    await place.bank.pay(BUYER, COLLECTIONS, FACE.value, made.invoice_reference)
    await place.collect()
    assert await states(place, "onward") == ["HELD"]
    place.time_passes(120)
    await plant(place, 1)
    assert (await check(place) or made).id.startswith("dif_")
    await place.tell("lender", auth.SubjectEvent.UNFREEZE)
    await place.until_idle()
    assert await states(place, "onward") == ["SETTLED"]
    assert await place.bank.balance_pence(COLLECTIONS) == 1


async def test_where_the_bank_has_less_than_the_books_nothing_leaves_and_no_lender_pays_in(place: Place) -> None:
    """Nobody knows whose money is missing."""
    first, second = await place.listed(), await place.listed()
    made = await place.lend(first)
    place.chain.stall()
    await place.until(made.id, "FIAT_FINAL")
    place.time_passes(120)
    await plant(place, -1)
    found = await check(place)
    assert found is not None
    assert found.surplus == Pence(-1)
    place.chain.resume()
    other = await place.lend(second)

    async def both_wait() -> bool:
        waiting = [job for job in await place.jobs("settlement.pay") if "differ" in (job["last_error"] or "")]
        return len(waiting) == 2

    await place.work_until(both_wait)
    assert [(await place.disbursement(each.id)).state for each in (made, other)] == ["TOKEN_MOVED", "CHECKED"]
    assert await place.bank.balance_pence(LENDER) == 10_000_000 - NET.value
    await plant(place, 1)
    assert await check(place) is None
    for each in (made, other):
        await place.until(each.id, "CLOSED")
    assert await place.balances() == {}


async def test_a_credit_that_was_booked_twice_is_found_out(place: Place) -> None:
    """The story of the double credit, from its other end: the books say more than the bank holds."""
    await place.bank.pay(BUYER, COLLECTIONS, PART, "WHAT")
    await place.collect()
    assert await check(place) is None
    async with place.tx() as tx:
        lines = [
            ledger.Line(ledger.BANK_COLLECTIONS, debit=Pence(PART)),
            ledger.Line(ledger.SUSPENSE, credit=Pence(PART)),
        ]
        move = await ledger.post(tx, PLATFORM, kind="RECEIVE_CREDIT", resource="r", lines=lines)
    await place.seed(*move.rows)
    place.time_passes(120)
    found = await check(place)
    assert found is not None
    assert (found.bank, found.books) == (Pence(PART), Pence(2 * PART))


async def test_what_is_on_its_way_is_no_difference(place: Place) -> None:
    """A credit that is not booked yet, a payment that the bank has and has not decided, a payment just made."""
    made = await place.funded()
    await place.bank.pay(BUYER, COLLECTIONS, FACE.value, made.invoice_reference)
    place.time_passes(1)
    assert await check(place) is None, "not read yet"
    await place.bank.control("fates", {"fate": "hold"})
    await collected_until_sent(place)
    assert await check(place) is None, "sent, and not decided"
    await place.bank.mode("down", only="GET /v2/Accounts")
    assert await check(place) is None
    await place.bank.mode("up")


async def collected_until_sent(place: Place) -> None:
    await place.ask("settlement.collect")

    async def sent() -> bool:
        return await states(place, "onward") == ["SENT"]

    await place.work_until(sent)


async def test_a_difference_that_changes_is_one_alert_and_named_anew(place: Place) -> None:
    await plant(place, 5)
    first = await check(place)
    await plant(place, 2)
    second = await check(place)
    assert first is not None
    assert second == replace(first, bank=Pence(7))
    assert await place.alerts() == {ALERT: 1}


async def test_a_balance_that_cannot_be_read_for_four_hours_is_told_of_once(place: Place) -> None:
    """And no failure of the bank is a balance of nothing."""
    await place.funded()
    await place.bank.mode("down", only="GET /open-banking")
    await place.ask("settlement.check_balance")
    place.tick_seconds = 300
    await place.alerted("BALANCE_UNREADABLE", ACCOUNT)
    await place.bank.mode("up")
    await place.until_idle()
    assert await place.alerts() == {("BALANCE_UNREADABLE", ACCOUNT): 1}
    assert await place.trail(ACCOUNT) == ["BALANCE_GAP", "ALERT_RAISE", "BALANCE_READ", "ALERT_CLEAR"]


async def test_a_balance_of_which_nobody_can_tell_for_four_hours_is_told_of_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy minute is none of anybody's business: for a while more is on its way than can be looked through."""
    await place.funded()
    with monkeypatch.context() as busy:
        busy.setattr(balances, "explains", lambda *_: None)
        await place.ask("settlement.check_balance")
        await place.until_idle()
        assert await place.trail(ACCOUNT) == ["BALANCE_GAP"]
        place.time_passes(5 * 3600)
        await place.ask("settlement.check_balance")
        await place.until_idle()
        await place.ask("settlement.check_balance")
        await place.until_idle()
    await place.ask("settlement.check_balance")
    await place.until_idle()
    assert await place.alerts() == {("BALANCE_UNDECIDED", ACCOUNT): 1}
    assert await place.trail(ACCOUNT) == ["BALANCE_GAP", "ALERT_RAISE", "BALANCE_READ", "ALERT_CLEAR"]


@pytest.mark.parametrize(
    ("parts", "difference", "is_explained"),
    [
        ([], 0, True),
        ([], 1, False),
        ([5], 0, True),
        ([5], 5, True),
        ([5], 4, False),
        ([5, -3], 2, True),
        ([5, -3], -3, True),
        ([5, -3], 3, False),
        ([2**n for n in range(28)], 2**28 - 1, True),
        ([2**n for n in range(28)], 2**28, False),
        ([2**n for n in range(28)], -1, False),
        ([2 * 3**n for n in range(28)], 2 * (3**27 + 3**7 + 1), True),
        ([2 * 3**n for n in range(28)], 2 * (3**27 + 3**7 + 1) + 1, False),
        ([100] * 200, 100 * 77, True),
        ([100] * 200, 100 * 77 + 1, False),
        ([2**n for n in range(45)], 5, None),
    ],
)
def test_a_difference_is_explained_by_parts_that_add_up_to_it(
    parts: list[int], difference: int, is_explained: bool | None
) -> None:
    assert explains([Pence(part) for part in parts], Pence(difference)) is is_explained


@given(st.lists(st.tuples(st.integers(-(10**9), 10**9), st.booleans()), max_size=40))
def test_what_has_happened_of_what_was_on_its_way_always_explains_the_difference(parts: list[tuple[int, Any]]) -> None:
    happened = sum(part for part, has_happened in parts if has_happened)
    assert explains([Pence(part) for part, _ in parts], Pence(happened)) is not False
