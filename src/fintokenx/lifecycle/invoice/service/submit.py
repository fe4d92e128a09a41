"""A seller submits an invoice, and may take it back until its buyer has confirmed."""

from __future__ import annotations

from dataclasses import replace

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role, WrongRole
from fintokenx.kernel.db import Tx
from fintokenx.kernel.ids import invoice_reference
from fintokenx.kernel.machine import NOTHING
from fintokenx.kernel.money import ZERO
from fintokenx.lifecycle.invoice import store
from fintokenx.lifecycle.invoice.events import InvoiceSubmitted
from fintokenx.lifecycle.invoice.service.reads import locked
from fintokenx.lifecycle.invoice.transitions import INVOICE, SUBMITTERS, InvoiceEvent
from fintokenx.lifecycle.invoice.types import (
    TENOR_DAYS_MAX,
    Declaration,
    Document,
    DuplicateInvoice,
    Invoice,
    IssuedInFuture,
    MaturityBeforeIssue,
    MaturityInPast,
    NumberUnreadable,
    ObligorIsNoBuyer,
    ObligorUnknown,
    OnBehalfOfSeller,
    SameParty,
    TenorTooLong,
    UnknownInvoice,
    normalised_number,
)
from fintokenx.parties import auth, kyc, partner


def seller_of(caller: Caller, tenant_id: str) -> str:
    """The seller for whom the caller submits: itself, or the one that an administrator names. Asks no database.

    :raises WrongRole: anybody else
    :raises OnBehalfOfSeller: an administrator that names none
    """
    caller.must_be(*SUBMITTERS, tenant_id=tenant_id)
    if caller.party_role is not Role.SELLER:
        raise OnBehalfOfSeller
    return caller.must_be_subject()


async def submit(tx: Tx, caller: Caller, *, declared: Declaration, document: Document, reference_key: bytes) -> Invoice:
    """Take an uploaded invoice (IN-01). The document is stored already; this records it.

    :raises WrongRole, OnBehalfOfSeller: the caller is not, and acts for no, seller
    :raises partner's OutOfScope: the tenant's agreement does not cover invoices
    :raises kyc's SubjectNotActive: the seller may not act
    :raises SameParty, ObligorUnknown, ObligorIsNoBuyer, MaturityInPast, MaturityBeforeIssue, TenorTooLong,
        IssuedInFuture: see each
    :raises NumberUnreadable: no letter or digit that we can compare
    :raises DuplicateInvoice: same file, or same number of the same seller
    """
    originator_id = seller_of(caller, tx.tenant_id)
    await partner.require_feature(tx, partner.Feature.INVOICES)
    number = normalised_number(declared.invoice_number)
    if not number:
        raise NumberUnreadable
    _check_dates(tx, declared)
    await _check_parties(tx, originator_id, declared)
    await store.lock_submissions(tx, originator_id, document.sha256)
    await _check_new(tx, originator_id, number, document)
    terms = (await partner.tenant(tx)).terms
    transition = INVOICE.next(NOTHING, InvoiceEvent.SUBMIT)
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
        asking_discount_bps=declared.asking_discount_bps or terms.asking_discount_bps,
        state=transition.target,
        token_reference=None,
        document_sha256=document.sha256,
        created_at=tx.at,
    )
    rows = (store.row_of(invoice, number), store.document(tx, invoice.reference, document))
    move = audit.Changes(rows, (InvoiceSubmitted(invoice.reference),))
    await audit.change(tx, caller, action=transition.action, resource=invoice.reference, move=move)
    return invoice


async def record_duplicate(tx: Tx, caller: Caller, *, refusal: DuplicateInvoice, document_sha256: str) -> None:
    """Keep that a duplicate was tried (IN-07): in a transaction of its own, since the submission was refused.

    The same file tried again is on record already.
    """
    seller_id = seller_of(caller, tx.tenant_id)
    await store.lock_submissions(tx, seller_id, document_sha256)
    tried = {
        "reference": refusal.reference,
        "kind": refusal.kind,
        "document_sha256": document_sha256,
        "submitted_by": seller_id,
    }
    if await store.is_known_duplicate(tx, **tried):
        return
    move = audit.Changes((store.duplicate(tx, **tried),))
    await audit.change(tx, caller, action="INVOICE_DUPLICATE", resource=refusal.reference, move=move)


async def withdraw(tx: Tx, caller: Caller, *, reference: str) -> Invoice:
    """The seller takes its invoice back, as long as the buyer has not confirmed; the buyer's link dies with it.

    :raises UnknownInvoice: none of the caller's own
    :raises IllegalTransition: confirmed, or at an end
    """
    caller.must_be(Role.SELLER, tenant_id=tx.tenant_id)
    # Links are locked before invoices, here as in confirm.py: otherwise the two wait for each other.
    revoked = await auth.withdraw_magic_links(tx, caller, invoice_reference=reference)
    invoice = await locked(tx, reference)
    if invoice.originator_id != caller.must_be_subject():
        raise UnknownInvoice
    transition = INVOICE.next(invoice.state, InvoiceEvent.WITHDRAW)
    move = audit.Changes((store.move(invoice, transition),)) + revoked
    await audit.change(tx, caller, action=transition.action, resource=reference, move=move)
    return replace(invoice, state=transition.target)


def _check_dates(tx: Tx, declared: Declaration) -> None:
    today = tx.at.date()
    if declared.maturity_date <= declared.issue_date:
        raise MaturityBeforeIssue
    if declared.issue_date > today:
        raise IssuedInFuture
    if declared.maturity_date <= today:
        raise MaturityInPast
    if (declared.maturity_date - declared.issue_date).days > TENOR_DAYS_MAX:
        raise TenorTooLong(f"at most {TENOR_DAYS_MAX} days")


async def _check_parties(tx: Tx, originator_id: str, declared: Declaration) -> None:
    originator = await kyc.must_be_active(tx, originator_id)
    if originator.role is not Role.SELLER:
        raise WrongRole("only sellers submit invoices")
    obligor = await auth.find_subject(tx, declared.obligor_id)
    if obligor is not None and obligor.role is not Role.BUYER:
        raise ObligorIsNoBuyer
    if obligor is None or obligor.state != auth.SubjectState.ACTIVE:
        raise ObligorUnknown
    if obligor.company_number is not None and obligor.company_number == originator.company_number:
        raise SameParty


async def _check_new(tx: Tx, originator_id: str, number: str, document: Document) -> None:
    if (known := await store.same_file(tx, document.sha256)) is not None:
        raise DuplicateInvoice("SAME_FILE", known.reference, own=known.originator_id == originator_id)
    if (known := await store.same_number(tx, originator_id, number)) is not None:
        raise DuplicateInvoice("SAME_NUMBER", known.reference, own=True)
