"""What follows when a person has decided one of our cases, and running a gate again."""

from __future__ import annotations

from typing import Any

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.clock import to_wire
from fintokenx.kernel.db import Tx
from fintokenx.kernel.machine import NOTHING
from fintokenx.parties import auth, compliance
from fintokenx.parties.kyc import store
from fintokenx.parties.kyc.service import renewing
from fintokenx.parties.kyc.service.running import JOBS, review_when_due, started
from fintokenx.parties.kyc.transitions import FILE, GATE_RUN, FileEvent, FileState, GateRunEvent, GateRunState
from fintokenx.parties.kyc.types import (
    CLEAR,
    FAIL,
    HITS_REFERRED,
    REFER,
    RENEWAL,
    REVIEW_DUE,
    Gate,
    GateRun,
    NothingToRerun,
    OnboardingFile,
)


async def decision_made(tx: Tx, caller: Caller, *, case_id: str) -> None:
    """Act on a decided case about an onboarding file; once, and quietly nothing for other modules' cases.

    Only the approval of the review makes a subject active, and only while gates 1 and 2 are CLEAR (KY-02). The
    approval of screening hits clears gate 2 and opens the review. Any other approval is noted and changes nothing.
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    case = await compliance.case_of(tx, caller, case_id=case_id)
    file = await store.file(tx, case.resource)
    if file is None:
        return
    await store.lock_subject(tx, file.subject_id)
    file = await store.file(tx, case.resource)
    if file is None or await store.decision_noted(tx, case_id):
        return
    noted = audit.Changes((store.new_decision(tx, file.id, _decided(case)),))
    runs = await store.newest_runs(tx, file.id)
    approved = case.decision == compliance.Decision.APPROVE.value
    if file.mlro_decided_at is None and not approved:
        await _decline(tx, caller, file, case, noted, runs)
    elif file.mlro_decided_at is None and case.reason == REVIEW_DUE and await _may_activate(tx, file, runs):
        await _activate(tx, caller, file, case, noted, runs)
    elif approved and case.reason == _about_hits(file) and _decided_on_these_hits(runs, case):
        await _discount(tx, caller, file, case, noted, runs)
    else:
        await audit.change(tx, caller, action="GATE_DECISION_NOTE", resource=file.subject_id, move=noted)


async def rerun(tx: Tx, caller: Caller, *, subject_id: str, gate: Gate) -> GateRun:
    """Run gate 1 or 2 once more: a new row beside the old one (KY-03). A held run, whose job may have been given up
    after a day, goes on instead.

    :raises NothingToRerun: the last run is still going, there was none, or the file was declined
    """
    caller.must_be(Role.MLRO, Role.COMPLIANCE, tenant_id=tx.tenant_id)
    await store.lock_subject(tx, subject_id)
    await auth.subject(tx, subject_id)
    file = await store.newest_file(tx, subject_id)
    if file is None or file.state == FileState.DECIDED_DECLINED or gate not in JOBS:
        raise NothingToRerun
    last = (await store.newest_runs(tx, file.id)).get(gate)
    if last is None or last.state == GateRunState.RUNNING:
        raise NothingToRerun
    move = (
        _resumed(tx, last)
        if last.state == GateRunState.HELD
        else await started(tx, file, gate, GateRunEvent.START_AGAIN)
    )
    await audit.change(tx, caller, action="GATE_RERUN", resource=subject_id, move=move)
    return (await store.newest_runs(tx, file.id))[gate]


def _resumed(tx: Tx, held: GateRun) -> audit.Changes:
    tx.enqueue(JOBS[Gate(held.gate)], {"run_id": held.id}, dedupe_key=f"{held.id}:{to_wire(tx.at)}")
    return audit.Changes(
        (store.changed_run(tx, held, state=GATE_RUN.next(held.state, GateRunEvent.START_AGAIN).target),)
    )


def _decided(case: compliance.Case) -> dict[str, Any]:
    return {
        "case_id": case.id,
        "reason": case.reason,
        "decision": case.decision,
        "decided_at": case.decided_at,
        "decided_by": case.decided_by,
        "rationale_hash": case.rationale_hash,
    }


async def _may_activate(tx: Tx, file: OnboardingFile, runs: dict[int, GateRun]) -> bool:
    """Gates 1 and 2 are CLEAR, and nobody has frozen the subject meanwhile."""
    subject = await auth.subject(tx, file.subject_id)
    return subject.state == auth.SubjectState.IN_REVIEW and all(
        gate in runs and runs[gate].verdict == CLEAR for gate in JOBS
    )


def _about_hits(file: OnboardingFile) -> str:
    return HITS_REFERRED if file.mlro_decided_at is None else RENEWAL + HITS_REFERRED


def _decided_on_these_hits(runs: dict[int, GateRun], case: compliance.Case) -> bool:
    """Whether the hits that stand were there to be seen when the case was decided."""
    run = runs.get(Gate.SCREENING)
    if run is None or run.verdict != REFER or run.finished_at is None or case.decided_at is None:
        return False
    return run.finished_at < case.decided_at


def _file_decided(tx: Tx, file: OnboardingFile, case: compliance.Case, state: str) -> audit.RowChange:
    return store.changed_file(
        tx,
        file,
        state=state,
        mlro_decided_at=case.decided_at,
        mlro_decided_by=case.decided_by,
        rationale_hash=case.rationale_hash,
    )


def _review_ended(tx: Tx, runs: dict[int, GateRun], case: compliance.Case, verdict: str) -> audit.Changes:
    """Gate 3 ends with the decision, if it has begun."""
    run = runs.get(Gate.REVIEW)
    if run is None or run.verdict is not None:
        return audit.Changes()
    event = GateRunEvent.APPROVE if verdict == CLEAR else GateRunEvent.DECLINE
    line = GATE_RUN.next(run.state, event)
    ended = {"state": line.target, "verdict": verdict, "provider_ref": case.id, "finished_at": tx.at}
    return audit.Changes((store.changed_run(tx, run, **ended),))


async def _activate(
    tx: Tx,
    caller: Caller,
    file: OnboardingFile,
    case: compliance.Case,
    noted: audit.Changes,
    runs: dict[int, GateRun],
) -> None:
    line = FILE.next(file.state, FileEvent.APPROVE)
    own = audit.Changes((_file_decided(tx, file, case, line.target),)) + _review_ended(tx, runs, case, CLEAR)
    subject = await auth.advance(tx, caller, subject_id=file.subject_id, event=auth.SubjectEvent.ACTIVATE)
    checked_at = await renewing.cleared_at(tx, file, {})
    subject += await auth.gate_ran(tx, caller, subject_id=file.subject_id, cleared_at=checked_at)
    await audit.change(tx, caller, action=line.action, resource=file.subject_id, move=noted + own + subject)


async def _decline(
    tx: Tx,
    caller: Caller,
    file: OnboardingFile,
    case: compliance.Case,
    noted: audit.Changes,
    runs: dict[int, GateRun],
) -> None:
    """The file follows; the subject was declined in the entry of the decision itself."""
    line = FILE.next(file.state, FileEvent.DECLINE)
    own = audit.Changes((_file_decided(tx, file, case, line.target),)) + _review_ended(tx, runs, case, FAIL)
    await audit.change(tx, caller, action=line.action, resource=file.subject_id, move=noted + own)


async def _discount(
    tx: Tx,
    caller: Caller,
    file: OnboardingFile,
    case: compliance.Case,
    noted: audit.Changes,
    runs: dict[int, GateRun],
) -> None:
    """A person found that every hit is somebody else: gate 2 is CLEAR by their decision, in a run of its own."""
    referred = runs[Gate.SCREENING]
    hits = await store.undiscounted_hits(tx, referred.id)
    clear = GateRun(
        id=tx.ids.new("gat"),
        file_id=file.id,
        subject_id=file.subject_id,
        gate=Gate.SCREENING,
        attempt=referred.attempt + 1,
        provider="mlro",
        provider_ref=case.id,
        state=GATE_RUN.next(NOTHING, GateRunEvent.DISCOUNT).target,
        verdict=CLEAR,
        raw_payload_ref=referred.raw_payload_ref,
        started_at=tx.at,
        finished_at=tx.at,
    )
    own = audit.Changes((*(store.discounted_hit(tx, hit, case.id) for hit in hits), store.new_run(tx, clear)))
    if file.mlro_decided_at is not None:
        # It rests on the answers that were decided on, not on the day of the decision.
        had = {} if referred.finished_at is None else {Gate.SCREENING.value: referred.finished_at}
        follows = await renewing.renewed(tx, caller, file, had)
    else:
        follows = await review_when_due(
            tx, caller, file, after={Gate.SCREENING: CLEAR}, start=GateRunEvent.START_ON_DISCOUNT
        )
    await audit.change(tx, caller, action="GATE_HITS_DISCOUNT", resource=file.subject_id, move=noted + own + follows)
