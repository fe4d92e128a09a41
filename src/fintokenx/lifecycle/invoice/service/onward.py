"""What the modules above do to an invoice: each door locks it, checks its machine and contributes Changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx
from fintokenx.kernel.money import ZERO, Pence
from fintokenx.lifecycle.invoice import store
from fintokenx.lifecycle.invoice.service.reads import locked
from fintokenx.lifecycle.invoice.transitions import INVOICE, InvoiceEvent, InvoiceState
from fintokenx.lifecycle.invoice.types import Invoice, MoreThanOutstanding


async def tokenised(tx: Tx, caller: Caller, *, reference: str, token_reference: str) -> audit.Changes:
    """CONFIRMED → TOKENISED, and the token's reference for ever (IN-15); recorded as TOKEN_MINT."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    invoice = await locked(tx, reference)
    transition = INVOICE.next(invoice.state, InvoiceEvent.TOKENISED)
    return audit.Changes((store.move(invoice, transition, token_reference=(None, token_reference)),))


async def listed(tx: Tx, caller: Caller, *, reference: str) -> audit.Changes:
    """TOKENISED → LISTED; recorded as LISTING_OPEN."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    return await _moved(tx, reference, InvoiceEvent.LISTED)


async def committed(tx: Tx, caller: Caller, *, reference: str) -> audit.Changes:
    """LISTED → FUNDING; recorded as FUND_COMMIT."""
    caller.must_be(Role.LENDER, Role.SYSTEM, tenant_id=tx.tenant_id)
    return await _moved(tx, reference, InvoiceEvent.COMMIT)


async def released(tx: Tx, caller: Caller, *, reference: str, refunded: bool) -> audit.Changes:
    """FUNDING → LISTED; recorded as FIAT_REFUND when money had moved, else as FUND_CANCEL."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    return await _moved(tx, reference, InvoiceEvent.REFUND if refunded else InvoiceEvent.CANCEL)


async def funded(tx: Tx, caller: Caller, *, reference: str) -> audit.Changes:
    """FUNDING → FUNDED; recorded as FUND_INVOICE."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    return await _moved(tx, reference, InvoiceEvent.FUND)


async def collected(tx: Tx, caller: Caller, *, reference: str, amount: Pence) -> tuple[audit.Changes, Invoice]:
    """Book a collection: PART_PAID, or PAID when nothing is outstanding; recorded as RECEIVE_SETTLEMENT.

    :returns: the Changes, and the invoice as it will be
    :raises IllegalTransition: nobody has funded it, or it is settled already
    :raises MoreThanOutstanding: the caller allocates at least one penny and at most what is owed
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    invoice = await locked(tx, reference)
    target = InvoiceState.PAID if amount == invoice.outstanding else InvoiceState.PART_PAID
    transition = INVOICE.next(invoice.state, InvoiceEvent.COLLECT, to=target)
    if not ZERO < amount <= invoice.outstanding:
        raise MoreThanOutstanding
    after = invoice.collected + amount
    row = store.move(invoice, transition, collected_pence=(invoice.collected, after))
    return audit.Changes((row,)), replace(invoice, state=target, collected=after)


async def settling(tx: Tx, caller: Caller, *, reference: str) -> audit.Changes:
    """PAID → SETTLING; recorded as SETTLEMENT_START."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    return await _moved(tx, reference, InvoiceEvent.START_SETTLING)


async def settled(tx: Tx, caller: Caller, *, reference: str) -> audit.Changes:
    """SETTLING → SETTLED; recorded as TOKEN_BURN."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    return await _moved(tx, reference, InvoiceEvent.SETTLE)


async def fallen_due(tx: Tx, caller: Caller, *, day: date) -> list[str]:
    """Funded invoices that have reached maturity."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    return await store.due_by(tx, day)


async def fall_due(tx: Tx, caller: Caller, *, reference: str) -> None:
    """FUNDED → DUE at maturity; told again, or too early, nothing happens."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    invoice = await locked(tx, reference)
    if invoice.state != InvoiceState.FUNDED or invoice.maturity_date > tx.at.date():
        return
    transition = INVOICE.next(invoice.state, InvoiceEvent.FALL_DUE)
    move = audit.Changes((store.move(invoice, transition),))
    await audit.change(tx, caller, action=transition.action, resource=reference, move=move)


async def _moved(tx: Tx, reference: str, event: InvoiceEvent) -> audit.Changes:
    invoice = await locked(tx, reference)
    return audit.Changes((store.move(invoice, INVOICE.next(invoice.state, event)),))
