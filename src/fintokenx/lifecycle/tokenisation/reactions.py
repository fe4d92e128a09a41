"""What tokenisation does about other modules' facts."""

from __future__ import annotations

from fintokenx.kernel.bus import Afterwards, InStep
from fintokenx.kernel.caller import system
from fintokenx.kernel.db import Tx
from fintokenx.lifecycle.invoice.events import InvoiceConfirmed
from fintokenx.lifecycle.tokenisation.service import reads, recovering
from fintokenx.parties.auth.events import (
    SubjectActive,
    SubjectDeclined,
    SubjectErased,
    SubjectFrozen,
    SubjectUnfrozen,
)
from fintokenx.parties.compliance.events import CaseDecided
from fintokenx.parties.kyc.events import ClearanceRenewed


async def refuse_erasure(tx: Tx, erased: SubjectErased) -> None:
    """Nobody is erased while it holds a token."""
    await reads.must_not_need(tx, system(tx.tenant_id, "erasure"), subject_id=erased.subject_id)


async def act_on_decision(tx: Tx, made: CaseDecided) -> None:
    """A wallet whose recovery is approved is lost from that moment on, and nobody approves what they asked for."""
    await recovering.decided(tx, system(tx.tenant_id, "wallet_recovery"), case_id=made.case_id)


IN_STEP: tuple[InStep, ...] = (InStep(SubjectErased, refuse_erasure), InStep(CaseDecided, act_on_decision))

AFTERWARDS = (
    Afterwards(InvoiceConfirmed, "tokenisation.mint"),
    Afterwards(SubjectActive, "tokenisation.issue_claims"),
    Afterwards(ClearanceRenewed, "tokenisation.issue_claims"),
    Afterwards(SubjectUnfrozen, "tokenisation.issue_claims"),
    Afterwards(SubjectFrozen, "tokenisation.revoke_claims"),
    Afterwards(SubjectDeclined, "tokenisation.revoke_claims"),
    Afterwards(SubjectErased, "tokenisation.revoke_claims"),
)
