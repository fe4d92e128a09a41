"""Every ten minutes: seal what was recorded, sign what is sealed, anchor what is signed (AD-06). Every hour: compare a
sample of the tables with the record (P-06)."""

from __future__ import annotations

from dataclasses import dataclass

from fintokenx.audit.ports import Anchors, CheckpointSigner
from fintokenx.audit.service.batches import anchor_sealed, keep_receipts, seal
from fintokenx.audit.service.checkpoints import sign_sealed
from fintokenx.audit.service.sampling import record_drift, sample
from fintokenx.kernel.caller import system
from fintokenx.kernel.clock import Clock
from fintokenx.kernel.db import Database, Pool
from fintokenx.kernel.jobs import Job, Lane, Payload, Work


@dataclass(frozen=True, slots=True)
class AuditJobs:
    """The jobs of the record. ``pool`` logs in as fx_sealer; ``origin`` is the name under which the log signs."""

    pool: Pool
    anchors: Anchors
    clock: Clock
    signer: CheckpointSigner
    origin: str

    def jobs(self) -> tuple[Job, ...]:
        """Periodic."""
        return (Job("audit.anchor", self.anchor, Lane.CHAIN, seconds_max=600),)

    async def anchor(self, _work: Work, _payload: Payload) -> None:
        """Seal, sign, anchor. Batches and anchors are derived from the record and are not recorded themselves, or
        every batch would need another. Vault or chain down: this fails, the next slot catches up (AD-11)."""
        await seal(self.pool, self.clock.now())
        await sign_sealed(self.pool, self.signer, self.origin, self.anchors)
        try:
            await anchor_sealed(self.pool, self.anchors, self.clock.now)
        finally:  # a conflict over one batch, which only people can end, keeps no receipt of the others
            await keep_receipts(self.pool, self.anchors)


@dataclass(frozen=True, slots=True)
class SampleJob:
    """The sample of the replay. ``pool`` logs in as fx_auditor."""

    pool: Pool
    database: Database

    def jobs(self) -> tuple[Job, ...]:
        """Periodic."""
        return (Job("audit.replay_sample", self.look, Lane.DOCUMENTS, seconds_max=1800),)

    async def look(self, work: Work, _payload: Payload) -> None:
        """Each row that drifted is recorded in its own tenant; compliance raises the alert, one per row while open."""
        for drift in await sample(self.pool):
            async with self.database.transaction(drift.tenant_id, request_id=work.id) as tx:
                await record_drift(tx, system(drift.tenant_id, work.name), drift=drift)
