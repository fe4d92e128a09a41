"""Why an invoice waits or was rejected: in full for a reviewer, and as much of it as its seller may know.

A seller is told what its own document says otherwise than its declaration, why the document cannot be taken, and that a
person declined it. Everything else reads as "under review": another party's state, an invoice of somebody else, what
we doubt of a document. An invoice in review always says so, so that nothing shows whether there is more (tipping off).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx
from fintokenx.lifecycle.invoice import store
from fintokenx.lifecycle.invoice.ports import DocumentRefused
from fintokenx.lifecycle.invoice.service import reads
from fintokenx.lifecycle.invoice.transitions import InvoiceState
from fintokenx.lifecycle.invoice.types import Invoice, Reason, VisionRun

REFUSED: Final = "refused"
"""In place of the reader's name where the document was not taken at all."""
_TOLD: Final = (InvoiceState.IN_REVIEW, InvoiceState.REJECTED)
_DECLARED_AS: Final = {
    "invoice_number": ("invoice_number", "invoice number"),
    "issue_date": ("issue_date", "issue date"),
    "due_date": ("maturity_date", "due date"),
    "total": ("face_value_pence", "amount that is still to be paid"),
    "currency": ("currency", "currency"),
    "seller_name": ("originator_id", "name of the seller"),
    "seller_company_number": ("originator_id", "company number of the seller"),
    "buyer_name": ("obligor_id", "name of the buyer"),
    "buyer_company_number": ("obligor_id", "company number of the buyer"),
}
"""A field of a finding: its name in the declaration, and in words."""
_SAID_OF_A_FIELD: Final = {
    "FIELD_MISMATCH": "The {words} in the document is not what you declared.",
    "NOT_FOUND": "The document does not state the {words}, or states more than one.",
    "XML_AND_PAGE_DISAGREE": "The page and the XML inside the document state different things as the {words}.",
}
_UNDER_REVIEW: Final = Reason("UNDER_REVIEW", None, "We are looking at this invoice; you need do nothing now.")
_DECLINED: Final = Reason("REVIEW_DECLINED", None, "A person has looked at this invoice and declined it.")
_NO_TEXT: Final = Reason("NO_TEXT_LAYER", None, "The document is a picture without text; we cannot read it by machine.")


def told_to_seller(invoice: Invoice, run: VisionRun | None) -> tuple[Reason, ...]:
    """What the seller of an invoice may know; nothing unless it is in review or rejected."""
    if invoice.state not in _TOLD:
        return ()
    findings = run.findings if run is not None else []
    if run is not None and run.model == REFUSED:
        return tuple(Reason(code, None, _refusal(code)) for code in findings)
    first = _UNDER_REVIEW if invoice.state == InvoiceState.IN_REVIEW else _DECLINED
    return (first, *_of_the_document(findings))


async def by_invoice(tx: Tx, caller: Caller, invoices: Sequence[Invoice]) -> Mapping[str, tuple[Reason, ...]]:
    """What the caller may know of these invoices, which it sees, by reference: a seller of its own, staff of all."""
    caller.must_be(*reads.STAFF, *reads.PARTIES, *reads.FUNDERS, tenant_id=tx.tenant_id)
    shown = [
        invoice
        for invoice in invoices
        if invoice.state in _TOLD and (caller.party_role in reads.STAFF or caller.subject_id == invoice.originator_id)
    ]
    runs = await store.newest_runs(tx, [invoice.reference for invoice in shown]) if shown else {}
    return {invoice.reference: told_to_seller(invoice, runs.get(invoice.reference)) for invoice in shown}


async def reasons(tx: Tx, caller: Caller, *, reference: str) -> tuple[Reason, ...]:
    """What the seller of an invoice may know, for whoever tells it. :raises UnknownInvoice: there is none"""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    invoice = await reads.get(tx, caller, reference=reference)
    return (await by_invoice(tx, caller, [invoice])).get(reference, ())


def _of_the_document(findings: Sequence[str]) -> Iterator[Reason]:
    for finding in findings:
        code, _, name = finding.partition(":")
        if code in _SAID_OF_A_FIELD and name in _DECLARED_AS:
            field, words = _DECLARED_AS[name]
            yield Reason(code, field, _SAID_OF_A_FIELD[code].format(words=words))
        elif code == _NO_TEXT.code:
            yield _NO_TEXT


def _refusal(code: str) -> str:
    known = {refusal.code: refusal for refusal in DocumentRefused.__subclasses__()}
    return known.get(code, DocumentRefused).title()
