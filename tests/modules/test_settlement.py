"""Every pound moves once, and is accounted for (SE-01 … SE-18, MK-03, P-09, P-14, P-15, IX-07, IX-08).

The bank is the real mock bank over HTTP behind the real clients; the chain is the fake of tokenisation's tests.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI, Request, Response

from fintokenx import audit
from fintokenx.desks.operations import OnlyWhileBlocksCome
from fintokenx.kernel.caller import Caller, Role, WrongRole
from fintokenx.kernel.clock import Instant, to_wire
from fintokenx.kernel.db import AdministratorRefused
from fintokenx.kernel.errors import Refused
from fintokenx.kernel.machine import NOTHING, IllegalTransition, Machine
from fintokenx.kernel.money import ZERO, Pence
from fintokenx.lifecycle import ledger, marketplace, settlement, tokenisation
from fintokenx.lifecycle.chainwork.jobs.blocks import BlockWatch
from fintokenx.lifecycle.chainwork.ports import ChainHead, ChainUnavailable
from fintokenx.lifecycle.settlement import http as settlement_http
from fintokenx.lifecycle.settlement.ports import (
    BankCredit,
    PaymentOutcome,
    PaymentState,
)
from fintokenx.lifecycle.settlement.service import (
    funding,
    instructing,
    matching,
    readings,
    reads,
    reconciling,
    resuming,
    walking,
)
from fintokenx.lifecycle.settlement.transitions import MACHINES
from fintokenx.lifecycle.settlement.types import Price, Statement, portions
from fintokenx.lifecycle.tokenisation.ports import BurnReceivable
from fintokenx.parties import auth, kyc
from fintokenx.web.edge import Edge, problem
from fintokenx.web.services import Services
from tests.database.administrators import People, admin_session, administrators
from tests.modules.settlement_house import (
    ACCOUNT_OF,
    BUYER,
    COLLECTIONS,
    DISCOUNT,
    FACE,
    LENDER,
    NET,
    PLATFORM,
    SELLER,
    TENANT,
    Place,
    settlement_house,
)

pytestmark = pytest.mark.anyio

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "discount.json").read_text())["vectors"]


@pytest.fixture
def habits() -> dict[str, bool]:
    """How the accounts show on Open Banking; a test may say otherwise."""
    return {}


@pytest.fixture
async def place(cluster: str, template: str, tmp_path: Path, habits: dict[str, bool]) -> AsyncIterator[Place]:
    """The house with the accounts of these habits."""
    async with settlement_house(cluster, template, tmp_path, habits) as made:
        yield made


# ── Price


@pytest.mark.parametrize("row", VECTORS, ids=lambda row: f"{row['face_pence']}@{row['discount_bps']}")
def test_the_net_advance_is_the_published_formula(row: dict[str, Any]) -> None:
    """SE-08: tests/vectors/discount.json, each row with its working."""
    price = Price.of(Pence(row["face_pence"]), row["discount_bps"])
    assert (price.discount.value, price.net_advance.value) == (row["discount_pence"], row["net_advance_pence"])
    assert price.discount + price.net_advance == price.face


def test_there_are_at_least_twenty_published_vectors() -> None:
    assert len(VECTORS) >= 20


def test_a_discount_that_eats_the_face_is_refused() -> None:
    with pytest.raises(settlement.NothingToAdvance):
        Price.of(Pence(1), 1)


def test_an_amount_over_the_limit_is_carried_in_parts_that_add_up() -> None:
    parts = portions(Pence(250_000_001))
    assert [part.value for part in parts] == [100_000_000, 100_000_000, 50_000_001]
    assert portions(ZERO) == []


# ── Matching


@pytest.mark.parametrize(
    ("narration", "found"),
    [
        ("FXI-7KQ2M9A", [("FXI-7KQ2M9A", "EXACT")]),
        ("INV PAYMENT fxi-7kq2m9a THANKS", [("FXI-7KQ2M9A", "EXACT")]),
        ("FXI 7KQ2M9A", [("FXI-7KQ2M9A", "NORMALISED")]),
        ("fxi/7kq2 m9a", [("FXI-7KQ2M9A", "NORMALISED")]),
        ("FXI-7KQ2MOA", [("FXI-7KQ2M0A", "NORMALISED")]),
        ("FXI-7KQ2M9A FXI-0000001", [("FXI-7KQ2M9A", "EXACT"), ("FXI-0000001", "EXACT")]),
        ("FX ADVANCE 7KQ2M9A", []),
        ("FXD-7KQ2M9A0000000", []),
        ("INVOICE 42", []),
        ("", []),
    ],
)
def test_a_narration_names_an_invoice_exactly_or_nearly_or_not(narration: str, found: list[tuple[str, str]]) -> None:
    assert [(m.invoice_reference, m.method) for m in matching.candidates(narration)] == found


# ── Machines


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_what_is_not_in_the_table_is_illegal(machine: Machine) -> None:
    legal = {(line.source, line.event) for line in machine.transitions}
    for state in (NOTHING, *machine.states):
        for event in machine.events:
            if (state, event) not in legal:
                with pytest.raises(IllegalTransition):
                    machine.next(state, event)


async def test_the_database_refuses_a_leap_and_a_closing_without_the_banks_word(place: Place) -> None:
    made = await place.lend(await place.listed())
    key = {"tenant_id": TENANT, "id": made.id}

    async def leap(action: str, after: str) -> None:
        change = audit.update("disbursements", key=key, before={"state": "COMMITTED"}, after={"state": after})
        async with place.tx() as tx:
            await audit.change(tx, PLATFORM, action=action, resource="r", move=audit.Move((change,)))

    with pytest.raises(asyncpg.PostgresError, match="may not go from COMMITTED to TOKEN_MOVED"):
        await leap("FUND_INVOICE", "TOKEN_MOVED")
    admin = await place.world.connect("postgres")
    await admin.execute(
        "insert into fx.machine_transitions values ('disbursement', 'COMMITTED', 'x', 'CLOSED', 'TEST_SEED')"
    )
    await admin.close()
    with pytest.raises(asyncpg.CheckViolationError):
        await leap("TEST_SEED", "CLOSED")


# ── Funding


async def test_money_goes_from_lender_to_seller_and_the_token_from_us_to_the_lender(place: Place) -> None:
    reference = await place.listed()
    made = await place.lend(reference, expected_net_advance=NET)
    assert (made.price.net_advance, made.price.discount, made.state) == (NET, DISCOUNT, "COMMITTED")
    closed = await place.until(made.id, "CLOSED")
    assert closed.fps_ref
    assert closed.payout_fps_ref
    assert closed.seller_credit_acked_at
    assert await place.effects() == {made.id: 1, f"{made.id}-P": 1}
    assert await place.bank.balance_pence(SELLER) == NET.value
    assert await place.balances() == {}
    async with place.tx() as tx:
        token = await tokenisation.token_of(tx, PLATFORM, invoice_reference=reference)
    assert (token.state, token.holder_subject_id) == ("HELD", place.parties["lender"])
    assert (await place.invoice(reference)).state == "FUNDED"
    assert await place.listing_state(reference) == "CLOSED_FUNDED"
    story = [action for action in await place.trail(reference) if not action.startswith(("TOKEN_", "CHAIN_"))]
    assert story == [
        "LISTING_OPEN", "FUND_COMMIT", "FUND_CHECK", "FIAT_OUT", "FIAT_IN", "FUND_INVOICE", "FIAT_OUT", "FIAT_PAID",
        "SELLER_CREDIT_ACK",
    ]  # fmt: skip


async def test_the_record_of_the_funding_carries_the_fiat_and_the_chain_reference(place: Place) -> None:
    """SE-04, and one FUND_INVOICE only."""
    closed = await place.funded()
    entries = [e for e in await place.entries(closed.invoice_reference) if e.action == "FUND_INVOICE"]
    assert len(entries) == 1
    (row,) = [row for row in json.loads(entries[0].diff)["rows"] if row["table"] == "disbursements"]
    assert row["after"]["fps_ref"] == closed.fps_ref
    assert row["after"]["chain_tx_hash"] == closed.chain_tx_hash
    assert closed.chain_tx_hash in {signed.tx_hash for signed, _, _ in place.chain.mined}


async def test_of_twenty_lenders_at_once_one_funds(place: Place) -> None:
    """SE-06: the others get a conflict, not an error and not a second funding."""
    reference = await place.listed()

    async def race() -> str:
        try:
            return (await place.lend(reference)).id
        except Refused as refusal:
            return f"{refusal.status} {refusal.code}"

    answers = Counter(await asyncio.gather(*(race() for _ in range(20))))
    assert answers["409 ILLEGAL_TRANSITION"] == 19
    (won,) = [answer for answer in answers if answer.startswith("dis_")]
    await place.until(won, "CLOSED")
    assert (await place.trail(reference)).count("FUND_INVOICE") == 1
    assert sum((await place.effects()).values()) == 2


async def test_a_price_that_the_lender_did_not_expect_is_refused(place: Place) -> None:
    reference = await place.listed()
    with pytest.raises(settlement.PriceChanged):
        await place.lend(reference, expected_net_advance=NET + Pence(1))
    assert await place.listing_state(reference) == "OPEN"


async def test_an_advance_over_the_scheme_limit_is_refused(place: Place) -> None:
    reference = await place.listed(face=Pence(110_000_000))
    with pytest.raises(settlement.AmountOverFpsLimit):
        await place.lend(reference)
    assert await place.listing_state(reference) == "OPEN"


async def test_only_a_lender_commits_and_only_an_active_one(place: Place) -> None:
    reference = await place.listed()
    async with place.tx() as tx:
        listing = await marketplace.listing_of(tx, PLATFORM, invoice_reference=reference)
    async with place.tx() as tx:
        with pytest.raises(WrongRole):
            await settlement.commit(tx, place.caller("seller"), listing_id=listing.id)
    await place.tell("lender", auth.SubjectEvent.FREEZE)
    with pytest.raises(Refused) as refusal:
        await place.lend(reference)
    assert refusal.value.code == "SUBJECT_NOT_ACTIVE"


async def test_a_lender_whose_checks_are_too_old_is_refused_by_name(place: Place) -> None:
    """CH-16, SE-05: checked once, fourteen months ago; nothing has begun, the listing is still open."""
    reference = await place.listed()
    lender = place.parties["lender"]
    async with place.tx() as tx:
        cleared_at = (await auth.subject(tx, lender)).cleared_at
    assert cleared_at is not None
    key = {"tenant_id": TENANT, "id": lender}

    async def checked(before: Instant, after: Instant) -> None:
        await place.seed(audit.update("subjects", key=key, before={"cleared_at": before}, after={"cleared_at": after}))

    await checked(cleared_at, cleared_at - timedelta(days=426))
    with pytest.raises(kyc.ClearanceLapsed) as refusal:
        await place.lend(reference)
    assert refusal.value.code == "CLEARANCE_LAPSED"
    assert await place.listing_state(reference) == "OPEN"
    assert [entry for entry in await place.entries(reference) if entry.action == "FUND_COMMIT"] == []
    await checked(cleared_at - timedelta(days=426), cleared_at)
    made = await place.lend(reference)
    await checked(cleared_at, cleared_at - timedelta(days=426))
    ended = await place.until(made.id, "CANCELLED")
    assert ended.end_reason == "CLEARANCE_LAPSED", "also when it lapses between the commitment and the payment"
    assert await place.effects() == {}


async def test_a_lender_whose_wallet_is_not_registered_yet_is_told_so_at_once(place: Place) -> None:
    """And not a moment later by a commitment that is cancelled: nothing has begun, the listing is still open."""
    reference = await place.listed()
    fresh = "set state = 'CREATED', claims = 0, claims_expire_at = null, registered_at = null"
    lender = place.parties["lender"]
    await place.admin(
        "alter table app.wallets disable trigger user", f"update app.wallets {fresh} where subject_id = '{lender}'"
    )
    with pytest.raises(settlement.WalletNotReady):
        await place.lend(reference)
    assert await place.listing_state(reference) == "OPEN"
    assert (await place.invoice(reference)).state == "LISTED"
    assert [entry for entry in await place.entries(reference) if entry.action == "FUND_COMMIT"] == []


async def test_an_administrator_funds_for_a_lender_in_an_admin_session_only(place: Place) -> None:
    """AD-16: with the lender's guards, and both names on the entry."""
    reference, lender = await place.listed(), place.parties["lender"]
    ann, bob = await administrators(place.world)
    for_lender = replace(place.caller("lender"), role=Role.PLATFORM_ADMIN, actor=ann, on_behalf_of=lender)
    async with place.tx() as tx:
        listing = await marketplace.listing_of(tx, PLATFORM, invoice_reference=reference)

    async def commit(caller: Caller) -> settlement.Disbursement:
        async with place.tx() as tx:
            return await settlement.commit(tx, caller, listing_id=listing.id)

    with pytest.raises(WrongRole):
        await commit(for_lender)
    with pytest.raises(AdministratorRefused):
        await commit(replace(for_lender, acts_as=Role.LENDER))
    await admin_session(place.world, People(ann, bob, {TENANT: lender}), tenant_id=TENANT, purpose="ACT")
    made = await commit(replace(for_lender, acts_as=Role.LENDER))
    assert made.lender_subject_id == lender
    [entry] = [entry for entry in await place.entries(reference) if entry.action == "FUND_COMMIT"]
    assert (entry.actor, entry.actor_role, entry.on_behalf_of) == (ann, "platform_admin", lender)


