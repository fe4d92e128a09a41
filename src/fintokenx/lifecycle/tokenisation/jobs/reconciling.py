"""Every hour: database and chain side by side, and an alert for each thing on which they differ (TK-14)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import structlog

from fintokenx.kernel.caller import system
from fintokenx.kernel.db import Database, Pool
from fintokenx.kernel.jobs import Job, Lane, Payload, Work
from fintokenx.kernel.jobs.periodic import OpenTenants
from fintokenx.lifecycle.chainwork import waiting_while_away
from fintokenx.lifecycle.tokenisation.ports import ChainState
from fintokenx.lifecycle.tokenisation.service.chain_audit import reconciliation
from fintokenx.lifecycle.tokenisation.types import Reconciliation

log = structlog.get_logger("fintokenx.tokenisation")

DRIFTS_MAX: Final = 100
"""Alerts per look. More is one disaster and not a thousand."""


@dataclass(frozen=True, slots=True)
class ReconciliationJob:
    """The comparison. ``pool`` logs in as fx_auditor."""

    pool: Pool
    database: Database
    chain: ChainState
    open_tenants: OpenTenants

    def jobs(self) -> tuple[Job, ...]:
        """Periodic."""
        return (Job("tokenisation.reconcile", self.look, Lane.CHAIN, seconds_max=1800),)

    async def look(self, work: Work, _payload: Payload) -> None:
        """Each drift is an alert in its own tenant; of what no tenant knows, in the job's. It waits while the chain is
        away."""
        with waiting_while_away():
            async with work.transaction() as tx:
                now = tx.at
            found = await reconciliation.reconcile(self.pool, self.chain, now=now)
        if len(found.drifts) > DRIFTS_MAX:
            log.error("chain_drift_cut_off", found=len(found.drifts), raised=DRIFTS_MAX)
        for drift in found.drifts[:DRIFTS_MAX]:
            tenant_id = drift.tenant_id or work.tenant_id
            async with self.database.transaction(tenant_id, request_id=work.id) as tx:
                await reconciliation.raise_drift(tx, system(tenant_id, work.name), drift=drift)
        await self._clear(work, found)

    async def _clear(self, work: Work, found: Reconciliation) -> None:
        """What differed before and does so no longer, in whatever tenant: the job knows these from the alerts."""
        for tenant_id in await self.open_tenants():
            theirs = [drift for drift in found.drifts if (drift.tenant_id or work.tenant_id) == tenant_id]
            async with self.database.transaction(tenant_id, request_id=work.id) as tx:
                await reconciliation.clear_drifts_but(tx, system(tenant_id, work.name), drifts=theirs)
