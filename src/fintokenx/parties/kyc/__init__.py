"""May they act? Gates 1 to 3 per subject."""

from fintokenx.parties.kyc.jobs import handlers
from fintokenx.parties.kyc.service import KycServices, designated_account, gates, must_be_active
from fintokenx.parties.kyc.types import (
    SEALED,
    BankAccount,
    Gate,
    Gates,
    GateState,
    NoDesignatedAccount,
    SubjectNotActive,
)

__all__ = [
    "SEALED",
    "BankAccount",
    "Gate",
    "GateState",
    "Gates",
    "KycServices",
    "NoDesignatedAccount",
    "SubjectNotActive",
    "designated_account",
    "gates",
    "handlers",
    "must_be_active",
]
