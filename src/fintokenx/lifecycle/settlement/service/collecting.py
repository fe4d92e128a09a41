"""Buyers' payments: seen at the bank, matched, booked on the invoice, split, passed on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx
from fintokenx.kernel.machine import NOTHING
from fintokenx.kernel.money import ZERO, Pence
from fintokenx.lifecycle import invoice, ledger, tokenisation
from fintokenx.lifecycle.settlement import store
from fintokenx.lifecycle.settlement.events import CreditAllocated, CreditUnmatched
from fintokenx.lifecycle.settlement.ports import PaymentOutcome
from fintokenx.lifecycle.settlement.service import alerting, instructing, matching
from fintokenx.lifecycle.settlement.service.funding import concluded
from fintokenx.lifecycle.settlement.service.reads import STAFF
from fintokenx.lifecycle.settlement.store import lines as lines_store
from fintokenx.lifecycle.settlement.transitions import COLLECTION, CollectionEvent, CollectionState, InstructionEvent
from fintokenx.lifecycle.settlement.types import (
    Collection,
    Instruction,
    Match,
    OnwardPayment,
    Purpose,
    Sighting,
    UnknownCollection,
    portions,
)

ALLOCATE_JOB = "settlement.allocate"

_OWED = (invoice.InvoiceState.FUNDED, invoice.InvoiceState.DUE, invoice.InvoiceState.PART_PAID)
_PAID_BEFORE = (invoice.InvoiceState.PAID, invoice.InvoiceState.SETTLING, invoice.InvoiceState.SETTLED)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds how much of a receivable's face."""

    subject_id: str
    face: Pence


async def collections(tx: Tx, caller: Caller, *, state: str | None, after: str | None, limit: int) -> list[Collection]:
    """The tenant's inbound credits, oldest first, for staff."""
    caller.must_be(*STAFF, tenant_id=tx.tenant_id)
    return await store.collections(tx, state=state, after=after, limit=limit)


async def collection(tx: Tx, caller: Caller, *, collection_id: str) -> Collection:
    """One inbound credit. :raises UnknownCollection: none that the caller may see"""
    caller.must_be(*STAFF, tenant_id=tx.tenant_id)
    found = await store.collection(tx, collection_id)
    if found is None:
        raise UnknownCollection
    return found


async def receive(tx: Tx, caller: Caller, *, seen: Sighting) -> str:
    """Record one obligor's credit, once per line (SE-10), matched or in suspense; returns its id.

    What was matched is booked by the job ``settlement.allocate``.
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    credit = seen.credit
    match = await _match(tx, caller, credit.narration)
    transition = COLLECTION.next(
        NOTHING, CollectionEvent.RECEIVE, to=CollectionState.MATCHED if match else CollectionState.UNMATCHED
    )
    received = Collection(
        tenant_id=tx.tenant_id,
        id=tx.ids.new("col"),
        bank_transaction_id=seen.bank_transaction_id,
        amount=credit.amount,
        received_at=credit.booked_at,
        state=transition.target,
        invoice_reference=match.invoice_reference if match else None,
        narration_match=match.text if match else None,
        match_method=match.method if match else None,
        allocated=ZERO,
        refund_due=ZERO,
        onward=(),
    )
    rows = (
        store.new_collection(received),
        *lines_store.reconciled(tx, seen, kind="collection", matched_to=received.id),
    )
    lines = [
        ledger.Line(ledger.BANK_COLLECTIONS, debit=credit.amount),
        ledger.Line(ledger.SUSPENSE, credit=credit.amount),
    ]
    move = audit.Changes(rows)
    if not match:
        move += audit.Changes((), (CreditUnmatched(received.id),))
        move += await alerting.credit_unmatched(tx, caller, received.id)
    move += await ledger.post(tx, caller, kind=transition.action, resource=received.id, lines=lines)
    await audit.change(tx, caller, action=transition.action, resource=received.id, move=move)
    if match:
        tx.enqueue(ALLOCATE_JOB, {"collection_id": received.id}, dedupe_key=received.id)
    return received.id


async def _match(tx: Tx, caller: Caller, narration: str) -> Match | None:
    """The one invoice of ours that the narration names; None for none and for several."""
    known = []
    for candidate in matching.candidates(narration):
        try:
            await invoice.get(tx, caller, reference=candidate.invoice_reference)
        except invoice.UnknownInvoice:
            continue
        known.append(candidate)
    return known[0] if len(known) == 1 else None


async def can_be_booked(tx: Tx, caller: Caller, *, collection_id: str) -> bool:
    """Whether a matched credit need not wait for its invoice's funding (any more)."""
    matched = await collection(tx, caller, collection_id=collection_id)
    if matched.state != CollectionState.MATCHED or matched.invoice_reference is None:
        return False
    return (await invoice.get(tx, caller, reference=matched.invoice_reference)).state in (*_OWED, *_PAID_BEFORE)


