"""What kyc does about facts of the modules below it."""

from __future__ import annotations

from fintokenx.kernel.bus import Afterwards, InStep
from fintokenx.kernel.caller import system
from fintokenx.kernel.db import Tx
from fintokenx.parties.auth.events import SubjectErased
from fintokenx.parties.compliance.events import CaseDecided
from fintokenx.parties.kyc import service


async def erase_persons(tx: Tx, erased: SubjectErased) -> None:
    """Whoever stood in the subject's files is erased with it, or nobody is."""
    await service.erase_persons(tx, system(tx.tenant_id, "erasure"), subject_id=erased.subject_id)


IN_STEP: tuple[InStep, ...] = (InStep(SubjectErased, erase_persons),)
AFTERWARDS: tuple[Afterwards, ...] = (Afterwards(CaseDecided, "kyc.case_decided"),)
