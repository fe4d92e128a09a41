"""Tiles: they grow as C2SP tlog-tiles says, and every proof comes out of them as RFC 6962 defines it."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fintokenx.kernel.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from fintokenx.kernel.tiles import (
    HASH_BYTES,
    TILE_BYTES,
    Growth,
    MissingTile,
    Tile,
    consistency_spans,
    edge_of,
    hash_of,
    hashes_of,
    inclusion_spans,
    tiles_of,
    width_at,
)

LARGEST = 65_537 + 300
BORDERS = (255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537)


@functools.cache
def leaves_of(count: int) -> list[bytes]:
    return [leaf_hash(number.to_bytes(4, "big")) for number in range(count)]


def plain_tiles(leaves: list[bytes]) -> dict[Tile, bytes]:
    """The definition of tlog-tiles, word for word: MTH(D[(n·256+i)·256^l : (n·256+i+1)·256^l])."""
    found: dict[Tile, bytes] = {}
    level = 0
    while (count := len(leaves) // 256**level) > 0:
        for index in range((count + 255) // 256):
            found[Tile(level, index)] = b"".join(
                root_of(leaves[place * 256**level : (place + 1) * 256**level])
                for place in range(index * 256, min(count, index * 256 + 256))
            )
        level += 1
    return found


@functools.cache
def grown(size: int) -> dict[Tile, bytes]:
    growth = Growth()
    growth.extend(leaves_of(LARGEST)[:size])
    return {tile: bytes(content) for tile, content in growth.added.items()}


@given(st.lists(st.integers(0, 700), min_size=1, max_size=6))
@settings(deadline=None)
def test_a_tree_that_is_put_down_and_taken_up_again_has_the_tiles_of_the_standard(steps: list[int]) -> None:
    tiles: dict[Tile, bytes] = {}
    size = 0
    for step in steps:
        growth = Growth(size, {tile: tiles[tile] for tile in edge_of(size)})
        growth.extend(leaves_of(LARGEST)[size : size + step])
        for tile, content in growth.added.items():
            tiles[tile] = tiles.get(tile, b"") + bytes(content)
        size += step
        if size:
            assert growth.root() == root_of(leaves_of(LARGEST)[:size]) == hash_of((0, size), tiles)
    assert tiles == plain_tiles(leaves_of(LARGEST)[:size])
    assert {tile: len(content) // HASH_BYTES for tile, content in tiles.items()} == {
        tile: width_at(tile, size) for tile in tiles
    }


def test_a_tree_of_seventy_thousand_has_the_tiles_of_the_standards_example() -> None:
    """tlog-tiles: 273 full and one of width 112; one full and one of width 17; one of width 1."""
    shape = {
        level: [width for index in range(300) if (width := width_at(Tile(level, index), 70_000))] for level in range(4)
    }
    assert shape == {0: [256] * 273 + [112], 1: [256, 17], 2: [1], 3: []}
    assert edge_of(70_000) == [Tile(0, 273), Tile(1, 1), Tile(2, 0)]


@pytest.mark.parametrize("size", BORDERS)
def test_at_the_borders_of_tiles_the_tree_is_the_plain_one(size: int) -> None:
    leaves = leaves_of(LARGEST)[:size]
    assert grown(size) == plain_tiles(leaves)
    assert hash_of((0, size), grown(size)) == root_of(leaves)


@pytest.mark.parametrize("size", [*range(1, 40), 127, 128, 129, 255, 256, 257, 600])
def test_every_proof_from_tiles_is_that_of_the_plain_tree(size: int) -> None:
    leaves, tiles = leaves_of(LARGEST)[:size], grown(size)
    for place in range(size):
        assert hashes_of(inclusion_spans(place, size), tiles) == tuple(inclusion_proof(leaves, place))
        assert hashes_of(consistency_spans(place + 1, size), tiles) == tuple(consistency_proof(leaves, place + 1))


@pytest.mark.slow
def test_every_entry_of_every_tree_up_to_six_hundred_is_proved_from_the_tiles_of_the_largest() -> None:
    """A proof on an older tree comes out of tiles that have grown since."""
    known = functools.cache(functools.partial(hash_of, tiles=grown(600)))
    for size in range(1, 601):
        root = known((0, size))
        for index in range(size):
            proof = [known(span) for span in inclusion_spans(index, size)]
            assert verify_inclusion(leaves_of(LARGEST)[index], index, size, proof, root)


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, LARGEST])
@pytest.mark.parametrize("place", [0, 1, 254, 255, 256, 257, 32_767, 65_279, 65_534])
def test_across_the_borders_of_tiles_proofs_are_those_of_the_plain_tree(size: int, place: int) -> None:
    leaves, tiles = leaves_of(LARGEST)[:size], grown(LARGEST)
    assert hashes_of(inclusion_spans(place, size), tiles) == tuple(inclusion_proof(leaves, place))
    assert hashes_of(consistency_spans(place + 1, size), tiles) == tuple(consistency_proof(leaves, place + 1))


@given(st.integers(1, LARGEST), st.data())
@settings(deadline=None)
def test_a_proof_needs_few_tiles_and_no_others(size: int, data: st.DataObject) -> None:
    index, old_size = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    root, old_root = hash_of((0, size), grown(LARGEST)), hash_of((0, old_size), grown(LARGEST))
    for spans in (inclusion_spans(index, size), consistency_spans(old_size, size)):
        needed = tiles_of(spans)
        assert len(needed) <= 2 * 3
        only = {tile: grown(LARGEST)[tile][: width_at(tile, size) * HASH_BYTES] for tile in needed}
        proof = hashes_of(spans, only)
        assert proof == hashes_of(spans, grown(LARGEST))
    assert verify_consistency(old_size, size, old_root, root, proof)


@given(st.integers(1, 10**15), st.data())
def test_the_number_of_tiles_grows_with_the_logarithm(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    assert len(tiles_of(inclusion_spans(index, size))) <= 2 * (1 + (size.bit_length() + 7) // 8)


@pytest.mark.parametrize("size", [3, 300, 65_537])
def test_a_changed_byte_in_a_tile_makes_a_proof_that_does_not_hold(size: int) -> None:
    index = size // 3
    spans = inclusion_spans(index, size)
    root = hash_of((0, size), grown(size))
    for tile in tiles_of(spans):
        changed = bytearray(grown(size)[tile])
        for at in range(0, len(changed), HASH_BYTES):
            changed[at] ^= 1
        proof = hashes_of(spans, {**grown(size), tile: bytes(changed)})
        assert not verify_inclusion(leaves_of(LARGEST)[index], index, size, proof, root)


def test_a_tile_that_is_missing_or_too_short_is_named_and_not_guessed() -> None:
    spans = inclusion_spans(3, 300)
    for tile in tiles_of(spans):
        with pytest.raises(MissingTile, match=f"{tile.level}/{tile.index}"):
            hashes_of(spans, {at: content for at, content in grown(300).items() if at != tile})
    short = {**grown(300), Tile(0, 1): grown(300)[Tile(0, 1)][:-1]}
    with pytest.raises(MissingTile, match="0/1"):
        hash_of((0, 300), short)
    with pytest.raises(MissingTile, match="0/1"):
        Growth(300, short)


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_there_are_no_spans_for_what_is_not_there(index: int, size: int) -> None:
    with pytest.raises(IndexError):
        inclusion_spans(index, size)
    with pytest.raises(IndexError):
        consistency_spans(index + 1 if index >= 0 else 0, size)


def test_a_full_tile_has_the_bytes_that_the_standard_says() -> None:
    assert len(grown(256)[Tile(0, 0)]) == TILE_BYTES == 8192
