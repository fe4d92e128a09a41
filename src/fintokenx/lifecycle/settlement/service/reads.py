"""Reading and locking disbursements."""

from __future__ import annotations

from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx
from fintokenx.lifecycle import invoice
from fintokenx.lifecycle.settlement import store
from fintokenx.lifecycle.settlement.service.instructing import collections_account
from fintokenx.lifecycle.settlement.types import Disbursement, Instruction, UnknownDisbursement
from fintokenx.parties import auth

STAFF = (Role.SYSTEM, Role.COMPLIANCE, Role.MLRO, Role.PARTNER_ADMIN, Role.PLATFORM_ADMIN)


async def disbursement(tx: Tx, caller: Caller, *, disbursement_id: str) -> Disbursement:
    """One disbursement: lender and seller see their own, staff all of the tenant.

    :raises UnknownDisbursement: none that the caller may see
    """
    caller.must_be(*STAFF, Role.LENDER, Role.SELLER, tenant_id=tx.tenant_id)
    found = await store.disbursement(tx, disbursement_id)
    if found is None:
        raise UnknownDisbursement
    parties = {Role.LENDER: found.lender_subject_id, Role.SELLER: found.seller_subject_id}
    if caller.party_role in parties and caller.subject_id != parties[caller.party_role]:
        raise UnknownDisbursement
    return found


async def must_not_need(tx: Tx, caller: Caller, *, subject_id: str) -> None:
    """:raises auth.ErasureBlocked: money of or for the subject has not arrived where it belongs"""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    if await store.has_money_for(tx, subject_id):
        raise auth.ErasureBlocked("MONEY_ON_ITS_WAY")
    for reference in await store.invoices_with_refund_due(tx):
        if (await invoice.get(tx, caller, reference=reference)).obligor_id == subject_id:
            raise auth.ErasureBlocked("REFUND_DUE")


async def nothing_expected(tx: Tx, caller: Caller) -> bool:
    """Whether no money of the tenant is on its way or owed, so that its account need be read only now and then."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    account = await collections_account(tx)
    return not await invoice.any_open(tx, caller) and not await store.any_under_way(tx, account)


async def live_commitment_of(tx: Tx, caller: Caller, *, invoice_reference: str) -> Disbursement | None:
    """The disbursement of an invoice that has not been cancelled or refunded; None when nobody has committed."""
    caller.must_be(*STAFF, tenant_id=tx.tenant_id)
    return await store.live_disbursement(tx, invoice_reference)


async def locked(tx: Tx, disbursement_id: str) -> Disbursement:
    """The disbursement, locked until the transaction ends. :raises UnknownDisbursement: there is none"""
    await store.lock(tx, disbursement_id)
    found = await store.disbursement(tx, disbursement_id)
    if found is None:
        raise UnknownDisbursement
    return found


async def of_instruction(tx: Tx, instruction: Instruction) -> Disbursement:
    """The disbursement that a payment belongs to, locked. :raises UnknownDisbursement: it belongs to a collection"""
    return await locked(tx, instruction.disbursement_id or "")
