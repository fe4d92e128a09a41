"""What compliance does about other modules' facts."""

from __future__ import annotations

from fintokenx import audit
from fintokenx.audit.events import StateDrifted
from fintokenx.kernel.bus import Afterwards, InStep
from fintokenx.kernel.caller import system
from fintokenx.kernel.db import Tx
from fintokenx.parties.auth.events import SubjectErased
from fintokenx.parties.compliance import service
from fintokenx.parties.compliance.types import Severity


async def refuse_erasure(tx: Tx, erased: SubjectErased) -> None:
    """Nobody is erased while a question about them is open."""
    await service.must_not_need(tx, system(tx.tenant_id, "erasure"), subject_id=erased.subject_id)


async def alarm_of_drift(tx: Tx, drifted: StateDrifted) -> None:
    """State that its record does not explain is somebody's business at once (P-06), once per row while it is open."""
    caller = system(tx.tenant_id, "audit.replay_sample")
    resource = f"{drifted.table} {drifted.key}"
    move = await service.raise_alert(tx, caller, cause="STATE_DRIFT", resource=resource, severity=Severity.CRITICAL)
    await audit.change(tx, caller, action="ALERT_RAISE", resource=resource, move=move)


IN_STEP: tuple[InStep, ...] = (InStep(SubjectErased, refuse_erasure), InStep(StateDrifted, alarm_of_drift))
AFTERWARDS: tuple[Afterwards, ...] = ()
