"""The bank misbehaves, processes die, and the seller's credit closes a funding (SE-03, SE-06 … SE-09)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fintokenx.kernel.errors import Refused
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.settlement.ports import (
    BankCredit,
)
from fintokenx.lifecycle.settlement.service import (
    statement_lines,
)
from fintokenx.parties import auth
from tests.modules.settlement_house import (
    BUYER,
    COLLECTIONS,
    FACE,
    NET,
    PLATFORM,
    Place,
)
from tests.modules.settlement_place import habits, place

pytestmark = pytest.mark.anyio
__all__ = ["habits", "place"]

# ── The bank misbehaves


async def test_a_lost_answer_pays_once(place: Place) -> None:
    """IX-08: the outcome is unknown, so it is looked up and not paid again."""
    reference = await place.listed()
    await place.bank.mode("lost_response", times=1)
    made = await place.lend(reference)
    await place.until(made.id, "CLOSED")
    assert await place.effects() == {made.id: 1, f"{made.id}-P": 1}
    assert await place.balances() == {}


@pytest.mark.parametrize("mode", ["5xx", "down", "malformed", "wrong_shape", "late_read_model", "unknown_verdict"])
async def test_a_bank_that_answers_badly_is_asked_again_and_paid_once(place: Place, mode: str) -> None:
    reference = await place.listed()
    await place.bank.mode(mode)
    made = await place.lend(reference)

    async def tried_in_vain() -> bool:
        log = (await place.bank.http.get("/control/log")).json()
        return len(log["deliveries"]) >= 6

    await place.work_until(tried_in_vain)
    assert (await place.disbursement(made.id)).state == "FIAT_SENT"
    await place.bank.mode("up")
    await place.until(made.id, "CLOSED")
    assert await place.effects() == {made.id: 1, f"{made.id}-P": 1}


async def test_a_retriable_reject_is_tried_again_later_under_a_fresh_id(place: Place) -> None:
    """SE-09: growing delay, and never the id that the bank has rejected."""
    reference = await place.listed()
    await place.bank.control("fates", {"fate": "MS03", "times": 2})
    made = await place.lend(reference)
    await place.until(made.id, "CLOSED")
    effects = await place.effects()
    assert effects == {made.id: 0, f"{made.id}-2": 0, f"{made.id}-3": 1, f"{made.id}-P": 1}
    assert (await place.trail(reference)).count("FIAT_RETRY") == 2
    async with place.tx() as tx:
        rows = await tx.rows(
            "select queued_at, sent_at from app.payment_instructions where leg = $1 order by 1", made.id
        )
    waited = [(row["sent_at"] - row["queued_at"]).total_seconds() for row in rows]
    assert waited[1] >= 60
    assert waited[2] >= 300


async def test_a_payment_that_is_always_rejected_becomes_a_persons_turn(place: Place) -> None:
    reference = await place.listed()
    place.tick_seconds = 120
    await place.bank.control("fates", {"fate": "MS03", "times": 5})
    made = await place.lend(reference)
    await place.until(made.id, "OPS_ESCALATED")
    await place.until_idle()
    assert list((await place.effects()).values()) == [0] * 5
    assert (await place.facts(reference))["PaymentEscalated"] == 1
    assert await place.alerts() == {("PAYMENT_ESCALATED", reference): 1}
    assert await place.balances() == {}


async def test_a_terminal_reject_of_the_lenders_payment_cancels_the_funding(place: Place) -> None:
    """Account closed: no second try, and the listing is open again."""
    reference = await place.listed()
    await place.bank.control("fates", {"fate": "AC07"})
    made = await place.lend(reference)
    ended = await place.until(made.id, "CANCELLED")
    assert ended.end_reason == "FIAT_REJECTED: AC07"
    await place.until_idle()
    assert await place.effects() == {made.id: 0}
    assert (await place.invoice(reference)).state == "LISTED"
    assert await place.listing_state(reference) == "OPEN"


async def test_a_payout_that_comes_back_is_owed_again_and_told(place: Place) -> None:
    reference = await place.listed()
    await place.bank.control("fates", {"fate": "settle"})
    await place.bank.control("fates", {"fate": "return"})
    await place.bank.mode("down", only="GET /open-banking")
    made = await place.lend(reference)
    await place.until(made.id, "RETURNED")
    assert (await place.facts(reference))["PaymentEscalated"] == 1
    assert await place.alerts() == {("PAYMENT_ESCALATED", reference): 1}
    owed = {"bank:collections": -NET.value, f"payable:{place.parties['seller']}": NET.value}
    assert await place.balances() == owed
    await place.bank.mode("up")
    assert await place.collect() == []
    assert await place.balances() == owed


@pytest.mark.parametrize(("when", "call"), [("before", "submit"), ("after", "submit"), ("after", "look_up")])
async def test_a_process_that_dies_around_a_payment_pays_and_books_it_once(place: Place, when: str, call: str) -> None:
    """P-14: between intent and bank, between bank and answer, between settlement and journal."""
    reference = await place.listed()
    place.payments.die(when, call)
    made = await place.lend(reference)
    await place.until(made.id, "CLOSED")
    assert place.payments.died == 1
    assert await place.effects() == {made.id: 1, f"{made.id}-P": 1}
    assert await place.balances() == {}
    assert (await place.trail(reference)).count("FIAT_IN") == 1


async def test_jobs_that_were_lost_are_promised_again(place: Place) -> None:
    reference = await place.listed()
    made = await place.lend(reference)
    admin = await place.world.connect("postgres")
    await admin.execute("update ops.jobs set state = 'DEAD' where name = 'settlement.disburse'")
    await admin.close()
    await place.until_idle()
    assert (await place.disbursement(made.id)).state == "COMMITTED"
    place.time_passes(4 * 3600)
    await place.ask("settlement.resume")
    await place.until(made.id, "CLOSED")


@pytest.mark.parametrize("refused", [False, True])
async def test_money_that_is_final_is_followed_up_when_nobody_tells_what_became_of_its_token(
    place: Place, refused: bool
) -> None:
    """The job that was to tell is lost: the net looks at the chain transaction itself."""
    made = await place.lend(await place.listed())
    await place.until(made.id, "CHECKED", "FIAT_SENT")
    await place.lose("settlement.token_refused" if refused else "settlement.token_moved")
    if refused:
        place.chain.contracts.identities.clear()
    await place.until(made.id, "FIAT_FINAL")
    await place.until_idle()
    assert (await place.disbursement(made.id)).state == "FIAT_FINAL"
    place.time_passes(4 * 3600)
    await place.ask("settlement.resume")
    await place.until(made.id, "REFUNDED" if refused else "CLOSED")
    assert await place.balances() == {}


async def test_a_token_that_was_never_asked_for_is_asked_for(place: Place) -> None:
    made = await place.lend(await place.listed())
    await place.lose("tokenisation.transfer")
    await place.until(made.id, "FIAT_FINAL")
    await place.find_again()
    await place.admin(
        "alter table app.chain_tx disable trigger user",
        f"delete from app.chain_tx where business_key = '{made.id}'",
        "alter table app.chain_tx enable trigger user",
    )
    place.time_passes(4 * 3600)
    await place.ask("settlement.resume")
    await place.until(made.id, "CLOSED")
    assert await place.balances() == {}


@pytest.mark.parametrize("step", ["settlement.pay", "settlement.allocate"])
async def test_what_is_promised_again_does_not_add_up(place: Place, step: str) -> None:
    """A bank that never decides, an invoice that is not funded: for days the net runs every five minutes."""
    reference = await place.listed()
    if step == "settlement.pay":
        await place.bank.control("fates", {"fate": "hold"})
        made = await place.lend(reference)
        await place.until(made.id, "FIAT_SENT")
    else:
        await place.bank.pay(BUYER, COLLECTIONS, FACE.value, reference)
        place.time_passes(1)
        await place.ask("settlement.collect")

    async def waits() -> bool:
        return bool(await place.jobs(step)) and not await place.jobs("settlement.collect")

    await place.work_until(waits)
    place.tick_seconds = 300
    for _ in range(30):
        place.time_passes(3600)
        await place.ask("settlement.resume")

        async def resumed() -> bool:
            return not await place.jobs("settlement.resume")

        await place.work_until(resumed)
    assert 1 <= len(await place.jobs(step)) <= 3


# ── The seller's credit


async def test_nothing_closes_until_the_sellers_bank_shows_the_credit(place: Place) -> None:
    """SE-07, SE-14: Open Banking is down for five hours; one alert, then the truth."""
    reference = await place.listed()
    await place.bank.mode("down", only="GET /open-banking")
    made = await place.lend(reference)
    await place.until(made.id, "SELLER_PAYOUT_SENT")
    place.tick_seconds = 600

    async def alerted() -> bool:
        return "RECON_ALERT" in await place.trail(reference)

    await place.work_until(alerted)
    assert (await place.disbursement(made.id)).state == "SELLER_PAYOUT_SENT"
    await place.bank.mode("up")
    await place.until(made.id, "CLOSED")
    assert (await place.trail(reference)).count("RECON_ALERT") == 1
    assert await place.alerts() == {("RECONCILIATION_LATE", reference): 1}
    assert await place.raised() == set(), "its cause is gone"


async def test_an_advance_that_our_bank_does_not_pay_for_four_hours_is_told_too(place: Place) -> None:
    """SE-14: the clock runs from when it was sent, not from when our bank says that it has left."""
    reference = await place.listed()
    await place.bank.control("fates", {"fate": "settle"})
    await place.bank.control("fates", {"fate": "hold"})
    made = await place.lend(reference)
    await place.until(made.id, "SELLER_PAYOUT_SENT")
    place.tick_seconds = 120
    await place.alerted("RECONCILIATION_LATE", reference)
    await place.until_hours(3)
    assert (await place.disbursement(made.id)).paid_out_at is None
    assert await place.alerts() == {("PAYMENT_UNDECIDED", reference): 1, ("RECONCILIATION_LATE", reference): 1}


async def test_a_bank_that_hears_nothing_of_a_lenders_payment_is_told_of_once(place: Place) -> None:
    """SE-09: it answers 429 for ever, so nothing is wrong and nothing happens either."""
    reference = await place.listed()
    await place.bank.mode("rate_limited", only="POST /v3/payments")
    made = await place.lend(reference)
    await place.until(made.id, "FIAT_SENT")
    sent_at = place.world.clock.now()
    place.tick_seconds = 30
    await place.alerted("PAYMENT_UNDECIDED", reference)
    assert place.world.clock.now() - sent_at > timedelta(minutes=14)
    await place.until_hours(2)
    assert await place.alerts() == {("PAYMENT_UNDECIDED", reference): 1}
    assert await place.raised() == {"PAYMENT_UNDECIDED"}
    await place.bank.mode("up")
    await place.until(made.id, "CLOSED")
    assert await place.raised() == set()


async def test_only_the_advance_itself_to_the_penny_closes_and_only_once(place: Place) -> None:
    await place.bank.mode("down", only="GET /open-banking")
    made = await place.lend(await place.listed())

    async def paid_out() -> bool:
        return (await place.disbursement(made.id)).paid_out_at is not None

    await place.work_until(paid_out)
    now, end_to_end_id, reference = place.world.clock.now(), f"{made.id}-P", f"FX ADVANCE {made.invoice_reference[4:]}"

    async def closes(*credits_seen: BankCredit) -> bool:
        async with place.tx() as tx:
            watch = await statement_lines.watched(tx, PLATFORM, disbursement_id=made.id)
            assert watch is not None
            return await statement_lines.acknowledge(tx, PLATFORM, watch=watch, credits_seen=list(credits_seen))

    assert not await closes()
    assert not await closes(BankCredit("1", NET - Pence(1), now, reference, end_to_end_id))
    assert not await closes(BankCredit("2", NET, now, reference, "somebody-else"))
    assert not await closes(BankCredit("3", NET, now, "SOMETHING ELSE", ""))
    assert (await place.disbursement(made.id)).state == "SELLER_PAYOUT_SENT"
    assert await closes(BankCredit("4", NET, now, reference.lower(), ""))
    assert (await place.disbursement(made.id)).state == "CLOSED"


async def test_paper_of_a_frozen_buyer_is_not_bought_however_open_its_listing(place: Place) -> None:
    """MK-06."""
    listing = await place.listed()
    await place.tell("buyer", auth.SubjectEvent.FREEZE)
    with pytest.raises(Refused) as refusal:
        await place.lend(listing)
    assert refusal.value.code == "SUBJECT_NOT_ACTIVE"
    assert await place.balances() == {}


async def test_a_frozen_seller_is_paid_when_it_is_free_again(place: Place) -> None:
    made = await place.lend(await place.listed())
    place.chain.stall()
    await place.until(made.id, "FIAT_FINAL")
    await place.tell("seller", auth.SubjectEvent.FREEZE)
    place.chain.resume()

    async def held() -> bool:
        return "ONWARD_HELD" in await place.trail(made.invoice_reference)

    await place.work_until(held)
    assert (await place.disbursement(made.id)).state == "TOKEN_MOVED"
    balances = {"bank:collections": -NET.value, f"payable:{place.parties['seller']}": NET.value}
    assert await place.balances() == balances
    await place.tell("seller", auth.SubjectEvent.UNFREEZE)
    await place.until(made.id, "CLOSED")
