"""Administrators in a tenant: asked for with a reason, approved by another one, open for a quarter of an hour."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from fintokenx import audit
from fintokenx.kernel.caller import HOME_TENANT, Caller, Role
from fintokenx.kernel.db import Connection, Tx
from fintokenx.kernel.machine import NOTHING
from fintokenx.parties import partner
from fintokenx.parties.auth import store
from fintokenx.parties.auth.service.mfa import must_have_mfa
from fintokenx.parties.auth.service.subjects import find_subject
from fintokenx.parties.auth.transitions import ADMIN_SESSION, CUSTOMERS, AdminSessionEvent
from fintokenx.parties.auth.types import AdminSession, Purpose
from fintokenx.parties.auth.types.refusals import AdminSessionOver, FourEyes, NotACustomer, UnknownAdminSession

OPEN_LIFE: Final = timedelta(minutes=15)
REQUEST_LIFE: Final = timedelta(hours=1)
EXPIRE_ADMIN_SESSION_JOB: Final = "auth.expire_admin_session"


def abroad(caller: Caller, tenant_id: str) -> Caller:
    """An administrator of the platform, knocking at another tenant; there it may ask, approve, open and close.

    :raises WrongRole: not an administrator at home
    :raises MfaRequired: signed in with one factor
    """
    caller.must_be(Role.PLATFORM_ADMIN, tenant_id=HOME_TENANT)
    must_have_mfa(caller)
    return replace(caller, tenant_id=tenant_id)


async def request_admin_session(
    tx: Tx, caller: Caller, *, purpose: Purpose, on_behalf_of: str, reason: str
) -> AdminSession:
    """Ask to come in. Recorded in the tenant acted upon, as ADMIN_SESSION_REQUEST; lapses after an hour.

    Whether there is such a customer is not looked at: the answer would tell it to one who has no second pair of eyes
    yet. :func:`open_admin_session` refuses.

    :raises partner's UnknownTenant: there is no such tenant
    """
    _must_be_administrator(tx, caller)
    await partner.tenant(tx)
    asking = ADMIN_SESSION.next(NOTHING, AdminSessionEvent.REQUEST)
    new = AdminSession(
        tenant_id=tx.tenant_id,
        id=tx.ids.new("ads"),
        purpose=purpose,
        on_behalf_of=on_behalf_of,
        reason=reason,
        state=asking.target,
        requested_by=caller.actor,
        requested_at=tx.at,
    )
    move = audit.Changes((store.admin_session_requested(new),))
    await audit.change(tx, caller, action=asking.action, resource=new.id, move=move)
    lapses = tx.at + REQUEST_LIFE
    tx.enqueue(EXPIRE_ADMIN_SESSION_JOB, {"admin_session_id": new.id}, dedupe_key=f"{new.id}:lapse", run_at=lapses)
    return new


async def approve_admin_session(tx: Tx, caller: Caller, *, admin_session_id: str) -> AdminSession:
    """Another administrator's yes.

    :raises FourEyes: the one who asked
    :raises AdminSessionOver: asked for too long ago
    """
    _must_be_administrator(tx, caller)
    found = await _locked(tx, admin_session_id)
    if found.requested_by == caller.actor:
        raise FourEyes
    _refuse_lapsed(tx, found)
    return await _moved(tx, caller, found, AdminSessionEvent.APPROVE, approved_by=caller.actor, approved_at=tx.at)


async def refuse_admin_session(tx: Tx, caller: Caller, *, admin_session_id: str) -> AdminSession:
    """An administrator's no, or the asker's own change of mind."""
    _must_be_administrator(tx, caller)
    return await _moved(tx, caller, await _locked(tx, admin_session_id), AdminSessionEvent.REFUSE)


async def open_admin_session(tx: Tx, caller: Caller, *, admin_session_id: str) -> AdminSession:
    """The asker comes in, for a quarter of an hour.

    :raises UnknownAdminSession: somebody else's
    :raises AdminSessionOver: asked for too long ago
    :raises NotACustomer: it is for nobody of that tenant, or for staff, who act for themselves
    """
    _must_be_administrator(tx, caller)
    found = await _own(tx, caller, admin_session_id)
    _refuse_lapsed(tx, found)
    party = await find_subject(tx, found.on_behalf_of)
    if party is None or party.role not in (*CUSTOMERS, Role.PARTNER_ADMIN):
        raise NotACustomer
    opened = await _moved(tx, caller, found, AdminSessionEvent.OPEN, opened_at=tx.at, expires_at=tx.at + OPEN_LIFE)
    ends = tx.at + OPEN_LIFE
    tx.enqueue(EXPIRE_ADMIN_SESSION_JOB, {"admin_session_id": found.id}, dedupe_key=f"{found.id}:end", run_at=ends)
    return opened


async def close_admin_session(tx: Tx, caller: Caller, *, admin_session_id: str) -> AdminSession:
    """Done before time; the session's token dies at once. :raises UnknownAdminSession: somebody else's"""
    _must_be_administrator(tx, caller)
    return await _moved(tx, caller, await _own(tx, caller, admin_session_id), AdminSessionEvent.CLOSE, closed_at=tx.at)


async def expire_admin_session(tx: Tx, caller: Caller, *, admin_session_id: str) -> None:
    """Record that time ran out; nothing to do when the session is over, or still has time."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    found = await _locked(tx, admin_session_id)
    ends = found.expires_at or found.requested_at + REQUEST_LIFE
    if found.state in ADMIN_SESSION.terminal_states or tx.at < ends:
        return
    await _moved(tx, caller, found, AdminSessionEvent.EXPIRE)


