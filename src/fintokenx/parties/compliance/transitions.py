"""The machines of a case and of an alert (statemachines §10, §12), and what may be recorded of them.

An upper module that opens a case or raises an alert within an entry of its own has its action listed here, on an
event of its own. MLRO_APPROVE, MLRO_DECLINE and GATE_RESULT are declared by auth, whose subjects move on them too.
"""

from __future__ import annotations

from fintokenx.audit import Action
from fintokenx.kernel.caller import Role
from fintokenx.kernel.machine import NOTHING, Machine, transitions

CASE = Machine(
    "review_case",
    transitions(
        [
            (NOTHING, "open", "OPEN", "CASE_OPEN"),
            (NOTHING, "open_on_gate_result", "OPEN", "GATE_RESULT"),
            (NOTHING, "open_on_discount", "OPEN", "GATE_HITS_DISCOUNT"),
            (NOTHING, "open_on_invoice_refer", "OPEN", "INVOICE_REFER"),
            (NOTHING, "open_on_wallet_recovery", "OPEN", "WALLET_RECOVERY_REQUEST"),
            ("OPEN", "approve", "DECIDED_APPROVE", "MLRO_APPROVE"),
            ("OPEN", "decline", "DECIDED_DECLINE", "MLRO_DECLINE"),
        ]
    ),
)

ALERT = Machine(
    "alert",
    transitions(
        [
            (NOTHING, "raise", "RAISED", "ALERT_RAISE"),
            (NOTHING, "raise_on_hold", "RAISED", "GATE_HOLD"),
            (NOTHING, "raise_on_delay", "RAISED", "KYC_DELAY_ALERT"),
            (NOTHING, "raise_on_escalation", "RAISED", "FIAT_ESCALATE"),
            (NOTHING, "raise_on_return", "RAISED", "FIAT_RETURN"),
            (NOTHING, "raise_on_chain_refusal", "RAISED", "CHAIN_REFUSED"),
            (NOTHING, "raise_on_late_credit", "RAISED", "RECON_ALERT"),
            (NOTHING, "raise_on_unmatched_credit", "RAISED", "RECEIVE_CREDIT"),
            ("RAISED", "acknowledge", "ACKED", "ALERT_ACK"),
            ("RAISED|ACKED", "close", "CLOSED", "ALERT_CLOSE"),
            ("RAISED", "clear", "AUTO_CLEARED", "ALERT_CLEAR"),
        ]
    ),
)

MACHINES: tuple[Machine, ...] = (CASE, ALERT)

_DECIDERS = (Role.MLRO, Role.COMPLIANCE)
ACTIONS: tuple[Action, ...] = (
    Action("CASE_OPEN", roles=(Role.SYSTEM, *_DECIDERS), staff_only=True),
    Action("PERSONAL_DATA_DISCLOSE", roles=(Role.SYSTEM, *_DECIDERS), staff_only=True),
    Action("ALERT_RAISE", roles=(Role.SYSTEM,), staff_only=True),
    Action("ALERT_ACK", roles=_DECIDERS, staff_only=True),
    Action("ALERT_CLOSE", roles=_DECIDERS, staff_only=True),
    Action("ALERT_CLEAR", roles=(Role.SYSTEM,), staff_only=True),
)
