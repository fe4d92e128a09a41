"""The buyer sees a page, and what it saw can be proved; then it confirms or declines, once.

Links are locked before invoices everywhere: opening or using up a link comes first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx
from fintokenx.kernel.machine import Transition
from fintokenx.lifecycle.invoice import store
from fintokenx.lifecycle.invoice.events import InvoiceConfirmed, InvoiceDeclined
from fintokenx.lifecycle.invoice.service.reads import locked
from fintokenx.lifecycle.invoice.transitions import INVOICE, InvoiceEvent, InvoiceState
from fintokenx.lifecycle.invoice.types import (
    AlreadyConfirmed,
    Document,
    Invoice,
    NotYourInvoice,
    PageChanged,
    UnknownInvoice,
)
from fintokenx.parties import auth, kyc, partner


@dataclass(frozen=True, slots=True)
class ConfirmationPage:
    """Everything that the page says; the same input gives the same bytes, so their hash proves the content."""

    tenant: partner.Tenant
    invoice: Invoice
    seller: auth.Subject
    buyer: auth.Subject
    shown_before: frozenset[str]
    """Hashes (hex SHA-256) of the pages of this invoice that are archived."""


async def confirmation_page(tx: Tx, caller: Caller, *, reference: str) -> ConfirmationPage:
    """What to show the bearer of a magic link.

    :raises NotYourInvoice: the link is for another invoice
    :raises UnknownInvoice: the bearer is not its buyer
    :raises AlreadyConfirmed, IllegalTransition: there is nothing to ask any more
    """
    invoice = await _buyers_own(tx, caller, reference)
    await _in_state_for(tx, invoice, InvoiceEvent.CONFIRM)
    return ConfirmationPage(
        tenant=await partner.tenant(tx),
        invoice=invoice,
        seller=await auth.subject(tx, invoice.originator_id),
        buyer=await auth.subject(tx, invoice.obligor_id),
        shown_before=await store.pages_shown(tx, reference),
    )


async def record_page_view(tx: Tx, caller: Caller, *, reference: str, page: Document) -> None:
    """Archive what was shown (C1). The same page shown again is the same archive: nothing is recorded twice."""
    await _buyers_own(tx, caller, reference)
    if page.sha256 in await store.pages_shown(tx, reference):
        return
    move = audit.Changes((store.document(tx, reference, page),))
    await audit.change(tx, caller, action="BUYER_PAGE_VIEW", resource=reference, move=move)


async def confirm(
    tx: Tx, caller: Caller, *, reference: str, page_hash: str, ip_sealed: str, link: str | None
) -> Invoice:
    """Record the buyer's confirmation (C2), using up its link in the same entry. Once only (IN-10 … IN-13).

    An administrator in an admin session confirms for the buyer without a ``link`` (AD-16); the buyer's own dies then.

    ``page_hash`` is the hex SHA-256 of the page as it would be shown now; it must have been shown.

    :raises auth's MagicLinkUsed, MagicLinkExpired, MagicLinkRevoked: the link's end
    :raises AlreadyConfirmed: by an earlier link
    :raises kyc's SubjectNotActive: the buyer may not act
    :raises PageChanged: this page was never shown
    """
    caller.must_be(Role.BUYER, tenant_id=tx.tenant_id)
    used = await _link_used(tx, caller, reference, link)
    invoice = await _buyers_own(tx, caller, reference)
    transition = await _in_state_for(tx, invoice, InvoiceEvent.CONFIRM)
    await kyc.must_be_active(tx, invoice.obligor_id)
    if page_hash not in await store.pages_shown(tx, reference):
        raise PageChanged
    row = store.confirmation(
        tx,
        reference=reference,
        confirmed_by=invoice.obligor_id,
        page_hash=page_hash,
        ip_sealed=ip_sealed,
        session_id=caller.session_id or caller.actor,
    )
    move = audit.Changes((store.move(invoice, transition), row), (InvoiceConfirmed(reference),)) + used
    await audit.change(tx, caller, action=transition.action, resource=reference, move=move)
    return replace(invoice, state=transition.target)


async def decline(tx: Tx, caller: Caller, *, reference: str, link: str) -> Invoice:
    """The buyer says that this is not its debt; the link is used up, and a person will ask the seller why.

    :raises auth's MagicLinkUsed, MagicLinkExpired, MagicLinkRevoked: the link's end
    :raises AlreadyConfirmed: by an earlier link
    """
    caller.must_be(Role.BUYER, tenant_id=tx.tenant_id)
    used = await auth.consume_magic_link(tx, caller, raw=link)
    invoice = await _buyers_own(tx, caller, reference)
    transition = await _in_state_for(tx, invoice, InvoiceEvent.DECLINE)
    move = (
        audit.Changes((store.move(invoice, transition),), (InvoiceDeclined(reference, invoice.originator_id),)) + used
    )
    await audit.change(tx, caller, action=transition.action, resource=reference, move=move)
    return replace(invoice, state=transition.target)


async def _link_used(tx: Tx, caller: Caller, reference: str, link: str | None) -> audit.Changes:
    if link is not None:
        return await auth.consume_magic_link(tx, caller, raw=link)
    if caller.acts_as is None:
        raise NotYourInvoice
    return await auth.withdraw_magic_links(tx, caller, invoice_reference=reference)


async def _buyers_own(tx: Tx, caller: Caller, reference: str) -> Invoice:
    """The invoice, locked, for the very buyer that came by its link, or for whoever acts for that buyer in an admin
    session: never for its seller (IN-13)."""
    caller.must_be(Role.BUYER, tenant_id=tx.tenant_id)
    if caller.acts_as is None and caller.scope != reference:
        raise NotYourInvoice
    invoice = await locked(tx, reference)
    if invoice.obligor_id != caller.must_be_subject():
        raise UnknownInvoice
    return invoice


async def _in_state_for(tx: Tx, invoice: Invoice, event: InvoiceEvent) -> Transition[InvoiceState, InvoiceEvent]:
    if await store.is_confirmed(tx, invoice.reference):
        raise AlreadyConfirmed
    return INVOICE.next(invoice.state, event)
