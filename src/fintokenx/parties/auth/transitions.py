"""The machines of subjects, sessions and magic links, and what they record (statemachines §2, §3).

A line stands here when there is a door for it: offboarding and rotation come with their doors.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from fintokenx.audit import Action
from fintokenx.kernel.caller import STAFF, Role
from fintokenx.kernel.machine import FROM_ABOVE, NOTHING, AnyMachine, machine

_FREEZABLE: Final = (
    "CREATED",
    "ONBOARDING",
    "VERIFYING",
    "SCREENING",
    "IN_REVIEW",
    "ACTIVE",
    "SUSPENDED",
    "DECLINED",
)


class SubjectState(StrEnum):
    """Where a subject stands."""

    CREATED = "CREATED"
    ACTIVE = "ACTIVE"
    ONBOARDING = "ONBOARDING"
    DECLINED = "DECLINED"
    VERIFYING = "VERIFYING"
    SCREENING = "SCREENING"
    IN_REVIEW = "IN_REVIEW"
    SUSPENDED = "SUSPENDED"
    FROZEN = "FROZEN"
    ERASED = "ERASED"


class SubjectEvent(StrEnum):
    """What moves a subject."""

    CREATE = "create"
    CREATE_STAFF = "create staff"
    OPEN_ONBOARDING = "open onboarding"
    SUBMIT = "submit"
    GATE_1_CLEAR = "gate 1 clear"
    GATE_2_DONE = "gate 2 done"
    ACTIVATE = "activate"
    APPROVE = "approve"
    DECLINE = "decline"
    SUSPEND = "suspend"
    RESUME = "resume"
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    ERASE = "erase"


SUBJECT: Final = machine(
    "subject",
    SubjectState,
    SubjectEvent,
    [
        (NOTHING, "create", "CREATED", "SUBJECT_CREATE"),
        (NOTHING, "create staff", "ACTIVE", "STAFF_CREATE"),
        ("CREATED | DECLINED", SubjectEvent.OPEN_ONBOARDING, "ONBOARDING", "ONBOARDING_OPEN"),
        ("ONBOARDING", SubjectEvent.SUBMIT, "VERIFYING", "ONBOARDING_SUBMIT"),
        ("VERIFYING", SubjectEvent.GATE_1_CLEAR, "SCREENING", "GATE_RESULT"),
        ("SCREENING", SubjectEvent.GATE_2_DONE, "IN_REVIEW", "GATE_RESULT"),
        ("IN_REVIEW", SubjectEvent.ACTIVATE, "ACTIVE", "SUBJECT_ACTIVE"),
        ("IN_REVIEW", SubjectEvent.APPROVE, "ACTIVE", "MLRO_APPROVE"),
        ("VERIFYING | SCREENING | IN_REVIEW", SubjectEvent.DECLINE, "DECLINED", "MLRO_DECLINE"),
        ("ACTIVE", SubjectEvent.SUSPEND, "SUSPENDED", "SUBJECT_SUSPEND"),
        ("SUSPENDED", SubjectEvent.RESUME, "ACTIVE", "SUBJECT_RESUME"),
        (" | ".join(_FREEZABLE), SubjectEvent.FREEZE, "FROZEN", "SUBJECT_FREEZE"),
        *(("FROZEN", SubjectEvent.UNFREEZE, state, "SUBJECT_UNFREEZE") for state in _FREEZABLE),
        ("CREATED | ACTIVE | SUSPENDED | DECLINED", SubjectEvent.ERASE, "ERASED", "SUBJECT_ERASE"),
    ],
)


class SessionState(StrEnum):
    """Where a session stands."""

    ACTIVE = "ACTIVE"
    REVOKED = "REVOKED"


class SessionEvent(StrEnum):
    """What moves a session."""

    OPEN = "open"
    STEP_UP = "step up"
    ROTATE = "rotate"
    END = "end"
    FREEZE = "freeze"
    ERASE = "erase"


SESSION: Final = machine(
    "session",
    SessionState,
    SessionEvent,
    [
        (NOTHING, "open", "ACTIVE", "SESSION_OPEN"),
        (NOTHING, "step up", "ACTIVE", "SESSION_STEP_UP"),
        ("ACTIVE", "rotate", "REVOKED", "SESSION_STEP_UP"),
        ("ACTIVE", "end", "REVOKED", "SESSION_END"),
        ("ACTIVE", "freeze", "REVOKED", "SUBJECT_FREEZE"),
        ("ACTIVE", "erase", "REVOKED", "SUBJECT_ERASE"),
    ],
)


class MagicLinkState(StrEnum):
    """Where a magic link stands."""

    ISSUED = "ISSUED"
    OPENED = "OPENED"
    CONSUMED = "CONSUMED"
    EXPIRED = "EXPIRED"
    REVOKED = "REVOKED"


class MagicLinkEvent(StrEnum):
    """What moves a magic link."""

    ISSUE = "issue"
    OPEN = "open"
    CONFIRM = "confirm"
    DECLINE = "decline"
    EXPIRE = "expire"
    REISSUE = "reissue"
    WITHDRAW = "withdraw"
    CONFIRM_FOR_THE_BUYER = "confirm for the buyer"
    FREEZE = "freeze"
    ERASE = "erase"


MAGIC_LINK: Final = machine(
    "magic link",
    MagicLinkState,
    MagicLinkEvent,
    [
        (NOTHING, "issue", "ISSUED", "MAGIC_LINK_ISSUE"),
        ("ISSUED", "open", "OPENED", "MAGIC_LINK_OPEN"),
        ("OPENED", "confirm", "CONSUMED", FROM_ABOVE),
        ("OPENED", "decline", "CONSUMED", FROM_ABOVE),
        ("ISSUED | OPENED", "expire", "EXPIRED", "MAGIC_LINK_EXPIRE"),
        ("ISSUED | OPENED", "reissue", "REVOKED", "MAGIC_LINK_ISSUE"),
        ("ISSUED | OPENED", "withdraw", "REVOKED", FROM_ABOVE),
        ("ISSUED | OPENED", "confirm for the buyer", "REVOKED", FROM_ABOVE),
        ("ISSUED | OPENED", "freeze", "REVOKED", "SUBJECT_FREEZE"),
        ("ISSUED | OPENED", "erase", "REVOKED", "SUBJECT_ERASE"),
    ],
)


class AdminSessionState(StrEnum):
    """Where an admin session stands."""

    REQUESTED = "REQUESTED"
    APPROVED = "APPROVED"
    REFUSED = "REFUSED"
    OPEN = "OPEN"
    CLOSED = "CLOSED"
    EXPIRED = "EXPIRED"


class AdminSessionEvent(StrEnum):
    """What moves an admin session."""

    REQUEST = "request"
    APPROVE = "approve"
    REFUSE = "refuse"
    OPEN = "open"
    CLOSE = "close"
    EXPIRE = "expire"


ADMIN_SESSION: Final = machine(
    "admin session",
    AdminSessionState,
    AdminSessionEvent,
    [
        (NOTHING, "request", "REQUESTED", "ADMIN_SESSION_REQUEST"),
        ("REQUESTED", "approve", "APPROVED", "ADMIN_SESSION_APPROVE"),
        ("REQUESTED | APPROVED", "refuse", "REFUSED", "ADMIN_SESSION_REFUSE"),
        ("APPROVED", "open", "OPEN", "ADMIN_SESSION_OPEN"),
        ("OPEN", "close", "CLOSED", "ADMIN_SESSION_CLOSE"),
        ("REQUESTED | APPROVED | OPEN", "expire", "EXPIRED", "ADMIN_SESSION_EXPIRE"),
    ],
)

MACHINES: tuple[AnyMachine, ...] = (SUBJECT, SESSION, MAGIC_LINK, ADMIN_SESSION)

CUSTOMERS: Final = (Role.SELLER, Role.BUYER, Role.LENDER, Role.INVESTOR, Role.BROKER)
SIGNED_IN: Final = (*CUSTOMERS, Role.PARTNER_ADMIN, *STAFF)
_COMPLIANCE: Final = (Role.MLRO, Role.COMPLIANCE)
_APPLICANTS: Final = (*CUSTOMERS, Role.PARTNER_ADMIN, Role.PLATFORM_ADMIN, Role.SYSTEM)

ACTIONS = (
    Action(
        "SUBJECT_CREATE",
        (Role.PARTNER_ADMIN, Role.PLATFORM_ADMIN, Role.SYSTEM),
        customer_facing=True,
        on_behalf_of="required_from_admin",
    ),
    Action("STAFF_CREATE", (Role.PLATFORM_ADMIN, Role.SYSTEM)),
    Action("ONBOARDING_OPEN", _APPLICANTS, customer_facing=True, on_behalf_of="required_from_admin"),
    Action("ONBOARDING_SUBMIT", _APPLICANTS, customer_facing=True, on_behalf_of="required_from_admin"),
    Action("GATE_RESULT", (Role.SYSTEM, *_COMPLIANCE), staff_only=True),
    Action("SUBJECT_ACTIVE", (Role.SYSTEM,)),
    Action("MLRO_APPROVE", _COMPLIANCE, staff_only=True),
    Action("MLRO_DECLINE", _COMPLIANCE, staff_only=True),
    Action("SUBJECT_SUSPEND", (Role.SYSTEM, *_COMPLIANCE)),
    Action("SUBJECT_RESUME", (Role.SYSTEM, *_COMPLIANCE)),
    Action("SUBJECT_FREEZE", _COMPLIANCE, staff_only=True),
    Action("SUBJECT_UNFREEZE", _COMPLIANCE, staff_only=True),
    Action("SUBJECT_ERASE", _COMPLIANCE, staff_only=True),
    Action("LOGIN_CODE_REQUEST", (Role.PARTNER_ADMIN, Role.SYSTEM)),
    Action("SIGN_IN_BLOCKED", (Role.PARTNER_ADMIN, Role.SYSTEM)),
    Action("SIGN_INS_REFUSED", (Role.SYSTEM,)),
    Action("SESSION_OPEN", SIGNED_IN),
    Action("SESSION_END", SIGNED_IN, on_behalf_of="optional"),
    Action("MFA_FACTOR_ADD", SIGNED_IN),
    Action("MFA_FACTOR_CONFIRM", SIGNED_IN),
    Action("SESSION_STEP_UP", SIGNED_IN),
    *(
        Action(f"ADMIN_SESSION_{event}", (Role.PLATFORM_ADMIN,))
        for event in ("REQUEST", "APPROVE", "REFUSE", "OPEN", "CLOSE")
    ),
    Action("ADMIN_SESSION_EXPIRE", (Role.SYSTEM,)),
    Action("RBAC_BYPASS", (Role.PLATFORM_ADMIN,), on_behalf_of="required"),
    Action("MAGIC_LINK_ISSUE", (Role.SYSTEM,)),
    Action("MAGIC_LINK_EXPIRE", (Role.SYSTEM,)),
    Action("MAGIC_LINK_OPEN", (Role.BUYER,)),
    Action("PROVIDER_CRED_ROTATE", (Role.PLATFORM_ADMIN,), staff_only=True),
)

ROLES_OF: Final = {
    action.name: tuple(
        role
        for role in action.roles
        if not (role is Role.PLATFORM_ADMIN and action.on_behalf_of == "required_from_admin")
    )
    for action in ACTIONS
}
"""Whose guards hold for an action of this module: an administrator passes those of the party that it acts for."""
