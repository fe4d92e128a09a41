"""The second factor: a TOTP secret added, confirmed, and used to step a session up (AU-11; RFC 6238)."""

from __future__ import annotations

import base64
import hmac
from dataclasses import replace
from datetime import timedelta
from typing import Final

import pyotp

from fintokenx import audit
from fintokenx.kernel.caller import Caller
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Tx
from fintokenx.kernel.machine import NOTHING
from fintokenx.parties.auth import store
from fintokenx.parties.auth.service.sign_in import SESSION_LIFE
from fintokenx.parties.auth.transitions import SESSION, SIGNED_IN, SessionEvent
from fintokenx.parties.auth.types import Factor, FactorTry, Session
from fintokenx.parties.auth.types.refusals import (
    MfaRefused,
    MfaRequired,
    SessionEnded,
    TooManyAttempts,
    TooManyFactors,
    UnknownFactor,
)

STEP_SECONDS: Final = 30
TRIES_MAX: Final = 5
TRY_WINDOW_SECONDS: Final = 900
AAL_2: Final = 2
FACTORS_MAX: Final = 5
FACTOR_WINDOW: Final = timedelta(days=1)
_DRIFT_STEPS: Final = (-1, 0, 1)
"""RFC 6238 §5.2: one step of network delay, and a telephone that is half a minute off."""


def must_have_mfa(caller: Caller) -> None:
    """:raises MfaRequired: the caller signed in with one factor"""
    if caller.aal < AAL_2:
        raise MfaRequired


def new_secret(entropy: bytes) -> str:
    """A TOTP secret of 160 bits in base32 (RFC 4226 §4 recommends as many)."""
    return base64.b32encode(entropy[:20]).decode()


def provisioning_uri(secret: str, *, account: str, issuer: str) -> str:
    """What an authenticator app reads from a QR code."""
    return pyotp.TOTP(secret, interval=STEP_SECONDS).provisioning_uri(name=account, issuer_name=issuer)


def step_of(secret: str, code: str, at: Instant) -> int | None:
    """The time step of which ``code`` is, or None: wrong, or more than a step away."""
    totp = pyotp.TOTP(secret, interval=STEP_SECONDS)
    now = int(at.timestamp()) // STEP_SECONDS
    found = None
    for step in (now + drift for drift in _DRIFT_STEPS):
        if hmac.compare_digest(totp.generate_otp(step), code):
            found = step
    return found


async def add_factor(tx: Tx, caller: Caller, *, factor_id: str, secret_sealed: str) -> Factor:
    """A new factor of the caller's own, in place of an earlier one. Recorded as MFA_FACTOR_ADD; it counts once it is
    confirmed.

    :raises SessionEnded: the caller is no signed-in person
    :raises MfaRequired: a confirmed factor is replaced by somebody who has just shown it
    :raises TooManyFactors: as many within a day as nobody needs
    """
    caller.must_be(*SIGNED_IN, tenant_id=tx.tenant_id)
    subject_id = _person(caller)
    await store.lock(tx, f"subjects:{subject_id}")
    earlier = await store.live_factor(tx, subject_id)
    if earlier is not None and earlier.confirmed_at is not None:
        must_have_mfa(caller)
    if await store.factors_since(tx, subject_id, tx.at - FACTOR_WINDOW) >= FACTORS_MAX:
        raise TooManyFactors
    factor = Factor(tx.tenant_id, factor_id, subject_id, secret_sealed, tx.at, None)
    revoked = (store.factor_changed(earlier, revoked_at=tx.at),) if earlier else ()
    move = audit.Changes((*revoked, store.factor_added(factor)))
    await audit.change(tx, caller, action="MFA_FACTOR_ADD", resource=factor_id, move=move)
    return factor


async def count_factor_try(tx: Tx, caller: Caller) -> FactorTry:
    """Count a try of the caller's factor before its code is looked at. To be committed by itself: a refusal must not
    undo the count.

    :raises SessionEnded, UnknownFactor: nobody, or nothing, to try
    """
    caller.must_be(*SIGNED_IN, tenant_id=tx.tenant_id)
    factor = await store.live_factor(tx, _person(caller))
    if factor is None:
        raise UnknownFactor
    tries = await store.count_factor_try(tx, factor.id, window_seconds=TRY_WINDOW_SECONDS)
    return FactorTry(factor, tx.at, allowed=tries <= TRIES_MAX)


async def confirm_factor(tx: Tx, caller: Caller, *, tried: FactorTry, step: int | None) -> Factor:
    """The caller has the secret: from now on the factor counts. Recorded as MFA_FACTOR_CONFIRM.

    :raises TooManyAttempts, MfaRefused: the code
    """
    caller.must_be(*SIGNED_IN, tenant_id=tx.tenant_id)
    factor = await _used(tx, caller, tried, step)
    if factor.confirmed_at is not None:
        raise MfaRefused("it is confirmed already")
    move = audit.Changes((store.factor_changed(factor, confirmed_at=tx.at),))
    await audit.change(tx, caller, action="MFA_FACTOR_CONFIRM", resource=factor.id, move=move)
    return replace(factor, confirmed_at=tx.at)


async def step_up(tx: Tx, caller: Caller, *, tried: FactorTry, step: int | None, session_id: str) -> Session:
    """A new session at assurance level 2 in place of the caller's own, in one entry SESSION_STEP_UP (AU-11, AU-12). It
    begins with the try: its token is signed before, since nobody could ask for it again.

    :raises TooManyAttempts, MfaRefused: the code, or a factor that was never confirmed
    :raises SessionEnded: the caller's session does not live any more
    """
    caller.must_be(*SIGNED_IN, tenant_id=tx.tenant_id)
    factor = await _used(tx, caller, tried, step)
    if factor.confirmed_at is None:
        raise MfaRefused("confirm the factor first")
    old = await store.live_session(tx, caller.session_id or "")
    if old is None:
        raise SessionEnded
    opening = SESSION.next(NOTHING, SessionEvent.STEP_UP)
    new = replace(
        old,
        id=session_id,
        aal=AAL_2,
        state=opening.target,
        created_at=tried.at,
        expires_at=tried.at + SESSION_LIFE,
    )
    ended = store.session_revoked(tx, old, state=SESSION.next(old.state, SessionEvent.ROTATE).target)
    move = audit.Changes((ended, store.session_opened(new)))
    await audit.change(tx, caller, action=opening.action, resource=new.subject_id, move=move)
    return new


def _person(caller: Caller) -> str:
    """The signed-in subject: not an API key, a link, or an administrator in somebody's place."""
    if caller.session_id is None or caller.scope is not None or caller.admin_session_id is not None:
        raise SessionEnded
    return caller.must_be_subject()


async def _used(tx: Tx, caller: Caller, tried: FactorTry, step: int | None) -> Factor:
    """The live factor, its code used up. The throttle decides first, so that a right guess too late is no guess."""
    if not tried.allowed:
        raise TooManyAttempts(retry_after_seconds=TRY_WINDOW_SECONDS)
    subject_id = _person(caller)
    await store.lock(tx, f"subjects:{subject_id}")
    factor = await store.live_factor(tx, subject_id)
    if factor is None or factor.id != tried.factor.id:
        raise MfaRefused
    if step is None or not await store.use_step(tx, factor.id, step):
        raise MfaRefused
    return factor
