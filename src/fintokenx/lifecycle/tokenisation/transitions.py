"""The machines of tokens, wallets and their recovery (statemachines §4), and what they record.

A line stands here when there is a door for it: splitting, merging and abandoning come with their doors.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from fintokenx.audit import Action
from fintokenx.kernel.caller import Role
from fintokenx.kernel.machine import FROM_ABOVE, NOTHING, AnyMachine, machine


class TokenState(StrEnum):
    """Where a token stands."""

    REQUESTED = "REQUESTED"
    MINT_SUBMITTED = "MINT_SUBMITTED"
    PENDING_MINT = "PENDING_MINT"
    MINTED = "MINTED"
    HELD = "HELD"
    BURN_PENDING = "BURN_PENDING"
    BURNED = "BURNED"
    FRACTIONALISED = "FRACTIONALISED"
    """In slices; comes with the door that splits."""


class TokenEvent(StrEnum):
    """What moves a token."""

    REQUEST = "request"
    SUBMIT = "submit"
    STALL = "stall"
    MINT = "mint"
    HOLD = "hold"
    BURN = "burn"
    BURNED = "burned"
    RECOVER = "recover"


TOKEN: Final = machine(
    "token",
    TokenState,
    TokenEvent,
    [
        (NOTHING, "request", "REQUESTED", "TOKEN_REQUEST"),
        ("REQUESTED|PENDING_MINT", "submit", "MINT_SUBMITTED", "TOKEN_SUBMIT"),
        ("REQUESTED|MINT_SUBMITTED", "stall", "PENDING_MINT", "TOKEN_PENDING"),
        ("MINT_SUBMITTED", "mint", "MINTED", "TOKEN_MINT"),
        ("MINTED", "hold", "HELD", FROM_ABOVE),
        ("HELD", "burn", "BURN_PENDING", "BURN_REQUEST"),
        ("BURN_PENDING", "burned", "BURNED", "TOKEN_BURN"),
        ("HELD", "recover", "HELD", "TOKEN_RECOVER"),
        ("BURN_PENDING", "recover", "BURN_PENDING", "TOKEN_RECOVER"),
    ],
    to_come=(TokenState.FRACTIONALISED,),
)


class WalletState(StrEnum):
    """Where a wallet stands."""

    CREATED = "CREATED"
    REGISTERED = "REGISTERED"
    REVOKED = "REVOKED"
    LOST = "LOST"
    RETIRED = "RETIRED"


class WalletEvent(StrEnum):
    """What moves a wallet."""

    CREATE = "create"
    ISSUE = "issue"
    REVOKE = "revoke"
    LOSE = "lose"
    RETIRE = "retire"


WALLET: Final = machine(
    "wallet",
    WalletState,
    WalletEvent,
    [
        (NOTHING, "create", "CREATED", "WALLET_CREATE"),
        ("CREATED|REGISTERED|REVOKED", "issue", "REGISTERED", "CLAIMS_ISSUE"),
        ("REGISTERED|REVOKED", "revoke", "REVOKED", "CLAIMS_REVOKE"),
        ("REGISTERED|REVOKED", "lose", "LOST", "WALLET_RECOVERY_APPROVE"),
        ("LOST", "issue", "LOST", "CLAIMS_ISSUE"),
        ("LOST", "revoke", "LOST", "CLAIMS_REVOKE"),
        ("LOST", "retire", "RETIRED", "WALLET_RETIRE"),
    ],
)


# APPROVED: the old wallet is LOST, its claims go, the new one gets its own, and what is on its way to or from the old
# one arrives or is refused. MOVING: holdings go over, a bounded number at a time. RETIRING: the old one leaves the
# registry.
class RecoveryState(StrEnum):
    """Where the recovery of a wallet stands."""

    REQUESTED = "REQUESTED"
    APPROVED = "APPROVED"
    DECLINED = "DECLINED"
    MOVING = "MOVING"
    RETIRING = "RETIRING"
    COMPLETED = "COMPLETED"


class RecoveryEvent(StrEnum):
    """What moves the recovery of a wallet."""

    REQUEST = "request"
    APPROVE = "approve"
    DECLINE = "decline"
    MOVE = "move"
    RETIRE = "retire"
    RETIRED = "retired"


RECOVERY: Final = machine(
    "wallet recovery",
    RecoveryState,
    RecoveryEvent,
    [
        (NOTHING, "request", "REQUESTED", "WALLET_RECOVERY_REQUEST"),
        ("REQUESTED", "approve", "APPROVED", "WALLET_RECOVERY_APPROVE"),
        ("REQUESTED", "decline", "DECLINED", "WALLET_RECOVERY_DECLINE"),
        ("APPROVED|MOVING", "move", "MOVING", "TOKEN_RECOVER_REQUEST"),
        ("MOVING", "retire", "RETIRING", "WALLET_RETIRE_REQUEST"),
        ("RETIRING", "retired", "COMPLETED", "WALLET_RETIRE"),
    ],
)

MACHINES: tuple[AnyMachine, ...] = (TOKEN, WALLET, RECOVERY)

_SYSTEM = (Role.SYSTEM,)

# That claims are taken away tells of a freeze or a refusal, so what is recorded of claims and flags is for staff.
_CLAIMS = (
    "CLAIMS_REQUEST",
    "CLAIMS_ISSUE",
    "CLAIMS_REVOKE",
    "SANCTIONS_FLAG_REQUEST",
    "SANCTIONS_FLAG",
    "SANCTIONS_CONFIRM_REQUEST",
    "SANCTIONS_CONFIRM",
)

OFFICERS: Final = (Role.MLRO, Role.COMPLIANCE)
"""Who may ask for a recovery; who decides is the MLRO alone."""

ACTIONS = (
    Action("WALLET_RECOVERY_REQUEST", OFFICERS, staff_only=True),
    Action("WALLET_RECOVERY_APPROVE", _SYSTEM, staff_only=True),
    Action("WALLET_RECOVERY_DECLINE", _SYSTEM, staff_only=True),
    *(
        Action(name, _SYSTEM, staff_only=name in _CLAIMS)
        for name in (
            "TOKEN_REQUEST",
            "TOKEN_SUBMIT",
            "TOKEN_PENDING",
            "TOKEN_MINT",
            "TOKEN_TRANSFER",
            "BURN_REQUEST",
            "TOKEN_BURN",
            "WALLET_CREATE",
            *_CLAIMS,
            "TOKEN_RECOVER_REQUEST",
            "TOKEN_RECOVER",
            "WALLET_RETIRE_REQUEST",
            "WALLET_RETIRE",
        )
    ),
)
