"""The buyer sees a page, and what it saw can be proved; then it confirms or declines, once."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx
from fintokenx.lifecycle.invoice import store
from fintokenx.lifecycle.invoice.events import InvoiceConfirmed
from fintokenx.lifecycle.invoice.service.reads import locked
from fintokenx.lifecycle.invoice.transitions import INVOICE
from fintokenx.lifecycle.invoice.types import (
    AlreadyConfirmed,
    Document,
    Invoice,
    NotYourInvoice,
    PageChanged,
)
from fintokenx.parties import auth, partner


@dataclass(frozen=True, slots=True)
class ConfirmationPage:
    """Everything that the page says; the same input gives the same bytes, so their hash proves the content."""

    tenant: partner.Tenant
    invoice: Invoice
    seller: auth.Subject
    buyer: auth.Subject


async def page_for(tx: Tx, caller: Caller, *, reference: str) -> ConfirmationPage:
    """What to show the bearer of a magic link.

    :raises NotYourInvoice: the link is for another invoice
    """
    caller.must_be(Role.BUYER, tenant_id=tx.tenant_id)
    _must_be_in_scope(caller, reference)
    invoice = await locked(tx, reference, party_id=caller.must_be_subject())
    seller = await auth.subject(tx, invoice.originator_id)
    buyer = await auth.subject(tx, invoice.obligor_id)
    return ConfirmationPage(await partner.tenant(tx), invoice, seller, buyer)


async def viewed(tx: Tx, caller: Caller, *, reference: str, page: Document) -> None:
    """Archive what was shown (C1). The same page shown again is the same archive: nothing is recorded twice."""
    caller.must_be(Role.BUYER, tenant_id=tx.tenant_id)
    _must_be_in_scope(caller, reference)
    await locked(tx, reference, party_id=caller.must_be_subject())
    if await _archived(tx, reference, page.sha256):
        return
    move = audit.Move((store.document(tx, reference, page),))
    await audit.change(tx, caller, action="BUYER_PAGE_VIEW", resource=reference, move=move)


async def confirm(tx: Tx, caller: Caller, *, reference: str, page_hash: str, ip_sealed: str, link: str) -> Invoice:
    """Record the buyer's confirmation (C2), using up its link in the same entry. Once only (IN-10 … IN-13).

    ``page_hash`` is the hex SHA-256 of the page as it would be shown now; it must have been shown.

    :raises AlreadyConfirmed: somebody confirmed before
    :raises PageChanged: this page was never shown, or the invoice has changed since
    :raises auth's MagicLinkUsed, MagicLinkExpired, MagicLinkRevoked: the link's end
    """
    caller.must_be(Role.BUYER, tenant_id=tx.tenant_id)
    _must_be_in_scope(caller, reference)
    invoice = await locked(tx, reference, party_id=caller.must_be_subject())
    used = await auth.consume_magic_link(tx, caller, raw=link)
    if invoice.state not in ("AWAITING_BUYER",):
        _refuse_repeat(invoice)
    transition = INVOICE.next(invoice.state, "confirm")
    if not await _archived(tx, reference, page_hash):
        raise PageChanged
    row = store.confirmation(
        tx,
        reference=reference,
        confirmed_by=caller.must_be_subject(),
        page_hash=page_hash,
        ip_sealed=ip_sealed,
        session_id=caller.session_id or caller.actor,
    )
    move = audit.Move((store.move(invoice, transition), row), (InvoiceConfirmed(reference),)) + used
    await audit.change(tx, caller, action=transition.action, resource=reference, move=move)
    return replace(invoice, state=transition.target)


async def decline(tx: Tx, caller: Caller, *, reference: str, link: str) -> Invoice:
    """The buyer says that this is not its debt; the link is used up."""
    caller.must_be(Role.BUYER, tenant_id=tx.tenant_id)
    _must_be_in_scope(caller, reference)
    invoice = await locked(tx, reference, party_id=caller.must_be_subject())
    used = await auth.consume_magic_link(tx, caller, raw=link)
    transition = INVOICE.next(invoice.state, "decline")
    move = audit.Move((store.move(invoice, transition),)) + used
    await audit.change(tx, caller, action=transition.action, resource=reference, move=move)
    return replace(invoice, state=transition.target)


async def _archived(tx: Tx, reference: str, page_hash: str) -> bool:
    pages = [d for d in await store.documents(tx, reference) if d.type == "confirmation_page"]
    return any(page.sha256 == page_hash for page in pages)


def _must_be_in_scope(caller: Caller, reference: str) -> None:
    if caller.scope is not None and caller.scope != reference:
        raise NotYourInvoice


def _refuse_repeat(invoice: Invoice) -> None:
    confirmed_since = ("CONFIRMED", "TOKENISED", "LISTED", "FUNDING", "FUNDED", "DUE", "PART_PAID", "PAID")
    if invoice.state in (*confirmed_since, "SETTLING", "SETTLED"):
        raise AlreadyConfirmed
