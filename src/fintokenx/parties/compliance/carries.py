"""Which rows the entries about cases and alerts carry, and what the modules above may carry of compliance."""

from __future__ import annotations

from typing import Final

from fintokenx.audit import Carries, adds, always, changes

ALERT_RAISED: Final = (adds("alerts"), changes("alerts", "last_seen_at", "occurrences"))
"""A new alert, or one more occurrence of the open one."""
CASE_OPENED: Final = (adds("review_queue"),)
_CASE_DECIDED: Final = changes(
    "review_queue", "state", "decision", "decided_at", "decided_by", "rationale_sealed", "rationale_hash"
)

CARRIES: Final[Carries] = {
    "CASE_OPEN": always(*CASE_OPENED),
    "MLRO_APPROVE": always(_CASE_DECIDED),
    "MLRO_DECLINE": always(_CASE_DECIDED),
    "ALERT_RAISE": ALERT_RAISED,
    "ALERT_CLEAR": always(changes("alerts", "state", "closed_at", "closed_by")),
    "ALERT_ACK": always(changes("alerts", "state", "acknowledged_at", "acknowledged_by")),
    "ALERT_CLOSE": always(changes("alerts", "state", "closed_at", "closed_by", "finding")),
}
