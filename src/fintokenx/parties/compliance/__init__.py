"""Who decides, and what stays decided: the MLRO queue and the alerts.

Alerts belong to monitoring; they live here until that module exists.
"""

from fintokenx.parties.compliance.service import (
    ComplianceServices,
    acknowledge_alert,
    alerts,
    case_of,
    cases,
    close_alert,
    decide,
    open_case,
    open_rationale,
    raise_alert,
    seal_rationale,
)
from fintokenx.parties.compliance.types import (
    SEALED,
    Alert,
    AlreadyDecided,
    Case,
    Decision,
    Finding,
    Rationale,
    RationaleMissing,
    Severity,
    UnknownAlert,
    UnknownCase,
    rationale_hash,
)

__all__ = [
    "SEALED",
    "Alert",
    "AlreadyDecided",
    "Case",
    "ComplianceServices",
    "Decision",
    "Finding",
    "Rationale",
    "RationaleMissing",
    "Severity",
    "UnknownAlert",
    "UnknownCase",
    "acknowledge_alert",
    "alerts",
    "case_of",
    "cases",
    "close_alert",
    "decide",
    "open_case",
    "open_rationale",
    "raise_alert",
    "rationale_hash",
    "seal_rationale",
]
