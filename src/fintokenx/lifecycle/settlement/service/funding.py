"""From a lender's commitment to the token in its hands (F1 … TOKEN_MOVED), and the ways back."""

from __future__ import annotations

from dataclasses import dataclass

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role, system
from fintokenx.kernel.db import Tx
from fintokenx.kernel.errors import Refused
from fintokenx.kernel.machine import NOTHING
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle import chainwork, invoice, ledger, marketplace, tokenisation
from fintokenx.lifecycle.settlement import store
from fintokenx.lifecycle.settlement.events import (
    FundingCancelled,
    FundingCommitted,
    FundingRefunded,
    InvoiceFunded,
    TokenRefusedAfterFiat,
)
from fintokenx.lifecycle.settlement.ports import PaymentOutcome
from fintokenx.lifecycle.settlement.service import alerting, instructing
from fintokenx.lifecycle.settlement.service.reads import locked, of_instruction
from fintokenx.lifecycle.settlement.transitions import (
    DISBURSEMENT,
    INSTRUCTION,
    DisbursementEvent,
    DisbursementState,
    InstructionEvent,
)
from fintokenx.lifecycle.settlement.types import (
    FPS_LIMIT,
    AmountOverFpsLimit,
    Disbursement,
    Instruction,
    Price,
    PriceChanged,
    Purpose,
    WalletNotReady,
)
from fintokenx.parties import kyc, partner

PREFIX = "dis_"


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the network is asked before money moves: may this wallet receive the whole of this token?"""

    token_id: int
    to_wallet: str
    face: Pence


async def commit(tx: Tx, caller: Caller, *, listing_id: str, expected_net_advance: Pence | None = None) -> Disbursement:
    """Commit a lender to a listing (F1): disbursement, listing and invoice move in one entry.

    The price is the published formula over what is listed. Of many who try at once one succeeds.

    :raises marketplace's refusals, IllegalTransition: the listing is gone, taken, or over the lender's cap
    :raises kyc.ClearanceLapsed: the checks behind the lender's clearance are older than a year
    :raises kyc.SubjectNotActive, kyc.NoDesignatedAccount: lender or seller cannot be paid from or to
    :raises WalletNotReady: the network does not know the lender's wallet yet
    :raises PriceChanged, AmountOverFpsLimit, NothingToAdvance: the price
    """
    caller.must_be(Role.LENDER, tenant_id=tx.tenant_id)
    lender_id = caller.must_be_subject()
    await partner.require_feature(tx, partner.Feature.FUNDING)
    await kyc.must_be_active(tx, lender_id)
    await kyc.must_be_cleared(tx, lender_id)
    await _wallet_must_be_ready(tx, caller, lender_id)
    # As the platform: a listing that a faster lender took is a conflict for the slower ones, not "not found".
    listing = await marketplace.listing(tx, system(tx.tenant_id, "commit"), listing_id=listing_id)
    taken = await marketplace.committed(tx, caller, listing_id=listing_id, lender_subject_id=lender_id)
    sold = await invoice.get(tx, caller, reference=listing.invoice_reference)
    await _all_may_and_can(tx, sold, lender_id)
    price = _agreed_price(listing.face, listing.asking_discount_bps, expected_net_advance)
    disbursement = Disbursement(
        tenant_id=tx.tenant_id,
        id=tx.ids.new("dis"),
        listing_id=listing_id,
        invoice_reference=sold.reference,
        token_reference=listing.token_reference,
        lender_subject_id=lender_id,
        seller_subject_id=sold.originator_id,
        price=price,
        state=DISBURSEMENT.next(NOTHING, DisbursementEvent.COMMIT).target,
        fps_ref=None,
        payout_fps_ref=None,
        refund_fps_ref=None,
        chain_tx_hash=None,
        end_reason=None,
        committed_at=tx.at,
        paid_out_at=None,
        recon_alerted_at=None,
        seller_credit_acked_at=None,
    )
    promised = await invoice.committed(tx, caller, reference=sold.reference)
    told = FundingCommitted(disbursement.id, sold.reference, lender_id)
    move = audit.Changes((store.new_disbursement(disbursement),), (told,)) + taken + promised
    await audit.change(tx, caller, action="FUND_COMMIT", resource=sold.reference, move=move)
    tx.enqueue("settlement.disburse", {"disbursement_id": disbursement.id}, dedupe_key=disbursement.id)
    return disbursement


async def _wallet_must_be_ready(tx: Tx, caller: Caller, lender_id: str) -> None:
    """Wallets are made and registered after activation. A commitment before would only be cancelled a moment later."""
    try:
        wallet = await tokenisation.wallet_of(tx, caller, subject_id=lender_id)
    except tokenisation.UnknownWallet:
        raise WalletNotReady from None
    if not wallet.registered:
        raise WalletNotReady


def _agreed_price(face: Pence, discount_bps: int, expected: Pence | None) -> Price:
    price = Price.of(face, discount_bps)
    if expected is not None and expected != price.net_advance:
        raise PriceChanged(f"the net advance is {price.net_advance}", net_advance_pence=price.net_advance.value)
    if price.net_advance > FPS_LIMIT:
        raise AmountOverFpsLimit(f"the net advance is {price.net_advance}; the limit is {FPS_LIMIT}")
    return price


async def _all_may_and_can(tx: Tx, sold: invoice.Invoice, lender_id: str) -> None:
    """Nobody buys paper of a seller or a buyer that is not active (MK-06), and both ends of the money have accounts."""
    for subject_id in (sold.originator_id, sold.obligor_id):
        await kyc.must_be_active(tx, subject_id)
    for subject_id in (lender_id, sold.originator_id):
        await kyc.designated_account(tx, subject_id)


async def to_check(tx: Tx, caller: Caller, *, disbursement_id: str) -> Candidate | None:
    """What to ask the network; None when this is past checking, or has just been cancelled for want of a wallet."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    disbursement = await locked(tx, disbursement_id)
    if disbursement.state != DisbursementState.COMMITTED:
        return None
    token = await tokenisation.token_of(tx, caller, invoice_reference=disbursement.invoice_reference)
    try:
        wallet = await tokenisation.wallet_of(tx, caller, subject_id=disbursement.lender_subject_id)
    except tokenisation.UnknownWallet:
        await cancel(tx, caller, disbursement, reason="NO_WALLET")
        return None
    return Candidate(token.token_id, wallet.address, token.face)


