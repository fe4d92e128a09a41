"""Starting a gate: its run, and the job that carries it out."""

from __future__ import annotations

from typing import Final

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx
from fintokenx.kernel.machine import NOTHING
from fintokenx.parties import compliance
from fintokenx.parties.kyc import store
from fintokenx.parties.kyc.transitions import GATE_RUN, GateRunEvent
from fintokenx.parties.kyc.types import CLEAR, PROVIDERS, REVIEW_DUE, Gate, GateRun, OnboardingFile

JOBS: Final = {Gate.IDENTITY: "kyc.gate1", Gate.SCREENING: "kyc.gate2"}


async def started(tx: Tx, file: OnboardingFile, gate: Gate, event: GateRunEvent) -> audit.Changes:
    """A new run of ``gate``; its job exists if and only if the transaction commits. Gate 3 is people: no job."""
    last = (await store.newest_runs(tx, file.id)).get(gate)
    run = GateRun(
        id=tx.ids.new("gat"),
        file_id=file.id,
        subject_id=file.subject_id,
        gate=gate,
        attempt=last.attempt + 1 if last else 1,
        provider=PROVIDERS[gate],
        provider_ref=None,
        state=GATE_RUN.next(NOTHING, event).target,
        verdict=None,
        raw_payload_ref=None,
        started_at=tx.at,
    )
    if gate in JOBS:
        tx.enqueue(JOBS[gate], {"run_id": run.id}, dedupe_key=run.id)
    return audit.Changes((store.new_run(tx, run),))


async def review_when_due(
    tx: Tx, caller: Caller, file: OnboardingFile, *, after: dict[Gate, str], start: GateRunEvent
) -> audit.Changes:
    """Gate 3 and its case, once gates 1 and 2 are CLEAR. Every file goes to the queue: there is no risk model yet.

    ``after`` holds the verdicts that the caller is about to record; ``start`` is the event of the run's
    machine under the caller's action.
    """
    caller.must_be(Role.SYSTEM, Role.MLRO, Role.COMPLIANCE, tenant_id=tx.tenant_id)
    runs = await store.newest_runs(tx, file.id)
    verdicts = {gate: run.verdict for gate, run in runs.items()} | after
    if any(verdicts.get(gate) != CLEAR for gate in JOBS):
        return audit.Changes()
    _, move = await compliance.open_case(
        tx,
        caller,
        subject_id=file.subject_id,
        resource=file.id,
        reason=REVIEW_DUE,
        declines_subject=True,
    )
    review = runs.get(Gate.REVIEW)
    if review is None or review.verdict is not None:
        move += await started(tx, file, Gate.REVIEW, start)
    return move
