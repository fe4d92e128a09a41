"""Checking anew those who are active, before what clears them grows too old (CH-16).

Until monitoring runs daily (MO-01), gates 1 and 2 are run again on the file by which the subject became active. A run
that is held, refers or fails changes nothing but this: the clearance is not renewed, and lapses in its time.
"""

from __future__ import annotations

from collections.abc import Mapping

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Tx
from fintokenx.parties import auth, compliance
from fintokenx.parties.kyc import store
from fintokenx.parties.kyc.events import ClearanceRenewed, GateCleared, GateNotCleared
from fintokenx.parties.kyc.service.running import JOBS, started
from fintokenx.parties.kyc.transitions import FileState, GateRunEvent
from fintokenx.parties.kyc.types import CHECKS_HOLD, CLEAR, RENEWAL, RENEWED_BEFORE, Gate, GateRun, OnboardingFile

VOUCHED_FOR = (auth.SubjectState.ACTIVE, auth.SubjectState.SUSPENDED)
"""A suspended subject does no new business, but is who it is; frozen or declined nobody vouches for it (CH-16)."""


def is_cleared(subject: auth.Subject, at: Instant) -> bool:
    """Whether the checks behind the subject's clearance still count."""
    return subject.cleared_at is not None and at < subject.cleared_at + CHECKS_HOLD


def renewal_due_at(subject: auth.Subject) -> Instant:
    """From when on the subject is to be checked anew."""
    return subject.created_at if subject.cleared_at is None else _due_after(subject.cleared_at)


def is_renewal_due(subject: auth.Subject, at: Instant) -> bool:
    """Whether an active or suspended subject is to be checked anew, or ought to have been."""
    return subject.state in VOUCHED_FOR and at >= renewal_due_at(subject)


def _due_after(checked_at: Instant) -> Instant:
    return checked_at + CHECKS_HOLD - RENEWED_BEFORE


async def renew(tx: Tx, caller: Caller, *, subject_id: str) -> None:
    """Ask the providers anew about a subject whose checks are nearly too old; of both gates what is due. Nothing
    happens to a gate that has not cleared: its run goes on, or people decide."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    await store.lock_subject(tx, subject_id)
    file = await store.newest_file(tx, subject_id)
    if file is None or file.state != FileState.DECIDED_APPROVED:
        return
    if not is_renewal_due(await auth.subject(tx, subject_id), tx.at):
        return
    runs, checks = await store.newest_runs(tx, file.id), await store.checks_behind(tx, file.id)
    move = audit.Changes()
    for gate in JOBS:
        run = runs.get(gate)
        if run is not None and run.verdict is None:
            _keep_going(tx, run)
        elif run is None or (run.verdict == CLEAR and tx.at >= _due_after(checks[gate])):
            move += await started(tx, file, gate, GateRunEvent.START_RENEWAL)
    if move.rows:
        await audit.change(tx, caller, action="GATE_RENEW", resource=subject_id, move=move)


def _keep_going(tx: Tx, run: GateRun) -> None:
    """The job of a run is given up after a day without an answer; it gets another one each day."""
    if days := (tx.at - run.started_at).days:
        tx.enqueue(JOBS[Gate(run.gate)], {"run_id": run.id}, dedupe_key=f"{run.id}:day {days}")


async def cleared_at(tx: Tx, file: OnboardingFile, concluded: Mapping[int, Instant]) -> Instant | None:
    """When the older of the answers behind gates 1 and 2 was had; None unless the last word of both is CLEAR.

    ``concluded``: of the runs that are about to be recorded as CLEAR, when their answers were had.
    """
    runs = await store.newest_runs(tx, file.id)
    last_words = {gate: run.verdict for gate, run in runs.items()} | dict.fromkeys(concluded, CLEAR)
    if any(last_words.get(gate) != CLEAR for gate in JOBS):
        return None
    return min((await store.checks_behind(tx, file.id) | dict(concluded)).values())


async def renewed(tx: Tx, caller: Caller, file: OnboardingFile, concluded: Mapping[int, Instant]) -> audit.Changes:
    """The clearance rests on the new answers once both gates are clear; till then on the old ones."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    checked_at = await cleared_at(tx, file, concluded)
    if checked_at is None:
        return audit.Changes()
    times = await auth.gate_ran(tx, caller, subject_id=file.subject_id, cleared_at=checked_at)
    return times + audit.Changes(facts=(ClearanceRenewed(file.subject_id),))


async def consequences(tx: Tx, caller: Caller, file: OnboardingFile, run: GateRun, verdict: str) -> audit.Changes:
    """What follows from a run on an approved file: the clearance is renewed once both gates are clear; a person
    decides on anything else, and declines nobody by it."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    if verdict == CLEAR:
        cleared = audit.Changes(facts=(GateCleared(run.subject_id, run.id, run.gate),))
        return cleared + await renewed(tx, caller, file, {run.gate: tx.at})
    _, case = await compliance.open_case(
        tx,
        caller,
        subject_id=run.subject_id,
        resource=file.id,
        reason=f"{RENEWAL}GATE{run.gate}_{verdict}",
    )
    return case + audit.Changes(facts=(GateNotCleared(run.subject_id, run.id, run.gate, verdict),))
