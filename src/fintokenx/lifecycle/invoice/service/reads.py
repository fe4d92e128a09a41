"""Reading and locking invoices."""

from __future__ import annotations

from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx
from fintokenx.lifecycle.invoice import store
from fintokenx.lifecycle.invoice.types import Document, Invoice, UnknownInvoice

_STAFF = (Role.SYSTEM, Role.COMPLIANCE, Role.MLRO, Role.PARTNER_ADMIN, Role.PLATFORM_ADMIN)
_OWN_ONLY = (Role.SELLER, Role.BUYER)


async def locked(tx: Tx, reference: str, *, party_id: str | None = None) -> Invoice:
    """The invoice, locked until the transaction ends.

    :raises UnknownInvoice: there is none, or ``party_id`` is neither its seller nor its buyer
    """
    invoice = await store.lock(tx, reference)
    if invoice is None or (party_id is not None and party_id not in (invoice.originator_id, invoice.obligor_id)):
        raise UnknownInvoice
    return invoice


async def get(tx: Tx, caller: Caller, *, reference: str) -> Invoice:
    """One invoice: sellers and buyers see their own, lenders and staff all of the tenant.

    :raises UnknownInvoice: none that the caller may see
    """
    caller.must_be(*_STAFF, *_OWN_ONLY, Role.LENDER, Role.INVESTOR, tenant_id=tx.tenant_id)
    invoice = await store.find(tx, reference)
    hidden = (
        caller.role in _OWN_ONLY
        and invoice is not None
        and caller.subject_id
        not in (
            invoice.originator_id,
            invoice.obligor_id,
        )
    )
    if invoice is None or hidden:
        raise UnknownInvoice
    return invoice


async def page(tx: Tx, caller: Caller, *, state: str | None, after: str | None, limit: int) -> list[Invoice]:
    """Invoices by reference: one's own for sellers and buyers, all of the tenant for staff."""
    caller.must_be(*_STAFF, *_OWN_ONLY, tenant_id=tx.tenant_id)
    own = caller.must_be_subject() if caller.role in _OWN_ONLY else None
    return await store.page(tx, party_id=own, state=state, after=after, limit=limit)


async def documents(tx: Tx, caller: Caller, *, reference: str) -> list[Document]:
    """The artefacts of an invoice that the caller may see."""
    await get(tx, caller, reference=reference)
    return await store.documents(tx, reference)
