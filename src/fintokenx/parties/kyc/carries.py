"""Which rows the entries of kyc's commands carry."""

from __future__ import annotations

from typing import Final

from fintokenx.audit import Carries, adds, always, changes, known_as
from fintokenx.parties import compliance

_RUN_ENDED: Final = changes("gate_runs", "state", "verdict", "provider_ref", "finished_at")
_DECIDED: Final = always(
    adds("mlro_decisions"),
    changes("onboarding_files", "state", "mlro_decided_at", "mlro_decided_by", "rationale_hash"),
)

CARRIES: Final[Carries] = {
    "ONBOARDING_OPEN": (
        *always(adds("onboarding_files"), adds("onboarding_parties"), adds("designated_accounts")),
        changes("designated_accounts", "superseded_at"),
    ),
    "ONBOARDING_SUBMIT": always(changes("onboarding_files", "state", "submitted_at"), adds("gate_runs")),
    "GATE_START": (
        *always(changes("gate_runs", "requested_at")),
        changes("onboarding_parties", "applicant_ref"),
    ),
    "GATE_HOLD": (*always(changes("gate_runs", "state")), *known_as("raise_on_hold", *compliance.ALERT_RAISED)),
    "GATE_RESUME": always(changes("gate_runs", "state")),
    "KYC_DELAY_ALERT": (
        *always(changes("gate_runs", "delay_alerted_at")),
        *known_as("raise_on_delay", *compliance.ALERT_RAISED),
    ),
    "GATE_RENEW": always(adds("gate_runs")),
    "GATE_RERUN": (adds("gate_runs"), changes("gate_runs", "state")),
    "GATE_RESULT": (
        *always(_RUN_ENDED, changes("gate_runs", "raw_payload_ref")),
        adds("screening_hits"),
        adds("gate_runs"),
        *compliance.CASE_OPENED,
    ),
    "GATE_HITS_DISCOUNT": (
        *always(adds("mlro_decisions"), adds("gate_runs")),
        changes("screening_hits", "discounted_by_case"),
        *known_as("open_on_discount", *compliance.CASE_OPENED),
    ),
    "GATE_DECISION_NOTE": always(adds("mlro_decisions")),
    "SUBJECT_ACTIVE": (*_DECIDED, _RUN_ENDED),
    "ONBOARDING_DECLINE": (*_DECIDED, _RUN_ENDED),
}
