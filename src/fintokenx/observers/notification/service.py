"""Write the mails: who is told what about which event, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Tx
from fintokenx.kernel.machine import NOTHING
from fintokenx.lifecycle import invoice
from fintokenx.observers.notification import store
from fintokenx.observers.notification.transitions import EMAIL, EmailEvent
from fintokenx.observers.notification.types import Email, Letter
from fintokenx.parties import auth, compliance, partner

UNDELIVERABLE: Final = "MAIL_UNDELIVERABLE"
"""The alert about a mail that never leaves; it ends when a later one about the same has left."""
DELAYED: Final = "MAIL_DELAYED"
"""The alert about a mail that is tried in vain; it ends when the mail does."""
DELAYED_AFTER: Final = timedelta(minutes=3)

_TOLD_OF: Final = {
    invoice.InvoiceState.IN_REVIEW: "invoice_in_review",
    invoice.InvoiceState.REJECTED: "invoice_rejected",
}
_TEMPLATES: Final = Environment(
    loader=PackageLoader("fintokenx.observers.notification"),
    auto_reload=False,
    undefined=StrictUndefined,
    autoescape=False,  # noqa: S701 — plain text has nothing to escape
    keep_trailing_newline=True,
)


async def ask_buyer(tx: Tx, caller: Caller, *, reference: str, public_url: str, life: timedelta) -> Letter | None:
    """The mail that asks a buyer to confirm its invoice, with a fresh link; None when there is nothing to ask any
    more, it has been asked (IN-09), or it cannot be. Asked again before the mail is known to have left, the same mail
    gets another link, and the earlier link is dead.

    :raises SubjectFrozen: the buyer may do nothing
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    business_key = f"ask_buyer:{reference}"
    earlier = await store.lock(tx, business_key)
    asked = await invoice.get(tx, caller, reference=reference)
    if asked.state != invoice.InvoiceState.AWAITING_BUYER or _is_over(earlier):
        return None
    buyer = await auth.subject(tx, asked.obligor_id)
    seller = await auth.subject(tx, asked.originator_id)
    email = earlier or await _queue(tx, caller, "confirm_invoice", buyer, reference, business_key)
    if email is None:
        return None
    raw = await auth.issue_magic_link(tx, caller, invoice_reference=reference, subject_id=buyer.id, life=life)
    return await _letter(
        tx,
        email,
        seller_name=seller.legal_name,
        invoice_number=asked.invoice_number,
        amount=str(asked.face_value),
        due_date=f"{asked.maturity_date:%d %B %Y}",
        link=f"{public_url.rstrip('/')}/confirm/{raw}",
        link_expires=f"{tx.at + life:%d %B %Y, %H:%M}",
        reference=reference,
    )


async def tell_seller(tx: Tx, caller: Caller, *, reference: str, state: invoice.InvoiceState) -> Letter | None:
    """The mail that tells a seller that its invoice has come into ``state`` (IN_REVIEW, REJECTED) and why, as far as a
    seller may know; None when it has left that state again, has been told (NO-03), or cannot be.
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    template = _TOLD_OF[state]
    business_key = f"{template}:{reference}"
    earlier = await store.lock(tx, business_key)
    about = await invoice.get(tx, caller, reference=reference)
    if about.state != state or _is_over(earlier):
        return None
    seller = await auth.subject(tx, about.originator_id)
    buyer = await auth.subject(tx, about.obligor_id)
    email = earlier or await _queue(tx, caller, template, seller, reference, business_key)
    if email is None:
        return None
    return await _letter(
        tx,
        email,
        invoice_number=about.invoice_number,
        amount=str(about.face_value),
        buyer_name=buyer.legal_name,
        reasons=[reason.text for reason in await invoice.reasons(tx, caller, reference=reference)],
        reference=reference,
    )


async def login_code(tx: Tx, caller: Caller, *, subject_id: str, wish: str, asked_at: Instant) -> Letter | None:
    """The mail with a fresh code to sign in. ``wish`` names the request: one mail each. None when it has been sent,
    when the subject may not sign in or cannot be reached, and once a code of the time when it was asked for
    (``asked_at``) would be dead: whoever asked is gone, and the mail ends (EXPIRED)."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    business_key = f"login_code:{wish}"
    earlier = await store.lock(tx, business_key)
    who = await auth.subject(tx, subject_id)
    if _is_over(earlier) or (earlier is None and who.is_barred):
        return None
    email = earlier or await _queue(tx, caller, "login_code", who, subject_id, business_key)
    if email is None:
        return None
    if who.is_barred or tx.at >= asked_at + auth.CODE_LIFE:
        await _ended(tx, caller, email, EmailEvent.EXPIRE, "CODE_EXPIRED")
        return None
    code = await auth.issue_login_code(tx, caller, subject_id=subject_id)
    return await _letter(tx, email, code=code, company=who.legal_name, role=who.role.value.replace("_", " "))


