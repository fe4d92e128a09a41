"""The open log checked against the record: every tile against the entries, every checkpoint against its batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from fintokenx.audit.store import hashes_after, tiles
from fintokenx.audit.types import Batch
from fintokenx.kernel.merkle import HASH_BYTES
from fintokenx.kernel.notes import BadNote, VerifierKey, checkpoint_of, signed_checkpoint
from fintokenx.kernel.tiles import WIDTH, Growth, Tile, width_at

_LEAVES_AT_ONCE: Final = 32 * WIDTH
TILE_FAULTS_MAX: Final = 10
"""One entry that is gone moves all that follow: the first tiles name the place."""


async def log_faults(connection: Any, sealed: Sequence[Batch], key: VerifierKey | None, *, at_most: int) -> list[str]:
    """What is off, in words; ``connection`` logs in as fx_auditor. Without ``key`` signatures are not checked."""
    faults = list(_checkpoint_faults(sealed, key))
    faults += await _tile_faults(connection, sealed)
    return faults[: max(0, at_most)]


def _checkpoint_faults(sealed: Sequence[Batch], key: VerifierKey | None) -> Iterator[str]:
    """In words: a checkpoint that is not its batch's, or not the log's, or that a later batch has and this one not."""
    last_signed = max((batch.id for batch in sealed if batch.checkpoint is not None), default=0)
    for batch in sealed:
        if batch.checkpoint is None:
            if batch.id < last_signed:
                yield f"batch {batch.id}: has no checkpoint, but a later one has"
            continue
        try:
            said = signed_checkpoint(batch.checkpoint, key) if key else checkpoint_of(batch.checkpoint)
        except BadNote as fault:
            yield f"batch {batch.id}: its checkpoint does not hold: {fault}"
            continue
        if said.size != batch.tree_size:
            yield f"batch {batch.id}: its checkpoint is over {said.size} entries and not {batch.tree_size}"
        elif said.root != batch.root:
            yield f"batch {batch.id}: its checkpoint has another root; the record was rewritten"


async def _tile_faults(connection: Any, sealed: Sequence[Batch]) -> list[str]:
    """Every tile from the entries anew, in bounded memory, and compared byte for byte."""
    faults: list[str] = []
    size, there = await tiles.extent(connection)
    published = max((batch.tree_size for batch in sealed if batch.checkpoint is not None), default=0)
    if size < published:
        faults.append(f"tiles: they end at entry {size}, but a checkpoint covers {published}")
    growth, expected = Growth(), 0
    pending: dict[Tile, bytearray] = {}
    while growth.size < size and len(faults) < TILE_FAULTS_MAX:
        leaves = await hashes_after(connection, growth.size, limit=min(_LEAVES_AT_ONCE, size - growth.size))
        if not leaves:
            faults.append(f"tiles: they hold {size} leaves, but the record ends at {growth.size}")
            break
        growth.added = pending
        growth.extend(leaves)
        pending = {}
        for tile, content in growth.added.items():
            if len(content) < WIDTH * HASH_BYTES and growth.size < size:
                pending[tile] = content  # still growing: compared when it is full, or at the end
        whole = {tile: bytes(content) for tile, content in growth.added.items() if tile not in pending}
        expected += len(whole)
        faults += await _differences(connection, whole)
    if not faults and there != expected:
        faults.append(f"tiles: there are {there}, and {expected} belong to the tree")
    return faults


async def _differences(connection: Any, whole: dict[Tile, bytes]) -> list[str]:
    stored = await tiles.read(connection, whole.keys())
    longer = any(len(stored.get(tile, b"")) > len(content) for tile, content in whole.items())
    size_by_now = await tiles.size(connection) if longer else 0
    faults = []
    for tile in sorted(whole):
        found, content = stored.get(tile), whole[tile]
        if found is None:
            faults.append(f"tile {tile.level}/{tile.index}: missing")
        elif found[: len(content)] != content or len(found) > max(len(content), _bytes_at(tile, size_by_now)):
            faults.append(f"tile {tile.level}/{tile.index}: its hashes are not those of the entries")
    return faults


def _bytes_at(tile: Tile, size: int) -> int:
    """A tile may have grown while the entries were read; how long it may be by now."""
    return width_at(tile, size) * HASH_BYTES