async def checked(tx: Tx, caller: Caller, *, disbursement_id: str, allowed: bool, reason: str) -> None:
    """F1 → F2 and the lender's payment queued, or CANCELLED with the listing open again."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    disbursement = await locked(tx, disbursement_id)
    if disbursement.state != DisbursementState.COMMITTED:
        return
    if not allowed:
        await cancel(tx, caller, disbursement, reason=f"PREFLIGHT: {reason}")
        return
    try:
        await kyc.must_be_active(tx, disbursement.lender_subject_id)
        await kyc.must_be_cleared(tx, disbursement.lender_subject_id)
        sold = await invoice.get(tx, caller, reference=disbursement.invoice_reference)
        await _all_may_and_can(tx, sold, disbursement.lender_subject_id)
    except Refused as refusal:
        await cancel(tx, caller, disbursement, reason=refusal.code)
        return
    transition = DISBURSEMENT.next(disbursement.state, DisbursementEvent.CHECK)
    move = audit.Changes((store.changed_disbursement(disbursement, state=transition.target),))
    move += await instructing.funding(tx, disbursement)
    await audit.change(tx, caller, action=transition.action, resource=disbursement.invoice_reference, move=move)


async def cancel(
    tx: Tx, caller: Caller, disbursement: Disbursement, *, reason: str, payment: audit.Changes | None = None
) -> None:
    """End a commitment before any money is ours: listing open, invoice listed again. ``payment`` is its last word."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    transition = DISBURSEMENT.next(disbursement.state, DisbursementEvent.CANCEL)
    row = store.changed_disbursement(disbursement, state=transition.target, end_reason=reason[:200])
    told = FundingCancelled(
        disbursement.id, disbursement.invoice_reference, disbursement.lender_subject_id, reason[:200]
    )
    move = audit.Changes((row,), (told,)) + (payment or audit.Changes())
    move += await marketplace.reopened(tx, caller, listing_id=disbursement.listing_id, action="FUND_CANCEL")
    move += await invoice.released(tx, caller, reference=disbursement.invoice_reference, refunded=False)
    await audit.change(tx, caller, action=transition.action, resource=disbursement.invoice_reference, move=move)


