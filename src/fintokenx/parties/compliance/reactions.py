"""What compliance does about other modules' facts."""

from __future__ import annotations

from fintokenx.kernel.bus import Afterwards, InStep
from fintokenx.kernel.caller import system
from fintokenx.kernel.db import Tx
from fintokenx.parties.auth.events import SubjectErased
from fintokenx.parties.compliance import service


async def refuse_erasure(tx: Tx, erased: SubjectErased) -> None:
    """Nobody is erased while a question about them is open."""
    await service.must_not_need(tx, system(tx.tenant_id, "erasure"), subject_id=erased.subject_id)


IN_STEP: tuple[InStep, ...] = (InStep(SubjectErased, refuse_erasure),)
AFTERWARDS: tuple[Afterwards, ...] = ()
