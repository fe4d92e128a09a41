"""Reconciliation with what the banks' statements say: the seller's credit, and every line on the collections account
(SE-07, SE-10)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Tx
from fintokenx.lifecycle.settlement import store
from fintokenx.lifecycle.settlement.events import DisbursementClosed, ReconciliationLate
from fintokenx.lifecycle.settlement.ports import BankCredit, PaymentOutcome, PaymentState
from fintokenx.lifecycle.settlement.service import alerting, collecting, lines, matching, payments
from fintokenx.lifecycle.settlement.service.line_identity import Answer
from fintokenx.lifecycle.settlement.service.reads import locked
from fintokenx.lifecycle.settlement.service.statement_window import OVERLAP
from fintokenx.lifecycle.settlement.store import lines as lines_store
from fintokenx.lifecycle.settlement.transitions import (
    DISBURSEMENT,
    DisbursementEvent,
    DisbursementState,
    InstructionState,
)
from fintokenx.lifecycle.settlement.types import (
    RECONCILED_WITHIN_SECONDS,
    Instruction,
    LineContradicts,
    Purpose,
    Sighting,
    Statement,
    is_given,
)

_SENT: Final = (InstructionState.SENT, InstructionState.SETTLED)
_SHOWN: Final = {True: _SENT, False: (*_SENT, InstructionState.RETURNED)}
"""In which states a payment's credit may stand on collections: a lender's once it is paid, one of ours once it is back.
Of a lender's payment that went back we are shown no debit, so its credit is somebody's turn and not nothing."""


@dataclass(frozen=True, slots=True)
class Watch:
    """A payout whose credit the seller's bank is to show."""

    payout: Instruction
    since: Instant
    at: Instant
    paid_out_at: Instant


async def watched(tx: Tx, caller: Caller, *, disbursement_id: str) -> Watch | None:
    """What to look for on the seller's account; None when nothing is waited for (any more)."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    disbursement = await store.disbursement(tx, disbursement_id)
    payout = await store.newest_of_leg(tx, f"{disbursement_id}-P")
    if disbursement is None or payout is None or payout.sent_at is None:
        return None
    if disbursement.state != DisbursementState.SELLER_PAYOUT_SENT or disbursement.paid_out_at is None:
        return None
    return Watch(payout, payout.sent_at - OVERLAP, tx.at, disbursement.paid_out_at)


async def acknowledge(tx: Tx, caller: Caller, *, watch: Watch, credits_seen: list[BankCredit]) -> bool:
    """F3b → F4 CLOSED when one of the lines is the payout, to the penny, and surely none that has shown another one: a
    line is used once, whatever it is shown as. Says whether it was."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    payout = watch.payout
    disbursement = await locked(tx, payout.disbursement_id or "")
    if disbursement.state != DisbursementState.SELLER_PAYOUT_SENT:
        return True
    statement = Statement(payout.creditor, watch.since, tuple(credits_seen))
    await lines.lock(tx, payout.creditor)
    verdicts = await lines.verdicts(tx, statement, amount=payout.amount)
    fitting = [
        credit
        for credit, verdict in zip(credits_seen, verdicts, strict=True)
        if verdict is not None and verdict.answer is Answer.NEW and _shows(credit, payout)
    ]
    if not fitting:
        return False
    seen = lines.sighting(tx, statement, fitting[0])
    transition = DISBURSEMENT.next(disbursement.state, DisbursementEvent.ACKNOWLEDGE)
    rows = (
        store.changed_disbursement(disbursement, state=transition.target, seller_credit_acked_at=tx.at),
        *lines_store.reconciled(tx, seen, kind="seller_credit", matched_to=payout.end_to_end_id),
    )
    move = audit.Changes(rows, (DisbursementClosed(disbursement.id, disbursement.invoice_reference),))
    await audit.change(tx, caller, action=transition.action, resource=disbursement.invoice_reference, move=move)
    await alerting.credit_seen(tx, caller, disbursement.invoice_reference)
    return True


def _shows(credit: BankCredit, payout: Instruction) -> bool:
    if credit.amount != payout.amount:
        return False
    if is_given(credit.end_to_end_id):
        return credit.end_to_end_id == payout.end_to_end_id
    return _squeezed(payout.reference) in _squeezed(credit.narration)


def _squeezed(text: str) -> str:
    return re.sub(r"[^0-9A-Z]", "", text.upper())


