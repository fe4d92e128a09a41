"""A seller submits; a reader reads; what disagrees goes to a person."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Final

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.canonical import plain
from fintokenx.kernel.db import Tx
from fintokenx.kernel.ids import invoice_reference
from fintokenx.kernel.money import ZERO
from fintokenx.lifecycle.invoice import store
from fintokenx.lifecycle.invoice.events import InvoiceAwaitingBuyer, InvoiceSubmitted
from fintokenx.lifecycle.invoice.ports import InvoiceOnPaper, Reading
from fintokenx.lifecycle.invoice.service.reads import locked
from fintokenx.lifecycle.invoice.transitions import INVOICE
from fintokenx.lifecycle.invoice.types import (
    Declaration,
    Document,
    DuplicateInvoice,
    Findings,
    Invoice,
    IssuedInFuture,
    MaturityBeforeIssue,
    MaturityInPast,
    ObligorUnknown,
    SameParty,
    normalised_number,
)
from fintokenx.parties import auth, compliance, kyc

_COMPANY_SUFFIXES: Final = {"LIMITED": "LTD", "PUBLIC LIMITED COMPANY": "PLC", "&": "AND"}


async def submit(tx: Tx, caller: Caller, *, declared: Declaration, document: Document, reference_key: bytes) -> Invoice:
    """Take an uploaded invoice (IN-01). The document is stored already; this records it.

    :raises WrongRole, kyc's SubjectNotActive: the caller is not an active seller
    :raises SameParty, ObligorUnknown, MaturityInPast, MaturityBeforeIssue, IssuedInFuture: see each
    :raises DuplicateInvoice: same file, or same number of the same seller
    """
    caller.must_be(Role.SELLER, tenant_id=tx.tenant_id)
    originator_id = caller.must_be_subject()
    _check_dates(tx, declared)
    await _check_parties(tx, originator_id, declared)
    number = normalised_number(declared.invoice_number)
    await store.lock_submissions(tx, originator_id, document.sha256)
    if (known := await store.same_file(tx, document.sha256)) is not None:
        raise DuplicateInvoice("SAME_FILE", known)
    if (known := await store.same_number(tx, originator_id, number)) is not None:
        raise DuplicateInvoice("SAME_NUMBER", known)
    transition = INVOICE.next("", "submit")
    invoice = Invoice(
        tenant_id=tx.tenant_id,
        reference=invoice_reference(await tx.next_number("invoice_numbers"), reference_key),
        originator_id=originator_id,
        obligor_id=declared.obligor_id,
        invoice_number=declared.invoice_number,
        face_value=declared.face_value,
        collected=ZERO,
        currency="GBP",
        issue_date=declared.issue_date,
        tenor_days=(declared.maturity_date - declared.issue_date).days,
        maturity_date=declared.maturity_date,
        asking_discount_bps=declared.asking_discount_bps,
        state=transition.target,
        token_reference=None,
        document_sha256=document.sha256,
        created_at=tx.at,
    )
    rows = (store.row_of(invoice, number), store.document(tx, invoice.reference, document))
    move = audit.Move(rows, (InvoiceSubmitted(invoice.reference),))
    await audit.change(tx, caller, action=transition.action, resource=invoice.reference, move=move)
    return invoice


def _check_dates(tx: Tx, declared: Declaration) -> None:
    today = tx.at.date()
    if declared.maturity_date <= declared.issue_date:
        raise MaturityBeforeIssue
    if declared.issue_date > today:
        raise IssuedInFuture
    if declared.maturity_date <= today:
        raise MaturityInPast


async def _check_parties(tx: Tx, originator_id: str, declared: Declaration) -> None:
    originator = await kyc.must_be_active(tx, originator_id)
    obligor = await auth.find_subject(tx, declared.obligor_id)
    if obligor is None or obligor.role is not Role.BUYER or obligor.state != "ACTIVE":
        raise ObligorUnknown
    if obligor.id == originator.id or obligor.company_number == originator.company_number:
        raise SameParty


async def record_duplicate(tx: Tx, caller: Caller, *, refusal: DuplicateInvoice, document_sha256: str) -> None:
    """Keep that a duplicate was tried (IN-07): in a transaction of its own, since the submission was refused."""
    caller.must_be(Role.SELLER, tenant_id=tx.tenant_id)
    row = store.duplicate(
        tx,
        reference=refusal.reference,
        kind=refusal.kind,
        document_sha256=document_sha256,
        submitted_by=caller.must_be_subject(),
    )
    await audit.change(tx, caller, action="INVOICE_DUPLICATE", resource=refusal.reference, move=audit.Move((row,)))


async def start_extraction(tx: Tx, caller: Caller, *, reference: str) -> tuple[Invoice, Document] | None:
    """Claim the invoice for reading; None when it has been read already.

    :returns: the invoice and its original document
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    invoice = await locked(tx, reference)
    if invoice.state == "SUBMITTED":
        transition = INVOICE.next(invoice.state, "start_extraction")
        move = audit.Move((store.move(invoice, transition),))
        await audit.change(tx, caller, action=transition.action, resource=reference, move=move)
    elif invoice.state != "EXTRACTING":
        return None
    originals = [d for d in await store.documents(tx, reference) if d.type.startswith("original_")]
    return invoice, originals[0]


