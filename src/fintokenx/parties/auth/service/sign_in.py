"""Sign-in by mailed code: asked for, given out at send time, tried at most five times, used once (AU-12, AU-13)."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from datetime import timedelta
from typing import Final

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.clock import Instant, to_wire
from fintokenx.kernel.db import Tx
from fintokenx.kernel.machine import NOTHING
from fintokenx.parties.auth import events, store
from fintokenx.parties.auth.ports import BlindIndex
from fintokenx.parties.auth.service.subjects import subject
from fintokenx.parties.auth.transitions import ROLES_OF, SESSION, SIGNED_IN, SessionEvent
from fintokenx.parties.auth.types import Attempt, LoginCode, Me, Session, Subject
from fintokenx.parties.auth.types.refusals import SessionEnded, SignInRefused, SubjectFrozen, TooManyAttempts

CODE_DIGITS: Final = 8
CODE_LIFE: Final = timedelta(minutes=10)
ATTEMPTS_MAX: Final = 5
CODES_MAX: Final = 5
WINDOW_SECONDS: Final = 900
REFUSED_JOB: Final = "auth.tell_of_refused_sign_ins"
REFUSED_KNOWN_SECONDS: Final = 10
SESSION_LIFE: Final = timedelta(minutes=30)
_DOOR: Final = (Role.PARTNER_ADMIN, Role.SYSTEM)
_NOBODYS: Final = LoginCode("", bytes(16), bytes(32))


async def email_index_of(index: BlindIndex, *, tenant_id: str, email: str) -> str:
    """The keyed hash by which an address is looked up; another one in every tenant. Call it outside a transaction."""
    return await index.blind_index("auth/email", f"{tenant_id}\0{email.strip().casefold()}")


async def request_login_code(tx: Tx, caller: Caller, *, email_index: str, role: Role | None = None) -> None:
    """Have a code mailed to every subject of this address (in one role, if given).

    Answers alike whether there is such a subject or not, and whether the throttle is open or not.
    """
    caller.must_be(*_DOOR, tenant_id=tx.tenant_id)
    now = await store.count_sign_in(tx, email_index, attempts=0, codes=1, window_seconds=WINDOW_SECONDS)
    if now.codes > CODES_MAX:
        return
    for found in await store.subjects_of_email(tx, email_index, role):
        move = audit.Changes(facts=(events.LoginCodeWanted(found.id, tx.at),))
        await audit.change(tx, caller, action="LOGIN_CODE_REQUEST", resource=found.id, move=move)


async def issue_login_code(tx: Tx, caller: Caller, *, subject_id: str) -> str:
    """A fresh code of eight digits for the mail that is about to leave; earlier codes are void, only a salted
    scrypt hash is kept. Ten minutes, one use.

    :raises SubjectFrozen: it may not sign in
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    _refuse_frozen(await subject(tx, subject_id))
    raw = tx.ids.digits(CODE_DIGITS)
    salt = bytes.fromhex(tx.ids.secret("salt").removeprefix("salt_"))[:16]
    code = LoginCode(subject_id, salt, await _scrypt(raw, salt))
    await store.keep_code(tx, code, life=CODE_LIFE)
    return raw


async def count_attempt(tx: Tx, caller: Caller, *, email_index: str) -> Attempt:
    """Count a try before looking at its code. To be committed by itself: a refusal must not undo the count."""
    caller.must_be(*_DOOR, tenant_id=tx.tenant_id)
    now = await store.count_sign_in(tx, email_index, attempts=1, codes=0, window_seconds=WINDOW_SECONDS)
    await store.count_against_codes(tx, email_index)
    if now.attempts == ATTEMPTS_MAX:
        # Whether this one is refused too is known when it has ended. Of an unknown address it is promised alike.
        since = to_wire(now.window_from)
        tx.enqueue(
            REFUSED_JOB,
            {"email_index": email_index, "window_from": since},
            dedupe_key=f"{email_index}:{since}",
            run_at=tx.at + timedelta(seconds=REFUSED_KNOWN_SECONDS),
        )
    if now.attempts == ATTEMPTS_MAX + 1:
        move = audit.Changes(facts=(events.SignInBlocked(email_index, now.attempts),))
        await audit.change(tx, caller, action="SIGN_IN_BLOCKED", resource=email_index, move=move)
    return Attempt(email_index, allowed=now.attempts <= ATTEMPTS_MAX)


