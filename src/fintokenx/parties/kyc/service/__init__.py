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
)
from fintokenx.parties.kyc.service.onboarding import may_onboard, seal_form, submit
from fintokenx.parties.kyc.service.services import KycServices
from fintokenx.parties.kyc.service.standing import designated_account, gates, must_be_active

__all__ = [
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
    "may_onboard",
    "must_be_active",
    "rerun",
    "seal_form",
    "still_waiting",
    "submit",
]
