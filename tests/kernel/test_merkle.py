"""The RFC 6962 tree: published vectors, a naive twin, and proofs that bear no change."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fintokenx.kernel.merkle import (
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

# The inputs and roots that certificate-transparency's own tests use (merkle_tree_test.cc).
CONTENTS = [bytes.fromhex(text) for text in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"
)]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:split]) + naive_root(leaves[split:])).digest()


def leaves_of(count: int) -> list[bytes]:
    return [leaf_hash(number.to_bytes(4, "big")) for number in range(count)]


@pytest.mark.parametrize("size", range(1, 9))
def test_the_published_roots_hold(size: int) -> None:
    assert root_of([leaf_hash(content) for content in CONTENTS[:size]]).hex() == ROOTS[size - 1]


def test_the_empty_tree_is_the_hash_of_nothing() -> None:
    assert root_of([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert Frontier().root() == root_of([])


@given(st.integers(0, 300), st.integers(0, 300))
def test_a_frontier_that_is_put_down_and_taken_up_again_gives_the_naive_root(first: int, more: int) -> None:
    leaves = leaves_of(first + more)
    put_down = Frontier.of(leaves[:first])
    frontier = Frontier(put_down.size, put_down.hashes)
    for leaf in leaves[first:]:
        frontier.extend([leaf])
    assert frontier.root() == naive_root(leaves)
    assert len(frontier.hashes) == len(leaves).bit_count()


@given(st.lists(st.integers(0, 300), max_size=6))
def test_a_frontier_that_takes_many_at_once_is_the_one_that_took_them_one_by_one(parts: list[int]) -> None:
    leaves = leaves_of(sum(parts))
    at_once, one_by_one, at = Frontier(), Frontier(), 0
    for part in parts:
        at_once.extend(leaves[at : at + part])
        at += part
    for leaf in leaves:
        one_by_one.extend([leaf])
    assert (at_once.size, at_once.hashes) == (one_by_one.size, one_by_one.hashes)


def test_a_frontier_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="one hash per set bit"):
        Frontier(3, [bytes(32)])


@pytest.mark.parametrize("size", [*range(1, 36), 63, 64, 65, 127, 128, 129])
def test_every_inclusion_proof_verifies(size: int) -> None:
    leaves = leaves_of(size)
    root = naive_root(leaves)
    for index in range(size):
        assert verify_inclusion(leaves[index], index, size, inclusion_proof(leaves, index), root)


@given(st.data())
def test_a_proof_bears_no_changed_byte(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 80))
    index = data.draw(st.integers(0, size - 1))
    leaves = leaves_of(size)
    root, proof = naive_root(leaves), inclusion_proof(leaves, index)
    parts = [leaves[index], root, *proof]
    which, byte = data.draw(st.integers(0, len(parts) - 1)), data.draw(st.integers(0, 31))
    changed = bytearray(parts[which])
    changed[byte] ^= data.draw(st.integers(1, 255))
    parts[which] = bytes(changed)
    assert not verify_inclusion(parts[0], index, size, parts[2:], parts[1])


@given(st.data())
def test_a_proof_holds_for_its_own_place_only(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 80))
    index, other = data.draw(st.tuples(st.integers(0, size - 1), st.integers(-1, size)).filter(lambda t: t[0] != t[1]))
    leaves = leaves_of(size)
    root, proof = naive_root(leaves), inclusion_proof(leaves, index)
    assert not verify_inclusion(leaves[index], other, size, proof, root)
    if 0 <= other < size:
        assert not verify_inclusion(leaves[other], index, size, proof, root)


@given(st.integers(1, 60), st.data())
def test_a_proof_of_the_wrong_length_fails(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaves = leaves_of(size)
    root, proof = naive_root(leaves), inclusion_proof(leaves, index)
    assert not verify_inclusion(leaves[index], index, size, [*proof, bytes(32)], root)
    if proof:
        assert not verify_inclusion(leaves[index], index, size, proof[:-1], root)


@pytest.mark.parametrize("index", [-1, 3])
def test_there_is_no_proof_for_a_leaf_that_is_not_there(index: int) -> None:
    with pytest.raises(IndexError):
        inclusion_proof(leaves_of(3), index)


# ── Consistency


def test_the_consistency_proofs_are_those_of_the_standards_example() -> None:
    """RFC 6962 §2.1.3: seven leaves a … , with the inner nodes named there."""
    d = leaves_of(7)
    a_b, e_f = naive_root(d[0:2]), naive_root(d[4:6])
    k, right = naive_root(d[0:4]), naive_root(d[4:7])
    assert consistency_proof(d, 3) == [d[2], d[3], a_b, right]
    assert consistency_proof(d, 4) == [right]
    assert consistency_proof(d, 6) == [e_f, d[6], k]
    assert consistency_proof(d, 7) == []


@pytest.mark.parametrize("size", [*range(1, 36), 63, 64, 65, 127, 128, 129])
def test_every_consistency_proof_verifies(size: int) -> None:
    leaves = leaves_of(size)
    new_root = naive_root(leaves)
    for old_size in range(1, size + 1):
        proof = consistency_proof(leaves, old_size)
        assert verify_consistency(old_size, size, naive_root(leaves[:old_size]), new_root, proof)


@given(st.data())
def test_a_consistency_proof_bears_no_changed_byte(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 80))
    old_size = data.draw(st.integers(1, size - 1))
    leaves = leaves_of(size)
    parts = [naive_root(leaves[:old_size]), naive_root(leaves), *consistency_proof(leaves, old_size)]
    which, byte = data.draw(st.integers(0, len(parts) - 1)), data.draw(st.integers(0, 31))
    changed = bytearray(parts[which])
    changed[byte] ^= data.draw(st.integers(1, 255))
    parts[which] = bytes(changed)
    assert not verify_consistency(old_size, size, parts[0], parts[1], parts[2:])


@given(st.data())
def test_a_tree_that_was_rewritten_is_not_consistent(data: st.DataObject) -> None:
    """Whatever honest proof of whatever tree is shown for it."""
    size = data.draw(st.integers(2, 60))
    old_size = data.draw(st.integers(1, size - 1))
    rewritten = data.draw(st.integers(0, old_size - 1))
    leaves = leaves_of(size)
    old_root = naive_root(leaves[:old_size])
    leaves[rewritten] = leaf_hash(b"another")
    assert not verify_consistency(old_size, size, old_root, naive_root(leaves), consistency_proof(leaves, old_size))


@given(st.integers(1, 60), st.data())
def test_a_consistency_proof_of_the_wrong_length_or_sizes_fails(size: int, data: st.DataObject) -> None:
    old_size = data.draw(st.integers(1, size))
    leaves = leaves_of(size)
    old_root, new_root, proof = naive_root(leaves[:old_size]), naive_root(leaves), consistency_proof(leaves, old_size)
    assert not verify_consistency(old_size, size, old_root, new_root, [*proof, bytes(32)])
    if proof:
        assert not verify_consistency(old_size, size, old_root, new_root, proof[:-1])
    assert not verify_consistency(size + 1, size, new_root, new_root, [])
    assert not verify_consistency(0, size, naive_root([]), new_root, [])


@pytest.mark.parametrize("old_size", [0, 4, -1])
def test_there_is_no_proof_from_a_tree_that_never_was(old_size: int) -> None:
    with pytest.raises(IndexError):
        consistency_proof(leaves_of(3), old_size)
