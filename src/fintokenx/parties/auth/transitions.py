"""The machines of subjects, sessions and magic links, and what they record (statemachines §2, §3).

A line stands here when there is a door for it: offboarding and rotation come with their doors.
"""

from __future__ import annotations

from typing import Final

from fintokenx.audit import Action
from fintokenx.kernel.caller import Role
from fintokenx.kernel.machine import NOTHING, Machine, transitions
from fintokenx.parties.auth.types import SubjectEvent as Event

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

SUBJECT: Final = Machine(
    "subject",
    transitions(
        [
            (NOTHING, "create", "CREATED", "SUBJECT_CREATE"),
            (NOTHING, "create staff", "ACTIVE", "STAFF_CREATE"),
            ("CREATED | DECLINED", Event.OPEN_ONBOARDING, "ONBOARDING", "ONBOARDING_OPEN"),
            ("ONBOARDING", Event.SUBMIT, "VERIFYING", "ONBOARDING_SUBMIT"),
            ("VERIFYING", Event.GATE_1_CLEAR, "SCREENING", "GATE_RESULT"),
            ("SCREENING", Event.GATE_2_DONE, "IN_REVIEW", "GATE_RESULT"),
            ("IN_REVIEW", Event.ACTIVATE, "ACTIVE", "SUBJECT_ACTIVE"),
            ("IN_REVIEW", Event.APPROVE, "ACTIVE", "MLRO_APPROVE"),
            ("VERIFYING | SCREENING | IN_REVIEW", Event.DECLINE, "DECLINED", "MLRO_DECLINE"),
            ("ACTIVE", Event.SUSPEND, "SUSPENDED", "SUBJECT_SUSPEND"),
            ("SUSPENDED", Event.RESUME, "ACTIVE", "SUBJECT_RESUME"),
            (" | ".join(_FREEZABLE), Event.FREEZE, "FROZEN", "SUBJECT_FREEZE"),
            *(("FROZEN", Event.UNFREEZE, state, "SUBJECT_UNFREEZE") for state in _FREEZABLE),
        ]
    ),
)

SESSION: Final = Machine(
    "session",
    transitions(
        [
            (NOTHING, "open", "ACTIVE", "SESSION_OPEN"),
            ("ACTIVE", "end", "REVOKED", "SESSION_END"),
            ("ACTIVE", "freeze", "REVOKED", "SUBJECT_FREEZE"),
        ]
    ),
)

MAGIC_LINK: Final = Machine(
    "magic link",
    transitions(
        [
            (NOTHING, "issue", "ISSUED", "MAGIC_LINK_ISSUE"),
            ("ISSUED", "open", "OPENED", "MAGIC_LINK_OPEN"),
            ("OPENED", "confirm", "CONSUMED", "CONFIRM_INVOICE"),
            ("OPENED", "decline", "CONSUMED", "INVOICE_BUYER_DECLINE"),
            ("ISSUED | OPENED", "expire", "EXPIRED", "MAGIC_LINK_EXPIRE"),
            ("ISSUED | OPENED", "reissue", "REVOKED", "MAGIC_LINK_ISSUE"),
            ("ISSUED | OPENED", "withdraw", "REVOKED", "INVOICE_WITHDRAW"),
            ("ISSUED | OPENED", "freeze", "REVOKED", "SUBJECT_FREEZE"),
        ]
    ),
)

MACHINES: tuple[Machine, ...] = (SUBJECT, SESSION, MAGIC_LINK)

CUSTOMERS: Final = (Role.SELLER, Role.BUYER, Role.LENDER, Role.INVESTOR, Role.BROKER)
STAFF: Final = (Role.MLRO, Role.COMPLIANCE, Role.PLATFORM_ADMIN)
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
    Action("LOGIN_CODE_REQUEST", (Role.PARTNER_ADMIN, Role.SYSTEM)),
    Action("SIGN_IN_BLOCKED", (Role.PARTNER_ADMIN, Role.SYSTEM)),
    Action("SESSION_OPEN", SIGNED_IN),
    Action("SESSION_END", SIGNED_IN, on_behalf_of="optional"),
    Action("MAGIC_LINK_ISSUE", (Role.SYSTEM,)),
    Action("MAGIC_LINK_EXPIRE", (Role.SYSTEM,)),
    Action("MAGIC_LINK_OPEN", (Role.BUYER,)),
    Action("PROVIDER_CRED_ROTATE", (Role.PLATFORM_ADMIN,), staff_only=True),
)

ROLES_OF: Final = {action.name: action.roles for action in ACTIONS}
"""Who may record an action of this module."""
