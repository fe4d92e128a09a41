"""What settlement does about other modules' facts."""

from __future__ import annotations

from fintokenx.kernel.bus import Afterwards, InStep
from fintokenx.kernel.caller import system
from fintokenx.kernel.db import Tx
from fintokenx.lifecycle.settlement.service import reads
from fintokenx.lifecycle.tokenisation.events import TransferConfirmed, TransferRefused
from fintokenx.parties.auth.events import SubjectErased, SubjectUnfrozen


async def refuse_erasure(tx: Tx, erased: SubjectErased) -> None:
    """Nobody is erased while money of or for it is on its way."""
    await reads.must_not_need(tx, system(tx.tenant_id, "erasure"), subject_id=erased.subject_id)


IN_STEP: tuple[InStep, ...] = (InStep(SubjectErased, refuse_erasure),)

AFTERWARDS = (
    Afterwards(TransferConfirmed, "settlement.token_moved"),
    Afterwards(TransferRefused, "settlement.token_refused"),
    Afterwards(SubjectUnfrozen, "settlement.release_held"),
)
