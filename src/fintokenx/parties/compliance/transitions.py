"""The machines of a case and of an alert (statemachines §10, §12), and what may be recorded of them.

A module above that opens a case or raises an alert within an entry of its own says so in its ``carries``.
MLRO_APPROVE and MLRO_DECLINE are declared by auth, whose subjects move on them too.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from fintokenx.audit import Action
from fintokenx.kernel.caller import Role
from fintokenx.kernel.machine import NOTHING, AnyMachine, machine


class CaseState(StrEnum):
    """Where a case stands."""

    OPEN = "OPEN"
    DECIDED_APPROVE = "DECIDED_APPROVE"
    DECIDED_DECLINE = "DECIDED_DECLINE"


class CaseEvent(StrEnum):
    """What moves a case."""

    OPEN = "open"
    APPROVE = "approve"
    DECLINE = "decline"


CASE: Final = machine(
    "review_case",
    CaseState,
    CaseEvent,
    [
        (NOTHING, "open", "OPEN", "CASE_OPEN"),
        ("OPEN", "approve", "DECIDED_APPROVE", "MLRO_APPROVE"),
        ("OPEN", "decline", "DECIDED_DECLINE", "MLRO_DECLINE"),
    ],
)


class AlertState(StrEnum):
    """Where an alert stands."""

    RAISED = "RAISED"
    ACKED = "ACKED"
    CLOSED = "CLOSED"
    AUTO_CLEARED = "AUTO_CLEARED"


class AlertEvent(StrEnum):
    """What moves an alert."""

    RAISE = "raise"
    ACKNOWLEDGE = "acknowledge"
    CLOSE = "close"
    CLEAR = "clear"


ALERT: Final = machine(
    "alert",
    AlertState,
    AlertEvent,
    [
        (NOTHING, "raise", "RAISED", "ALERT_RAISE"),
        ("RAISED", "acknowledge", "ACKED", "ALERT_ACK"),
        ("RAISED|ACKED", "close", "CLOSED", "ALERT_CLOSE"),
        ("RAISED", "clear", "AUTO_CLEARED", "ALERT_CLEAR"),
    ],
)

MACHINES: tuple[AnyMachine, ...] = (CASE, ALERT)

_DECIDERS = (Role.MLRO, Role.COMPLIANCE)
ACTIONS: tuple[Action, ...] = (
    Action("CASE_OPEN", roles=(Role.SYSTEM, *_DECIDERS), staff_only=True),
    Action("PERSONAL_DATA_DISCLOSE", roles=(Role.SYSTEM, *_DECIDERS), staff_only=True),
    Action("ALERT_RAISE", roles=(Role.SYSTEM,), staff_only=True),
    Action("ALERT_ACK", roles=_DECIDERS, staff_only=True),
    Action("ALERT_CLOSE", roles=_DECIDERS, staff_only=True),
    Action("ALERT_CLEAR", roles=(Role.SYSTEM,), staff_only=True),
)
