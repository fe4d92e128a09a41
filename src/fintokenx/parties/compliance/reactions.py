"""What compliance does about other modules' facts."""

from __future__ import annotations

from fintokenx import audit
from fintokenx.audit.events import StateDrifted
from fintokenx.kernel.bus import Afterwards, InStep
from fintokenx.kernel.caller import system
from fintokenx.kernel.db import Tx
from fintokenx.parties.auth.events import SignInsRefused, SubjectErased
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


async def alarm_of_refusals(tx: Tx, refused: SignInsRefused) -> None:
    """Somebody tries to sign in as another, or cannot: an alert, or one more occurrence of the open one (AU-13)."""
    caller = system(tx.tenant_id, "sign-in")
    move = await service.raise_alert(
        tx, caller, cause="SIGN_INS_REFUSED", resource=refused.subject_id, severity=Severity.WARNING
    )
    await audit.change(tx, caller, action="ALERT_RAISE", resource=refused.subject_id, move=move)


IN_STEP: tuple[InStep, ...] = (
    InStep(SubjectErased, refuse_erasure),
    InStep(StateDrifted, alarm_of_drift),
    InStep(SignInsRefused, alarm_of_refusals),
)
AFTERWARDS: tuple[Afterwards, ...] = ()
