"""Runs of the red team, kept where nobody can bend them, and whether one is due (TI-09)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from fintokenx.audit.service.recording import change
from fintokenx.audit.store import redteam as store
from fintokenx.audit.types import Changes, RedteamRun, insert
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx

REDTEAM_EVERY: Final = timedelta(days=92)
"""A quarter at its longest."""

_RUNNERS: Final = (Role.SYSTEM, Role.PLATFORM_ADMIN)
_READERS: Final = (*_RUNNERS, Role.MLRO, Role.COMPLIANCE)


async def record_redteam_run(tx: Tx, caller: Caller, *, run: RedteamRun) -> str:
    """Keep a run for good; the entry's id. The report itself lies in the blobs, signed."""
    caller.must_be(*_RUNNERS, tenant_id=tx.tenant_id)
    row = insert("redteam_reports", {"tenant_id": tx.tenant_id, **run.row()})
    return await change(tx, caller, action="REDTEAM_RUN", resource=run.id, move=Changes((row,)))


async def redteam_runs(tx: Tx, caller: Caller, *, limit: int = 100) -> Sequence[RedteamRun]:
    """The runs, newest first."""
    caller.must_be(*_READERS, tenant_id=tx.tenant_id)
    return await store.redteam_runs(tx, limit=min(limit, 1000))


async def redteam_overdue(tx: Tx, caller: Caller) -> bool:
    """Whether the last run that turned every attack away is older than a quarter; or, before there was one, whether
    the record has been kept for a quarter."""
    caller.must_be(*_READERS, tenant_id=tx.tenant_id)
    since = await store.last_good_redteam_run(tx) or await store.recording_since(tx)
    return since is not None and tx.at - since > REDTEAM_EVERY
