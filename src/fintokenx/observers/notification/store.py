"""All SQL of notification."""

from __future__ import annotations

from dataclasses import asdict

from fintokenx import audit
from fintokenx.kernel.db import Tx
from fintokenx.kernel.machine import Transition
from fintokenx.observers.notification.transitions import EmailEvent, EmailState
from fintokenx.observers.notification.types import Email

_COLUMNS = (
    "tenant_id, id, template, subject_id, to_sealed, resource, business_key, state, provider_ref, queued_at, sent_at,"
    " failure, failed_at"
)


async def lock(tx: Tx, business_key: str) -> Email | None:
    """Serialise the work on one mail until the transaction ends, then read it."""
    await tx.lock(f"email_sends:{business_key}")
    row = await tx.row(f"select {_COLUMNS} from app.email_sends where business_key = $1", business_key)
    return Email(**{**dict(row), "state": EmailState(row["state"])}) if row else None


def queued(email: Email) -> audit.RowChange:
    """A mail that is about to leave."""
    return audit.insert("email_sends", asdict(email))


def sent(tx: Tx, email: Email, transition: Transition[EmailState, EmailEvent], provider_ref: str) -> audit.RowChange:
    """The relay has it."""
    return audit.update(
        "email_sends",
        key={"tenant_id": email.tenant_id, "id": email.id},
        before={"state": transition.source, "provider_ref": None, "sent_at": None},
        after={"state": transition.target, "provider_ref": provider_ref, "sent_at": tx.at},
    )


def ended(tx: Tx, email: Email, transition: Transition[EmailState, EmailEvent], failure: str) -> audit.RowChange:
    """It never leaves."""
    return audit.update(
        "email_sends",
        key={"tenant_id": email.tenant_id, "id": email.id},
        before={"state": transition.source, "failure": None, "failed_at": None},
        after={"state": transition.target, "failure": failure, "failed_at": tx.at},
    )


async def has_failed_for_another(tx: Tx, email: Email) -> bool:
    """Whether a mail about the same to somebody else has ended without having left."""
    found = await tx.value(
        "select exists (select from app.email_sends where resource = $1 and subject_id <> $2"
        " and state in ('FAILED', 'EXPIRED'))",
        email.resource,
        email.subject_id,
    )
    return bool(found)
