"""Batches: sealed every ten minutes, anchored when the chain answers."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from fintokenx.audit import store
from fintokenx.audit.ports import AnchorOnChain, Anchors
from fintokenx.audit.types import AnchorConflict, Batch
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Pool

log = structlog.get_logger("fintokenx.audit")


async def seal(pool: Pool, at: Instant) -> Batch | None:
    """Seal the open batch; None when nothing was recorded since the last one. Two sealers at once: one seals."""
    batch = await store.seal_open_batch(pool, at)
    if batch is not None:
        log.info("batch_sealed", batch_id=batch.id, tree_size=batch.tree_size)
    return batch


async def anchor_sealed(pool: Pool, anchors: Anchors, now: Callable[[], Instant]) -> int:
    """Anchor every sealed batch that is not anchored yet, oldest first; returns how many.

    Chain down: raises, nothing is lost, the next run catches up (AD-11).

    :raises AnchorConflict: the chain holds something else in the place of a batch; all the others are anchored that
        the contract still takes. Only people can say what is true: ``fintokenx audit verify`` names the batches
    """
    batches = await store.sealed_batches(pool, not_anchored=True)
    latest = await anchors.latest() if batches else None
    conflicts: list[int] = []
    for batch in batches:
        try:
            if await _is_overtaken(batch, anchors, latest):
                raise ValueError("the chain has gone on without it")
            anchor = await anchors.publish(batch.id, batch.tree_size, batch.root)
        except ValueError as fault:
            log.error("anchor_conflict", batch_id=batch.id, tree_size=batch.tree_size, fault=str(fault))
            conflicts.append(batch.id)
            continue
        await store.mark_anchored(pool, batch, tx_hash=anchor.tx_hash, block_number=anchor.block_number, at=now())
        log.info("batch_anchored", batch_id=batch.id, tx_hash=anchor.tx_hash, block_number=anchor.block_number)
    if conflicts:
        raise AnchorConflict(f"batches {', '.join(map(str, conflicts))}")
    return len(batches)


async def _is_overtaken(batch: Batch, anchors: Anchors, latest: AnchorOnChain | None) -> bool:
    """Whether the contract would never take it: numbers and trees only grow there. Asking it to would look like an
    outage and hold up all later batches."""
    if latest is None:
        return False
    if batch.id > latest.batch_id:
        return batch.tree_size <= latest.tree_size
    return await anchors.read(batch.id) is None
