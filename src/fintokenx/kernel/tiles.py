"""The Merkle tree as tiles of 256 hashes (C2SP tlog-tiles): which a proof needs, the proof from their bytes, growth.

A *span* is a half-open range of leaves that some proof names as one hash: it starts at a multiple of the power of two
that is not below its length, as every subtree of RFC 6962 does. All functions are pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fintokenx.kernel.merkle import HASH_BYTES, node_hash, perfect_root

HEIGHT: Final = 8
WIDTH: Final = 1 << HEIGHT
TILE_BYTES: Final = WIDTH * HASH_BYTES
LEVELS: Final = 8
"""8 levels of height 8 hold 2^64 leaves, more than a bigint numbers."""

Span = tuple[int, int]


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """Where a tile stands: its ``level`` (0 holds leaves; each hash of a level is a full tile of the one below) and
    its ``index`` within the level."""

    level: int
    index: int


class MissingTile(Exception):
    """The tiles at hand do not hold a node that the proof needs."""


# ── Which spans


def inclusion_spans(index: int, size: int) -> list[Span]:
    """The spans whose hashes are PATH(index, size) of RFC 6962 §2.1.1, nearest first. :raises IndexError: no leaf"""
    if not 0 <= index < size:
        raise IndexError(index)
    spans: list[Span] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((start, middle))
            start = middle
    return spans[::-1]


def consistency_spans(old_size: int, new_size: int) -> list[Span]:
    """The spans whose hashes are PROOF(old_size, new_size) of RFC 6962 §2.1.2. :raises IndexError: no older tree"""
    if not 0 < old_size <= new_size:
        raise IndexError(old_size)
    spans: list[Span] = []
    start, end = 0, new_size
    while old_size < end:
        middle = start + _split(end - start)
        if old_size <= middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((start, middle))
            start = middle
    if start:  # the old tree's last subtree; where it is the whole old tree, whoever checks has its root
        spans.append((start, end))
    return spans[::-1]


def _split(length: int) -> int:
    """The largest power of two below ``length``."""
    return 1 << (length - 1).bit_length() - 1


# ── Which tiles


def tiles_of(spans: Iterable[Span]) -> set[Tile]:
    """The tiles that hold the spans' perfect subtrees: at most two per level for a proof, whatever the log's size."""
    return {_tile_of(height, index)[0] for span in spans for height, index in _perfect(span)}


def width_at(tile: Tile, size: int) -> int:
    """How many hashes the tile holds in a tree of ``size`` leaves: 0 when it is not there yet, 256 when it is full."""
    return max(0, min(WIDTH, (size >> HEIGHT * tile.level) - tile.index * WIDTH))


def _perfect(span: Span) -> Iterator[tuple[int, int]]:
    """The perfect subtrees (height, index) of a span, largest first."""
    start, end = span
    while start < end:
        height = (end - start).bit_length() - 1
        yield height, start >> height
        start += 1 << height


def _tile_of(height: int, index: int) -> tuple[Tile, int, int]:
    """The tile in which a perfect subtree lies, with the first of its hashes there and their number."""
    level, above = divmod(height, HEIGHT)
    first = index << above
    return Tile(level, first >> HEIGHT), first & WIDTH - 1, 1 << above


# ── What is in them


def hash_of(span: Span, tiles: Mapping[Tile, bytes]) -> bytes:
    """The tree hash over a span (the root, for all leaves). :raises MissingTile: not from these tiles"""
    nodes = [_node(height, index, tiles) for height, index in _perfect(span)]
    found = nodes[-1]
    for left in reversed(nodes[:-1]):
        found = node_hash(left, found)
    return found


def hashes_of(spans: Iterable[Span], tiles: Mapping[Tile, bytes]) -> tuple[bytes, ...]:
    """The tree hash over each span, in their order: the proof. :raises MissingTile: not from these tiles"""
    return tuple(hash_of(span, tiles) for span in spans)


def _node(height: int, index: int, tiles: Mapping[Tile, bytes]) -> bytes:
    tile, first, count = _tile_of(height, index)
    content = tiles.get(tile, b"")[first * HASH_BYTES : (first + count) * HASH_BYTES]
    if len(content) != count * HASH_BYTES:
        raise MissingTile(f"{tile.level}/{tile.index}")
    return perfect_root(content)


# ── How they grow


def edge_of(size: int) -> list[Tile]:
    """The partial tiles at the right edge of a tree: all that has to be known of it so that it can grow."""
    return [
        Tile(level, size >> HEIGHT * (level + 1)) for level in range(LEVELS) if (size >> HEIGHT * level) & WIDTH - 1
    ]


class Growth:
    """A tree that takes leaves on the right, of which only the right edge is held: O(1) memory per level and what
    was added. ``added`` holds, by tile, the bytes to append to what the tile had."""

    def __init__(self, size: int = 0, edge: Mapping[Tile, bytes] | None = None) -> None:
        self.size = size
        self.added: dict[Tile, bytearray] = {}
        self._open: list[tuple[int, bytearray]] = []
        for level in range(LEVELS):
            count = size >> HEIGHT * level
            tile = Tile(level, count >> HEIGHT)
            width = (count & WIDTH - 1) * HASH_BYTES
            content = (edge or {}).get(tile, b"")[:width]
            if len(content) != width:
                raise MissingTile(f"{tile.level}/{tile.index}")
            self._open.append((tile.index, bytearray(content)))

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Add leaf hashes on the right."""
        self._extend(0, b"".join(leaves))
        self.size += len(leaves)

    def _extend(self, level: int, hashes: bytes) -> None:
        at = 0
        while at < len(hashes):
            index, content = self._open[level]
            part = hashes[at : at + TILE_BYTES - len(content)]
            at += len(part)
            content.extend(part)
            self.added.setdefault(Tile(level, index), bytearray()).extend(part)
            if len(content) == TILE_BYTES:
                self._open[level] = (index + 1, bytearray())
                self._extend(level + 1, perfect_root(bytes(content)))

    def root(self) -> bytes:
        """The tree hash. :raises IndexError: of nothing"""
        return hash_of((0, self.size), {Tile(at, index): bytes(part) for at, (index, part) in enumerate(self._open)})
