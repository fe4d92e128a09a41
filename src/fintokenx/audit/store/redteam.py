"""SQL of the red team's runs."""

from __future__ import annotations

from fintokenx.audit.types import REDTEAM_COLUMNS, RedteamRun
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Tx


async def redteam_runs(tx: Tx, *, limit: int) -> list[RedteamRun]:
    """Runs of the red team, newest first."""
    rows = await tx.rows(
        f"select {', '.join(REDTEAM_COLUMNS)} from app.redteam_reports order by run_at desc, id desc limit $1", limit
    )
    return [RedteamRun(**dict(row)) for row in rows]


async def last_good_redteam_run(tx: Tx) -> Instant | None:
    """When every attack was last turned away."""
    found: Instant | None = await tx.value("select max(run_at) from app.redteam_reports where outcome = 0")
    return found


async def recording_since(tx: Tx) -> Instant | None:
    """The time of the tenant's first entry."""
    found: Instant | None = await tx.value('select "timestamp" from app.audit_entries order by seq limit 1')
    return found