async def sent(tx: Tx, caller: Caller, *, business_key: str, provider_ref: str) -> None:
    """The relay has taken the mail; told again, nothing happens. What kept mails about the same from this subject is
    over."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    email = await store.lock(tx, business_key)
    if email is None or _is_over(email):
        return
    sending = EMAIL.next(email.state, EmailEvent.SENT)
    move = audit.Changes((store.sent(tx, email, sending, provider_ref),))
    await audit.change(tx, caller, action=sending.action, resource=email.resource, move=move)
    await compliance.clear_alert(tx, caller, cause=DELAYED, resource=email.resource)
    if not await store.has_failed_for_another(tx, email):
        await compliance.clear_alert(tx, caller, cause=UNDELIVERABLE, resource=email.resource)


async def not_taken(tx: Tx, caller: Caller, *, business_key: str) -> None:
    """A try has failed and another follows. If that has gone on for longer than :data:`DELAYED_AFTER`, somebody is told
    (``MAIL_DELAYED``)."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    email = await store.lock(tx, business_key)
    if email is not None and not _is_over(email) and tx.at - email.queued_at >= DELAYED_AFTER:
        await _alarm(tx, caller, DELAYED, email.resource)


async def undeliverable(tx: Tx, caller: Caller, *, business_key: str, failure: str) -> None:
    """The mail is refused for good: it ends (FAILED), and somebody is told at once. Told again, nothing happens."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    email = await store.lock(tx, business_key)
    if email is not None and not _is_over(email):
        await _ended(tx, caller, email, EmailEvent.FAIL, failure)


def render(template: str, values: Mapping[str, str | Sequence[str]]) -> tuple[str, str]:
    """Subject and body: the first line of a template, and what follows its first empty line (NO-04). White space in a
    value is flattened, so that no value adds a line; a list is for the template to go through.

    :raises jinja2.UndefinedError: the template names a value that is not given
    """
    flat = {
        name: _flat(value) if isinstance(value, str) else [_flat(each) for each in value]
        for name, value in values.items()
    }
    filled = _TEMPLATES.get_template(f"{template}.txt").render(flat)
    subject, _, body = filled.partition("\n\n")
    return subject, body


def _flat(text: str) -> str:
    return " ".join(text.split())


def _is_over(email: Email | None) -> bool:
    return email is not None and email.state in EMAIL.terminal_states


async def _ended(tx: Tx, caller: Caller, email: Email, event: EmailEvent, failure: str) -> None:
    ending = EMAIL.next(email.state, event)
    move = audit.Changes((store.ended(tx, email, ending, failure),))
    await audit.change(tx, caller, action=ending.action, resource=email.resource, move=move)
    await compliance.clear_alert(tx, caller, cause=DELAYED, resource=email.resource)
    await _alarm(tx, caller, UNDELIVERABLE, email.resource)


async def _alarm(tx: Tx, caller: Caller, cause: str, resource: str) -> None:
    """Once while it is open: a retry every few minutes is no new occurrence."""
    move = await compliance.raise_alert(
        tx, caller, cause=cause, resource=resource, severity=compliance.Severity.WARNING
    )
    if move.facts:
        await audit.change(tx, caller, action="ALERT_RAISE", resource=resource, move=move)


async def _queue(
    tx: Tx, caller: Caller, template: str, to: auth.Subject, resource: str, business_key: str
) -> Email | None:
    """None when there is no address to send it to: somebody is told at once."""
    if to.email_sealed is None:
        await _alarm(tx, caller, UNDELIVERABLE, resource)
        return None
    queueing = EMAIL.next(NOTHING, EmailEvent.QUEUE)
    email = Email(
        tenant_id=tx.tenant_id,
        id=tx.ids.new("eml"),
        template=template,
        subject_id=to.id,
        to_sealed=to.email_sealed,
        resource=resource,
        business_key=business_key,
        state=queueing.target,
        provider_ref=None,
        queued_at=tx.at,
        sent_at=None,
    )
    await audit.change(
        tx, caller, action=queueing.action, resource=resource, move=audit.Changes((store.queued(email),))
    )
    return email


async def _letter(tx: Tx, email: Email, **values: str | Sequence[str]) -> Letter:
    """Under the tenant's flag: its name, its address (NO-01)."""
    terms = (await partner.tenant(tx)).terms
    subject, body = render(email.template, {**values, "tenant_name": terms.display_name})
    return Letter(email, terms.mail_from, terms.display_name, subject, body)
