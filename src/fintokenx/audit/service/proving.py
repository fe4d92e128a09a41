"""Entries shown to an outsider: evidence that is checked without us (docs/evidence.md)."""

from __future__ import annotations

import asyncio
import bisect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from fintokenx.audit import store
from fintokenx.audit.ports import Anchors, Own
from fintokenx.audit.service.behind import HOLDERS
from fintokenx.audit.service.trails import READERS, STAFF, entries_of
from fintokenx.audit.store import batches, tiles
from fintokenx.audit.types import SEAL_EVERY, Bundle, Consistency, Disclosed, Entry, LogIdentity, Proof, Provable
from fintokenx.audit.types.refusals import BundleTooLarge, NothingRecorded, ProofPending, UnknownEntry
from fintokenx.kernel.caller import Caller
from fintokenx.kernel.clock import Instant, to_wire
from fintokenx.kernel.db import Pool, Tx
from fintokenx.kernel.merkle import verify_consistency, verify_inclusion
from fintokenx.kernel.notes import BadNote, signed_checkpoint
from fintokenx.kernel.tiles import Span, Tile, consistency_spans, hashes_of, inclusion_spans, tiles_of

ENTRIES_MAX: Final = 2000
"""What one answer of the API may hold; the command line has no such end."""
_PROOFS_AT_ONCE: Final = 64
"""How many proofs share one query for tiles, which bounds the memory."""

Progress = Callable[[int, int], None]


async def proof_of(tx: Tx, caller: Caller, *, entry_id: str, hashes: Pool, log: LogIdentity) -> Bundle:
    """:func:`provable` and :func:`prove` in one go, for those whose transaction may stay open meanwhile."""
    return await prove(await provable(tx, caller, entry_id=entry_id), hashes=hashes, log=log)


async def provable(tx: Tx, caller: Caller, *, entry_id: str, own: Own | None = None) -> Provable:
    """An entry that the caller may see, with the first signed checkpoint that covers it, so that a proof never goes
    stale. A lender or investor may see what ``own`` says is its own, and nothing without it.

    :raises WrongRole: who may see no trail (:func:`entries_of`) and holds nothing
    :raises UnknownEntry: none in the caller's tenant, or one that the caller may not see
    :raises ProofPending: sealed or signed soon
    """
    caller.must_be(*READERS, *HOLDERS, tenant_id=tx.tenant_id)
    entry = await store.entry(tx, entry_id, to_staff=caller.party_role in STAFF)
    if entry is None:
        raise UnknownEntry
    if caller.party_role in HOLDERS and (own is None or not await own(tx, caller, entry)):
        raise UnknownEntry
    return await _covered(tx, [entry], resource=entry.resource, at=tx.at)


async def provable_of_resource(tx: Tx, caller: Caller, *, resource: str) -> Provable:
    """All entries of a resource that the caller may see, as :func:`provable`.

    :raises WrongRole: who may see no trail (:func:`entries_of`)
    :raises NothingRecorded: nothing in the caller's tenant, or nothing that the caller may see
    :raises BundleTooLarge: more than :data:`ENTRIES_MAX`
    :raises ProofPending: one of them is sealed or signed soon
    """
    caller.must_be(*READERS, tenant_id=tx.tenant_id)
    found: list[Entry] = []
    while page := await entries_of(
        tx, caller, resources=[resource], after_seq=found[-1].seq if found else 0, limit=1000
    ):
        found += page
        if len(found) > ENTRIES_MAX:
            raise BundleTooLarge(f"at most {ENTRIES_MAX} entries")
    return await _covered(tx, found, resource=resource, at=tx.at)


async def provable_everywhere(connection: Any, *, resource: str, at: Instant) -> Provable:
    """All entries of a resource in whatever tenant; ``connection`` logs in as fx_auditor.

    :raises NothingRecorded, ProofPending: as :func:`provable_of_resource`
    """
    found = await store.entries_everywhere(connection, resource)
    return await _covered(connection, found, resource=resource, at=at)


async def _covered(reader: Any, entries: Sequence[Entry], *, resource: str, at: Instant) -> Provable:
    """The entries with their checkpoints and anchors."""
    if not entries:
        raise NothingRecorded
    last_of_batch = {entry.merkle_batch_id: entry.seq for entry in sorted(entries, key=lambda entry: entry.seq)}
    covering = await batches.first_signed_covering(reader, last_of_batch)
    if covering.keys() != last_of_batch.keys():
        raise ProofPending("batches are sealed and signed every ten minutes", pending_until=to_wire(next_slot(at)))
    anchored = await batches.first_anchored_from(reader, sorted({batch.id for batch in covering.values()}))
    used = {batch.id: batch for batch in (*covering.values(), *anchored)}
    anchors = await batches.anchors_of(reader, [batch.id for batch in anchored])
    return Provable(
        resource,
        at,
        tuple(sorted(entries, key=lambda entry: entry.seq)),
        tuple(sorted(used.values(), key=lambda batch: batch.tree_size)),
        tuple(anchors),
    )


