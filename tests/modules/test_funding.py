"""From a price to the lender's money: discount, matching, machines, and what a funding needs (SE-01 … SE-05)."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.desks.operations import OnlyWhileBlocksCome
from fintokenx.kernel.caller import Caller, Role, WrongRole
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import AdministratorRefused
from fintokenx.kernel.errors import Refused
from fintokenx.kernel.machine import NOTHING, IllegalTransition, Machine
from fintokenx.kernel.money import ZERO, Pence
from fintokenx.lifecycle import marketplace, settlement, tokenisation
from fintokenx.lifecycle.chainwork.jobs.blocks import BlockWatch
from fintokenx.lifecycle.chainwork.ports import ChainHead, ChainUnavailable
from fintokenx.lifecycle.settlement.service import (
    matching,
)
from fintokenx.lifecycle.settlement.transitions import MACHINES
from fintokenx.lifecycle.settlement.types import Price, portions
from fintokenx.parties import auth, kyc
from tests.database.administrators import People, admin_session, administrators
from tests.modules.settlement_house import (
    DISCOUNT,
    LENDER,
    NET,
    PLATFORM,
    SELLER,
    TENANT,
    Place,
)
from tests.modules.settlement_place import habits, place

pytestmark = pytest.mark.anyio
__all__ = ["habits", "place"]

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "discount.json").read_text())["vectors"]

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
            await audit.change(tx, PLATFORM, action=action, resource="r", move=audit.Changes((change,)))

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
