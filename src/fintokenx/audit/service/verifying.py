"""The whole record checked: every hash, every link, every root, every anchor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fintokenx.audit import store
from fintokenx.audit.ports import AnchorOnChain, Anchors
from fintokenx.audit.service.verifying_log import log_faults
from fintokenx.audit.store import batches
from fintokenx.audit.types import GENESIS_HASH, Batch, Entry, Verdict
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
    by_size: dict[int, list[Batch]] = {}
    for batch in sealed:
        by_size.setdefault(batch.tree_size, []).append(batch)
    frontier, previous, expected_seq = Frontier(), GENESIS_HASH, 1
    async for entry in store.all_entries(connection):
        if len(faults) >= FAULTS_MAX:
            break
        faults.extend(_faults_of(entry, expected_seq, previous))
        frontier.append(entry.hash)
        previous, expected_seq = entry.hash, entry.seq + 1
        faults.extend(
            f"batch {batch.id}: its root is not the root of the first {batch.tree_size} entries"
            for batch in by_size.get(frontier.size, ())
            if batch.root != frontier.root()
        )
        progress(entry.seq)
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
