"""The whole record checked: every hash, every link, every root, every anchor."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from fintokenx.audit import store
from fintokenx.audit.ports import AnchorOnChain, Anchors
from fintokenx.audit.service.verifying_log import log_faults
from fintokenx.audit.store import batches
from fintokenx.audit.types import GENESIS_HASH, Batch, Entry, Verdict, canonical_entry
from fintokenx.kernel.db import Row
from fintokenx.kernel.merkle import Frontier
from fintokenx.kernel.notes import VerifierKey

FAULTS_MAX = 100
"""A broken chain reports this many faults and stops: the first one names the entry."""


async def verify(
    connection: Any,
    anchors: Anchors | None,
    *,
    key: VerifierKey | None = None,
    progress: Callable[[int], None] = lambda _seq: None,
) -> Verdict:
    """Check the whole record: every hash and link, every batch's root, the open log, every anchor on chain (AD-03).

    ``connection`` logs in as fx_auditor. Without ``anchors`` the chain is not asked, and the verdict says so by
    counting zero anchors. Without ``key`` checkpoints are compared with their batches, but not their signatures.
    """
    faults: list[str] = []
    # The chain first: an anchor that stands by now has its batch in the database, whatever is recorded meanwhile.
    latest = await anchors.latest() if anchors is not None else None
    sealed = await batches.sealed(connection)
    faults.extend(_batch_faults(sealed))
    walk = _Walk(sealed, faults)
    async for rows in store.all_rows(connection):
        if not (walk.past(rows) if isinstance(rows, store.UnreadableRow) else walk.over(rows)):
            break
        progress(walk.seq)
    frontier = walk.frontier
    faults.extend(
        f"batch {batch.id}: covers entry {batch.last_seq}, but the record ends at {frontier.size}"
        for batch in sealed
        if batch.tree_size > frontier.size and len(faults) < FAULTS_MAX
    )
    faults.extend(await log_faults(connection, sealed, key, at_most=FAULTS_MAX - len(faults)))
    checked = 0
    if anchors is not None:
        anchor_faults, checked = await _anchor_faults(sealed, anchors, latest)
        faults.extend(anchor_faults)
    return Verdict(frontier.size, len(sealed), checked, tuple(faults))


class _Walk:
    """Goes over the entries in order and remembers where it stands; the one loop whose speed decides how long a
    verification takes, so it works on bare rows and names faults only where there are some."""

    def __init__(self, sealed: Sequence[Batch], faults: list[str]) -> None:
        self.frontier = Frontier()
        self._previous, self._expected_seq = GENESIS_HASH, 1
        self._faults = faults
        self._by_size: dict[int, list[Batch]] = {}
        for batch in sealed:
            self._by_size.setdefault(batch.tree_size, []).append(batch)

    def over(self, rows: Sequence[Row]) -> bool:
        """Check some more; False when there are faults enough."""
        sha256, ends = hashlib.sha256, self._by_size
        previous, expected_seq = self._previous, self._expected_seq
        leaves: list[bytes] = []
        size = self.frontier.size
        for row in rows:
            seq, id_, at, action, actor, role, behalf, tenant, resource, request, diff, prev_hash, leaf, batch_id = row
            content = canonical_entry(
                seq, id_, at, action, actor, role, behalf, tenant, resource, request, diff, prev_hash, batch_id
            )
            if seq != expected_seq or prev_hash != previous or sha256(b"\x00" + content).digest() != leaf:
                self._faults.extend(_faults_of(Entry(*row), expected_seq, previous))
            leaves.append(leaf)
            previous, expected_seq = leaf, seq + 1
            size += 1
            if size in ends:
                self.frontier.extend(leaves)
                leaves.clear()
                self._compare_roots(ends[size])
            if self._faults and len(self._faults) >= FAULTS_MAX:
                self.frontier.extend(leaves)
                return False
        self.frontier.extend(leaves)
        self._previous, self._expected_seq = previous, expected_seq
        return True

    def past(self, row: store.UnreadableRow) -> bool:
        """Name an entry that cannot be read, and go on from what it says that it was hashed to; False as above."""
        if row.seq != self._expected_seq:
            self._faults.append(f"entry {self._expected_seq}: missing; the next one is {row.seq} ({row.id})")
        if row.prev_hash != self._previous:
            self._faults.append(f"entry {row.seq} ({row.id}): does not link to the entry before it")
        self._faults.append(f"entry {row.seq} ({row.id}): cannot be read: {row.why}")
        self.frontier.extend([row.hash])
        self._previous, self._expected_seq = row.hash, row.seq + 1
        self._compare_roots(self._by_size.get(self.frontier.size, ()))
        return len(self._faults) < FAULTS_MAX

    @property
    def seq(self) -> int:
        """Of the last entry that was passed."""
        return self._expected_seq - 1

    def _compare_roots(self, batches: Sequence[Batch]) -> None:
        root = self.frontier.root()
        self._faults.extend(
            f"batch {batch.id}: its root is not the root of the first {batch.tree_size} entries"
            for batch in batches
            if batch.root != root
        )


def _faults_of(entry: Entry, expected_seq: int, previous: bytes) -> list[str]:
    faults = []
    if entry.seq != expected_seq:
        faults.append(f"entry {expected_seq}: missing; the next one is {entry.seq} ({entry.id})")
    if entry.prev_hash != previous:
        faults.append(f"entry {entry.seq} ({entry.id}): does not link to the entry before it")
    if entry.recomputed_hash() != entry.hash:
        faults.append(f"entry {entry.seq} ({entry.id}): its content is not what was hashed")
    return faults


def _batch_faults(sealed: Sequence[Batch]) -> list[str]:
    """Batches cover the log from its first entry on, each beginning where the one before it ended."""
    faults = []
    covered = 0
    for number, batch in enumerate(sealed, start=1):
        if batch.id != number or batch.first_seq != covered + 1 or batch.last_seq != batch.tree_size:
            faults.append(f"batch {batch.id}: does not begin where the batch before it ended ({covered})")
        covered = batch.tree_size
    return faults


async def _anchor_faults(
    batches: Sequence[Batch], anchors: Anchors, latest: AnchorOnChain | None
) -> tuple[list[str], int]:
    """What the chain says against the database. The chain is the judge: it also knows anchors that a restored or
    rewritten database has forgotten."""
    faults = []
    checked = 0
    by_id = {batch.id: batch for batch in batches}
    last_id = max([latest.batch_id if latest else 0, *by_id])
    for batch_id in range(1, last_id + 1):
        batch, anchor = by_id.get(batch_id), await anchors.read(batch_id)
        if anchor is None:
            if batch is not None and batch.state == "ANCHORED":
                faults.append(f"batch {batch_id}: anchored according to the database, unknown to the chain")
            continue
        checked += 1
        if batch is None:
            faults.append(f"batch {batch_id}: anchored on chain at {anchor.tree_size} entries, unknown to the database")
        elif (batch.tree_size, batch.root) != (anchor.tree_size, anchor.root):
            faults.append(f"batch {batch_id}: its root differs from the anchor on chain; the record was rewritten")
        elif batch.tx_hash is not None and anchor.tx_hash and batch.tx_hash != anchor.tx_hash:
            faults.append(f"batch {batch_id}: names another transaction than the one that anchored it")
    return faults, checked