async def test_what_the_network_would_refuse_costs_no_money(place: Place) -> None:
    """SE-05: the look at the chain comes before the fiat."""
    reference = await place.listed()
    made = await place.lend(reference)
    place.chain.contracts.identities.clear()
    ended = await place.until(made.id, "CANCELLED")
    assert ended.end_reason == "PREFLIGHT: wallet not verified"
    assert await place.effects() == {}
    assert (await place.invoice(reference)).state == "LISTED"
    assert await place.listing_state(reference) == "OPEN"


async def test_a_network_that_does_not_answer_is_waited_for(place: Place) -> None:
    reference = await place.listed()
    made = await place.lend(reference)
    place.chain.fail_before("can_transfer", ChainUnavailable("away"))
    place.chain.fail_before("can_transfer", ChainUnavailable("away"))
    await place.until(made.id, "CLOSED")
    assert "FUND_CANCEL" not in await place.trail(reference)


async def test_no_purchase_begins_while_the_network_makes_no_blocks(place: Place) -> None:
    """CH-01: it answers and says yes, but the token could not move. Once blocks come the purchase goes on by itself."""
    seconds, heads = itertools.count(), itertools.count(1)
    halted = ChainHead(0, 0)

    async def head() -> ChainHead:
        return halted if place.chain.is_stalled else ChainHead(next(heads), 0)

    asked: Any = SimpleNamespace(head=head)
    blocks = BlockWatch(asked, stall_seconds=5, machine_seconds=lambda: float(next(seconds)))
    place.tokens = OnlyWhileBlocksCome(place.chain, blocks)
    reference = await place.listed()
    place.chain.stall()
    made = await place.lend(reference)
    await place.until_hours(0.25)
    assert (await place.disbursement(made.id)).state == "COMMITTED"
    assert await place.effects() == {}
    place.chain.resume()
    await place.until(made.id, "CLOSED")
    assert await place.effects() == {made.id: 1, f"{made.id}-P": 1}


