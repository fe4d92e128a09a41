"""One payment at a time: recorded as sent before its bank is asked, concluded by what the bank then says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Tx
from fintokenx.lifecycle import ledger
from fintokenx.lifecycle.settlement import store
from fintokenx.lifecycle.settlement.events import PaymentEscalated, PaymentHeld
from fintokenx.lifecycle.settlement.ports import PaymentInstruction, PaymentOutcome, PaymentState
from fintokenx.lifecycle.settlement.service import alerting, balances, collecting, funding, instructing
from fintokenx.lifecycle.settlement.service.reads import of_instruction
from fintokenx.lifecycle.settlement.transitions import (
    COLLECTION,
    DISBURSEMENT,
    INSTRUCTION,
    CollectionEvent,
    DisbursementEvent,
    InstructionEvent,
    InstructionState,
)
from fintokenx.lifecycle.settlement.types import (
    ATTEMPTS_MAX,
    DECIDED_WITHIN_SECONDS,
    LENDER_DECIDED_WITHIN_SECONDS,
    Collection,
    Disbursement,
    Instruction,
    Purpose,
    UnknownCollection,
)
from fintokenx.parties import auth


@dataclass(frozen=True, slots=True)
class Sending:
    """An instruction on its way. ``resumed``: an earlier run may have sent it, so look it up before sending."""

    instruction: Instruction
    resumed: bool
    at: Instant


@dataclass(frozen=True, slots=True)
class Waiting:
    """An instruction that may not be sent while books and bank differ."""

    at: Instant


def wire(instruction: Instruction) -> PaymentInstruction:
    """The instruction as its bank is to have it."""
    return PaymentInstruction(
        end_to_end_id=instruction.end_to_end_id,
        debtor=instruction.debtor,
        creditor=instruction.creditor,
        amount=instruction.amount,
        reference=instruction.reference,
    )


async def start(tx: Tx, caller: Caller, *, end_to_end_id: str) -> Sending | Waiting | None:
    """Record that a payment is about to be sent; None when there is nothing to send (any more, or for now).

    A payee that is frozen is not paid: its payment is HELD. A lender that is frozen meanwhile does not pay: its
    commitment is cancelled, for nothing has moved yet.
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    instruction = await locked(tx, end_to_end_id)
    if instruction is None or instruction.state not in (InstructionState.QUEUED, InstructionState.SENT):
        return None
    if instruction.state == InstructionState.SENT:
        return Sending(instruction, resumed=True, at=tx.at)
    if await balances.must_wait(tx, caller, payment=instruction):
        return Waiting(tx.at)
    if (await auth.subject(tx, instruction.subject_id)).state == auth.SubjectState.FROZEN:
        await _stop(tx, caller, instruction)
        return None
    transition = INSTRUCTION.next(instruction.state, InstructionEvent.SEND)
    rows = [store.changed_instruction(instruction, state=transition.target, sent_at=tx.at)]
    if instruction.disbursement_id is not None:
        rows.append(_moved(await of_instruction(tx, instruction), DisbursementEvent.SEND))
    await _record(tx, caller, transition.action, instruction, audit.Changes(tuple(rows)))
    return Sending(replace(instruction, state=transition.target, sent_at=tx.at), resumed=False, at=tx.at)


async def conclude(tx: Tx, caller: Caller, *, end_to_end_id: str, outcome: PaymentOutcome) -> None:
    """Act on the bank's last word about a payment; told again, nothing happens."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    instruction = await locked(tx, end_to_end_id)
    if instruction is None or instruction.state != InstructionState.SENT:
        return
    match outcome.state:
        case PaymentState.SETTLED:
            await _settled(tx, caller, instruction, outcome)
        case PaymentState.REJECTED:
            await _rejected(tx, caller, instruction, outcome)
        case PaymentState.RETURNED:
            await _returned(tx, caller, instruction, outcome, audit.Changes())
        case PaymentState.PENDING:
            return
    if not await store.any_undecided(tx, instruction.invoice_reference):
        await alerting.decided(tx, caller, instruction.invoice_reference)


async def returned(
    tx: Tx, caller: Caller, *, end_to_end_id: str, outcome: PaymentOutcome, line: audit.Changes | None = None
) -> None:
    """A settled payment has come back: contra journal, alert (the debt to the payee stands again).

    ``line`` is the reconciliation of the statement that showed it; when the return has been booked already only that is
    kept.
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    instruction = await locked(tx, end_to_end_id)
    if instruction is None:
        return
    if instruction.state in (InstructionState.SENT, InstructionState.SETTLED):
        await _returned(tx, caller, instruction, outcome, line or audit.Changes())
    elif instruction.state == InstructionState.RETURNED and line is not None:
        await _record(tx, caller, "RECON_LINE", instruction, line)


