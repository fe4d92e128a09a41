"""An entry shown to an outsider: its leaf, its path, and where its root is anchored."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fintokenx.audit import store
from fintokenx.audit.ports import Anchors
from fintokenx.audit.service.trails import READERS, STAFF
from fintokenx.audit.types import NotYetAnchored, Proof, Provable, UnknownEntry
from fintokenx.kernel.caller import Caller
from fintokenx.kernel.db import Pool, Tx
from fintokenx.kernel.merkle import Frontier, node_hash, root_of, verify_inclusion


async def proof_of(tx: Tx, caller: Caller, *, entry_id: str, hashes: Pool) -> Proof:
    """:func:`provable` and :func:`prove` in one go, for those whose transaction may stay open meanwhile."""
    return await prove(await provable(tx, caller, entry_id=entry_id), hashes=hashes)


async def provable(tx: Tx, caller: Caller, *, entry_id: str) -> Provable:
    """An entry that the caller may see, with the first anchored batch that holds it, so that a proof never goes stale.

    :raises WrongRole: who may see no trail (:func:`entries_of`)
    :raises UnknownEntry: none in the caller's tenant, or one that the caller may not see
    :raises NotYetAnchored: sealed or anchored soon
    """
    caller.must_be(*READERS, tenant_id=tx.tenant_id)
    entry = await store.entry(tx, entry_id, to_staff=caller.party_role in STAFF)
    if entry is None:
        raise UnknownEntry
    batch = await store.anchored_batch_covering(tx, entry.seq)
    if batch is None or batch.tx_hash is None or batch.block_number is None:
        raise NotYetAnchored("batches are sealed every ten minutes")
    return Provable(entry, batch, batch.tx_hash, batch.block_number)


async def prove(found: Provable, *, hashes: Pool) -> Proof:
    """The inclusion proof, with no transaction open and beside the event loop; ``hashes`` logs in as fx_sealer.

    Reads the entries of its batch only: all that is older lies in the frontier of the batch before (RFC 6962).
    """
    entry, batch = found.entry, found.batch
    before = await store.frontier_before(hashes, entry.seq)
    leaves = await store.leaf_hashes(hashes, after=before.size, tree_size=batch.tree_size)
    path = await asyncio.to_thread(_Tree(before, leaves).path, entry.seq - 1)
    return Proof(entry, batch.tree_size, tuple(path), batch.root, batch.id, found.tx_hash, found.block_number)


class _Tree:
    """A tree of which only the leaves beyond a frontier are known; enough for the proof of any of those leaves."""

    def __init__(self, before: Frontier, leaves: Sequence[bytes]) -> None:
        self._leaves = leaves
        self._known = before.size
        self._roots: dict[tuple[int, int], bytes] = {}
        start = 0
        for bit, node in zip(_bits(before.size), before.hashes, strict=True):
            self._roots[start, start + bit] = node
            start += bit

    def path(self, index: int) -> list[bytes]:
        """PATH(index, all leaves) of RFC 6962 §2.1.1, nearest sibling first. ``index`` lies beyond the frontier."""
        start, end = 0, self._known + len(self._leaves)
        siblings: list[bytes] = []
        while end - start > 1:
            middle = start + (1 << (end - start - 1).bit_length() - 1)
            if index < middle:
                siblings.append(self._root(middle, end))
                end = middle
            else:
                siblings.append(self._root(start, middle))
                start = middle
        return siblings[::-1]

    def _root(self, start: int, end: int) -> bytes:
        if (start, end) in self._roots:
            return self._roots[start, end]
        if start >= self._known:
            return root_of(self._leaves[start - self._known : end - self._known])
        middle = start + (1 << (end - start - 1).bit_length() - 1)
        return node_hash(self._root(start, middle), self._root(middle, end))


def _bits(size: int) -> list[int]:
    return [1 << bit for bit in range(size.bit_length() - 1, -1, -1) if size >> bit & 1]


async def proof_holds(proof: Proof, anchors: Anchors) -> bool:
    """Check a proof the way an outsider would: bytes → leaf → path → root, and the root on chain."""
    if proof.entry.recomputed_hash() != proof.entry.hash:
        return False
    if not verify_inclusion(proof.entry.hash, proof.entry.seq - 1, proof.tree_size, proof.path, proof.root):
        return False
    anchor = await anchors.read(proof.batch_id)
    return anchor is not None and (anchor.tree_size, anchor.root) == (proof.tree_size, proof.root)