async def test_money_is_refunded_when_the_network_refuses_after_all(place: Place) -> None:
    """SE-05: same pence to the source; token still ours; alert; and the listing can be funded again."""
    reference = await place.listed()
    made = await place.lend(reference)
    await place.until(made.id, "CHECKED", "FIAT_SENT")
    identities = dict(place.chain.contracts.identities)
    place.chain.contracts.identities.clear()
    ended = await place.until(made.id, "REFUNDED")
    assert ended.refund_fps_ref
    assert await place.effects() == {made.id: 1, f"{made.id}-R": 1}
    assert await place.bank.balance_pence(LENDER) == 10_000_000
    assert await place.balances() == {}
    assert (await place.facts(reference))["TokenRefusedAfterFiat"] == 1
    assert await place.alerts() == {("TOKEN_REFUSED_AFTER_FIAT", reference): 1}
    assert (await place.invoice(reference)).state == "LISTED"
    place.chain.contracts.identities.update(identities)
    again = await place.lend(reference)
    await place.until(again.id, "CLOSED")


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
            watch = await reconciling.watched(tx, PLATFORM, disbursement_id=made.id)
            assert watch is not None
            return await reconciling.acknowledge(tx, PLATFORM, watch=watch, credits_seen=list(credits_seen))

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


# ── What is on the account is in the books