async def alert_when_slow(tx: Tx, caller: Caller, *, end_to_end_id: str) -> None:
    """Tell somebody, once, that a bank has not decided a payment for an hour, or a lender's for a quarter of one."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    payment = await locked(tx, end_to_end_id)
    if payment is None or payment.state != InstructionState.SENT or not is_slow(payment, tx.at):
        return
    await alerting.alert_once(tx, caller, cause=alerting.UNDECIDED, resource=payment.invoice_reference)


def is_slow(payment: Instruction, at: Instant) -> bool:
    """Whether a payment has been with its bank for longer than anybody should wait in silence."""
    is_lenders = payment.purpose is Purpose.DISBURSEMENT_IN
    within = LENDER_DECIDED_WITHIN_SECONDS if is_lenders else DECIDED_WITHIN_SECONDS
    return payment.sent_at is not None and at - payment.sent_at > timedelta(seconds=within)


async def release(tx: Tx, caller: Caller, *, subject_id: str, job_id: str) -> None:
    """A payee may be paid again: queue what was held for it. ``job_id``: the job that does, once per hold."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    for held in await store.held_for(tx, subject_id):
        transition = INSTRUCTION.next(held.state, InstructionEvent.RELEASE)
        move = audit.Changes((store.changed_instruction(held, state=transition.target),))
        if held.collection_id is not None:
            move += await _moved_collection(tx, held.collection_id, CollectionEvent.RELEASE)
        await _record(tx, caller, transition.action, held, move)
        tx.enqueue(
            instructing.PAY_JOB,
            {"end_to_end_id": held.end_to_end_id},
            dedupe_key=f"{held.end_to_end_id}:{job_id}",
        )


async def locked(tx: Tx, end_to_end_id: str) -> Instruction | None:
    """The instruction, locked: the payments of an invoice are walked one after the other, so that the last is known."""
    found = await store.instruction(tx, end_to_end_id)
    if found is None:
        return None
    await store.lock(tx, found.invoice_reference)
    return await store.instruction(tx, end_to_end_id)


async def _settled(tx: Tx, caller: Caller, paid: Instruction, outcome: PaymentOutcome) -> None:
    match paid.purpose:
        case Purpose.DISBURSEMENT_IN:
            await funding.fiat_in(tx, caller, paid, outcome)
        case Purpose.PAYOUT:
            await funding.paid_out(tx, caller, paid, outcome)
        case Purpose.REFUND:
            await funding.refunded(tx, caller, paid, outcome)
        case Purpose.ONWARD:
            await collecting.passed_on(tx, caller, paid, outcome)


async def _rejected(tx: Tx, caller: Caller, rejected: Instruction, outcome: PaymentOutcome) -> None:
    """Not paid, for certain: again under a fresh id, or cancelled, or a person's turn (SE-09)."""
    if outcome.retriable and rejected.attempt < ATTEMPTS_MAX:
        move = audit.Changes((funding.concluded(tx, rejected, InstructionEvent.REJECT_FOR_NOW, outcome),))
        move += instructing.again(tx, rejected)
        if rejected.disbursement_id is not None:
            move += audit.Changes((_moved(await of_instruction(tx, rejected), DisbursementEvent.RETRY),))
        await _record(tx, caller, "FIAT_RETRY", rejected, move)
        return
    if rejected.purpose is Purpose.DISBURSEMENT_IN and not outcome.retriable:
        last = audit.Changes((funding.concluded(tx, rejected, InstructionEvent.REJECT_FUNDING, outcome),))
        disbursement = await of_instruction(tx, rejected)
        await funding.cancel(tx, caller, disbursement, reason=f"FIAT_REJECTED: {outcome.reason_code}", payment=last)
        return
    row = funding.concluded(tx, rejected, InstructionEvent.REJECT, outcome)
    move = audit.Changes((row,), (_alert(rejected, outcome),)) + await _owner_moved(
        tx, rejected, DisbursementEvent.ESCALATE, CollectionEvent.ESCALATE
    )
    move += await alerting.payment_escalated(tx, caller, rejected)
    await _record(tx, caller, "FIAT_ESCALATE", rejected, move)


