"""Which rows the entries about cases and alerts carry, and what the modules above may carry of compliance."""

from __future__ import annotations

from typing import Final

from fintokenx.audit import Carries, adds, always, changes, walking
from fintokenx.parties.compliance.transitions import ALERT, CASE, AlertEvent, CaseEvent

_ALERT_COUNTED: Final = changes("alerts", "last_seen_at", "occurrences")
ALERT_RAISED: Final = (walking(adds("alerts"), ALERT, AlertEvent.RAISE), _ALERT_COUNTED)
"""A new alert, or one more occurrence of the open one."""
CASE_OPENED: Final = (walking(adds("review_queue"), CASE, CaseEvent.OPEN),)
_CASE_DECIDED: Final = changes(
    "review_queue", "state", "decision", "decided_at", "decided_by", "rationale_sealed", "rationale_hash"
)

CARRIES: Final[Carries] = {
    "CASE_OPEN": always(adds("review_queue")),
    "MLRO_APPROVE": always(_CASE_DECIDED),
    "MLRO_DECLINE": always(_CASE_DECIDED),
    "ALERT_RAISE": (adds("alerts"), _ALERT_COUNTED),
    "ALERT_CLEAR": always(changes("alerts", "state", "closed_at", "closed_by")),
    "ALERT_ACK": always(changes("alerts", "state", "acknowledged_at", "acknowledged_by")),
    "ALERT_CLOSE": always(changes("alerts", "state", "closed_at", "closed_by", "finding")),
}
