"""The machines of tokens, wallets and chain transactions (statemachines §4), and what they record.

A line stands here when there is a door for it: splitting, merging and abandoning come with their doors.
"""

from __future__ import annotations

from typing import Final

from fintokenx.audit import Action
from fintokenx.kernel.caller import Role
from fintokenx.kernel.machine import NOTHING, Machine, transitions

TOKEN: Final = Machine(
    "token",
    transitions(
        [
            (NOTHING, "request", "REQUESTED", "TOKEN_REQUEST"),
            ("REQUESTED|PENDING_MINT", "submit", "MINT_SUBMITTED", "TOKEN_SUBMIT"),
            ("REQUESTED|MINT_SUBMITTED", "stall", "PENDING_MINT", "TOKEN_PENDING"),
            ("MINT_SUBMITTED", "mint", "MINTED", "TOKEN_MINT"),
            ("MINTED", "hold", "HELD", "FUND_INVOICE"),
            ("HELD", "burn", "BURN_PENDING", "BURN_REQUEST"),
            ("BURN_PENDING", "burned", "BURNED", "TOKEN_BURN"),
        ]
    ),
)

WALLET: Final = Machine(
    "wallet",
    transitions(
        [
            (NOTHING, "create", "CREATED", "WALLET_CREATE"),
            ("CREATED|REGISTERED|REVOKED", "issue", "REGISTERED", "CLAIMS_ISSUE"),
            ("REGISTERED|REVOKED", "revoke", "REVOKED", "CLAIMS_REVOKE"),
        ]
    ),
)

_OPEN: Final = "PROMISED|RESERVED|SIGNED"

# PROMISED → RESERVED (has a nonce) → SIGNED (has bytes that can be sent any number of times) → CONFIRMED | REVERTED.
# A confirmation may also find a transaction of an earlier life of the database, hence from every open state.
# A refused registration that says what is no longer so gives way to the one that is wanted now (SUPERSEDED).
CHAIN_TX: Final = Machine(
    "chain tx",
    transitions(
        [
            (NOTHING, "promise mint", "PROMISED", "TOKEN_REQUEST"),
            (NOTHING, "promise transfer", "PROMISED", "FIAT_IN"),
            (NOTHING, "promise burn", "PROMISED", "BURN_REQUEST"),
            (NOTHING, "promise identity", "PROMISED", "CLAIMS_REQUEST"),
            ("PROMISED|RESERVED|SIGNED|REVERTED", "reserve", "RESERVED", "CHAIN_TX_RESERVE"),
            ("RESERVED", "sign", "SIGNED", "CHAIN_TX_SIGN"),
            ("RESERVED", "submit mint", "SIGNED", "TOKEN_SUBMIT"),
            (f"{_OPEN}|REVERTED", "mint", "CONFIRMED", "TOKEN_MINT"),
            (_OPEN, "transfer", "CONFIRMED", "TOKEN_TRANSFER"),
            (f"{_OPEN}|REVERTED", "burn", "CONFIRMED", "TOKEN_BURN"),
            (_OPEN, "issue claims", "CONFIRMED", "CLAIMS_ISSUE"),
            (_OPEN, "revoke claims", "CONFIRMED", "CLAIMS_REVOKE"),
            ("SIGNED", "revert", "REVERTED", "CHAIN_TX_REVERT"),
            ("SIGNED", "revert mint", "REVERTED", "TOKEN_PENDING"),
            ("REVERTED", "supersede", "SUPERSEDED", "CLAIMS_REQUEST"),
        ]
    ),
)

MACHINES: tuple[Machine, ...] = (TOKEN, WALLET, CHAIN_TX)

_SYSTEM = (Role.SYSTEM,)

# That claims are taken away tells of a freeze or a refusal, so what is recorded of claims is for staff.
_CLAIMS = ("CLAIMS_REQUEST", "CLAIMS_ISSUE", "CLAIMS_REVOKE")

ACTIONS = tuple(
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
        "CHAIN_TX_RESERVE",
        "CHAIN_TX_SIGN",
        "CHAIN_TX_REVERT",
    )
)