async def fiat_in(tx: Tx, caller: Caller, paid: Instruction, outcome: PaymentOutcome) -> None:
    """The lender's money is final in collections: journal it, and ask for the token under the disbursement's id."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    disbursement = await of_instruction(tx, paid)
    transition = DISBURSEMENT.next(disbursement.state, DisbursementEvent.SETTLE)
    rows = (
        store.changed_disbursement(disbursement, state=transition.target, fps_ref=outcome.bank_ref),
        concluded(tx, paid, InstructionEvent.SETTLE_IN, outcome),
    )
    net, lender = disbursement.price.net_advance, ledger.held_for(disbursement.lender_subject_id)
    move = audit.Changes(rows) + await ledger.post(
        tx,
        caller,
        kind="FIAT_IN",
        resource=disbursement.invoice_reference,
        lines=[ledger.Line(ledger.BANK_COLLECTIONS, debit=net), ledger.Line(lender, credit=net)],
    )
    refused = ""
    try:
        move += await _token_asked_for(tx, caller, disbursement)
    except Refused as refusal:  # the money is here all the same: say so first, then send it back
        refused = refusal.code
    await audit.change(tx, caller, action=transition.action, resource=disbursement.invoice_reference, move=move)
    if refused:
        await token_refused(tx, caller, disbursement_id=disbursement.id, reason=refused)


async def _token_asked_for(tx: Tx, caller: Caller, disbursement: Disbursement) -> audit.Changes:
    return await tokenisation.transfer(
        tx,
        caller,
        token_reference=disbursement.token_reference,
        to_subject_id=disbursement.lender_subject_id,
        business_key=disbursement.id,
    )


async def follow_token(tx: Tx, caller: Caller, *, disbursement_id: str) -> None:
    """Act on what became of the token of money that is final, whoever was to tell and did not: moved, refused, never
    asked for. A transfer that the chain has not answered is left to tokenisation."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    disbursement = await locked(tx, disbursement_id)
    if disbursement.state != DisbursementState.FIAT_FINAL:
        return
    try:
        asked = await chainwork.chain_transaction(tx, caller, business_key=disbursement_id)
    except chainwork.UnknownChainTransaction:
        await _ask_again(tx, caller, disbursement)
        return
    if asked.state is chainwork.ChainTxState.CONFIRMED and asked.tx_hash is not None:
        await token_moved(tx, caller, disbursement_id=disbursement_id, tx_hash=asked.tx_hash)
    elif asked.state == chainwork.ChainTxState.REVERTED:
        await token_refused(tx, caller, disbursement_id=disbursement_id, reason=asked.revert_reason or "")


async def _ask_again(tx: Tx, caller: Caller, disbursement: Disbursement) -> None:
    try:
        move = await _token_asked_for(tx, caller, disbursement)
    except Refused as refusal:
        await token_refused(tx, caller, disbursement_id=disbursement.id, reason=refusal.code)
        return
    await audit.change(tx, caller, action="FIAT_IN", resource=disbursement.invoice_reference, move=move)


async def token_moved(tx: Tx, caller: Caller, *, disbursement_id: str, tx_hash: str) -> None:
    """Fiat final and token moved: FUND_INVOICE, once, with both references; the payout is queued (SE-04)."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    disbursement = await locked(tx, disbursement_id)
    if disbursement.state != DisbursementState.FIAT_FINAL:
        return
    transition = DISBURSEMENT.next(disbursement.state, DisbursementEvent.FUND)
    # The reference of the fiat leg is named unchanged, so that one entry shows both (SE-04).
    row = store.changed_disbursement(
        disbursement, state=transition.target, chain_tx_hash=tx_hash, fps_ref=disbursement.fps_ref
    )
    reference, lender_id = disbursement.invoice_reference, disbursement.lender_subject_id
    move = audit.Changes((row,), (InvoiceFunded(disbursement.id, reference, lender_id),))
    move += await invoice.funded(tx, caller, reference=reference)
    move += await tokenisation.held(
        tx,
        caller,
        token_reference=disbursement.token_reference,
        by_subject_id=lender_id,
        transfer_business_key=disbursement.id,
    )
    move += await marketplace.closed(tx, caller, listing_id=disbursement.listing_id)
    move += await _held_to_payable(tx, caller, disbursement)
    move += await instructing.outward(
        tx,
        purpose=Purpose.PAYOUT,
        leg=f"{disbursement.id}-P",
        invoice_reference=reference,
        subject_id=disbursement.seller_subject_id,
        amount=disbursement.price.net_advance,
        disbursement_id=disbursement.id,
    )
    await audit.change(tx, caller, action=transition.action, resource=reference, move=move)


async def _held_to_payable(tx: Tx, caller: Caller, disbursement: Disbursement) -> audit.Changes:
    net = disbursement.price.net_advance
    lines = [
        ledger.Line(ledger.held_for(disbursement.lender_subject_id), debit=net),
        ledger.Line(ledger.payable_to(disbursement.seller_subject_id), credit=net),
    ]
    return await ledger.post(tx, caller, kind="FUND_INVOICE", resource=disbursement.invoice_reference, lines=lines)


async def token_refused(tx: Tx, caller: Caller, *, disbursement_id: str, reason: str) -> None:
    """The network will not move the token: alert, and queue the same pence back to the lender (SE-05)."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    disbursement = await locked(tx, disbursement_id)
    if disbursement.state != DisbursementState.FIAT_FINAL:
        return
    transition = DISBURSEMENT.next(disbursement.state, DisbursementEvent.REFUSE)
    row = store.changed_disbursement(disbursement, state=transition.target, end_reason=reason[:200])
    told = TokenRefusedAfterFiat(disbursement.id, disbursement.invoice_reference, reason[:200])
    source = await store.newest_of_leg(tx, disbursement.id)
    move = audit.Changes((row,), (told,))
    move += await alerting.token_refused(tx, caller, disbursement.invoice_reference)
    move += await instructing.outward(
        tx,
        purpose=Purpose.REFUND,
        leg=f"{disbursement.id}-R",
        creditor=source.debtor if source else None,
        invoice_reference=disbursement.invoice_reference,
        subject_id=disbursement.lender_subject_id,
        amount=disbursement.price.net_advance,
        disbursement_id=disbursement.id,
    )
    await audit.change(tx, caller, action=transition.action, resource=disbursement.invoice_reference, move=move)