async def alert_when_late(tx: Tx, caller: Caller, *, disbursement_id: str) -> None:
    """Tell somebody, once, that four hours after the advance was first sent the seller's bank has not shown it
    (SE-14): because ours has not paid it, or because theirs is silent."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    disbursement = await locked(tx, disbursement_id)
    if disbursement.state != DisbursementState.SELLER_PAYOUT_SENT or disbursement.recon_alerted_at:
        return
    sent_at = await store.first_sent_at(tx, f"{disbursement_id}-P")
    if sent_at is None or tx.at - sent_at <= timedelta(seconds=RECONCILED_WITHIN_SECONDS):
        return
    row = store.changed_disbursement(disbursement, recon_alerted_at=tx.at)
    move = audit.Changes((row,), (ReconciliationLate(disbursement.id, disbursement.invoice_reference),))
    move += await alerting.credit_late(tx, caller, disbursement.invoice_reference)
    await audit.change(tx, caller, action="RECON_ALERT", resource=disbursement.invoice_reference, move=move)


async def open_lines(tx: Tx, caller: Caller, *, statement: Statement) -> list[BankCredit]:
    """The credits that nobody has dealt with yet, as they are shown now."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    found = await lines.verdicts(tx, statement)
    return [
        credit
        for credit, verdict in zip(statement.credits, found, strict=True)
        if verdict is not None
        and (verdict.answer is not Answer.KNOWN or (verdict.line is not None and verdict.line.waits_to_be_booked))
    ]


async def take_line(tx: Tx, caller: Caller, *, statement: Statement, credit: BankCredit) -> None:
    """Say what one credit on the collections account is: a lender's funding, a payment of ours that came back, or
    money that nobody has booked yet, which goes to suspense or to the invoice that it names. The same line again is
    nothing, whatever it is shown as by then; one that may be a known line and is not surely so waits for a person and
    is not booked until then (SE-10).

    A line that names a payment without its bank's last word is left for a later reading: whether it has been or will
    be booked with the payment depends on that word. So what is on the account is in the books, once.

    :raises LineContradicts: it has the id of a known line and another amount
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    await lines.lock(tx, statement.account)
    verdict = (await lines.verdicts(tx, statement, amount=credit.amount))[_place(statement, credit)]
    if verdict is None or verdict.answer is Answer.CONTRADICTION:
        raise LineContradicts
    seen = lines.sighting(tx, statement, credit, verdict.line)
    if verdict.answer is Answer.SAME and verdict.line is not None:
        await lines.note_form(tx, caller, seen, verdict.line)
    if verdict.answer is Answer.DOUBT and credit.amount:
        await lines.doubt(tx, caller, seen, verdict.may_be)
    elif verdict.answer in (Answer.NEW, Answer.DOUBT) or seen.was_doubt:
        await _book(tx, caller, seen)


def _place(statement: Statement, credit: BankCredit) -> int:
    """Where it stands, itself and not another one that looks the same."""
    return next(number for number, other in enumerate(statement.credits) if other is credit)


async def _book(tx: Tx, caller: Caller, seen: Sighting) -> None:
    credit = seen.credit
    if not credit.amount:
        await _keep(tx, caller, seen, kind="nothing", matched_to=_name(seen))
        return
    ours = await _payment_of_ours(tx, credit)
    if ours is None:
        await collecting.receive(tx, caller, seen=seen)
    elif ours.state == InstructionState.SENT:
        return
    elif ours.purpose is Purpose.DISBURSEMENT_IN:
        await _keep(tx, caller, seen, kind="funding", matched_to=ours.end_to_end_id, of=ours)
    else:
        rows = lines_store.reconciled(tx, seen, kind="return", matched_to=ours.end_to_end_id)
        outcome = PaymentOutcome(PaymentState.RETURNED, ours.bank_ref or seen.bank_transaction_id)
        await payments.returned(tx, caller, end_to_end_id=ours.end_to_end_id, outcome=outcome, line=audit.Changes(rows))


def _name(seen: Sighting) -> str:
    return f"{seen.account.sort_code}{seen.account.account_number}:{seen.bank_transaction_id}"


async def _keep(
    tx: Tx, caller: Caller, seen: Sighting, *, kind: str, matched_to: str, of: Instruction | None = None
) -> None:
    """Keep a line that moves nothing in the books: what it shows has been booked, or it shows nothing."""
    move = audit.Changes(lines_store.reconciled(tx, seen, kind=kind, matched_to=matched_to))
    resource = of.invoice_reference if of is not None else matched_to
    await audit.change(tx, caller, action="RECON_LINE", resource=resource, move=move)


async def _payment_of_ours(tx: Tx, credit: BankCredit) -> Instruction | None:
    """By end-to-end id, else by our reference; to the penny, never one that another line has shown before, and only
    one that this credit can be: a payment that never happened, or a lender's that went back, has no line of its own,
    so whoever pays under its name (by hand, or twice) has paid something that is not in the books."""
    if is_given(credit.end_to_end_id):
        found = await store.instruction(tx, credit.end_to_end_id)
        named = [found] if found is not None and found.amount == credit.amount else []
    else:
        references = matching.references_in(credit.narration)
        named = await store.instructions_by_reference(tx, references, credit.amount)
    if len(named) != 1:
        return None
    ours = await payments.locked(tx, named[0].end_to_end_id)
    if ours is None or ours.state not in _SHOWN[ours.purpose is Purpose.DISBURSEMENT_IN]:
        return None
    kinds = ("funding", "return")
    seen = [await store.line_of(tx, kind, ours.end_to_end_id) for kind in kinds]
    return None if any(seen) else ours
