"""The only way to change a domain row; sealing, anchoring, proving and verifying what was recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from fintokenx.audit import store
from fintokenx.audit.ports import AnchorOnChain, Anchors
from fintokenx.audit.types import (
    GENESIS_HASH,
    Action,
    AnchorConflict,
    Batch,
    Entry,
    Move,
    NotYetAnchored,
    Proof,
    Provable,
    UnknownEntry,
    Verdict,
)
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.canonical import canonical_json
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Connection, Pool, Tx
from fintokenx.kernel.merkle import Frontier, node_hash, root_of, verify_inclusion

log = structlog.get_logger("fintokenx.audit")

FAULTS_MAX = 100
"""A broken chain reports this many faults and stops: the first one names the entry."""


async def change(
    tx: Tx,
    caller: Caller,
    *,
    action: str,
    resource: str,
    move: Move,
) -> str:
    """Record an entry and apply its rows, in that order, in the caller's transaction; then tell the facts.

    The rows become the entry's diff and are applied by the function that a replay uses, so state is the fold of
    the record (P-05, P-06). In-step reactions run here and may refuse; the others become jobs of this transaction,
    one per entry and reaction.

    :returns: the entry's id
    :raises StaleRow: a row is no longer as ``before`` says
    """
    entry_id = tx.ids.new("aud")
    diff = {
        "facts": [{"fact": fact.name(), **fact.payload()} for fact in move.facts],
        "rows": [row.wire() for row in move.rows],
    }
    await store.record_and_apply(
        tx,
        (
            entry_id,
            tx.at,
            action,
            caller.actor,
            str(caller.role),
            caller.on_behalf_of,
            resource,
            tx.request_id,
            canonical_json(diff).decode(),
        ),
    )
    for number, fact in enumerate(move.facts):
        for reaction in tx.reactions.in_step_with(fact):
            await reaction.react(tx, fact)
        for later in tx.reactions.after(fact):
            tx.enqueue(later.job, fact.payload(), dedupe_key=f"{entry_id}:{number}")
    return entry_id


_STAFF = (Role.SYSTEM, Role.MLRO, Role.COMPLIANCE, Role.PLATFORM_ADMIN)
_READERS = (*_STAFF, Role.PARTNER_ADMIN)


async def entries_of(
    tx: Tx, caller: Caller, *, resources: Sequence[str], after_seq: int = 0, limit: int = 200
) -> list[Entry]:
    """The trail of some resources, oldest first, within the caller's tenant.

    Staff see all of it; a partner all but the entries of staff-only actions, as if they were not there. Customers see
    none: a diff holds what other parties must not learn (bank accounts, filters, prices), and a view of one's own
    party's fields is yet to come.

    :raises WrongRole: a customer, a magic-link caller or an agent
    """
    caller.must_be(*_READERS, tenant_id=tx.tenant_id)
    return await store.entries_of(
        tx, resources, to_staff=caller.party_role in _STAFF, after_seq=after_seq, limit=min(limit, 1000)
    )


async def proof_of(tx: Tx, caller: Caller, *, entry_id: str, hashes: Pool) -> Proof:
    """:func:`provable` and :func:`prove` in one go, for those whose transaction may stay open meanwhile."""
    return await prove(await provable(tx, caller, entry_id=entry_id), hashes=hashes)


async def taxonomy(tx: Tx, caller: Caller) -> list[Action]:
    """Every action that may be recorded, by name: what the database enforces (AD-15). For anybody who is known."""
    caller.must_be(*(role for role in Role if role is not Role.AGENT), tenant_id=tx.tenant_id)
    return await store.actions(tx)


async def find_anywhere(connection: Connection, entry_id: str) -> dict[str, Any] | None:
    """An entry in whatever tenant, without its diff; ``connection`` reads under a bypass."""
    return await store.find_anywhere(connection, entry_id)


async def provable(tx: Tx, caller: Caller, *, entry_id: str) -> Provable:
    """An entry that the caller may see, with the first anchored batch that holds it, so that a proof never goes stale.

    :raises WrongRole: who may see no trail (:func:`entries_of`)
    :raises UnknownEntry: none in the caller's tenant, or one that the caller may not see
    :raises NotYetAnchored: sealed or anchored soon
    """
    caller.must_be(*_READERS, tenant_id=tx.tenant_id)
    entry = await store.entry(tx, entry_id, to_staff=caller.party_role in _STAFF)
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


async def entries_everywhere(connection: Any, *, resource: str) -> list[Entry]:
    """The trail of a resource in whatever tenant; ``connection`` logs in as fx_auditor."""
    return await store.entries_everywhere(connection, resource)


async def tenant_of_entry(connection: Any, *, entry_id: str) -> str:
    """Whose entry it is; ``connection`` logs in as fx_auditor. :raises UnknownEntry: nobody's"""
    tenant_id = await store.tenant_of_entry(connection, entry_id)
    if tenant_id is None:
        raise UnknownEntry
    return tenant_id


