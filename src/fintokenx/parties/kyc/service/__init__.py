"""Commands and guarded queries of kyc: the form, the gates, what people decide, and who may act."""

from fintokenx.parties.kyc.service.decisions import decision_made, rerun
from fintokenx.parties.kyc.service.erasure import erase_persons
from fintokenx.parties.kyc.service.gates import (
    check_of,
    checks_requested,
    conclude,
    event_received,
    hold,
    still_waiting,
    tenant_of,
)
from fintokenx.parties.kyc.service.onboarding import may_onboard, seal_form, submit
from fintokenx.parties.kyc.service.renewing import VOUCHED_FOR, is_cleared, is_renewal_due, renew, renewal_due_at
from fintokenx.parties.kyc.service.services import KycServices
from fintokenx.parties.kyc.service.standing import designated_account, gates, must_be_active, must_be_cleared

__all__ = [
    "VOUCHED_FOR",
    "KycServices",
    "check_of",
    "checks_requested",
    "conclude",
    "decision_made",
    "designated_account",
    "erase_persons",
    "event_received",
    "gates",
    "hold",
    "is_cleared",
    "is_renewal_due",
    "may_onboard",
    "must_be_active",
    "must_be_cleared",
    "renew",
    "renewal_due_at",
    "rerun",
    "seal_form",
    "still_waiting",
    "submit",
    "tenant_of",
]
