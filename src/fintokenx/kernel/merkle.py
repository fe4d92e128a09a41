"""The RFC 6962 Merkle tree over entry hashes: roots, inclusion proofs, and the frontier that makes sealing cheap."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


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
        for leaf in leaves:
            frontier.append(leaf)
        return frontier

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash on the right."""
        node, size = leaf, self.size
        while size & 1:
            node = node_hash(self.hashes.pop(), node)
            size >>= 1
        self.hashes.append(node)
        self.size += 1

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
