"""What tokenisation does about other modules' facts."""

from __future__ import annotations

from fintokenx.kernel.bus import Afterwards, InStep
from fintokenx.kernel.caller import system
from fintokenx.kernel.db import Tx
from fintokenx.lifecycle.invoice.events import InvoiceConfirmed
from fintokenx.lifecycle.tokenisation.service import reads
from fintokenx.parties.auth.events import SubjectActive, SubjectErased, SubjectFrozen, SubjectUnfrozen


async def refuse_erasure(tx: Tx, erased: SubjectErased) -> None:
    """Nobody is erased while it holds a token."""
    await reads.must_not_need(tx, system(tx.tenant_id, "erasure"), subject_id=erased.subject_id)


IN_STEP: tuple[InStep, ...] = (InStep(SubjectErased, refuse_erasure),)

AFTERWARDS = (
    Afterwards(InvoiceConfirmed, "tokenisation.mint"),
    Afterwards(SubjectActive, "tokenisation.issue_claims"),
    Afterwards(SubjectUnfrozen, "tokenisation.issue_claims"),
    Afterwards(SubjectFrozen, "tokenisation.revoke_claims"),
    Afterwards(SubjectErased, "tokenisation.revoke_claims"),
)