async def admin_sessions(tx: Tx, caller: Caller, *, before: str = "", limit: int = 50) -> list[AdminSession]:
    """Who came in, newest first: all of them for the partner whose tenant it is, and for an administrator who has come
    in; outside, where nothing is recorded of a look, an administrator sees what waits for an answer and its own."""
    caller.must_be(Role.PLATFORM_ADMIN, Role.PARTNER_ADMIN, tenant_id=tx.tenant_id)
    outside = caller.role is Role.PLATFORM_ADMIN and caller.admin_session_id is None
    concerning = caller.actor if outside else None
    return await store.admin_sessions(tx, before=before, limit=min(limit, 200), concerning=concerning)


async def find_anywhere(connection: Connection, subject_id: str) -> dict[str, Any] | None:
    """A subject in whatever tenant, its public columns; ``connection`` reads under a bypass."""
    return await store.find_anywhere(connection, subject_id)


def _must_be_administrator(tx: Tx, caller: Caller) -> None:
    caller.must_be(Role.PLATFORM_ADMIN, tenant_id=tx.tenant_id)
    must_have_mfa(caller)


async def _locked(tx: Tx, admin_session_id: str) -> AdminSession:
    await store.lock(tx, f"admin_sessions:{admin_session_id}")
    found = await store.admin_session(tx, admin_session_id)
    if found is None:
        raise UnknownAdminSession
    return found


async def _own(tx: Tx, caller: Caller, admin_session_id: str) -> AdminSession:
    found = await _locked(tx, admin_session_id)
    if found.requested_by != caller.actor:
        raise UnknownAdminSession
    return found


def _refuse_lapsed(tx: Tx, found: AdminSession) -> None:
    if tx.at >= found.requested_at + REQUEST_LIFE:
        raise AdminSessionOver


async def _moved(tx: Tx, caller: Caller, found: AdminSession, event: AdminSessionEvent, **after: Any) -> AdminSession:
    transition = ADMIN_SESSION.next(found.state, event)
    move = audit.Changes((store.admin_session_moved(found, {"state": transition.target, **after}),))
    await audit.change(tx, caller, action=transition.action, resource=found.id, move=move)
    return replace(found, state=transition.target, **after)
