"""What a person must look at: alerts within settlement's own entries, and of their own where nothing else happens."""

from __future__ import annotations

from typing import Final

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx
from fintokenx.lifecycle.settlement.types import Instruction
from fintokenx.parties import compliance

LATE: Final = "RECONCILIATION_LATE"
UNDECIDED: Final = "PAYMENT_UNDECIDED"


async def payment_escalated(tx: Tx, caller: Caller, payment: Instruction) -> audit.Changes:
    """A payment was refused for good or sent back (SE-09)."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    return await compliance.raise_alert(
        tx,
        caller,
        cause="PAYMENT_ESCALATED",
        resource=payment.invoice_reference,
        severity=compliance.Severity.CRITICAL,
    )


async def token_refused(tx: Tx, caller: Caller, invoice_reference: str) -> audit.Changes:
    """Money is in collections and its token will not move (SE-05); goes into CHAIN_REFUSED."""
    return await compliance.raise_alert(
        tx,
        caller,
        cause="TOKEN_REFUSED_AFTER_FIAT",
        resource=invoice_reference,
        severity=compliance.Severity.CRITICAL,
    )


async def credit_late(tx: Tx, caller: Caller, invoice_reference: str) -> audit.Changes:
    """The seller's bank does not show the advance (SE-14); goes into RECON_ALERT."""
    return await compliance.raise_alert(
        tx,
        caller,
        cause=LATE,
        resource=invoice_reference,
        severity=compliance.Severity.CRITICAL,
    )


async def credit_seen(tx: Tx, caller: Caller, invoice_reference: str) -> None:
    """The seller's bank shows the advance: nobody need look for it any more."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    await compliance.clear_alert(tx, caller, cause=LATE, resource=invoice_reference)


async def decided(tx: Tx, caller: Caller, invoice_reference: str) -> None:
    """Its bank has decided every payment of an invoice."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    await compliance.clear_alert(tx, caller, cause=UNDECIDED, resource=invoice_reference)


async def credit_unmatched(tx: Tx, caller: Caller, collection_id: str) -> audit.Changes:
    """Money came in and nobody knows for what (SE-11); goes into RECEIVE_CREDIT."""
    return await compliance.raise_alert(
        tx,
        caller,
        cause="CREDIT_UNMATCHED",
        resource=collection_id,
        severity=compliance.Severity.WARNING,
    )


async def alert_once(tx: Tx, caller: Caller, *, cause: str, resource: str) -> None:
    """Raise an alert in an entry of its own about something that lasts. While it is open nothing is recorded: whoever
    looks every few seconds would count seconds, not occurrences."""
    move = await compliance.raise_alert(
        tx, caller, cause=cause, resource=resource, severity=compliance.Severity.CRITICAL
    )
    if move.facts:
        await audit.change(tx, caller, action="ALERT_RAISE", resource=resource, move=move)
