"""Which rows the entries of auth's actions carry, and what the modules above may carry of auth."""

from __future__ import annotations

from typing import Final

from fintokenx.audit import Carries, adds, always, changes, walking
from fintokenx.parties.auth.transitions import MAGIC_LINK, MagicLinkEvent

SUBJECT_MOVED: Final = changes("subjects", "state")
GATE_TIMES_KEPT: Final = changes("subjects", "last_kyc_run_at", "last_screening_at", "cleared_at")
_LINK_MOVED: Final = changes("magic_link_tokens", "state")
LINK_CONFIRMED: Final = walking(_LINK_MOVED, MAGIC_LINK, MagicLinkEvent.CONFIRM, MagicLinkEvent.CONFIRM_FOR_THE_BUYER)
"""By the buyer through the link, or for it without: then every link ends."""
LINK_DECLINED: Final = walking(_LINK_MOVED, MAGIC_LINK, MagicLinkEvent.DECLINE)
LINK_WITHDRAWN: Final = walking(_LINK_MOVED, MAGIC_LINK, MagicLinkEvent.WITHDRAW)
_SESSION_ENDED: Final = changes("sessions", "state", "revoked_at")
_LOCKED_OUT: Final = (_SESSION_ENDED, _LINK_MOVED)

CARRIES: Final[Carries] = {
    "SUBJECT_CREATE": always(adds("subjects")),
    "STAFF_CREATE": always(adds("subjects")),
    "ONBOARDING_OPEN": always(SUBJECT_MOVED),
    "ONBOARDING_SUBMIT": always(SUBJECT_MOVED),
    "GATE_RESULT": (SUBJECT_MOVED, GATE_TIMES_KEPT),
    "GATE_HITS_DISCOUNT": (GATE_TIMES_KEPT,),
    "SUBJECT_ACTIVE": (*always(SUBJECT_MOVED), GATE_TIMES_KEPT),
    "MLRO_APPROVE": (SUBJECT_MOVED,),
    "MLRO_DECLINE": (SUBJECT_MOVED,),
    "SUBJECT_SUSPEND": always(changes("subjects", "state", "suspension_reason")),
    "SUBJECT_RESUME": always(changes("subjects", "state", "suspension_reason")),
    "SUBJECT_FREEZE": (*always(changes("subjects", "state", "frozen_from", "freeze_ground")), *_LOCKED_OUT),
    "SUBJECT_UNFREEZE": always(changes("subjects", "state", "frozen_from", "freeze_ground")),
    "SUBJECT_ERASE": (
        *always(
            changes("subjects", "state", "representative_name_sealed", "email_sealed", "email_index"), adds("erasures")
        ),
        *_LOCKED_OUT,
    ),
    "SESSION_OPEN": always(adds("sessions")),
    "SESSION_END": always(_SESSION_ENDED),
    "SESSION_STEP_UP": always(adds("sessions"), _SESSION_ENDED),
    "MFA_FACTOR_ADD": (*always(adds("mfa_factors")), changes("mfa_factors", "revoked_at")),
    "MFA_FACTOR_CONFIRM": always(changes("mfa_factors", "confirmed_at")),
    "ADMIN_SESSION_REQUEST": always(adds("admin_sessions")),
    "ADMIN_SESSION_APPROVE": always(changes("admin_sessions", "state", "approved_by", "approved_at")),
    "ADMIN_SESSION_REFUSE": always(changes("admin_sessions", "state")),
    "ADMIN_SESSION_OPEN": always(changes("admin_sessions", "state", "opened_at", "expires_at")),
    "ADMIN_SESSION_CLOSE": always(changes("admin_sessions", "state", "closed_at")),
    "ADMIN_SESSION_EXPIRE": always(changes("admin_sessions", "state")),
    "MAGIC_LINK_ISSUE": (*always(adds("magic_link_tokens")), _LINK_MOVED),
    "MAGIC_LINK_OPEN": always(_LINK_MOVED),
    "MAGIC_LINK_EXPIRE": always(_LINK_MOVED),
    "PROVIDER_CRED_ROTATE": always(adds("credential_versions")),
}
