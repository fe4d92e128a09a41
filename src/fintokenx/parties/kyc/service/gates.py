"""Gates 1 and 2 as their jobs drive them. Nothing but an explicit CLEAR of everybody lets a subject on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx
from fintokenx.parties import auth, compliance, partner
from fintokenx.parties.kyc import store
from fintokenx.parties.kyc.events import GateCleared, GateHeld, GateNotCleared
from fintokenx.parties.kyc.ports import VerificationEvent
from fintokenx.parties.kyc.service import renewing
from fintokenx.parties.kyc.service.running import review_when_due, started
from fintokenx.parties.kyc.transitions import GATE_RUN, FileState, GateRunEvent, GateRunState
from fintokenx.parties.kyc.types import (
    CLEAR,
    DELAY_ALERT_SECONDS,
    FAIL,
    Check,
    Gate,
    GateRun,
    OnboardingFile,
    Outcome,
    UnknownApplicant,
)

_DELAY: Final = "KYC_DELAY"
_EXTERNAL_ID: Final = re.compile(r"(tnt_[a-z0-9_]{1,40}):([A-Za-z0-9_-]{1,64})")


async def check_of(tx: Tx, caller: Caller, *, run_id: str) -> Check | None:
    """What is to be checked in this run; None when it has ended."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    run = await store.run(tx, run_id)
    if run is None or run.verdict is not None:
        return None
    file = await store.file(tx, run.file_id)
    if file is None or file.state == FileState.DECIDED_DECLINED:
        return None
    return Check(run, file, await store.parties(tx, run.file_id))


async def checks_requested(tx: Tx, caller: Caller, *, run_id: str, applicant_refs: dict[str, str]) -> Check | None:
    """Note which applicant each party is at the provider, and that the review was asked for.

    :returns: the check as it stands now; None when the run has ended meanwhile
    """
    check = await _locked(tx, caller, run_id)
    if check is None or check.run.requested_at is not None:
        return check
    rows = [store.changed_run(tx, check.run, requested_at=tx.at)]
    for party in check.parties:
        if party.applicant_ref != applicant_refs[party.id]:
            rows.append(store.changed_party(tx, party, applicant_ref=applicant_refs[party.id]))
    await audit.change(tx, caller, action="GATE_START", resource=check.file.subject_id, move=audit.Changes(tuple(rows)))
    return await check_of(tx, caller, run_id=run_id)


async def hold(tx: Tx, caller: Caller, *, run_id: str) -> None:
    """The provider does not answer: the gate is held and somebody is told, once per hold (P-17)."""
    check = await _locked(tx, caller, run_id)
    if check is None or check.run.state == GateRunState.HELD:
        return
    run = check.run
    line = GATE_RUN.next(run.state, GateRunEvent.HOLD)
    alert = await compliance.raise_alert(
        tx,
        caller,
        cause=_held_cause(run.gate),
        resource=run.subject_id,
        severity=compliance.Severity.CRITICAL,
    )
    own = audit.Changes((store.changed_run(tx, run, state=line.target),), (GateHeld(run.subject_id, run.id, run.gate),))
    await audit.change(tx, caller, action=line.action, resource=run.subject_id, move=own + alert)


async def still_waiting(tx: Tx, caller: Caller, *, run_id: str) -> None:
    """The provider answers, but not with a verdict. After sixty seconds somebody is told, once per run (KY-08)."""
    check = await _locked(tx, caller, run_id)
    if check is None:
        return
    run = check.run
    if run.state == GateRunState.HELD:
        line = GATE_RUN.next(run.state, GateRunEvent.RESUME)
        move = audit.Changes((store.changed_run(tx, run, state=line.target),))
        await audit.change(tx, caller, action=line.action, resource=run.subject_id, move=move)
        await compliance.clear_alert(tx, caller, cause=_held_cause(run.gate), resource=run.subject_id)
    late = tx.at - run.started_at > timedelta(seconds=DELAY_ALERT_SECONDS)
    if not late or run.delay_alerted_at is not None:
        return
    alert = await compliance.raise_alert(
        tx,
        caller,
        cause=_DELAY,
        resource=run.subject_id,
        severity=compliance.Severity.WARNING,
    )
    own = audit.Changes((store.changed_run(tx, run, delay_alerted_at=tx.at),))
    await audit.change(tx, caller, action="KYC_DELAY_ALERT", resource=run.subject_id, move=own + alert)