async def _returned(tx: Tx, caller: Caller, back: Instruction, outcome: PaymentOutcome, line: audit.Changes) -> None:
    if back.purpose is Purpose.DISBURSEMENT_IN:
        last = audit.Changes((funding.concluded(tx, back, InstructionEvent.RETURN_FUNDING, outcome),)) + line
        disbursement = await of_instruction(tx, back)
        await funding.cancel(tx, caller, disbursement, reason=f"FIAT_RETURNED: {outcome.reason_code}", payment=last)
        return
    row = funding.concluded(tx, back, InstructionEvent.RETURN, outcome)
    move = (
        audit.Changes((row,), (_alert(back, outcome),))
        + line
        + await _owner_moved(tx, back, DisbursementEvent.RETURN, CollectionEvent.RETURN)
    )
    move += await alerting.payment_escalated(tx, caller, back)
    if back.state == InstructionState.SETTLED:
        owed = ledger.held_for if back.purpose is Purpose.REFUND else ledger.payable_to
        lines = [
            ledger.Line(ledger.BANK_COLLECTIONS, debit=back.amount),
            ledger.Line(owed(back.subject_id), credit=back.amount),
        ]
        move += await ledger.post(tx, caller, kind="FIAT_RETURN", resource=back.invoice_reference, lines=lines)
    await _record(tx, caller, "FIAT_RETURN", back, move)


async def _stop(tx: Tx, caller: Caller, instruction: Instruction) -> None:
    if instruction.purpose is Purpose.DISBURSEMENT_IN:
        target = INSTRUCTION.next(instruction.state, InstructionEvent.CANCEL).target
        last = audit.Changes((store.changed_instruction(instruction, state=target),))
        disbursement = await of_instruction(tx, instruction)
        await funding.cancel(tx, caller, disbursement, reason="SUBJECT_NOT_ACTIVE", payment=last)
        return
    transition = INSTRUCTION.next(instruction.state, InstructionEvent.HOLD)
    row = store.changed_instruction(instruction, state=transition.target)
    told = PaymentHeld(instruction.end_to_end_id, instruction.invoice_reference, instruction.subject_id)
    move = audit.Changes((row,), (told,))
    if instruction.collection_id is not None:
        move += await _moved_collection(tx, instruction.collection_id, CollectionEvent.HOLD)
    await _record(tx, caller, transition.action, instruction, move)


async def _owner_moved(
    tx: Tx, payment: Instruction, event: DisbursementEvent, of_collection: CollectionEvent
) -> audit.Changes:
    """What the end of a payment does to its disbursement or collection; nothing where that has ended before."""
    if payment.collection_id is not None:
        return await _moved_collection(tx, payment.collection_id, of_collection)
    disbursement = await of_instruction(tx, payment)
    if disbursement.state in DISBURSEMENT.terminal_states:
        return audit.Changes()
    return audit.Changes((_moved(disbursement, event),))


def _moved(disbursement: Disbursement, event: DisbursementEvent) -> audit.RowChange:
    transition = DISBURSEMENT.next(disbursement.state, event)
    return store.changed_disbursement(disbursement, state=transition.target)


async def _moved_collection(tx: Tx, collection_id: str, event: CollectionEvent) -> audit.Changes:
    """PART_HELD as long as one part is; nothing where another part has moved the collection there before."""
    collection = await store.collection(tx, collection_id)
    if collection is None:
        raise UnknownCollection
    if not _can(collection, event):
        return audit.Changes()
    target = COLLECTION.next(collection.state, event).target
    return audit.Changes((store.moved_collection(collection, target),))


def _can(collection: Collection, event: CollectionEvent) -> bool:
    return any(line.source == collection.state and line.event == event for line in COLLECTION.transitions)


def _alert(payment: Instruction, outcome: PaymentOutcome) -> PaymentEscalated:
    return PaymentEscalated(
        payment.end_to_end_id, payment.purpose.value, payment.invoice_reference, outcome.reason_code
    )


async def _record(tx: Tx, caller: Caller, action: str, payment: Instruction, move: audit.Changes) -> None:
    await audit.change(tx, caller, action=action, resource=payment.invoice_reference, move=move)
