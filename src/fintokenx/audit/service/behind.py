"""Which entry is behind a row, told to those who may not read the entry itself: its name, and where it is anchored."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence

from fintokenx.audit import store
from fintokenx.audit.service.trails import READERS, STAFF
from fintokenx.audit.store import batches
from fintokenx.audit.types import Anchor, Behind, ChangedRow
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx

HOLDERS = (Role.LENDER, Role.INVESTOR)


async def behind(tx: Tx, caller: Caller, *, rows: Sequence[ChangedRow]) -> Mapping[ChangedRow, Behind]:
    """The newest entry that changed each row, without its diff; rows whose entry the caller may not know are left out.

    For the modules above, who know that the rows are the caller's own.
    """
    caller.must_be(*READERS, *HOLDERS, tenant_id=tx.tenant_id)
    found = await store.newest_entries(tx, rows, to_staff=caller.party_role in STAFF)
    last_of_batch: dict[int, int] = {}
    for entry in found.values():
        last_of_batch[entry.batch_id] = max(entry.seq, last_of_batch.get(entry.batch_id, 0))
    covering = await batches.first_signed_covering(tx, last_of_batch)
    sealed = sorted({batch.id for batch in covering.values()})
    anchored = sorted(batch.id for batch in await batches.first_anchored_from(tx, sealed))
    anchors = {anchor.batch_id: anchor for anchor in await batches.anchors_of(tx, anchored)}
    return {
        row: Behind(
            id=entry.id,
            action=entry.action,
            seq=entry.seq,
            recorded_at=entry.recorded_at,
            sealed=entry.batch_id in covering,
            anchor=_first(anchors, anchored, covering[entry.batch_id].id) if entry.batch_id in covering else None,
        )
        for row, entry in found.items()
    }


def _first(anchors: Mapping[int, Anchor], in_order: Sequence[int], from_batch: int) -> Anchor | None:
    at = bisect.bisect_left(in_order, from_batch)
    return anchors.get(in_order[at]) if at < len(in_order) else None


async def anchors(tx: Tx, caller: Caller, *, before: int | None, limit: int) -> list[Anchor]:
    """The anchors of the batches before one, newest first. They are hashes and disclose nothing of anybody (AD-13)."""
    caller.must_be(*READERS, *HOLDERS, tenant_id=tx.tenant_id)
    return await batches.anchors_before(tx, before, limit=limit)
