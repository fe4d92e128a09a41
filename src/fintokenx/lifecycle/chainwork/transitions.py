"""The machine of chain transactions (statemachines §4), and what is recorded of every kind of them.

What is promised, what its confirmation means and what takes the place of a refused one the modules above say, beside
their own actions.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from fintokenx.audit import Action
from fintokenx.kernel.caller import Role
from fintokenx.kernel.machine import FROM_ABOVE, NOTHING, AnyMachine, machine


# PROMISED → RESERVED (has a nonce) → SIGNED (has bytes that can be sent any number of times) → CONFIRMED | REVERTED.
# A confirmation may also find a transaction of an earlier life of the database, hence from every open state, and of
# what must not fail even after a refusal. What was refused and is wanted no longer gives way to what is wanted now
# (SUPERSEDED).
class ChainTxState(StrEnum):
    """Where a chain transaction stands."""

    PROMISED = "PROMISED"
    RESERVED = "RESERVED"
    SIGNED = "SIGNED"
    REVERTED = "REVERTED"
    CONFIRMED = "CONFIRMED"
    SUPERSEDED = "SUPERSEDED"


class ChainTxEvent(StrEnum):
    """What moves a chain transaction."""

    PROMISE = "promise"
    RESERVE = "reserve"
    SIGN = "sign"
    CONFIRM = "confirm"
    CONFIRM_AFTER_REFUSAL = "confirm after refusal"
    REVERT = "revert"
    SUPERSEDE = "supersede"


CHAIN_TX: Final = machine(
    "chain tx",
    ChainTxState,
    ChainTxEvent,
    [
        (NOTHING, "promise", "PROMISED", FROM_ABOVE),
        ("PROMISED|RESERVED|SIGNED|REVERTED", "reserve", "RESERVED", "CHAIN_TX_RESERVE"),
        ("RESERVED", "sign", "SIGNED", "CHAIN_TX_SIGN"),
        ("PROMISED|RESERVED|SIGNED", "confirm", "CONFIRMED", FROM_ABOVE),
        ("REVERTED", "confirm after refusal", "CONFIRMED", FROM_ABOVE),
        ("SIGNED", "revert", "REVERTED", "CHAIN_TX_REVERT"),
        ("REVERTED", "supersede", "SUPERSEDED", FROM_ABOVE),
    ],
)

MACHINES: tuple[AnyMachine, ...] = (CHAIN_TX,)

ACTIONS = tuple(Action(name, (Role.SYSTEM,)) for name in ("CHAIN_TX_RESERVE", "CHAIN_TX_SIGN", "CHAIN_TX_REVERT"))
