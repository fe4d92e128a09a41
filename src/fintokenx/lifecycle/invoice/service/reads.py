"""Reading and locking invoices."""

from __future__ import annotations

from typing import Any, Final

from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Connection, Tx
from fintokenx.lifecycle.invoice import store
from fintokenx.lifecycle.invoice.transitions import INVOICE
from fintokenx.lifecycle.invoice.types import Invoice, KeptDocument, UnknownDocument, UnknownInvoice
from fintokenx.parties import auth

STAFF: Final = (Role.SYSTEM, Role.COMPLIANCE, Role.MLRO, Role.PARTNER_ADMIN, Role.PLATFORM_ADMIN)
_OURS: Final = (Role.SYSTEM, Role.COMPLIANCE, Role.MLRO, Role.PLATFORM_ADMIN)
PARTIES: Final = (Role.SELLER, Role.BUYER)
FUNDERS: Final = (Role.LENDER, Role.INVESTOR)


async def locked(tx: Tx, reference: str) -> Invoice:
    """The invoice, locked until the transaction ends. :raises UnknownInvoice: none in this tenant"""
    invoice = await store.lock(tx, reference)
    if invoice is None:
        raise UnknownInvoice
    return invoice


async def must_not_need(tx: Tx, caller: Caller, *, subject_id: str) -> None:
    """:raises auth.ErasureBlocked: the subject sells or owes an invoice that has not come to its end"""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    if await store.has_any(tx, subject_id, but_in=INVOICE.terminal_states):
        raise auth.ErasureBlocked("INVOICE_OPEN")


async def get(tx: Tx, caller: Caller, *, reference: str) -> Invoice:
    """One invoice: sellers and buyers see their own, lenders and investors what has become a token, staff all.

    :raises UnknownInvoice: none that the caller may see
    """
    caller.must_be(*STAFF, *PARTIES, *FUNDERS, tenant_id=tx.tenant_id)
    invoice = await store.find(tx, reference)
    if invoice is None or not _may_see(caller, invoice):
        raise UnknownInvoice
    return invoice


async def page(tx: Tx, caller: Caller, *, state: str | None, after: str | None, limit: int) -> list[Invoice]:
    """Invoices by reference: one's own for sellers and buyers, all of the tenant for staff."""
    caller.must_be(*STAFF, *PARTIES, tenant_id=tx.tenant_id)
    own = caller.must_be_subject() if caller.party_role in PARTIES else None
    return await store.page(tx, party_id=own, state=state, after=after, limit=limit)


async def any_open(tx: Tx, caller: Caller) -> bool:
    """Whether the tenant has an invoice that has not come to its end."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    return await store.any_but_in(tx, INVOICE.terminal_states)


async def documents(tx: Tx, caller: Caller, *, reference: str) -> list[KeptDocument]:
    """The artefacts of an invoice that the caller may see, oldest first."""
    await get(tx, caller, reference=reference)
    return await store.documents(tx, reference)


async def artefact(tx: Tx, caller: Caller, *, reference: str, document_id: str) -> KeptDocument:
    """An artefact whose bytes the caller may have: the seller's own and staff's; what the reader doubts stands in its
    ``vision_artefacts``, which are ours alone.

    :raises UnknownDocument: there is none, or it is for others: which of the two is not said
    """
    caller.must_be(Role.SELLER, *STAFF, tenant_id=tx.tenant_id)
    invoice = await store.find(tx, reference)
    if invoice is None or not _may_see(caller, invoice):
        raise UnknownDocument
    found = next((kept for kept in await store.documents(tx, reference) if kept.id == document_id), None)
    if found is None or (found.type == "vision_artefacts" and caller.party_role not in _OURS):
        raise UnknownDocument
    return found


def _may_see(caller: Caller, invoice: Invoice) -> bool:
    if caller.scope not in (None, invoice.reference):  # a magic link shows one invoice (AU-06)
        return False
    if caller.party_role in PARTIES:
        return caller.subject_id in (invoice.originator_id, invoice.obligor_id)
    return caller.party_role in STAFF or invoice.token_reference is not None


async def find_anywhere(connection: Connection, reference: str) -> dict[str, Any] | None:
    """An invoice in whatever tenant, its public columns; ``connection`` reads under a bypass."""
    return await store.find_anywhere(connection, reference)