async def conclude(tx: Tx, caller: Caller, *, run_id: str, outcome: Outcome) -> None:
    """End a run with its verdict, and let what follows from it begin; quietly nothing when it has ended already."""
    check = await _locked(tx, caller, run_id)
    if check is None:
        return
    run, file = check.run, check.file
    line = GATE_RUN.next(run.state, GateRunEvent(outcome.verdict.lower()))
    ended = store.changed_run(
        tx,
        run,
        state=line.target,
        verdict=outcome.verdict,
        provider_ref=outcome.provider_ref,
        raw_payload_ref=outcome.raw_payload_ref,
        finished_at=tx.at,
    )
    hits = tuple(store.new_hit(tx, run.id, hit) for hit in outcome.hits)
    times = await auth.gate_ran(
        tx,
        caller,
        subject_id=run.subject_id,
        kyc_run_at=tx.at,
        screening_at=tx.at if run.gate == Gate.SCREENING else None,
    )
    consequences = await _consequences(tx, caller, _Ended(run, file, Gate(run.gate), outcome.verdict))
    await audit.change(
        tx,
        caller,
        action=line.action,
        resource=run.subject_id,
        move=audit.Changes((ended, *hits)) + times + consequences,
    )
    await _clear_alerts(tx, caller, run)


def tenant_of(event: VerificationEvent) -> str:
    """Whose applicant a verified webhook is about, as its external id says.

    :raises UnknownApplicant: the external id is none of ours
    """
    return _parts(event)[0]


async def event_received(tx: Tx, caller: Caller, *, event: VerificationEvent) -> None:
    """A verified webhook: noted once, and answered by a job that asks the provider itself.

    So neither the order nor the content of webhooks decides anything (KY-09).

    :raises partner's UnknownTenant: the external id names a tenant that was never opened
    :raises UnknownApplicant: this tenant has no such party, or the party is another applicant; nothing is stored
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    await partner.tenant(tx)
    found = await store.party_at_provider(tx, _parts(event)[1])
    if found is None or found[1] not in (None, event.applicant_ref):
        raise UnknownApplicant
    file_id, _ = found
    if not await store.first_delivery(tx, event.event_id):
        return
    run = (await store.newest_runs(tx, file_id)).get(Gate.IDENTITY)
    if run is not None and run.verdict is None:
        tx.enqueue("kyc.gate1_look", {"run_id": run.id}, dedupe_key=event.event_id)


def _parts(event: VerificationEvent) -> tuple[str, str]:
    """Tenant and party: the reverse of :func:`ports.external_id`."""
    parts = _EXTERNAL_ID.fullmatch(event.external_id)
    if parts is None:
        raise UnknownApplicant
    return parts[1], parts[2]


def _held_cause(gate: int) -> str:
    return f"GATE{gate}_HELD"


async def _clear_alerts(tx: Tx, caller: Caller, run: GateRun) -> None:
    """There is a verdict: neither does the provider keep silent nor does anybody wait."""
    for cause in (_held_cause(run.gate), _DELAY):
        await compliance.clear_alert(tx, caller, cause=cause, resource=run.subject_id)


@dataclass(frozen=True, slots=True)
class _Ended:
    """A run and the verdict that is about to be recorded."""

    run: GateRun
    file: OnboardingFile
    gate: Gate
    verdict: str


async def _locked(tx: Tx, caller: Caller, run_id: str) -> Check | None:
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    check = await check_of(tx, caller, run_id=run_id)
    if check is None:
        return None
    await store.lock_subject(tx, check.file.subject_id)
    return await check_of(tx, caller, run_id=run_id)


async def _consequences(tx: Tx, caller: Caller, ended: _Ended) -> audit.Changes:
    run, file = ended.run, ended.file
    if file.mlro_decided_at is not None:
        return await renewing.consequences(tx, caller, file, run, ended.verdict)
    move = await _subject_moves_on(tx, caller, ended)
    if ended.verdict != CLEAR:
        _, case = await compliance.open_case(
            tx,
            caller,
            subject_id=run.subject_id,
            resource=file.id,
            reason=f"GATE{run.gate}_{ended.verdict}",
            declines_subject=True,
        )
        fact = GateNotCleared(run.subject_id, run.id, run.gate, ended.verdict)
        return move + case + audit.Changes(facts=(fact,))
    review = await review_when_due(
        tx,
        caller,
        file,
        after={ended.gate: ended.verdict},
        start=GateRunEvent.START_ON_RESULT,
    )
    return move + review + audit.Changes(facts=(GateCleared(run.subject_id, run.id, run.gate),))


async def _subject_moves_on(tx: Tx, caller: Caller, ended: _Ended) -> audit.Changes:
    """Gate 1 CLEAR starts gate 2; gate 2 with an answer, even with hits, goes to people. A gate that is run again
    later moves nobody."""
    subject = await auth.subject(tx, ended.run.subject_id)
    if ended.gate is Gate.IDENTITY and ended.verdict == CLEAR and subject.state == auth.SubjectState.VERIFYING:
        move = await auth.advance(tx, caller, subject_id=subject.id, event=auth.SubjectEvent.GATE_1_CLEAR)
        return move + await started(tx, ended.file, Gate.SCREENING, GateRunEvent.START_ON_RESULT)
    if ended.gate is Gate.SCREENING and ended.verdict != FAIL and subject.state == auth.SubjectState.SCREENING:
        return await auth.advance(tx, caller, subject_id=subject.id, event=auth.SubjectEvent.GATE_2_DONE)
    return audit.Changes()
