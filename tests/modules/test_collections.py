"""What buyers pay reaches the holders, and what is on the account is in the books (SE-10 … SE-14)."""

from __future__ import annotations

import pytest

from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.settlement.service import (
    reads,
)
from fintokenx.lifecycle.tokenisation.ports import BurnReceivable
from fintokenx.parties import auth
from tests.modules.settlement_house import (
    ACCOUNT_OF,
    BUYER,
    COLLECTIONS,
    DISCOUNT,
    FACE,
    LENDER,
    PLATFORM,
    Place,
)
from tests.modules.settlement_place import habits, place

pytestmark = pytest.mark.anyio
__all__ = ["habits", "place"]

# ── Whom money still needs


async def needed(place: Place, role: str) -> str:
    """Why a party may not be erased as far as settlement can tell; empty when it may."""
    async with place.tx() as tx:
        try:
            await reads.must_not_need(tx, PLATFORM, subject_id=place.parties[role])
        except auth.ErasureBlocked as refusal:
            return refusal.detail
    return ""


async def test_nobody_is_erased_while_money_of_theirs_is_on_its_way(place: Place) -> None:
    assert [await needed(place, role) for role in ACCOUNT_OF] == ["", "", ""]
    made = await place.lend(await place.listed())
    assert [await needed(place, role) for role in ACCOUNT_OF] == ["MONEY_ON_ITS_WAY", "MONEY_ON_ITS_WAY", ""]
    await place.until(made.id, "CLOSED")
    assert [await needed(place, role) for role in ACCOUNT_OF] == ["", "", ""]


async def test_a_buyer_that_paid_too_much_is_not_erased(place: Place) -> None:
    closed = await place.funded()
    await place.bank.pay(BUYER, COLLECTIONS, FACE.value + 777, closed.invoice_reference)
    await place.collect()
    assert [await needed(place, role) for role in ACCOUNT_OF] == ["", "", "REFUND_DUE"]


# ── Collections


async def test_the_buyers_payment_reaches_the_holder_and_the_token_is_burned(place: Place) -> None:
    closed = await place.funded()
    reference = closed.invoice_reference
    await place.bank.pay(BUYER, COLLECTIONS, FACE.value, reference)
    (collection,) = await place.collect()
    assert (collection.state, collection.match_method) == ("DISTRIBUTED", "EXACT")
    assert [(part.payee_subject_id, part.amount) for part in collection.onward] == [(place.parties["lender"], FACE)]
    assert (await place.invoice(reference)).state == "SETTLED"
    assert len(place.chain.mined_calls(BurnReceivable)) == 1
    assert await place.bank.balance_pence(LENDER) == 10_000_000 + DISCOUNT.value
    assert await place.balances() == {}
    assert await place.trail(collection.id) == ["RECEIVE_CREDIT"]
    trail = await place.trail(reference)
    after = [a for a in trail[trail.index("SELLER_CREDIT_ACK") + 1 :] if not a.startswith("CHAIN_TX")]
    assert sorted(after[:2]) == ["RECEIVE_SETTLEMENT", "RECON_LINE"]
    assert after[2:] == ["SETTLEMENT_START", "FIAT_OUT", "ONWARD_PAID", "BURN_REQUEST", "TOKEN_BURN"]


async def test_a_line_that_is_shown_twice_counts_once(place: Place) -> None:
    """SE-10: two readings, two workers, one row."""
    closed = await place.funded()
    await place.bank.pay(BUYER, COLLECTIONS, 250_000, closed.invoice_reference)
    place.time_passes(1)
    await place.ask("settlement.collect")
    await place.ask("settlement.collect")
    assert len(await place.collect()) == 1
    assert len(await place.collect()) == 1
    assert (await place.invoice(closed.invoice_reference)).collected == Pence(250_000)
    assert await place.balances() == {}


