"""Mails that leave, have left or never will."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from fintokenx.kernel.clock import Instant
from fintokenx.kernel.sealing import SealedColumn
from fintokenx.observers.notification.transitions import EmailState

SEALED: Final = {("email_sends", "to_sealed"): SealedColumn("email", ("subject_id",))}
"""The sealed columns of notification."""


@dataclass(frozen=True, slots=True)
class Email:
    """One mail, for one business event. Its text is nowhere kept: it may hold a link or a code."""

    tenant_id: str
    id: str
    template: str
    subject_id: str
    to_sealed: str
    """The address as it was when the mail was queued; field ``email`` of the subject."""
    resource: str
    """Under what its entries are recorded: the invoice's reference, or the subject's id."""
    business_key: str
    """What it is about; a second mail about the same is never queued (NO-03)."""
    state: EmailState
    provider_ref: str | None
    queued_at: Instant
    sent_at: Instant | None
    failure: str | None = None
    """Why it never left, as a code; with ``failed_at``, in the states FAILED and EXPIRED."""
    failed_at: Instant | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """A queued mail with its text, in memory only: the text holds a link or a code."""

    email: Email
    from_address: str
    from_name: str
    subject: str
    text: str = field(repr=False)
