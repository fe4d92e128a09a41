"""A reader reads the document; what disagrees with the declaration goes to a person, and the person's answer back."""

from __future__ import annotations

from dataclasses import replace

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.canonical import canonical_json, plain
from fintokenx.kernel.db import Tx
from fintokenx.lifecycle.invoice import store
from fintokenx.lifecycle.invoice.events import InvoiceAwaitingBuyer, InvoiceInReview, InvoiceRejected
from fintokenx.lifecycle.invoice.ports import Reading
from fintokenx.lifecycle.invoice.service import compare, reasons
from fintokenx.lifecycle.invoice.service.reads import locked
from fintokenx.lifecycle.invoice.transitions import INVOICE, InvoiceEvent, InvoiceState
from fintokenx.lifecycle.invoice.types import Document, Invoice, ReviewReason
from fintokenx.parties import auth, compliance


async def start_extraction(tx: Tx, caller: Caller, *, reference: str) -> Document | None:
    """Claim the invoice for reading: its original document, or None when there is nothing to read any more."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    invoice = await locked(tx, reference)
    if invoice.state == InvoiceState.SUBMITTED:
        transition = INVOICE.next(invoice.state, InvoiceEvent.START_EXTRACTION)
        move = audit.Changes((store.move(invoice, transition),))
        await audit.change(tx, caller, action=transition.action, resource=reference, move=move)
    elif invoice.state != InvoiceState.EXTRACTING:
        return None
    [original] = [d for d in await store.documents(tx, reference) if d.type.startswith("original_")]
    return original


def artefact_of(reading: Reading) -> bytes:
    """What the reader made of the document, as canonical JSON, for the archive (IN-05)."""
    return canonical_json(
        {
            "kind": reading.kind,
            "reader": reading.reader,
            "confidence_bps": reading.confidence_bps,
            "doubts": reading.doubts,
            "fields": compare.as_stated(reading.fields),
        }
    )


async def finish_extraction(
    tx: Tx, caller: Caller, *, reference: str, reading: Reading, artefacts: tuple[Document, ...]
) -> Invoice:
    """Compare what was read with what was declared (IN-04): all agrees → the buyer is asked; else → a person.

    A second telling, and one about an invoice that was withdrawn meanwhile, changes nothing.
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    invoice = await locked(tx, reference)
    if invoice.state != InvoiceState.EXTRACTING:
        return invoice
    found, twin = await _findings(tx, invoice, reading)
    rows = [store.document(tx, reference, artefact) for artefact in artefacts]
    rows.append(
        store.vision_run(
            tx,
            reference,
            model=reading.reader,
            confidence_bps=reading.confidence_bps,
            fields=plain(compare.as_stated(reading.fields)),
            findings=found,
        )
    )
    if twin is not None:
        rows.append(
            store.duplicate(
                tx,
                reference=twin,
                kind="SAME_OBLIGOR_AMOUNT_DATE",
                document_sha256=invoice.document_sha256,
                submitted_by=invoice.originator_id,
            )
        )
    transition = INVOICE.next(invoice.state, InvoiceEvent.REFER if found else InvoiceEvent.EXTRACTED)
    move = audit.Changes((store.move(invoice, transition), *rows))
    if found:
        _, opened = await compliance.open_case(
            tx,
            caller,
            subject_id=invoice.originator_id,
            resource=reference,
            reason=compare.reason(found),
        )
        move += opened + audit.Changes(facts=(InvoiceInReview(reference, invoice.originator_id),))
    else:
        move += audit.Changes(facts=(InvoiceAwaitingBuyer(reference, invoice.obligor_id),))
    await audit.change(tx, caller, action=transition.action, resource=reference, move=move)
    return replace(invoice, state=transition.target)


async def refuse_document(tx: Tx, caller: Caller, *, reference: str, code: str) -> None:
    """The document is no invoice that can be taken (a credit note, another currency): the invoice is rejected."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    invoice = await locked(tx, reference)
    if invoice.state != InvoiceState.EXTRACTING:
        return
    transition = INVOICE.next(invoice.state, InvoiceEvent.REFUSE)
    run = store.vision_run(tx, reference, model=reasons.REFUSED, confidence_bps=0, fields={}, findings=[code])
    fact = InvoiceRejected(reference, invoice.originator_id)
    move = audit.Changes((store.move(invoice, transition), run), (fact,))
    await audit.change(tx, caller, action=transition.action, resource=reference, move=move)


async def review_decided(tx: Tx, caller: Caller, *, reference: str, reason: str, decision: compliance.Decision) -> None:
    """Carry out a reviewer's decision. A second telling, and a case about something else, changes nothing."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    invoice = await locked(tx, reference)
    if invoice.state != InvoiceState.IN_REVIEW or reason not in list(ReviewReason):
        return
    approved = decision is compliance.Decision.APPROVE
    transition = INVOICE.next(invoice.state, InvoiceEvent.APPROVE if approved else InvoiceEvent.REJECT)
    fact = (
        InvoiceAwaitingBuyer(reference, invoice.obligor_id)
        if approved
        else InvoiceRejected(reference, invoice.originator_id)
    )
    move = audit.Changes((store.move(invoice, transition),), (fact,))
    await audit.change(tx, caller, action=transition.action, resource=reference, move=move)


async def question_declined(tx: Tx, caller: Caller, *, reference: str, originator_id: str) -> None:
    """Ask a person why a seller submitted what its buyer does not owe (statemachines §1); asked again, nothing."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    case, opened = await compliance.open_case(
        tx, caller, subject_id=originator_id, resource=reference, reason="BUYER_DECLINED"
    )
    if opened.rows:
        await audit.change(tx, caller, action="CASE_OPEN", resource=case.id, move=opened)


async def _findings(tx: Tx, invoice: Invoice, reading: Reading) -> tuple[tuple[str, ...], str | None]:
    """The codes, and the reference of an invoice that looks the same."""
    seller = await auth.subject(tx, invoice.originator_id)
    buyer = await auth.subject(tx, invoice.obligor_id)
    found = [*compare.findings(invoice, seller=seller, buyer=buyer, reading=reading)]
    for side, subject in (("SELLER", seller), ("BUYER", buyer)):
        if subject.state != auth.SubjectState.ACTIVE:
            found.append(f"{side}_NOT_ACTIVE")
    twin = await store.alike(tx, invoice)
    if twin is not None:
        found.append(ReviewReason.NEAR_DUPLICATE)
    return tuple(found), twin