@pytest.mark.parametrize("habit", ["by id", "by reference"])
async def test_a_lender_that_pays_by_hand_for_a_funding_that_has_ended_finds_its_money_in_suspense(
    place: Place, habit: str
) -> None:
    """Its own payment was refused; what it then sends under the same name is not what was cancelled."""
    reference = await place.listed()
    await place.bank.control("fates", {"fate": "AC07"})
    made = await place.lend(reference)
    await place.until(made.id, "CANCELLED")
    more = {"end_to_end_id": made.id} if habit == "by id" else {}
    await place.bank.pay(LENDER, COLLECTIONS, NET.value, instructing.funding_reference(made.id), **more)
    (lost,) = await place.collect()
    assert (lost.state, lost.amount) == ("UNMATCHED", NET)
    assert await place.balances() == {"bank:collections": -NET.value, "suspense": NET.value}


async def test_a_lender_that_pays_twice_finds_the_second_payment_in_suspense(place: Place) -> None:
    made = await place.funded()
    await place.bank.pay(LENDER, COLLECTIONS, NET.value, instructing.funding_reference(made.id), end_to_end_id=made.id)
    (lost,) = await place.collect()
    assert (lost.state, await place.lines()) == (
        "UNMATCHED", [("collection", NET.value), ("funding", NET.value), ("seller_credit", NET.value)],
    )  # fmt: skip
    assert await place.balances() == {"bank:collections": -NET.value, "suspense": NET.value}


