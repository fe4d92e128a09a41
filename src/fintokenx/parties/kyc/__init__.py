"""May they act? Gates 1 to 3 per subject."""

from fintokenx.parties.kyc.jobs import jobs_of
from fintokenx.parties.kyc.service import (
    VOUCHED_FOR,
    KycServices,
    designated_account,
    gates,
    is_cleared,
    is_renewal_due,
    must_be_active,
    must_be_cleared,
    renewal_due_at,
)
from fintokenx.parties.kyc.types import (
    CHECKS_HOLD,
    RENEWED_BEFORE,
    SEALED,
    BankAccount,
    ClearanceLapsed,
    Gate,
    Gates,
    GateState,
    NoDesignatedAccount,
    SubjectNotActive,
)

__all__ = [
    "CHECKS_HOLD",
    "RENEWED_BEFORE",
    "SEALED",
    "VOUCHED_FOR",
    "BankAccount",
    "ClearanceLapsed",
    "Gate",
    "GateState",
    "Gates",
    "KycServices",
    "NoDesignatedAccount",
    "SubjectNotActive",
    "designated_account",
    "gates",
    "is_cleared",
    "is_renewal_due",
    "jobs_of",
    "must_be_active",
    "must_be_cleared",
    "renewal_due_at",
]
