"""The checkpoint of every sealed batch, signed by the log's key, which is in the vault."""

from __future__ import annotations

from typing import Final

import structlog

from fintokenx.audit.ports import Anchors, CheckpointSigner
from fintokenx.audit.store import batches, tiles
from fintokenx.audit.types import Batch
from fintokenx.audit.types.refusals import AnchorConflict, LogInconsistent
from fintokenx.kernel.db import Pool
from fintokenx.kernel.merkle import verify_consistency
from fintokenx.kernel.notes import Checkpoint, VerifierKey, signed_note
from fintokenx.kernel.tiles import MissingTile, consistency_spans, hash_of, hashes_of, tiles_of

log = structlog.get_logger("fintokenx.audit")

_AT_ONCE: Final = 200


async def sign_sealed(pool: Pool, signer: CheckpointSigner, origin: str, anchors: Anchors) -> int:
    """Sign every sealed batch that has no checkpoint yet, oldest first; returns how many.

    A log must not sign two trees that are inconsistent (C2SP tlog-checkpoint). Therefore a checkpoint is signed only
    when its tree continues the one that was signed before it, and when the newest anchor on chain is one of this
    database: a backup that was put back looks perfect by itself and has forgotten what it signed. Vault or chain down:
    raises, nothing is lost, the next run catches up.

    :raises LogInconsistent: its tree does not continue the last one; nothing is signed from there on
    :raises AnchorConflict: the chain has a newer or another life of this record; nothing is signed
    """
    previous = await batches.newest_signed(pool)
    done = 0
    while waiting := await batches.unsigned(pool, limit=_AT_ONCE):
        await _must_be_the_chains(pool, anchors)
        key = VerifierKey(origin, await signer.public_key())
        for batch in waiting:
            await _must_continue(pool, previous, batch)
            text = Checkpoint(origin, batch.tree_size, batch.root).text()
            note = signed_note(text, key, await signer.sign(text.encode()))
            if await batches.keep_checkpoint(pool, batch.id, note):
                log.info("checkpoint_signed", batch_id=batch.id, tree_size=batch.tree_size)
                done += 1
            previous = batch
    return done


async def _must_be_the_chains(pool: Pool, anchors: Anchors) -> None:
    latest = await anchors.latest()
    if latest is None:
        return
    ours = await batches.sealed_as(pool, latest.batch_id)
    if ours is None or (ours.tree_size, ours.root) != (latest.tree_size, latest.root):
        log.error("log_forked", batch_id=latest.batch_id, tree_size=latest.tree_size)
        raise AnchorConflict(f"batch {latest.batch_id}")


async def _must_continue(pool: Pool, previous: Batch | None, batch: Batch) -> None:
    """The root is that of the tiles, and its tree adds to the one before: O(log n) in one query."""
    whole = (0, batch.tree_size)
    steps = consistency_spans(previous.tree_size, batch.tree_size) if previous else []
    found = await tiles.read(pool, tiles_of([whole, *steps]))
    try:
        root, path = hash_of(whole, found), hashes_of(steps, found)
    except MissingTile as fault:
        raise LogInconsistent(f"batch {batch.id}: tile {fault} is missing") from fault
    if root != batch.root or (
        previous and not verify_consistency(previous.tree_size, batch.tree_size, previous.root, batch.root, path)
    ):
        log.error("log_inconsistent", batch_id=batch.id, tree_size=batch.tree_size)
        raise LogInconsistent(f"batch {batch.id}")
