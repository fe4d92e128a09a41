"""The machines of an onboarding file and of a gate run (statemachines §2, §12), and what may be recorded of them.

ONBOARDING_OPEN, ONBOARDING_SUBMIT, GATE_RESULT and SUBJECT_ACTIVE are declared by auth, whose subjects move on them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from fintokenx.audit import Action
from fintokenx.kernel.caller import Role
from fintokenx.kernel.machine import NOTHING, AnyMachine, machine


class FileState(StrEnum):
    """Where an onboarding file stands."""

    DRAFT = "DRAFT"
    SUBMITTED = "SUBMITTED"
    DECIDED_APPROVED = "DECIDED_APPROVED"
    DECIDED_DECLINED = "DECIDED_DECLINED"


class FileEvent(StrEnum):
    """What moves an onboarding file."""

    OPEN = "open"
    SUBMIT = "submit"
    APPROVE = "approve"
    DECLINE = "decline"


FILE: Final = machine(
    "onboarding_file",
    FileState,
    FileEvent,
    [
        (NOTHING, "open", "DRAFT", "ONBOARDING_OPEN"),
        ("DRAFT", "submit", "SUBMITTED", "ONBOARDING_SUBMIT"),
        ("SUBMITTED", "approve", "DECIDED_APPROVED", "SUBJECT_ACTIVE"),
        ("SUBMITTED", "decline", "DECIDED_DECLINED", "ONBOARDING_DECLINE"),
    ],
)


class GateRunState(StrEnum):
    """Where a run of a gate stands."""

    RUNNING = "RUNNING"
    CLEAR = "CLEAR"
    HELD = "HELD"
    REFER = "REFER"
    FAIL = "FAIL"


class GateRunEvent(StrEnum):
    """What moves a run of a gate."""

    START_ON_SUBMIT = "start_on_submit"
    START_ON_RESULT = "start_on_result"
    START_ON_DISCOUNT = "start_on_discount"
    START_AGAIN = "start_again"
    START_RENEWAL = "start_renewal"
    DISCOUNT = "discount"
    HOLD = "hold"
    RESUME = "resume"
    CLEAR = "clear"
    REFER = "refer"
    FAIL = "fail"
    APPROVE = "approve"
    DECLINE = "decline"


GATE_RUN: Final = machine(
    "gate_run",
    GateRunState,
    GateRunEvent,
    [
        (NOTHING, "start_on_submit", "RUNNING", "ONBOARDING_SUBMIT"),
        (NOTHING, "start_on_result", "RUNNING", "GATE_RESULT"),
        (NOTHING, "start_on_discount", "RUNNING", "GATE_HITS_DISCOUNT"),
        (NOTHING, "start_again", "RUNNING", "GATE_RERUN"),
        (NOTHING, "start_renewal", "RUNNING", "GATE_RENEW"),
        (NOTHING, "discount", "CLEAR", "GATE_HITS_DISCOUNT"),
        ("RUNNING", "hold", "HELD", "GATE_HOLD"),
        ("HELD", "start_again", "RUNNING", "GATE_RERUN"),
        ("HELD", "resume", "RUNNING", "GATE_RESUME"),
        ("RUNNING|HELD", "clear", "CLEAR", "GATE_RESULT"),
        ("RUNNING|HELD", "refer", "REFER", "GATE_RESULT"),
        ("RUNNING|HELD", "fail", "FAIL", "GATE_RESULT"),
        ("RUNNING", "approve", "CLEAR", "SUBJECT_ACTIVE"),
        ("RUNNING", "decline", "FAIL", "ONBOARDING_DECLINE"),
    ],
)

MACHINES: tuple[AnyMachine, ...] = (FILE, GATE_RUN)

ACTIONS: tuple[Action, ...] = (
    Action("GATE_START", roles=(Role.SYSTEM,), staff_only=True),
    Action("GATE_HOLD", roles=(Role.SYSTEM,), staff_only=True),
    Action("GATE_RESUME", roles=(Role.SYSTEM,), staff_only=True),
    Action("GATE_RERUN", roles=(Role.MLRO, Role.COMPLIANCE), staff_only=True),
    Action("GATE_RENEW", roles=(Role.SYSTEM,), staff_only=True),
    Action("GATE_HITS_DISCOUNT", roles=(Role.SYSTEM,), staff_only=True),
    Action("ONBOARDING_DECLINE", roles=(Role.SYSTEM,)),
    Action("GATE_DECISION_NOTE", roles=(Role.SYSTEM,), staff_only=True),
    Action("KYC_DELAY_ALERT", roles=(Role.SYSTEM,), staff_only=True),
)