def next_slot(at: Instant) -> Instant:
    """When batches are sealed next."""
    seconds = int(SEAL_EVERY.total_seconds())
    return datetime.fromtimestamp((int(at.timestamp()) // seconds + 1) * seconds, UTC)


_NOTHING_DISCLOSED: Final[Mapping[str, Sequence[Disclosed]]] = {}


async def prove(
    found: Provable,
    *,
    hashes: Any,
    log: LogIdentity,
    disclosures: Mapping[str, Sequence[Disclosed]] = _NOTHING_DISCLOSED,
    progress: Progress = lambda _done, _total: None,
) -> Bundle:
    """The evidence, with no transaction open and beside the event loop: O(log n) tiles per entry, one query for many.

    ``hashes`` logs in as fx_sealer or fx_auditor. ``disclosures`` by entry id: fields that are shown in the clear.
    """
    steps = [(old.tree_size, new.tree_size) for old, new in itertools.pairwise(found.checkpoints)]
    wanted = [consistency_spans(old, new) for old, new in steps]
    sizes = list(_sizes(found))
    wanted += [inclusion_spans(entry.seq - 1, size) for entry, size in zip(found.entries, sizes, strict=True)]
    paths: list[tuple[bytes, ...]] = []
    for start in range(0, len(wanted), _PROOFS_AT_ONCE):
        some = wanted[start : start + _PROOFS_AT_ONCE]
        known = await tiles.read(hashes, tiles_of(itertools.chain.from_iterable(some)))
        paths += await asyncio.to_thread(_folded, some, known)
        progress(max(0, len(paths) - len(steps)), len(found.entries))
    return Bundle(
        log,
        found.resource,
        found.at,
        found.checkpoints,
        found.anchors,
        tuple(Consistency(old, new, path) for (old, new), path in zip(steps, paths, strict=False)),
        tuple(
            Proof(entry, size, path, tuple(disclosures.get(entry.id, ())))
            for entry, size, path in zip(found.entries, sizes, paths[len(steps) :], strict=True)
        ),
    )


def _sizes(found: Provable) -> Iterator[int]:
    """The size of the first checkpoint that covers each entry."""
    sizes = [batch.tree_size for batch in found.checkpoints]
    for entry in found.entries:
        yield sizes[bisect.bisect_left(sizes, entry.seq)]


def _folded(wanted: Sequence[Sequence[Span]], known: Mapping[Tile, bytes]) -> list[tuple[bytes, ...]]:
    return [hashes_of(spans, known) for spans in wanted]


async def proof_holds(bundle: Bundle, anchors: Anchors) -> bool:
    """Check a bundle the way an outsider would: bytes → leaf → path → signed checkpoint → an anchor on chain. False
    also while an entry's tree leads to no anchor yet."""
    roots: dict[int, bytes] = {}
    for batch in bundle.checkpoints:
        try:
            said = signed_checkpoint(batch.checkpoint or "", bundle.log.key)
        except BadNote:
            return False
        roots[said.size] = said.root
    if not all(_adds(step, roots) for step in bundle.consistency):
        return False
    tied = {(step.old_size, step.new_size) for step in bundle.consistency}
    if not set(itertools.pairwise(sorted(roots))) <= tied:
        return False
    for anchor in bundle.anchors:
        standing = await anchors.read(anchor.batch_id)
        if standing is None or (standing.tree_size, standing.root) != (anchor.tree_size, roots.get(anchor.tree_size)):
            return False
    anchored_up_to = max((anchor.tree_size for anchor in bundle.anchors), default=0)
    return all(proof.tree_size <= anchored_up_to and _stands(proof, roots) for proof in bundle.entries)


def _adds(step: Consistency, roots: Mapping[int, bytes]) -> bool:
    old, new = roots.get(step.old_size), roots.get(step.new_size)
    return old is not None and new is not None and verify_consistency(step.old_size, step.new_size, old, new, step.path)


def _stands(proof: Proof, roots: Mapping[int, bytes]) -> bool:
    root = roots.get(proof.tree_size)
    leaf = proof.entry.recomputed_hash()
    return (
        leaf == proof.entry.hash
        and root is not None
        and verify_inclusion(leaf, proof.leaf_index, proof.tree_size, proof.path, root)
    )
