"""Payments while their bank fails: each is made exactly once, and the books agree with the bank (SE-08 … SE-10)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fintokenx.app.api_client import eventually
from tests.failures.house import House, Paper, in_short
from tests.failures.matrix import BANK, REJECTS, STATEMENTS

pytestmark = pytest.mark.anyio

MODES = tuple(dict.fromkeys(row.mode for row in BANK))
PROCESSED = ("malformed", "lost_response")


async def asked(house: House, end_to_end_id: str, *, times: int = 1, seconds: float = 60) -> None:
    """The bank was asked for a payment so often while it failed."""

    async def seen() -> bool:
        deliveries = (await house.log("bank"))["deliveries"]
        mine = [one for one in deliveries if one["client_reference"] == end_to_end_id and one["mode"] != "up"]
        return len(mine) >= times

    await eventually(f"{end_to_end_id} at the failing bank", seen, seconds=seconds)


async def effects(house: House, end_to_end_id: str) -> int:
    """How often a payment moved money."""
    rows = [row for row in await house.instructions() if row["endToEndId"] == end_to_end_id]
    return sum(row["effects"] for row in rows)


async def moved_so_far(house: House, end_to_end_id: str, mode: str) -> None:
    """Money moved while the bank failed if, and only if, the bank processed what it was asked for."""
    if mode in PROCESSED:
        await house.sees(end_to_end_id, lambda: bank_says(house, end_to_end_id), "ACSC")
    assert await effects(house, end_to_end_id) == (1 if mode in PROCESSED else 0)


async def bank_says(house: House, end_to_end_id: str) -> str:
    """The bank's own status of a payment, empty before it has it."""
    rows = [row for row in await house.instructions() if row["endToEndId"] == end_to_end_id]
    return str(rows[0].get("status", "")) if rows else ""


async def onward_leg(house: House, paper: Paper) -> str:
    """The end-to-end id of the one onward payment of an invoice, once the buyer's money was seen."""

    async def leg() -> Any:
        for credit in (await house.partner.get("/v1/collections", limit=200))["items"]:
            if credit["invoice_reference"] == paper.reference and credit["onward_payments"]:
                return credit["onward_payments"][0]["leg"]
        return None

    return str(await eventually(f"the split of {paper.reference}", leg, seconds=60))


async def state_of(house: House, payment: str) -> str:
    """A disbursement's state."""
    return str((await house.payment(payment))["state"])


@pytest.mark.parametrize("mode", in_short(MODES, {"lost_response", "down"}))
async def test_every_payment_is_made_once_whatever_its_bank_does(house: House, mode: str) -> None:
    """One invoice through all three payments, each of them under the same fault. The chain stands still in between, so
    that the payout begins when the test wants it to."""
    lender_leg, payout, onward = (row for row in BANK if row.mode == mode)
    paper = await house.take_listed()

    await house.chain(paused=True)
    async with house.failing("bank", mode, **lender_leg.how):
        payment = await house.fund(paper)
        await asked(house, payment)
        assert await state_of(house, payment) in lender_leg.states
        await house.provider_is("bank", "failing")
        await moved_so_far(house, payment, mode)
    await house.payment_is(payment, "FIAT_FINAL")

    async with house.failing("bank", mode, **payout.how):
        await house.chain(paused=False)
        await asked(house, f"{payment}-P")
        assert await state_of(house, payment) in payout.states
        await moved_so_far(house, f"{payment}-P", mode)
    await house.payment_is(payment, "CLOSED")

    async with house.failing("bank", mode, **onward.how):
        await house.buyer_pays(paper)
        leg = await onward_leg(house, paper)
        await asked(house, leg, times=1 if mode in PROCESSED else 2)  # looked up in between, and not found
        assert await house.state(paper) in onward.states
    await house.invoice_is(paper, "SETTLED")
    await house.provider_is("bank", "working")

    assert [await effects(house, one) for one in (payment, f"{payment}-P", leg)] == [1, 1, 1]
    mine = [row for row in await house.instructions() if payment in row["endToEndId"] or leg in row["endToEndId"]]
    assert len(mine) == 3, "no fault of the transport makes a second payment under another id"
    await house.books_agree()


