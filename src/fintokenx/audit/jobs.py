"""Every ten minutes: seal what was recorded, anchor what is sealed (AD-06)."""

from __future__ import annotations

from dataclasses import dataclass

from fintokenx.audit.ports import Anchors
from fintokenx.audit.service.batches import anchor_sealed, seal
from fintokenx.kernel.clock import Clock
from fintokenx.kernel.db import Pool
from fintokenx.kernel.jobs import Handler, Payload, Work


@dataclass(frozen=True, slots=True)
class AuditJobs:
    """The jobs of the record. ``pool`` logs in as fx_sealer."""

    pool: Pool
    anchors: Anchors
    clock: Clock

    def handlers(self) -> dict[str, Handler]:
        """By job name."""
        return {"audit.anchor": self.anchor}

    async def anchor(self, _work: Work, _payload: Payload) -> None:
        """Seal and anchor. Batches and anchors are derived from the record and are not recorded themselves, or
        every batch would need another. Chain down: this fails, the next slot catches up (AD-11)."""
        await seal(self.pool, self.clock.now())
        await anchor_sealed(self.pool, self.anchors, self.clock.now)