async def allocate(tx: Tx, caller: Caller, *, collection_id: str) -> bool:
    """Book a matched credit on its invoice and queue the holders' shares; the excess is due back (SE-16).

    :returns: False while the invoice cannot take it yet: an early payment stays in suspense, matched
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    matched = await store.collection(tx, collection_id)
    if matched is None or matched.invoice_reference is None:
        raise UnknownCollection
    await store.lock(tx, matched.invoice_reference)
    matched = await collection(tx, caller, collection_id=collection_id)
    if matched.state != CollectionState.MATCHED or matched.invoice_reference is None:
        return True
    owed_on = await invoice.get(tx, caller, reference=matched.invoice_reference)
    if owed_on.state in _PAID_BEFORE:
        await _all_due_back(tx, caller, matched, matched.invoice_reference)
        return True
    if owed_on.state not in _OWED:
        return False
    amount = min(matched.amount, owed_on.outstanding)
    move, after = await invoice.collected(tx, caller, reference=owed_on.reference, amount=amount)
    onward = _shares(tx, amount, await _holders(tx, caller, owed_on.reference))
    transition = COLLECTION.next(matched.state, CollectionEvent.ALLOCATE, to=CollectionState.DISTRIBUTING)
    row = store.allocated_collection(
        matched, state=transition.target, allocated=amount, refund_due=matched.amount - amount, onward=onward
    )
    move = audit.Changes((row,), (CreditAllocated(matched.id, owed_on.reference),)) + move
    for part in onward:
        move += await instructing.outward(
            tx,
            purpose=Purpose.ONWARD,
            leg=part.leg,
            invoice_reference=owed_on.reference,
            subject_id=part.payee_subject_id,
            amount=part.amount,
            collection_id=matched.id,
        )
    move += await _split_journal(tx, caller, matched, owed_on.reference, onward, matched.amount - amount)
    await audit.change(tx, caller, action=transition.action, resource=owed_on.reference, move=move)
    if after.state is invoice.InvoiceState.PAID:
        await _start_settling(tx, caller, owed_on.reference)
    return True


async def _holders(tx: Tx, caller: Caller, invoice_reference: str) -> list[Holder]:
    token = await tokenisation.token_of(tx, caller, invoice_reference=invoice_reference)
    if token.holder_subject_id is None:
        raise tokenisation.UnknownToken("nobody holds it")
    return [Holder(token.holder_subject_id, token.face)]


def _shares(tx: Tx, amount: Pence, holders: Sequence[Holder]) -> tuple[OnwardPayment, ...]:
    """Pro rata by face, largest remainder (P-09), in parts that Faster Payments carry."""
    parts = amount.share_between([holder.face.value for holder in holders])
    return tuple(
        OnwardPayment(tx.ids.new("onw"), holder.subject_id, portion)
        for holder, part in zip(holders, parts, strict=True)
        for portion in portions(part)
    )


async def _all_due_back(tx: Tx, caller: Caller, matched: Collection, reference: str) -> None:
    transition = COLLECTION.next(matched.state, CollectionEvent.ALLOCATE, to=CollectionState.REFUND_DUE)
    row = store.allocated_collection(
        matched, state=transition.target, allocated=ZERO, refund_due=matched.amount, onward=()
    )
    move = audit.Changes((row,)) + await _split_journal(tx, caller, matched, reference, (), matched.amount)
    await audit.change(tx, caller, action=transition.action, resource=reference, move=move)


async def _split_journal(
    tx: Tx, caller: Caller, matched: Collection, reference: str, onward: Sequence[OnwardPayment], excess: Pence
) -> audit.Changes:
    lines = [
        ledger.Line(ledger.SUSPENSE, debit=matched.amount),
        *(ledger.Line(ledger.payable_to(part.payee_subject_id), credit=part.amount) for part in onward),
    ]
    if excess:
        lines.append(ledger.Line(ledger.refund_due(matched.id), credit=excess))
    return await ledger.post(tx, caller, kind="RECEIVE_SETTLEMENT", resource=reference, lines=lines)


async def _start_settling(tx: Tx, caller: Caller, reference: str) -> None:
    """PAID → SETTLING: the shares are on their way to the holders."""
    move = await invoice.settling(tx, caller, reference=reference)
    await audit.change(tx, caller, action="SETTLEMENT_START", resource=reference, move=move)


async def passed_on(tx: Tx, caller: Caller, paid: Instruction, outcome: PaymentOutcome) -> None:
    """A holder's share has left; with the last one of a paid invoice the token is to be burned."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    split = await collection(tx, caller, collection_id=paid.collection_id or "")
    rows = [concluded(tx, paid, InstructionEvent.SETTLE_ONWARD, outcome)]
    if await store.unpaid_legs(tx, collection_id=split.id) == [paid.leg]:
        rows.append(store.moved_collection(split, COLLECTION.next(split.state, CollectionEvent.PAY_OUT).target))
    lines = [
        ledger.Line(ledger.payable_to(paid.subject_id), debit=paid.amount),
        ledger.Line(ledger.BANK_COLLECTIONS, credit=paid.amount),
    ]
    move = audit.Changes(tuple(rows))
    move += await ledger.post(tx, caller, kind="ONWARD_PAID", resource=paid.invoice_reference, lines=lines)
    await audit.change(tx, caller, action="ONWARD_PAID", resource=paid.invoice_reference, move=move)
    await _burn_when_all_is_paid(tx, caller, paid.invoice_reference)


async def _burn_when_all_is_paid(tx: Tx, caller: Caller, reference: str) -> None:
    settling = await invoice.get(tx, caller, reference=reference)
    if settling.state is not invoice.InvoiceState.SETTLING or settling.token_reference is None:
        return
    if await store.unpaid_legs(tx, invoice_reference=reference):
        return
    move = await tokenisation.burn(
        tx, caller, token_reference=settling.token_reference, reason="SETTLED", business_key=f"burn:{reference}"
    )
    await audit.change(tx, caller, action="BURN_REQUEST", resource=reference, move=move)
