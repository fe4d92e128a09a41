"""Sending mail: work after the transaction. Links and codes are made for the mail that leaves and kept nowhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from fintokenx.kernel.clock import from_wire
from fintokenx.kernel.errors import Unavailable
from fintokenx.kernel.jobs import Job, Lane, Payload, Work
from fintokenx.kernel.sealing import Sealer, Shredded
from fintokenx.lifecycle import invoice
from fintokenx.observers.notification import service
from fintokenx.observers.notification.ports import Mail, Mailer, Undeliverable
from fintokenx.observers.notification.types import Letter

LINK_LIFE: Final = timedelta(days=14)
MAIL_SECONDS_MAX: Final = 60
"""The relay's greeting and the delivery have 15 s each."""
_ADDRESSES: Final = re.compile(r"\S*@\S*")


@dataclass(frozen=True, slots=True)
class NotificationJobs:
    """The jobs of notification and what they need of the outside. ``public_url`` is where buyers reach us."""

    mailer: Mailer
    sealer: Sealer
    public_url: str

    def jobs(self) -> tuple[Job, ...]:
        """One mail each."""
        return (
            Job("notification.ask_buyer", self.ask_buyer, Lane.OUTBOUND, MAIL_SECONDS_MAX),
            Job("notification.invoice_in_review", self.invoice_in_review, Lane.OUTBOUND, MAIL_SECONDS_MAX),
            Job("notification.invoice_rejected", self.invoice_rejected, Lane.OUTBOUND, MAIL_SECONDS_MAX),
            Job("notification.login_code", self.login_code, Lane.OUTBOUND, MAIL_SECONDS_MAX),
        )

    async def ask_buyer(self, work: Work, payload: Payload) -> None:
        """The payload is invoice's ``InvoiceAwaitingBuyer``."""
        async with work.transaction() as tx:
            letter = await service.ask_buyer(
                tx, work.caller, reference=payload["reference"], public_url=self.public_url, life=LINK_LIFE
            )
        await self._post(work, letter)

    async def invoice_in_review(self, work: Work, payload: Payload) -> None:
        """The payload is invoice's ``InvoiceInReview``."""
        await self._tell_seller(work, payload, invoice.InvoiceState.IN_REVIEW)

    async def invoice_rejected(self, work: Work, payload: Payload) -> None:
        """The payload is invoice's ``InvoiceRejected``."""
        await self._tell_seller(work, payload, invoice.InvoiceState.REJECTED)

    async def _tell_seller(self, work: Work, payload: Payload, state: invoice.InvoiceState) -> None:
        async with work.transaction() as tx:
            letter = await service.tell_seller(tx, work.caller, reference=payload["reference"], state=state)
        await self._post(work, letter)

    async def login_code(self, work: Work, payload: Payload) -> None:
        """The payload is auth's ``LoginCodeWanted``; each job is one request for a code."""
        async with work.transaction() as tx:
            letter = await service.login_code(
                tx,
                work.caller,
                subject_id=payload["subject_id"],
                wish=work.id,
                asked_at=from_wire(payload["asked_at"]),
            )
        await self._post(work, letter)

    async def _post(self, work: Work, letter: Letter | None) -> None:
        """Hand it over, and note what became of it: a refusal for good ends the job, anything else is tried again."""
        if letter is None:
            return
        business_key = letter.email.business_key
        try:
            reference = await self._handed_over(letter, work.attempts)
        except (Undeliverable, Shredded) as refusal:
            async with work.completing() as tx:
                await service.undeliverable(tx, work.caller, business_key=business_key, failure=refusal.code)
            return
        except Unavailable:
            async with work.transaction() as tx:
                await service.not_taken(tx, work.caller, business_key=business_key)
            raise
        async with work.completing() as tx:
            await service.sent(tx, work.caller, business_key=business_key, provider_ref=reference)

    async def _handed_over(self, letter: Letter, attempt: int) -> str:
        """The relay's reference. :raises Shredded: the recipient was erased meanwhile"""
        email = letter.email
        address = await self.sealer.open(email.tenant_id, email.subject_id, "email", email.to_sealed)
        taken = await self.mailer.send(
            Mail(
                message_id=message_id(letter, attempt),
                from_address=letter.from_address,
                from_name=letter.from_name,
                to_address=address,
                subject=letter.subject,
                text=letter.text,
            )
        )
        # A relay may repeat the recipient in its answer; an address never stands in a row.
        return _ADDRESSES.sub("…", taken)


def message_id(letter: Letter, attempt: int) -> str:
    """The mail's id and the attempt, at the sender's domain.

    An attempt has a link or a code of its own and has killed the earlier one, so it is another version of the message
    and RFC 5322 §3.6.4 wants another id: under the same one a receiver would keep the dead link and drop the live one.
    """
    return f"<{letter.email.id}.{attempt}@{letter.from_address.rpartition('@')[2]}>"
