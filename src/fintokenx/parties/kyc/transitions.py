"""The machines of an onboarding file and of a gate run (statemachines §2, §12), and what may be recorded of them.

ONBOARDING_OPEN, ONBOARDING_SUBMIT, GATE_RESULT and SUBJECT_ACTIVE are declared by auth, whose subjects move on them.
"""

from __future__ import annotations

from fintokenx.audit import Action
from fintokenx.kernel.caller import Role
from fintokenx.kernel.machine import NOTHING, Machine, transitions

FILE = Machine(
    "onboarding_file",
    transitions(
        [
            (NOTHING, "open", "DRAFT", "ONBOARDING_OPEN"),
            ("DRAFT", "submit", "SUBMITTED", "ONBOARDING_SUBMIT"),
            ("SUBMITTED", "approve", "DECIDED_APPROVED", "SUBJECT_ACTIVE"),
            ("SUBMITTED", "decline", "DECIDED_DECLINED", "ONBOARDING_DECLINE"),
        ]
    ),
)

GATE_RUN = Machine(
    "gate_run",
    transitions(
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
        ]
    ),
)

MACHINES: tuple[Machine, ...] = (FILE, GATE_RUN)

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