async def test_a_payer_without_an_id_is_not_another_payer(place: Place) -> None:
    """ISO 20022 writes NOTPROVIDED: the reference tells, as where there is no id at all."""
    made = await place.sent(await place.listed())
    settled = PaymentOutcome(PaymentState.SETTLED, "bank-1")
    shown = BankCredit("t", NET, place.world.clock.now(), instructing.funding_reference(made.id), "NOTPROVIDED")
    async with place.tx() as tx:
        await walking.conclude(tx, PLATFORM, end_to_end_id=made.id, outcome=settled)
    async with place.tx() as tx:
        statement = Statement(COLLECTIONS, shown.booked_at, (shown,))
        await reconciling.take_line(tx, PLATFORM, statement=statement, credit=shown)
    assert await place.lines() == [("funding", NET.value)]


OUTCOMES = {
    "settled": PaymentOutcome(PaymentState.SETTLED, "bank-1"),
    "refused": PaymentOutcome(PaymentState.REJECTED, "", "AC07"),
    "refused for now": PaymentOutcome(PaymentState.REJECTED, "", "MS03", retriable=True),
    "returned": PaymentOutcome(PaymentState.RETURNED, "bank-1", "AC04"),
}


@dataclass
class Account:
    """What the bank has on the collections account: its credits less the payments of ours that left it."""

    place: Place
    chance: random.Random
    pence: int = 0
    lines: list[BankCredit] = field(default_factory=list)

    @property
    def since(self) -> Instant:
        return min(line.booked_at for line in self.lines)

    def shown(self, end_to_end_id: str, reference: str) -> BankCredit:
        """Somebody pays the amount of a payment under its name, in one of the ways in which banks show that."""
        named = self.chance.choice([end_to_end_id, "", "NOTPROVIDED"])
        return BankCredit(self.place.world.ids.new("tx"), NET, self.place.world.clock.now(), reference, named)

    async def take(self, credit: BankCredit) -> None:
        """One of the lines, off the statement as it is now."""
        if credit not in self.lines:
            self.lines.append(credit)
        statement = Statement(COLLECTIONS, self.since, tuple(self.lines))
        async with self.place.tx() as tx:
            if credit in await reconciling.open_lines(tx, PLATFORM, statement=statement):
                await reconciling.take_line(tx, PLATFORM, statement=statement, credit=credit)

    async def happen(self, leg: str, outcome: str, credits_shown: list[BankCredit], *, told: bool = False) -> None:
        """A payment's outcome, and lines that name it, in any order; at last the statement is read once more."""
        events: list[BankCredit | str] = [*credits_shown, outcome]
        self.chance.shuffle(events)
        for event in events:
            if isinstance(event, BankCredit):
                self.pence += event.amount.value
                self.lines.append(event)
                await self.take(event)
            else:
                async with self.place.tx() as tx:
                    await walking.conclude(tx, PLATFORM, end_to_end_id=leg, outcome=OUTCOMES[event])
        if told:
            async with self.place.tx() as tx:
                await walking.returned(tx, PLATFORM, end_to_end_id=leg, outcome=OUTCOMES["returned"])
        for credit in self.lines:
            await self.take(credit)

    async def in_the_books(self) -> int:
        async with self.place.tx() as tx:
            trial = await ledger.trial_balance(tx, PLATFORM)
        return sum(a.debit.value - a.credit.value for a in trial.accounts if a.code == "bank:collections")


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_comes_in_whatever_order_the_account_and_the_books_agree(place: Place, seed: int) -> None:
    """SE-16: every outcome of a lender's payment and of its refund, with none to three credits under their names."""
    chance = random.Random(seed)
    account = Account(place, chance)
    references = [await place.listed() for _ in range(12)]
    for number, reference in enumerate(references):
        made = await place.sent(reference)
        outcome = list(OUTCOMES)[number % 4] if number < 8 else "settled"
        own = instructing.funding_reference(made.id)
        count = chance.randint(1, 3) if outcome == "settled" else chance.randint(0, 3)
        await account.happen(made.id, outcome, [account.shown(made.id, own) for _ in range(count)])
        assert await account.in_the_books() == account.pence, (number, outcome, count)
        if outcome != "settled":
            continue
        async with place.tx() as tx:
            await funding.token_refused(tx, PLATFORM, disbursement_id=made.id, reason="no")
        leg = f"{made.id}-R"
        async with place.tx() as tx:
            assert await walking.start(tx, PLATFORM, end_to_end_id=leg) is not None
        back = chance.choice(list(OUTCOMES))
        account.pence -= NET.value if back in ("settled", "returned") else 0
        told = back == "settled" and chance.random() < 0.5
        count = chance.randint(1 if told or back == "returned" else 0, 3)
        shown = [account.shown(leg, f"FX REFUND {reference[4:]}") for _ in range(count)]
        await account.happen(leg, back, shown, told=told)
        assert await account.in_the_books() == account.pence, (number, back, count, told)


