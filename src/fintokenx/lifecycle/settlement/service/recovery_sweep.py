"""Everything that waits for a job, promised again: jobs end, obligations do not."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.clock import to_wire
from fintokenx.kernel.db import Tx
from fintokenx.lifecycle.settlement import store
from fintokenx.lifecycle.settlement.service.collecting import ALLOCATE_JOB, can_be_booked
from fintokenx.lifecycle.settlement.service.instructing import PAY_JOB
from fintokenx.parties import auth

_OVERDUE_AFTER: Final = timedelta(hours=3)
"""Longer than any retry waits by itself."""

_JOBS: Final = {
    "check": ("settlement.disburse", "disbursement_id"),
    "pay": (PAY_JOB, "end_to_end_id"),
    "token": ("settlement.follow_token", "disbursement_id"),
    "acknowledge": ("settlement.await_seller_credit", "disbursement_id"),
    "allocate": (ALLOCATE_JOB, "collection_id"),
}


async def promise_again(tx: Tx, caller: Caller, *, job_id: str) -> None:
    """Enqueue the job of every step that has been due for hours, once per three hours and not with every run: the
    first one may still be at it. Such a job ends with its three hours, so they do not add up while a bank is away.

    What is held for a payee that is not frozen (any more) is released. ``job_id``: the run that promises.
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    turn = int(tx.at.timestamp() // _OVERDUE_AFTER.total_seconds())
    until = to_wire(tx.at + _OVERDUE_AFTER)
    for step, value in await store.overdue(tx, before=tx.at - _OVERDUE_AFTER):
        if step == "allocate" and not await can_be_booked(tx, caller, collection_id=value):
            continue
        name, key = _JOBS[step]
        tx.enqueue(name, {key: value, "until": until}, dedupe_key=f"{value}:again:{turn}")
    for subject_id in await store.subjects_held_for(tx):
        if (await auth.subject(tx, subject_id)).state != auth.SubjectState.FROZEN:
            tx.enqueue("settlement.release_held", {"subject_id": subject_id}, dedupe_key=f"{subject_id}:{job_id}")