async def tell_of_refusals(tx: Tx, caller: Caller, *, email_index: str, window_from: Instant) -> None:
    """Five tries for one address in one window: unless the last one went well, each account of this address is told of,
    once per window (AU-13)."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    now = await store.throttle(tx, email_index)
    if now is not None and now.window_from == window_from and now.attempts < ATTEMPTS_MAX:
        return
    for found in await store.subjects_of_email(tx, email_index, None):
        move = audit.Changes(facts=(events.SignInsRefused(found.id, ATTEMPTS_MAX),))
        await audit.change(tx, caller, action="SIGN_INS_REFUSED", resource=found.id, move=move)


async def sign_in(tx: Tx, caller: Caller, *, attempt: Attempt, code: str) -> Session:
    """Use a code up and open a session of thirty minutes. ``attempt`` comes from :func:`count_attempt`.

    :raises TooManyAttempts: the address is throttled, known or not
    :raises SignInRefused: no such live code; says no more
    """
    caller.must_be(*_DOOR, tenant_id=tx.tenant_id)
    if not attempt.allowed:
        raise TooManyAttempts(retry_after_seconds=WINDOW_SECONDS)
    found = await _matching(tx, attempt.email_index, code)
    if found is None:
        raise SignInRefused
    await store.lock(tx, f"subjects:{found.subject_id}")
    who = await subject(tx, found.subject_id)
    if who.is_barred or not await store.use_code(tx, found):
        raise SignInRefused
    await store.forget_attempts(tx, attempt.email_index)
    return await _open_session(tx, caller, who)


async def _matching(tx: Tx, email_index: str, code: str) -> LoginCode | None:
    """The live code with these digits. An unknown address costs the same scrypt as a known one."""
    codes = await store.live_codes(tx, email_index, attempts_max=ATTEMPTS_MAX)
    matching = None
    for candidate in codes or [_NOBODYS]:
        if hmac.compare_digest(await _scrypt(code, candidate.salt), candidate.code_scrypt):
            matching = candidate
    return matching


async def _open_session(tx: Tx, caller: Caller, who: Subject) -> Session:
    opening = SESSION.next(NOTHING, SessionEvent.OPEN)
    session = Session(
        tenant_id=tx.tenant_id,
        id=tx.ids.new("ses"),
        subject_id=who.id,
        role=who.role,
        aal=1,
        state=opening.target,
        created_at=tx.at,
        expires_at=tx.at + SESSION_LIFE,
    )
    signed_in = Caller(tenant_id=tx.tenant_id, role=who.role, actor=who.id, subject_id=who.id, ip=caller.ip)
    move = audit.Changes((store.session_opened(session),))
    await audit.change(tx, signed_in, action=opening.action, resource=who.id, move=move)
    return session


async def end_session(tx: Tx, caller: Caller) -> Session:
    """Sign out: the caller's own session ends.

    :raises SessionEnded: the caller has none that lives
    """
    caller.must_be(*SIGNED_IN, tenant_id=tx.tenant_id)
    if caller.session_id is None or caller.scope is not None:
        raise SessionEnded
    await store.lock(tx, f"sessions:{caller.session_id}")
    session = await store.live_session(tx, caller.session_id)
    if session is None:
        raise SessionEnded
    ending = SESSION.next(session.state, SessionEvent.END)
    move = audit.Changes((store.session_revoked(tx, session, state=ending.target),))
    await audit.change(tx, caller, action=ending.action, resource=session.subject_id, move=move)
    return session


async def me(tx: Tx, caller: Caller) -> Me:
    """Who the caller is (AU-03)."""
    caller.must_be(*ROLES_OF["SESSION_OPEN"], tenant_id=tx.tenant_id)
    return Me(
        tenant_id=caller.tenant_id,
        actor=caller.actor,
        role=caller.role,
        on_behalf_of=caller.on_behalf_of,
        has_api_key=caller.has_api_key,
        subject=await subject(tx, caller.subject_id) if caller.subject_id else None,
        session=await store.session(tx, caller.session_id) if caller.session_id else None,
    )


def _refuse_frozen(found: Subject) -> None:
    if found.is_barred:
        raise SubjectFrozen


async def _scrypt(code: str, salt: bytes) -> bytes:
    """Slow on purpose (RFC 7914, 16 MiB): eight digits are few for whoever could read the hash while it lives."""
    return await asyncio.to_thread(hashlib.scrypt, code.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32)