async def test_a_payment_that_is_refused_for_now_is_made_under_a_fresh_id(house: House) -> None:
    """SE-09: each of the three payments of one invoice is refused once (MS03)."""
    lender_leg, payout, onward = (row for row in REJECTS if "retriable" in row.mode)
    paper = await house.take_listed()

    await house.chain(paused=True)
    await house.fate("MS03")
    payment = await house.fund(paper)
    await house.payment_is(payment, *lender_leg.states)
    await house.pass_time(seconds=61)
    await house.payment_is(payment, "FIAT_FINAL")

    await house.fate("MS03")
    await house.chain(paused=False)
    await house.sees_in_trail(paper.reference, "FIAT_RETRY", times=2)
    assert await state_of(house, payment) in payout.states
    await house.pass_time(seconds=61)
    await house.payment_is(payment, "CLOSED")

    await house.fate("MS03")
    await house.buyer_pays(paper)
    await house.sees_in_trail(paper.reference, "FIAT_RETRY", times=3)
    assert await house.state(paper) in onward.states
    await house.pass_time(seconds=61)
    await house.invoice_is(paper, "SETTLED")

    legs = (payment, f"{payment}-P", await onward_leg(house, paper))
    assert [await bank_says(house, leg) for leg in legs] == ["RJCT"] * 3
    assert [await effects(house, leg) for leg in legs] == [0] * 3
    assert [await effects(house, f"{leg}-2") for leg in legs] == [1] * 3
    await house.books_agree()


async def test_a_payment_that_is_refused_for_good_is_not_tried_again(house: House) -> None:
    """SE-09: the lender is released and the listing open again; an advance stays owed and is a person's turn."""
    lender_leg, payout = (row for row in REJECTS if "terminal" in row.mode)
    paper = await house.take_listed()
    await house.fate("AC07")
    refused = await house.fund(paper)
    await house.payment_is(refused, *lender_leg.states)
    assert await house.state(paper) == "LISTED"

    await house.chain(paused=True)
    payment = await house.fund(paper)
    await house.payment_is(payment, "FIAT_FINAL")
    await house.fate("AC07")
    await house.chain(paused=False)
    await house.payment_is(payment, *payout.states)
    assert await house.state(paper) == "FUNDED"
    assert "FIAT_ESCALATE" in await house.trail(paper.reference)
    await house.pass_time(hours=1)
    assert [await effects(house, one) for one in (refused, payment, f"{payment}-P")] == [0, 1, 0]
    assert f"{payment}-P-2" not in {row["endToEndId"] for row in await house.instructions()}
    await house.books_agree()


async def test_nothing_is_closed_and_nothing_booked_while_statements_are_away(house: House) -> None:
    """SE-07, SE-14: a payment that left is not a payment that arrived."""
    credit, collection = STATEMENTS
    bought, owed = await asyncio.gather(house.take_listed(), house.take_listed())
    settled = await house.fund(owed)
    await house.payment_is(settled, "CLOSED")
    async with house.failing("bank", "down", only="GET /open-banking/"):
        payment = await house.fund(bought)
        await house.sees_in_trail(bought.reference, "FIAT_PAID")
        await house.buyer_pays(owed)
        await statements_asked(house, times=4)
        await house.provider_is("open_banking", "failing")
        assert await state_of(house, payment) in credit.states
        assert await house.state(owed) in collection.states
        await house.pass_time(hours=4, minutes=1)
        await house.sees_in_trail(bought.reference, "RECON_ALERT")
        assert await state_of(house, payment) in credit.states
        assert await house.state(owed) in collection.states
    await house.rested("open_banking")
    await house.pass_time(minutes=6)
    await house.payment_is(payment, "CLOSED")
    await house.invoice_is(owed, "SETTLED")
    await house.provider_is("open_banking", "working")
    assert (await house.trail(bought.reference)).count("RECON_ALERT") == 1
    assert (await house.trail(owed.reference)).count("RECEIVE_SETTLEMENT") == 1
    assert await effects(house, await onward_leg(house, owed)) == 1
    await house.books_agree()


async def statements_asked(house: House, *, times: int) -> None:
    """Open Banking was asked so often from now on."""

    async def count() -> int:
        return sum("/open-banking/" in one["path"] for one in (await house.log("bank"))["deliveries"])

    before = await count()

    async def enough() -> bool:
        return await count() >= before + times

    await eventually("statements were asked for", enough, seconds=60)