async def test_parts_are_passed_on_as_they_come_and_the_last_part_burns(place: Place) -> None:
    closed = await place.funded()
    reference = closed.invoice_reference
    await place.bank.pay(BUYER, COLLECTIONS, 400_000, f"fxi {reference[4:]} part 1")
    (first,) = await place.collect()
    assert (first.state, first.match_method) == ("DISTRIBUTED", "NORMALISED")
    assert (await place.invoice(reference)).state == "PART_PAID"
    assert not place.chain.mined_calls(BurnReceivable)
    await place.bank.pay(BUYER, COLLECTIONS, 600_000, reference)
    await place.collect()
    assert (await place.invoice(reference)).state == "SETTLED"
    assert await place.bank.balance_pence(LENDER) == 10_000_000 + DISCOUNT.value
    assert await place.balances() == {}


async def test_what_is_paid_too_much_is_due_back_and_never_passed_on(place: Place) -> None:
    """SE-12, SE-16: overpayment, then a second payment of a paid invoice."""
    closed = await place.funded()
    await place.bank.pay(BUYER, COLLECTIONS, FACE.value + 777, closed.invoice_reference)
    (over,) = await place.collect()
    assert (over.allocated, over.refund_due) == (FACE, Pence(777))
    await place.bank.pay(BUYER, COLLECTIONS, 5_000, closed.invoice_reference)
    again = (await place.collect())[1]
    assert (again.state, again.refund_due, again.onward) == ("REFUND_DUE", Pence(5_000), ())
    balances = await place.balances()
    assert balances == {
        "bank:collections": -5_777, f"refund_due:{over.id}": 777, f"refund_due:{again.id}": 5_000,
    }  # fmt: skip
    assert await place.bank.balance_pence(LENDER) == 10_000_000 + DISCOUNT.value


@pytest.mark.parametrize("narration", ["THANK YOU", "FXI-0000000", ""])
async def test_a_payment_that_names_no_invoice_lies_in_suspense(place: Place, narration: str) -> None:
    await place.bank.pay(BUYER, COLLECTIONS, 12_345, narration)
    (lost,) = await place.collect()
    assert (lost.state, lost.invoice_reference, lost.narration_match) == ("UNMATCHED", None, None)
    assert await place.collections("UNMATCHED") == [lost]
    assert await place.balances() == {"bank:collections": -12_345, "suspense": 12_345}
    assert (await place.facts(lost.id))["CreditUnmatched"] == 1
    assert await place.alerts() == {("CREDIT_UNMATCHED", lost.id): 1}


async def test_a_payment_that_names_two_invoices_is_a_persons_turn(place: Place) -> None:
    one, other = await place.listed(), await place.listed()
    await place.bank.pay(BUYER, COLLECTIONS, 100, f"{one} {other}")
    (lost,) = await place.collect()
    assert lost.state == "UNMATCHED"


async def test_a_payment_before_the_funding_waits_in_suspense_and_is_booked_after_it(place: Place) -> None:
    reference = await place.listed()
    await place.bank.pay(BUYER, COLLECTIONS, FACE.value, reference)
    place.time_passes(1)
    await place.ask("settlement.collect")

    async def seen() -> bool:
        return bool(await place.collections("MATCHED"))

    await place.work_until(seen)
    assert (await place.balances())["suspense"] == FACE.value
    made = await place.lend(reference)
    await place.until(made.id, "CLOSED")
    place.tick_seconds = 60
    await place.until_idle()
    assert (await place.invoice(reference)).state == "SETTLED"
    assert await place.balances() == {}


@pytest.mark.parametrize("habits", [{}, {"passes_end_to_end": False}, {"shows_transaction_ids": False}])
async def test_a_lenders_payment_on_the_collections_account_is_not_a_buyers(place: Place) -> None:
    """Even where a bank passes no end-to-end id on: then our reference and the amount tell."""
    reference = await place.listed()
    made = await place.lend(reference)
    await place.until(made.id, "CLOSED")
    assert await place.collect() == []
    assert (await place.trail(reference)).count("RECON_LINE") == 1
