"""Magic links: one invoice, one buyer, one use; a GET never uses one up (AU-06, AU-07)."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from typing import Final

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Tx
from fintokenx.kernel.machine import NOTHING
from fintokenx.parties.auth import store
from fintokenx.parties.auth.events import MagicLinkIssued, MagicLinkLapsed
from fintokenx.parties.auth.service.subjects import subject
from fintokenx.parties.auth.transitions import MAGIC_LINK, MagicLinkEvent, MagicLinkState
from fintokenx.parties.auth.types import MagicLink
from fintokenx.parties.auth.types.refusals import (
    MagicLinkExpired,
    MagicLinkOutOfScope,
    MagicLinkRevoked,
    MagicLinkUsed,
    SubjectFrozen,
    UnknownMagicLink,
)

EXPIRE_JOB: Final = "auth.expire_magic_link"
_RAW: Final = re.compile(r"(tnt_[a-z0-9_]{1,40})\.[0-9a-f]{64}")


async def issue_magic_link(tx: Tx, caller: Caller, *, invoice_reference: str, subject_id: str, life: timedelta) -> str:
    """A fresh token ``<tenant id>.<64 hex>`` for the mail that is about to leave; only its hash is kept.

    Earlier links of the invoice are revoked in the same entry, so a repeated mail job leaves one live link.

    :raises SubjectFrozen: the buyer may do nothing
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    await store.lock(tx, f"subjects:{subject_id}")
    if (await subject(tx, subject_id)).is_barred:
        raise SubjectFrozen
    await store.lock(tx, f"magic_links:{invoice_reference}")
    issue = MAGIC_LINK.next(NOTHING, MagicLinkEvent.ISSUE)
    raw = f"{tx.tenant_id}.{tx.ids.secret('ml').removeprefix('ml_')}"
    link = MagicLink(
        tenant_id=tx.tenant_id,
        id=tx.ids.new("ml"),
        invoice_reference=invoice_reference,
        subject_id=subject_id,
        state=issue.target,
        issued_at=tx.at,
        expires_at=tx.at + life,
    )
    earlier = await _all_moved(tx, invoice_reference, MagicLinkEvent.REISSUE)
    fact = MagicLinkIssued(link.id, invoice_reference, subject_id, link.expires_at)
    move = earlier + audit.Changes((store.link_issued(link, token_sha256=_sha256(raw)),), (fact,))
    await audit.change(tx, caller, action=issue.action, resource=invoice_reference, move=move)
    tx.enqueue(EXPIRE_JOB, {"link_id": link.id}, dedupe_key=link.id, run_at=link.expires_at)
    return raw


def is_magic_link(text: str) -> bool:
    """Whether it has the form of one."""
    return _RAW.fullmatch(text) is not None


def tenant_of_magic_link(raw: str) -> str:
    """Whose link this says it is; nothing is proved yet. Reads no database.

    :raises UnknownMagicLink: not in the form of a link
    """
    parts = _RAW.fullmatch(raw)
    if parts is None:
        raise UnknownMagicLink
    return parts[1]


async def open_magic_link(tx: Tx, raw: str, *, ip: str | None = None) -> Caller:
    """The buyer behind a live token; the first opening is recorded, and no opening uses the link up.

    :raises UnknownMagicLink: no such token in this tenant
    :raises MagicLinkUsed: used before
    :raises MagicLinkExpired: too old
    :raises MagicLinkRevoked: replaced or withdrawn
    """
    link = await _by_token(tx, raw)
    await store.lock(tx, f"magic_links:{link.invoice_reference}")
    link = await _by_token(tx, raw)
    _refuse_dead(link, tx.at)
    caller = _caller(link, ip)
    if link.state == MagicLinkState.ISSUED:
        opening = MAGIC_LINK.next(link.state, MagicLinkEvent.OPEN)
        move = audit.Changes((store.link_moved(link, state=opening.target),))
        await audit.change(tx, caller, action=opening.action, resource=link.invoice_reference, move=move)
    return caller