async def entry_count(connection: Any) -> int:
    """How many entries there are; ``connection`` logs in as fx_auditor."""
    return await store.entry_count(connection)


async def seal(pool: Pool, at: Instant) -> Batch | None:
    """Seal the open batch; None when nothing was recorded since the last one. Two sealers at once: one seals."""
    batch = await store.seal_open_batch(pool, at)
    if batch is not None:
        log.info("batch_sealed", batch_id=batch.id, tree_size=batch.tree_size)
    return batch


async def anchor_sealed(pool: Pool, anchors: Anchors, now: Callable[[], Instant]) -> int:
    """Anchor every sealed batch that is not anchored yet, oldest first; returns how many.

    Chain down: raises, nothing is lost, the next run catches up (AD-11).

    :raises AnchorConflict: the chain holds something else in the place of a batch; all the others are anchored that
        the contract still takes. Only people can say what is true: ``fintokenx audit verify`` names the batches
    """
    batches = await store.sealed_batches(pool, not_anchored=True)
    latest = await anchors.latest() if batches else None
    conflicts: list[int] = []
    for batch in batches:
        try:
            if await _is_overtaken(batch, anchors, latest):
                raise ValueError("the chain has gone on without it")
            anchor = await anchors.publish(batch.id, batch.tree_size, batch.root)
        except ValueError as fault:
            log.error("anchor_conflict", batch_id=batch.id, tree_size=batch.tree_size, fault=str(fault))
            conflicts.append(batch.id)
            continue
        await store.mark_anchored(pool, batch, tx_hash=anchor.tx_hash, block_number=anchor.block_number, at=now())
        log.info("batch_anchored", batch_id=batch.id, tx_hash=anchor.tx_hash, block_number=anchor.block_number)
    if conflicts:
        raise AnchorConflict(f"batches {', '.join(map(str, conflicts))}")
    return len(batches)


async def _is_overtaken(batch: Batch, anchors: Anchors, latest: AnchorOnChain | None) -> bool:
    """Whether the contract would never take it: numbers and trees only grow there. Asking it to would look like an
    outage and hold up all later batches."""
    if latest is None:
        return False
    if batch.id > latest.batch_id:
        return batch.tree_size <= latest.tree_size
    return await anchors.read(batch.id) is None


async def verify(
    connection: Any, anchors: Anchors | None, *, progress: Callable[[int], None] = lambda _seq: None
) -> Verdict:
    """Check the whole record: every hash and link, every batch's root, every anchor on chain (AD-03).

    ``connection`` logs in as fx_auditor. Without ``anchors`` the chain is not asked, and the verdict says so by
    counting zero anchors.
    """
    faults: list[str] = []
    # The chain first: an anchor that stands by now has its batch in the database, whatever is recorded meanwhile.
    latest = await anchors.latest() if anchors is not None else None
    sealed = await store.sealed_batches(connection)
    faults.extend(_batch_faults(sealed))
    batches: dict[int, list[Batch]] = {}
    for batch in sealed:
        batches.setdefault(batch.tree_size, []).append(batch)
    frontier, previous, expected_seq = Frontier(), GENESIS_HASH, 1
    async for entry in store.all_entries(connection):
        if len(faults) >= FAULTS_MAX:
            break
        faults.extend(_faults_of(entry, expected_seq, previous))
        frontier.append(entry.hash)
        previous, expected_seq = entry.hash, entry.seq + 1
        faults.extend(
            f"batch {batch.id}: its root is not the root of the first {batch.tree_size} entries"
            for batch in batches.get(frontier.size, ())
            if batch.root != frontier.root()
        )
        progress(entry.seq)
    faults.extend(
        f"batch {batch.id}: covers entry {batch.last_seq}, but the record ends at {frontier.size}"
        for batch in sealed
        if batch.tree_size > frontier.size and len(faults) < FAULTS_MAX
    )
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
