"""The RFC 6962 Merkle tree over entry hashes: roots, inclusion and consistency proofs, and a frontier for going over
all leaves in order. Proofs from stored tiles are in ``kernel.tiles``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

HASH_BYTES: Final = 32


def leaf_hash(content: bytes) -> bytes:
    """SHA-256(0x00 ‖ content), RFC 6962 §2.1."""
    return hashlib.sha256(b"\x00" + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right), RFC 6962 §2.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The tree hash of leaf hashes; SHA-256 of nothing for an empty tree."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    return Frontier.of(leaves).root()


def perfect_root(hashes: bytes) -> bytes:
    """The root of a perfect subtree from its leaf hashes (or nodes of one height) side by side; a power of two of
    them."""
    sha256 = hashlib.sha256
    while len(hashes) > HASH_BYTES:
        pairs = range(0, len(hashes), 2 * HASH_BYTES)
        hashes = b"".join([sha256(b"\x01" + hashes[at : at + 2 * HASH_BYTES]).digest() for at in pairs])
    return hashes


class Frontier:
    """The right edge of a tree: the roots of its perfect subtrees, largest first. Holds O(log n) hashes."""

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        if len(hashes) != size.bit_count():
            raise ValueError("a frontier holds one hash per set bit of its size")
        self.size = size
        self.hashes = list(hashes)

    @classmethod
    def of(cls, leaves: Sequence[bytes]) -> Frontier:
        """The frontier after appending ``leaves`` to an empty tree."""
        frontier = cls()
        frontier.extend(leaves)
        return frontier

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Add leaf hashes on the right; many at once are faster, because perfect subtrees are hashed whole."""
        at = 0
        while at < len(leaves):
            height = (len(leaves) - at).bit_length() - 1
            if self.size:
                height = min(height, (self.size & -self.size).bit_length() - 1)  # where a perfect subtree may begin
            self._append(perfect_root(b"".join(leaves[at : at + (1 << height)])), height)
            at += 1 << height

    def _append(self, node: bytes, height: int) -> None:
        size = self.size >> height
        while size & 1:
            node = node_hash(self.hashes.pop(), node)
            size >>= 1
        self.hashes.append(node)
        self.size += 1 << height

    def root(self) -> bytes:
        """The tree hash at this size."""
        if not self.hashes:
            return hashlib.sha256(b"").digest()
        node = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            node = node_hash(left, node)
        return node


def _split(size: int) -> int:
    """The largest power of two below ``size``."""
    return 1 << (size - 1).bit_length() - 1


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """PATH(index, leaves) of RFC 6962 §2.1.1, nearest sibling first. :raises IndexError: no such leaf"""
    if not 0 <= index < len(leaves):
        raise IndexError(index)
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if index < split:
        return [*inclusion_proof(leaves[:split], index), root_of(leaves[split:])]
    return [*inclusion_proof(leaves[split:], index - split), root_of(leaves[:split])]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether ``proof`` shows ``leaf`` at ``index`` of the tree (size, root); RFC 9162 §2.1.3.2."""
    if not 0 <= index < size:
        return False
    node, last_index, node_index = leaf, size - 1, index
    for sibling in proof:
        if last_index == 0:
            return False
        if node_index & 1 or node_index == last_index:
            node = node_hash(sibling, node)
            while not node_index & 1 and node_index:
                node_index >>= 1
                last_index >>= 1
        else:
            node = node_hash(node, sibling)
        node_index >>= 1
        last_index >>= 1
    return last_index == 0 and node == root


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """PROOF(old_size, leaves) of RFC 6962 §2.1.2. :raises IndexError: no such older tree (there is none of nothing)"""
    if not 0 < old_size <= len(leaves):
        raise IndexError(old_size)
    return _subproof(leaves, old_size, whole=True)


def _subproof(leaves: Sequence[bytes], old_size: int, *, whole: bool) -> list[bytes]:
    if old_size == len(leaves):
        return [] if whole else [root_of(leaves)]
    split = _split(len(leaves))
    if old_size <= split:
        return [*_subproof(leaves[:split], old_size, whole=whole), root_of(leaves[split:])]
    return [*_subproof(leaves[split:], old_size - split, whole=False), root_of(leaves[:split])]


def verify_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether ``proof`` shows that the tree (new_size, new_root) only adds to (old_size, old_root);
    RFC 9162 §2.1.4.2."""
    if not 0 < old_size <= new_size:
        return False
    if old_size == new_size:
        return not proof and old_root == new_root
    path = list(proof) if old_size.bit_count() > 1 else [old_root, *proof]
    if not path:
        return False
    old_index, last_index = old_size - 1, new_size - 1
    while old_index & 1:
        old_index >>= 1
        last_index >>= 1
    old_node = new_node = path[0]
    for sibling in path[1:]:
        if last_index == 0:
            return False
        if old_index & 1 or old_index == last_index:
            old_node, new_node = node_hash(sibling, old_node), node_hash(sibling, new_node)
            while not old_index & 1 and old_index:
                old_index >>= 1
                last_index >>= 1
        else:
            new_node = node_hash(new_node, sibling)
        old_index >>= 1
        last_index >>= 1
    return last_index == 0 and old_node == old_root and new_node == new_root