async def consume_magic_link(tx: Tx, caller: Caller, *, raw: str) -> audit.Changes:
    """Use up the link that the caller came by, for the command above to record as CONFIRM_INVOICE or
    INVOICE_BUYER_DECLINE.

    :raises UnknownMagicLink: no such token in this tenant
    :raises MagicLinkOutOfScope: the caller came by no link, or by one of another invoice
    :raises MagicLinkUsed, MagicLinkExpired, MagicLinkRevoked: it is not live any more
    :raises IllegalTransition: the page was never opened
    """
    caller.must_be(Role.BUYER, tenant_id=tx.tenant_id)
    if caller.scope is None:
        raise MagicLinkOutOfScope
    await store.lock(tx, f"magic_links:{caller.scope}")
    link = await _by_token(tx, raw)
    if link.invoice_reference != caller.scope:
        raise MagicLinkOutOfScope
    _refuse_dead(link, tx.at)
    # Confirming and declining lead to the same state; which of the two it was, the recorded action says.
    return audit.Changes((store.link_moved(link, state=MAGIC_LINK.next(link.state, MagicLinkEvent.CONFIRM).target),))


async def withdraw_magic_links(tx: Tx, caller: Caller, *, invoice_reference: str) -> audit.Changes:
    """Revoke the live link of an invoice, for the command above to record as INVOICE_WITHDRAW, or as CONFIRM_INVOICE
    when an administrator confirms for the buyer."""
    caller.must_be(Role.SELLER, Role.BUYER, Role.SYSTEM, tenant_id=tx.tenant_id)
    await store.lock(tx, f"magic_links:{invoice_reference}")
    return await _all_moved(tx, invoice_reference, MagicLinkEvent.WITHDRAW)


async def expire_magic_link(tx: Tx, caller: Caller, *, link_id: str) -> None:
    """Record that a link has run out; nothing to do when it was used or replaced before."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    link = await store.magic_link(tx, link_id)
    if link is None:
        return
    await store.lock(tx, f"magic_links:{link.invoice_reference}")
    link = await store.magic_link(tx, link_id)
    if link is None or link.state not in (MagicLinkState.ISSUED, MagicLinkState.OPENED) or tx.at < link.expires_at:
        return
    expiry = MAGIC_LINK.next(link.state, MagicLinkEvent.EXPIRE)
    fact = MagicLinkLapsed(link.id, link.invoice_reference, link.subject_id)
    move = audit.Changes((store.link_moved(link, state=expiry.target),), (fact,))
    await audit.change(tx, caller, action=expiry.action, resource=link.invoice_reference, move=move)


async def _all_moved(tx: Tx, invoice_reference: str, event: MagicLinkEvent) -> audit.Changes:
    links = await store.live_links_of_invoice(tx, invoice_reference)
    return audit.Changes(
        tuple(store.link_moved(link, state=MAGIC_LINK.next(link.state, event).target) for link in links)
    )


async def _by_token(tx: Tx, raw: str) -> MagicLink:
    link = await store.magic_link_by_hash(tx, _sha256(raw))
    if link is None:
        raise UnknownMagicLink
    return link


def _refuse_dead(link: MagicLink, at: Instant) -> None:
    """The clock decides before the job that records the expiry has run."""
    match link.state:
        case MagicLinkState.CONSUMED:
            raise MagicLinkUsed
        case MagicLinkState.REVOKED:
            raise MagicLinkRevoked
        case MagicLinkState.ISSUED | MagicLinkState.OPENED if at < link.expires_at:
            return
        case _:
            raise MagicLinkExpired


def _caller(link: MagicLink, ip: str | None) -> Caller:
    return Caller(
        tenant_id=link.tenant_id,
        role=Role.BUYER,
        actor=link.subject_id,
        subject_id=link.subject_id,
        session_id=link.id,
        scope=link.invoice_reference,
        ip=ip,
    )


def _sha256(raw: str) -> str:
    return hashlib.sha256(raw.encode()).hexdigest()