async def refunded(tx: Tx, caller: Caller, paid: Instruction, outcome: PaymentOutcome) -> None:
    """The lender has its money back: the listing is open and the invoice listed again."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    disbursement = await of_instruction(tx, paid)
    transition = DISBURSEMENT.next(disbursement.state, DisbursementEvent.REFUND)
    reference, net = disbursement.invoice_reference, disbursement.price.net_advance
    rows = (
        store.changed_disbursement(disbursement, state=transition.target, refund_fps_ref=outcome.bank_ref),
        concluded(tx, paid, InstructionEvent.SETTLE_REFUND, outcome),
    )
    move = audit.Changes(rows, (FundingRefunded(disbursement.id, reference, disbursement.lender_subject_id),))
    lender = ledger.held_for(disbursement.lender_subject_id)
    lines = [ledger.Line(lender, debit=net), ledger.Line(ledger.BANK_COLLECTIONS, credit=net)]
    move += await ledger.post(tx, caller, kind="FIAT_REFUND", resource=reference, lines=lines)
    move += await marketplace.reopened(tx, caller, listing_id=disbursement.listing_id, action="FIAT_REFUND")
    move += await invoice.released(tx, caller, reference=reference, refunded=True)
    await audit.change(tx, caller, action=transition.action, resource=reference, move=move)


async def paid_out(tx: Tx, caller: Caller, paid: Instruction, outcome: PaymentOutcome) -> None:
    """The bank says that the advance has left for the seller; from now on the seller's own bank is watched."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    disbursement = await of_instruction(tx, paid)
    rows = (
        store.changed_disbursement(disbursement, payout_fps_ref=outcome.bank_ref, paid_out_at=tx.at),
        concluded(tx, paid, InstructionEvent.SETTLE_PAYOUT, outcome),
    )
    net = disbursement.price.net_advance
    seller = ledger.payable_to(disbursement.seller_subject_id)
    lines = [ledger.Line(seller, debit=net), ledger.Line(ledger.BANK_COLLECTIONS, credit=net)]
    move = audit.Changes(rows)
    move += await ledger.post(tx, caller, kind="FIAT_OUT", resource=disbursement.invoice_reference, lines=lines)
    await audit.change(tx, caller, action="FIAT_PAID", resource=disbursement.invoice_reference, move=move)
    tx.enqueue("settlement.await_seller_credit", {"disbursement_id": disbursement.id}, dedupe_key=paid.end_to_end_id)


def concluded(tx: Tx, known: Instruction, event: InstructionEvent, outcome: PaymentOutcome) -> audit.RowChange:
    """A payment has come to its end: what the bank said last."""
    return store.changed_instruction(
        known,
        state=INSTRUCTION.next(known.state, event).target,
        bank_ref=outcome.bank_ref or None,
        reason_code=outcome.reason_code or None,
        concluded_at=tx.at,
    )


def is_ours(business_key: str) -> bool:
    """Whether a token's move was asked for here."""
    return business_key.startswith(PREFIX)
