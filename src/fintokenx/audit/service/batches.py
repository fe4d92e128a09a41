"""Batches: sealed every ten minutes, anchored when the chain answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import structlog

from fintokenx.audit.ports import AnchorOnChain, AnchorReceipt, Anchors
from fintokenx.audit.store import batches, tiles
from fintokenx.audit.types import Batch
from fintokenx.audit.types.refusals import AnchorConflict
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Pool
from fintokenx.kernel.errors import Unavailable

log = structlog.get_logger("fintokenx.audit")

RECEIPTS_PER_RUN: Final = 100
REFUSALS_MAX: Final = 3
"""A node that refuses so often is away; one that has forgotten a single block does not hold up the others."""


async def seal(pool: Pool, at: Instant) -> Batch | None:
    """Seal the open batch; None when nothing was recorded since the last one. Two sealers at once: one seals.

    Nearly all hashing happens before, in steps and without the chain's lock; a database from before there were tiles
    gets them the same way at its first seal. A crash between two steps is harmless: the next seal goes on from there.

    :raises ValueError: the record has a gap, so that no tree can be made over it
    """
    open_id = await batches.open_batch(pool)
    more = True
    while more:
        tree_size, more = await tiles.grow(pool)
        if more:
            log.info("log_tiles_grow", tree_size=tree_size)
    batch = await batches.seal_open(pool, at, open_id)
    if batch is not None:
        log.info("batch_sealed", batch_id=batch.id, tree_size=batch.tree_size)
    return batch


async def anchor_sealed(pool: Pool, anchors: Anchors, now: Callable[[], Instant]) -> int:
    """Anchor every sealed batch that is not anchored yet, oldest first; returns how many.

    Chain down: raises, nothing is lost, the next run catches up (AD-11).

    :raises AnchorConflict: the chain holds something else in the place of a batch; all the others are anchored that
        the contract still takes. Only people can say what is true: ``fintokenx audit verify`` names the batches
    """
    waiting = await batches.sealed(pool, not_anchored=True)
    latest = await anchors.latest() if waiting else None
    conflicts: list[int] = []
    for batch in waiting:
        try:
            if await _is_overtaken(batch, anchors, latest):
                raise ValueError("the chain has gone on without it")
            anchor = await anchors.publish(batch.id, batch.tree_size, batch.root)
        except ValueError as fault:
            log.error("anchor_conflict", batch_id=batch.id, tree_size=batch.tree_size, fault=str(fault))
            conflicts.append(batch.id)
            continue
        await batches.mark_anchored(pool, batch, tx_hash=anchor.tx_hash, block_number=anchor.block_number, at=now())
        log.info("batch_anchored", batch_id=batch.id, tx_hash=anchor.tx_hash, block_number=anchor.block_number)
    if conflicts:
        raise AnchorConflict(f"batches {', '.join(map(str, conflicts))}")
    return len(waiting)


async def _is_overtaken(batch: Batch, anchors: Anchors, latest: AnchorOnChain | None) -> bool:
    """Whether the contract would never take it: numbers and trees only grow there. Asking it to would look like an
    outage and hold up all later batches."""
    if latest is None:
        return False
    if batch.id > latest.batch_id:
        return batch.tree_size <= latest.tree_size
    return await anchors.read(batch.id) is None


async def keep_receipts(pool: Pool, anchors: Anchors) -> int:
    """Ask for the proof of every anchor that has none yet, newest first; returns how many were given.

    A node that cannot give one now is asked again at the next run: evidence says until then that it is missing.
    """
    given = refused = 0
    for anchor in await batches.anchors_without_receipt(pool, limit=RECEIPTS_PER_RUN):
        standing = AnchorOnChain(anchor.batch_id, anchor.tree_size, anchor.root, anchor.block_number, anchor.tx_hash)
        try:
            receipt = await anchors.receipt(standing)
        except Unavailable as fault:
            log.warning("anchor_receipt_missing", batch_id=anchor.batch_id, fault=fault.detail)
            refused += 1
            if refused == REFUSALS_MAX:
                break
            continue
        await batches.keep_receipt(pool, anchor.batch_id, _spelled(receipt))
        given += 1
    return given


def _spelled(receipt: AnchorReceipt) -> dict[str, Any]:
    """As docs/evidence.md has it."""
    return {
        "chain_id": receipt.chain_id,
        "contract": receipt.contract,
        "block_hash": receipt.block_hash,
        "header": receipt.header.hex(),
        "receipt_index": receipt.receipt_index,
        "receipt_proof": [node.hex() for node in receipt.receipt_proof],
    }
