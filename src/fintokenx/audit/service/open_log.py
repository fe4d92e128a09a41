"""What the open log shows to everybody: checkpoints, tiles and anchors; hashes only, and only what is signed."""

from __future__ import annotations

import re
from typing import Any, Final

from fintokenx.audit.store import batches, tiles
from fintokenx.audit.types import Anchor, Batch
from fintokenx.audit.types.refusals import BadTile, NotPublished
from fintokenx.kernel.tiles import LEVELS, WIDTH, Tile, width_at

_LEVEL: Final = re.compile(r"0|[1-9]|[1-5][0-9]|6[0-3]")
_PLACE: Final = re.compile(r"((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")
_INDEX_MAX: Final = 1 << 55
"""Level 0 of 2^63 leaves: what a bigint numbers."""


async def newest_checkpoint(hashes: Any) -> Batch:
    """The batch with the newest checkpoint. :raises NotPublished: nothing is signed yet"""
    return _published(await batches.newest_signed(hashes))


async def checkpoint(hashes: Any, batch_id: int) -> Batch:
    """A batch with its checkpoint. :raises NotPublished: no such batch, or it is not signed yet"""
    return _published(await batches.signed(hashes, batch_id))


def _published(batch: Batch | None) -> Batch:
    if batch is None:
        raise NotPublished
    return batch


async def tile(hashes: Any, tile_level: str, place: str) -> bytes:
    """The bytes of a tile, or of its first hashes, as far as the newest checkpoint covers them.

    :raises BadTile: no name of a tile
    :raises NotPublished: the newest checkpoint does not cover all of it
    """
    wanted, width = parsed_tile(tile_level, place)
    published = await batches.newest_signed(hashes)
    if published is None or width_at(wanted, published.tree_size) < width:
        raise NotPublished
    content = await tiles.prefix(hashes, wanted, width)
    if content is None:
        raise NotPublished
    return content


def parsed_tile(tile_level: str, place: str) -> tuple[Tile, int]:
    """The tile and how many of its hashes. :raises BadTile: no such name. :raises NotPublished: never to be"""
    named = _PLACE.fullmatch(place)
    if not _LEVEL.fullmatch(tile_level) or named is None:
        raise BadTile
    index = int(named[1].replace("x", "").replace("/", ""))
    width = int(named[2]) if named[2] else WIDTH
    if tile_path(index) != named[1] or (named[2] and width >= WIDTH):
        raise BadTile
    if int(tile_level) >= LEVELS or index >= _INDEX_MAX:
        raise NotPublished
    return Tile(int(tile_level), index), width


def tile_path(index: int) -> str:
    """The index as tlog-tiles spells it: 1234067 is x001/x234/067."""
    digits = str(index)
    digits = digits.zfill((len(digits) + 2) // 3 * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    return "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])


async def anchors_after(hashes: Any, batch_id: int, *, limit: int) -> list[Anchor]:
    """Anchors of later batches, oldest first."""
    return await batches.anchors_after(hashes, batch_id, limit=limit)


async def anchor(hashes: Any, batch_id: int) -> Anchor:
    """The anchor of a batch. :raises NotPublished: it has none yet"""
    for found in await batches.anchors_of(hashes, [batch_id]):
        return found
    raise NotPublished
