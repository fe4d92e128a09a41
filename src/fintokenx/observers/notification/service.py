"""Write the mails: who is told what about which event, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from importlib.resources import files
from typing import Final

from jinja2 import Environment, StrictUndefined

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx
from fintokenx.kernel.machine import NOTHING
from fintokenx.lifecycle import invoice
from fintokenx.observers.notification import store
from fintokenx.observers.notification.transitions import EMAIL
from fintokenx.observers.notification.types import Email, Letter, NoAddress
from fintokenx.parties import auth, partner

_FILES: Final = files("fintokenx.observers.notification") / "templates"
_TOLD_OF: Final = {"IN_REVIEW": "invoice_in_review", "REJECTED": "invoice_rejected"}
_TEMPLATES: Final = Environment(
    undefined=StrictUndefined,
    autoescape=False,  # noqa: S701 — plain text has nothing to escape
    keep_trailing_newline=True,
)


async def ask_buyer(tx: Tx, caller: Caller, *, reference: str, public_url: str, life: timedelta) -> Letter | None:
    """The mail that asks a buyer to confirm its invoice, with a fresh link; None when there is nothing to ask any
    more, or it has been asked (IN-09). Asked again before the mail is known to have left, the same mail gets another
    link, and the earlier link is dead.

    :raises NoAddress: the buyer has none
    :raises SubjectFrozen: the buyer may do nothing
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    business_key = f"ask_buyer:{reference}"
    earlier = await store.lock(tx, business_key)
    asked = await invoice.get(tx, caller, reference=reference)
    if asked.state != "AWAITING_BUYER" or (earlier is not None and earlier.state == "SENT"):
        return None
    buyer = await auth.subject(tx, asked.obligor_id)
    seller = await auth.subject(tx, asked.originator_id)
    email = earlier or await _queue(tx, caller, "confirm_invoice", buyer, reference, business_key)
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


async def tell_seller(tx: Tx, caller: Caller, *, reference: str, state: str) -> Letter | None:
    """The mail that tells a seller that its invoice has come into ``state`` (IN_REVIEW, REJECTED) and why, as far as a
    seller may know; None when it has left that state again, or has been told (NO-03).

    :raises NoAddress: the seller has none
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    template = _TOLD_OF[state]
    business_key = f"{template}:{reference}"
    earlier = await store.lock(tx, business_key)
    about = await invoice.get(tx, caller, reference=reference)
    if about.state != state or (earlier is not None and earlier.state == "SENT"):
        return None
    seller = await auth.subject(tx, about.originator_id)
    buyer = await auth.subject(tx, about.obligor_id)
    email = earlier or await _queue(tx, caller, template, seller, reference, business_key)
    return await _letter(
        tx,
        email,
        invoice_number=about.invoice_number,
        amount=str(about.face_value),
        buyer_name=buyer.legal_name,
        reasons=[reason.text for reason in await invoice.reasons(tx, caller, reference=reference)],
        reference=reference,
    )


async def login_code(tx: Tx, caller: Caller, *, subject_id: str, wish: str) -> Letter | None:
    """The mail with a fresh code to sign in; None when it has been sent. ``wish`` names the request: one mail each.

    :raises NoAddress: the subject has none
    :raises SubjectFrozen: it may not sign in
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    business_key = f"login_code:{wish}"
    earlier = await store.lock(tx, business_key)
    if earlier is not None and earlier.state == "SENT":
        return None
    who = await auth.subject(tx, subject_id)
    email = earlier or await _queue(tx, caller, "login_code", who, subject_id, business_key)
    return await _letter(tx, email, code=await auth.issue_login_code(tx, caller, subject_id=subject_id))


async def sent(tx: Tx, caller: Caller, *, business_key: str, provider_ref: str) -> None:
    """The relay has taken the mail; told again, nothing happens."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    email = await store.lock(tx, business_key)
    if email is None or email.state == "SENT":
        return
    sending = EMAIL.next(email.state, "sent")
    move = audit.Move((store.sent(tx, email, sending, provider_ref),))
    await audit.change(tx, caller, action=sending.action, resource=email.resource, move=move)


def render(template: str, values: Mapping[str, str | Sequence[str]]) -> tuple[str, str]:
    """Subject and body: the first line of a template, and what follows its first empty line (NO-04). White space in a
    value is flattened, so that no value adds a line; a list is for the template to go through.

    :raises jinja2.UndefinedError: the template names a value that is not given
    """
    flat = {
        name: _flat(value) if isinstance(value, str) else [_flat(each) for each in value]
        for name, value in values.items()
    }
    filled = _TEMPLATES.from_string((_FILES / f"{template}.txt").read_text(encoding="utf-8")).render(flat)
    subject, _, body = filled.partition("\n\n")
    return subject, body


def _flat(text: str) -> str:
    return " ".join(text.split())


async def _queue(tx: Tx, caller: Caller, template: str, to: auth.Subject, resource: str, business_key: str) -> Email:
    if to.email_sealed is None:
        raise NoAddress
    queueing = EMAIL.next(NOTHING, "queue")
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
    await audit.change(tx, caller, action=queueing.action, resource=resource, move=audit.Move((store.queued(email),)))
    return email


async def _letter(tx: Tx, email: Email, **values: str | Sequence[str]) -> Letter:
    """Under the tenant's flag: its name, its address (NO-01)."""
    terms = (await partner.tenant(tx)).terms
    subject, body = render(email.template, {**values, "tenant_name": terms.display_name})
    return Letter(email, terms.mail_from, terms.display_name, subject, body)
