"""Everything that waits for a job, promised again: jobs end, obligations do not."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx
from fintokenx.lifecycle.settlement import store
from fintokenx.lifecycle.settlement.service.collecting import ALLOCATE_JOB
from fintokenx.lifecycle.settlement.service.instructing import PAY_JOB

_OVERDUE_AFTER: Final = timedelta(hours=3)
"""Longer than any retry waits by itself."""

_JOBS: Final = {
    "check": ("settlement.disburse", "disbursement_id"),
    "pay": (PAY_JOB, "end_to_end_id"),
    "acknowledge": ("settlement.await_seller_credit", "disbursement_id"),
    "allocate": (ALLOCATE_JOB, "collection_id"),
}


async def promise_again(tx: Tx, caller: Caller) -> None:
    """Enqueue the job of every step that has been due for hours. Two jobs for one step are harmless."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    for step, value in await store.overdue(tx, before=tx.at - _OVERDUE_AFTER):
        name, key = _JOBS[step]
        tx.enqueue(name, {key: value}, dedupe_key=f"{value}:{tx.request_id}")