async def test_a_line_that_waits_for_its_payment_is_still_read_days_later(place: Place) -> None:
    """The bank takes its time to decide, newer lines come, and the line of that payment is not left behind."""
    made = await place.sent(await place.listed())
    sent_at = place.world.clock.now()
    line = BankCredit("old", NET, sent_at, "", made.id)
    account = Account(place, random.Random(0))
    await account.take(line)
    assert await place.lines() == []
    place.time_passes(5 * 86_400)
    await account.take(BankCredit("new", Pence(1), place.world.clock.now(), "WHAT", ""))
    async with place.tx() as tx:
        _, since = await readings.statement(tx, PLATFORM)
    assert since < sent_at
    async with place.tx() as tx:
        await walking.conclude(tx, PLATFORM, end_to_end_id=made.id, outcome=OUTCOMES["refused"])
    await account.take(line)
    assert await place.lines() == [("collection", 1), ("collection", NET.value)]


async def test_a_line_without_money_and_one_from_the_future_stop_nobody(place: Place) -> None:
    in_a_year = to_wire(place.world.clock.now() + timedelta(days=365))
    await place.show(0, "zero")
    await place.show(100, "tomorrow", BookingDateTime=in_a_year)
    await place.bank.pay(BUYER, COLLECTIONS, 200, "WHAT")
    await place.collect()
    await place.bank.pay(BUYER, COLLECTIONS, 300, "WHAT")
    *first, last = [c.amount.value for c in await place.collect()]
    assert (sorted(first), last) == ([100, 200], 300), "of one instant, in any order"
    assert await place.lines() == [("collection", 100), ("collection", 200), ("collection", 300), ("nothing", 0)]
    assert await place.trail("04000412345678:zero") == ["RECON_LINE"]


async def test_a_line_that_cannot_be_booked_stops_nobody_and_is_told_and_not_forgotten(place: Place) -> None:
    """Its id is longer than any that we keep: the job fails for it, the others are in the books."""
    began = place.world.clock.now()
    await place.show(100, "x" * 300)
    await place.bank.pay(BUYER, COLLECTIONS, 200, "WHAT")
    place.time_passes(1)
    await place.ask("settlement.collect")
    await place.alerted("STATEMENT_LINE_NOT_TAKEN", "04000412345678")

    async def failed() -> bool:
        return [job["last_error"] for job in await place.jobs("settlement.collect")] == ["LINES_NOT_TAKEN"]

    await place.work_until(failed)
    assert [c.amount.value for c in await place.collections()] == [200]
    place.tick_seconds = 7200
    await place.until_hours(72)
    await place.bank.pay(BUYER, COLLECTIONS, 300, "WHAT")
    place.time_passes(1)
    await place.ask("settlement.collect")

    async def newer_is_booked() -> bool:
        return [c.amount.value for c in await place.collections()] == [200, 300]

    await place.work_until(newer_is_booked)
    assert (await place.alerts())["STATEMENT_LINE_NOT_TAKEN", "04000412345678"] == 1
    async with place.tx() as tx:
        _, since = await readings.statement(tx, PLATFORM)
    assert since < began