async def finish_extraction(tx: Tx, caller: Caller, *, reference: str, reading: Reading, extract: Document) -> Invoice:
    """Compare what was read with what was declared (IN-04): clean → the buyer is asked; anything else → a person."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    invoice = await locked(tx, reference)
    if invoice.state != "EXTRACTING":
        return invoice
    findings = await _findings(tx, invoice, reading)
    rows = (
        store.document(tx, reference, extract),
        store.vision_run(
            tx,
            reference,
            model=reading.reader,
            confidence_bps=reading.confidence_bps,
            fields=plain(asdict_of(reading.fields)),
            findings=findings.codes,
        ),
    )
    if findings.clean:
        transition = INVOICE.next(invoice.state, "extracted")
        facts = (InvoiceAwaitingBuyer(reference, invoice.obligor_id),)
        move = audit.Move((store.move(invoice, transition), *rows), facts)
    else:
        transition = INVOICE.next(invoice.state, "refer")
        _case, opened = await compliance.open_case(
            tx, caller, subject_id=invoice.originator_id, resource=reference, reason=_reason(findings)
        )
        move = audit.Move((store.move(invoice, transition), *rows)) + opened
    await audit.change(tx, caller, action=transition.action, resource=reference, move=move)
    return replace(invoice, state=transition.target)


async def refuse_document(tx: Tx, caller: Caller, *, reference: str, code: str) -> None:
    """The reader cannot take the document at all (a credit note, another currency): the invoice is rejected."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    invoice = await locked(tx, reference)
    if invoice.state != "EXTRACTING":
        return
    transition = INVOICE.next(invoice.state, "refuse")
    run = store.vision_run(tx, reference, model="refused", confidence_bps=0, fields={}, findings=[code])
    move = audit.Move((store.move(invoice, transition), run))
    await audit.change(tx, caller, action=transition.action, resource=reference, move=move)


async def review_decided(tx: Tx, caller: Caller, *, reference: str, approved: bool) -> Invoice:
    """Carry out a reviewer's decision; a second telling of it changes nothing."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    invoice = await locked(tx, reference)
    if invoice.state != "IN_REVIEW":
        return invoice
    transition = INVOICE.next(invoice.state, "approve" if approved else "reject")
    facts = (InvoiceAwaitingBuyer(reference, invoice.obligor_id),) if approved else ()
    move = audit.Move((store.move(invoice, transition),), facts)
    await audit.change(tx, caller, action=transition.action, resource=reference, move=move)
    return replace(invoice, state=transition.target)


async def withdraw(tx: Tx, caller: Caller, *, reference: str) -> Invoice:
    """The seller takes its invoice back, as long as the buyer has not confirmed."""
    caller.must_be(Role.SELLER, tenant_id=tx.tenant_id)
    invoice = await locked(tx, reference, party_id=caller.must_be_subject())
    transition = INVOICE.next(invoice.state, "withdraw")
    move = audit.Move((store.move(invoice, transition),))
    await audit.change(tx, caller, action=transition.action, resource=reference, move=move)
    return replace(invoice, state=transition.target)


async def _findings(tx: Tx, invoice: Invoice, reading: Reading) -> Findings:
    originator = await auth.find_subject(tx, invoice.originator_id)
    obligor = await auth.find_subject(tx, invoice.obligor_id)
    if originator is None or obligor is None:
        raise ObligorUnknown
    paper = reading.fields
    codes = list(reading.doubts)
    codes += _field_mismatches(invoice, paper)
    codes += _party_mismatches("seller", originator, paper.seller.name, paper.seller.company_number)
    codes += _party_mismatches("buyer", obligor, paper.buyer.name, paper.buyer.company_number)
    if await store.alike(tx, invoice) is not None:
        codes.append("NEAR_DUPLICATE")
    return Findings(tuple(dict.fromkeys(codes)))


def _field_mismatches(invoice: Invoice, paper: InvoiceOnPaper) -> list[str]:
    """A field that the document does not state is not a mismatch; the reader lists it among its doubts."""
    pairs = {
        "invoice_number": (normalised_number(paper.invoice_number or ""), normalised_number(invoice.invoice_number)),
        "issue_date": (paper.issue_date, invoice.issue_date),
        "due_date": (paper.due_date, invoice.maturity_date),
        "total": (paper.total, invoice.face_value),
        "currency": (paper.currency, invoice.currency),
    }
    return [f"FIELD_MISMATCH:{name}" for name, (read, said) in pairs.items() if read and read != said]


def _party_mismatches(side: str, subject: auth.Subject, name: str | None, number: str | None) -> list[str]:
    """The company number decides where it is printed; otherwise the name; neither means a person looks."""
    if number is not None:
        return [] if number == subject.company_number else [f"FIELD_MISMATCH:{side}_company_number"]
    if name is not None:
        same = company_name_key(name) == company_name_key(subject.legal_name)
        return [] if same else [f"FIELD_MISMATCH:{side}_name"]
    return [f"NOT_FOUND:{side}"]


def company_name_key(name: str) -> str:
    """``Brackenmoor Retail Group P.L.C.`` and ``BRACKENMOOR RETAIL GROUP PLC`` are one company."""
    upper = " ".join(name.upper().replace(".", "").replace(",", " ").split())
    for long, short in _COMPANY_SUFFIXES.items():
        upper = upper.replace(long, short)
    return "".join(character for character in upper if character.isalnum())


def _reason(findings: Findings) -> str:
    """The case's reason: the kind of the worst finding; the codes stand on the vision run."""
    kinds = {code.split(":")[0] for code in findings.codes}
    for kind in ("FIELD_MISMATCH", "XML_AND_PAGE_DISAGREE", "NEAR_DUPLICATE", "NO_TEXT_LAYER"):
        if kind in kinds:
            return kind
    return "DOCUMENT_DOUBTFUL"


def asdict_of(fields: InvoiceOnPaper) -> dict[str, object]:
    """The read fields as plain values; amounts as pence under names that say so."""
    values = {
        name: value for name, value in asdict(fields).items() if name not in ("net", "vat", "total", "amount_paid")
    }
    for name in ("net", "vat", "total", "amount_paid"):
        amount = getattr(fields, name)
        values[f"{name}_pence"] = None if amount is None else amount.value
    return values