async def test_a_statement_that_cannot_be_read_for_four_hours_is_told_of_once(place: Place) -> None:
    """SE-14: and an outage is two entries, not one for every try."""
    await place.bank.mode("down", only="GET /open-banking")
    await place.ask("settlement.collect")
    place.tick_seconds = 300
    await place.until_hours(3)
    assert not await place.alerts()
    await place.alerted("STATEMENT_UNREADABLE", "04000412345678")
    await place.until_hours(10)
    assert await place.alerts() == {("STATEMENT_UNREADABLE", "04000412345678"): 1}
    await place.bank.mode("up")
    await place.until_idle()
    assert await place.trail("04000412345678") == [
        "RECON_GAP",
        "ALERT_RAISE",
        "RECON_WHOLE",
        "ALERT_CLEAR",
    ]
    assert await place.raised() == set()


# ── Frozen parties


async def test_a_share_that_was_held_is_released_even_when_nobody_says_that_its_payee_is_free(place: Place) -> None:
    """The job is lost, or ran before the payment was held."""
    closed = await place.funded()
    await place.tell("lender", auth.SubjectEvent.FREEZE)
    await place.bank.pay(BUYER, COLLECTIONS, FACE.value, closed.invoice_reference)
    await place.collect()
    await place.ask("settlement.resume")
    await place.until_idle()
    assert [c.state for c in await place.collections()] == ["PART_HELD"]
    await place.lose("settlement.release_held")
    await place.tell("lender", auth.SubjectEvent.UNFREEZE)
    await place.until_idle()
    assert [c.state for c in await place.collections()] == ["PART_HELD"]
    await place.find_again()
    for run in ("job_1", "job_2"):
        async with place.tx() as tx:
            await resuming.promise_again(tx, PLATFORM, job_id=run)
    assert len(await place.jobs("settlement.release_held")) == 2, "a run's promise is its own, whoever asked"
    await place.until_idle()
    assert [c.state for c in await place.collections()] == ["DISTRIBUTED"]
    assert await place.balances() == {}


async def test_a_frozen_holders_share_is_held_and_the_token_not_burned_until_it_is_free(place: Place) -> None:
    """SE-18."""
    closed = await place.funded()
    reference = closed.invoice_reference
    await place.tell("lender", auth.SubjectEvent.FREEZE)
    await place.bank.pay(BUYER, COLLECTIONS, FACE.value, reference)
    (held,) = await place.collect()
    assert held.state == "PART_HELD"
    assert (await place.invoice(reference)).state == "SETTLING"
    assert not place.chain.mined_calls(BurnReceivable)
    owed = {"bank:collections": -FACE.value, f"payable:{place.parties['lender']}": FACE.value}
    assert await place.balances() == owed
    await place.tell("lender", auth.SubjectEvent.UNFREEZE)
    await place.until_idle()
    assert [c.state for c in await place.collections()] == ["DISTRIBUTED"]
    assert (await place.invoice(reference)).state == "SETTLED"
    assert await place.balances() == {}


async def test_a_leg_cannot_be_live_twice_whatever_the_code_does(place: Place) -> None:
    closed = await place.funded()
    async with place.tx() as tx:
        row = await tx.row("select * from app.payment_instructions where end_to_end_id = $1", closed.id)
    assert row is not None
    admin = await place.world.connect("postgres")
    await admin.execute(
        "insert into fx.machine_transitions values ('payment_instruction', '', 'x', 'QUEUED', 'TEST_SEED')"
    )
    await admin.close()
    twin = {**dict(row), "end_to_end_id": f"{closed.id}-2", "attempt": 2, "state": "QUEUED"}
    with pytest.raises(asyncpg.UniqueViolationError, match="one_live_per_leg"):
        await place.seed(audit.insert("payment_instructions", twin))


# ── The API


@pytest.fixture
async def client(place: Place) -> AsyncIterator[httpx.AsyncClient]:
    """The routes, with callers that a header names: their authentication is auth's own business."""

    async def authenticate(request: Request) -> Caller:
        role, _, key = request.headers["test-caller"].partition("+")
        if role in place.parties:
            subject_id = place.parties[role]
            return Caller(TENANT, Role(role), subject_id, subject_id=subject_id, has_api_key=key == "key")
        return Caller(TENANT, Role(role), f"test:{role}", has_api_key=key == "key")

    app = FastAPI()
    app.include_router(settlement_http.router)
    app.state.services = Services(
        Edge(place.world.database, place.world.ids, authenticate, b"fingerprint key of tests")
    )

    @app.middleware("http")
    async def name_request(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        request.state.request_id = "req_test"
        return await call_next(request)

    @app.exception_handler(Refused)
    async def refused(_request: Request, refusal: Refused) -> Response:
        return problem(refusal, "req_test")

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as made:
        yield made


def as_(caller: str, key: str = "k1") -> dict[str, str]:
    return {"test-caller": caller, "fx-idempotency-key": key}


async def test_a_lender_funds_with_session_and_key_once_per_idempotency_key(
    place: Place, client: httpx.AsyncClient
) -> None:
    """SE-01, AU-09."""
    reference = await place.listed()
    async with place.tx() as tx:
        listing = await marketplace.listing_of(tx, PLATFORM, invoice_reference=reference)
    body = {"listing_id": listing.id, "expected_net_advance_pence": NET.value}
    for caller in ("lender", "partner_admin+key"):
        assert (await client.post("/v1/payments", json=body, headers=as_(caller))).status_code == 403
    first = await client.post("/v1/payments", json=body, headers=as_("lender+key"))
    second = await client.post("/v1/payments", json=body, headers=as_("lender+key"))
    assert (first.status_code, second.status_code) == (201, 201), first.text
    assert first.content == second.content
    taken = await client.post("/v1/payments", json=body, headers=as_("lender+key", "k2"))
    assert (taken.status_code, taken.json()["code"]) == (409, "ILLEGAL_TRANSITION")
    shown = await client.get(f"/v1/payments/{first.json()['id']}", headers=as_("seller"))
    assert (shown.status_code, shown.json()["net_advance_pence"]) == (200, NET.value)
    assert (await client.get("/v1/payments/dis_none", headers=as_("lender"))).status_code == 404


@pytest.mark.parametrize("amount", [0, -1, 1.5, "982000", True])
async def test_an_expected_advance_is_a_positive_whole_number(
    place: Place, client: httpx.AsyncClient, amount: object
) -> None:
    body = {"listing_id": place.world.ids.new("lst"), "expected_net_advance_pence": amount}
    assert (await client.post("/v1/payments", json=body, headers=as_("lender+key"))).status_code == 422


async def test_staff_see_collections_and_customers_do_not(place: Place, client: httpx.AsyncClient) -> None:
    for pence in (100, 200):
        await place.bank.pay(BUYER, COLLECTIONS, pence, "WHAT")
        await place.collect()
    page = (await client.get("/v1/collections?state=UNMATCHED&limit=1", headers=as_("compliance"))).json()
    assert [item["amount_pence"] for item in page["items"]] == [100]
    rest = (await client.get(f"/v1/collections?after={page['next']}", headers=as_("compliance"))).json()
    assert ([item["amount_pence"] for item in rest["items"]], rest["next"]) == ([200], None)
    one = await client.get(f"/v1/collections/{page['next']}", headers=as_("compliance"))
    assert one.json() == page["items"][0]
    assert (await client.get("/v1/collections", headers=as_("lender"))).status_code == 403
    assert (await client.get("/v1/collections/col_none", headers=as_("compliance"))).status_code == 404


async def test_an_officer_sees_and_decides_what_a_doubtful_line_is(place: Place, client: httpx.AsyncClient) -> None:
    now = place.world.clock.now()
    lines_shown = [BankCredit(name, Pence(500), now, "", "") for name in ("T1", "T2")]
    for line in lines_shown:
        async with place.tx() as tx:
            statement = Statement(COLLECTIONS, now, (line,))
            await reconciling.take_line(tx, PLATFORM, statement=statement, credit=line)
    page = (await client.get("/v1/line-doubts?state=OPEN", headers=as_("compliance"))).json()
    [doubt] = page["items"]
    assert (doubt["amount_pence"], doubt["state"], page["next"]) == (500, "OPEN", None)
    assert (await client.get("/v1/line-doubts", headers=as_("lender"))).status_code == 403
    place_of_it = f"/v1/line-doubts/{doubt['line_id']}/decision"
    for body in ({}, {"decision": "SAME"}, {"decision": "NEW", "same_as": doubt["may_be"][0]}, {"decision": "BOTH"}):
        assert (await client.post(place_of_it, json=body, headers=as_("compliance"))).status_code == 422
    body = {"decision": "SAME", "same_as": doubt["may_be"][0]}
    assert (await client.post(place_of_it, json=body, headers=as_("partner_admin"))).status_code == 403
    decided = await client.post(place_of_it, json=body, headers=as_("compliance"))
    assert (decided.status_code, decided.json()["state"]) == (200, "SAME"), decided.text
    again = await client.post(place_of_it, json=body, headers=as_("compliance", "k2"))
    assert (again.status_code, again.json()["code"]) == (409, "ILLEGAL_TRANSITION")
    assert len(await place.collections()) == 1
