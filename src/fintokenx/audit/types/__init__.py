"""Row operations, entries and proofs: the words of the record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from json.encoder import encode_basestring
from typing import Any, Final, Literal

from fintokenx.kernel.bus import Fact
from fintokenx.kernel.canonical import plain
from fintokenx.kernel.clock import Instant, to_wire
from fintokenx.kernel.merkle import leaf_hash
from fintokenx.kernel.notes import VerifierKey


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row operation of an entry's diff; ``fx.apply`` carries it out, now and at every replay."""

    op: Literal["insert", "update", "delete"]
    table: str
    values: dict[str, dict[str, Any]]

    def wire(self) -> dict[str, Any]:
        """As it stands in the diff."""
        return {"op": self.op, "table": self.table, **self.values}


def insert(table: str, row: dict[str, Any]) -> RowChange:
    """A new row. Every column that is not NULL must be named: domain columns have no defaults."""
    return RowChange("insert", table, {"row": plain(row)})


def update(table: str, *, key: dict[str, Any], before: dict[str, Any], after: dict[str, Any]) -> RowChange:
    """Change named columns of one row. ``before`` must hold when it is applied, or the command is refused
    as a concurrent change."""
    if before.keys() != after.keys() or not after:
        raise ValueError("an update names the same columns before and after")
    return RowChange("update", table, {"key": plain(key), "before": plain(before), "after": plain(after)})


def delete(table: str, *, key: dict[str, Any], before: dict[str, Any]) -> RowChange:
    """Remove one row whose values were ``before``."""
    return RowChange("delete", table, {"key": plain(key), "before": plain(before)})


@dataclass(frozen=True, slots=True)
class Changes:
    """What one module contributes to a command: its rows and the facts that they make true.

    A lower module's door returns Changes (it has locked and guarded its row); the command above adds them up and
    records them as one entry, so that a business event that touches five tables is one entry, once.
    """

    rows: tuple[RowChange, ...] = ()
    facts: tuple[Fact, ...] = ()

    def __add__(self, other: Changes) -> Changes:
        return Changes(self.rows + other.rows, self.facts + other.facts)


GENESIS_HASH = bytes(32)
"""``prev_hash`` of entry 1."""

SEAL_EVERY: Final = timedelta(minutes=10)
"""How often the open batch is sealed, signed and anchored (AD-06)."""


_text: Final = encode_basestring
"""A string as RFC 8785 §3.2.2.2 spells it, at the speed of C; test_bytes compares it with another library."""


def canonical_entry(
    seq: int, id_: str, timestamp: Instant, action: str, actor: str, actor_role: str, on_behalf_of: str | None,
    tenant_id: str, resource: str, request_id: str, diff: str, prev_hash: bytes, merkle_batch_id: int,
) -> bytes:  # fmt: skip
    """The bytes of :meth:`Entry.canonical_bytes` from the columns, without an object: a verification makes millions."""
    return (
        f'{{"action":{_text(action)},"actor":{_text(actor)},"actor_role":{_text(actor_role)},"diff":{diff}'
        f',"id":{_text(id_)},"merkle_batch_id":{merkle_batch_id}'
        f',"on_behalf_of":{"null" if on_behalf_of is None else _text(on_behalf_of)},"prev_hash":"{prev_hash.hex()}"'
        f',"request_id":{_text(request_id)},"resource":{_text(resource)},"seq":{seq},"tenant_id":{_text(tenant_id)}'
        f',"timestamp":"{to_wire(timestamp)}","v":1}}'
    ).encode()


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as stored. ``diff`` is the canonical text that was hashed."""

    seq: int
    id: str
    timestamp: Instant
    action: str
    actor: str
    actor_role: str
    on_behalf_of: str | None
    tenant_id: str
    resource: str
    request_id: str
    diff: str
    prev_hash: bytes
    hash: bytes
    merkle_batch_id: int

    def canonical_bytes(self) -> bytes:
        """The RFC 8785 bytes of format version 1 (docs/audit-format.md); SQL's twin is fx.entry_bytes."""
        return canonical_entry(
            self.seq, self.id, self.timestamp, self.action, self.actor, self.actor_role, self.on_behalf_of,
            self.tenant_id, self.resource, self.request_id, self.diff, self.prev_hash, self.merkle_batch_id,
        )  # fmt: skip

    def recomputed_hash(self) -> bytes:
        """What ``hash`` must be: the RFC 6962 leaf hash of the canonical bytes."""
        return leaf_hash(self.canonical_bytes())


@dataclass(frozen=True, slots=True)
class Batch:
    """A sealed batch. ``root`` is the RFC 6962 root over the first ``tree_size`` entries of the log."""

    id: int
    state: str
    first_seq: int
    last_seq: int
    tree_size: int
    root: bytes
    tx_hash: str | None
    block_number: int | None
    checkpoint: str | None = None
    """The signed note over (tree_size, root); None until it is signed."""


@dataclass(frozen=True, slots=True)
class LogIdentity:
    """Whose log it is, and where it is anchored: what stands in evidence beside the proofs."""

    key: VerifierKey
    chain_id: int
    contract: str


@dataclass(frozen=True, slots=True)
class Anchor:
    """An anchor as the database knows it; ``receipt`` once a node has given the proof."""

    batch_id: int
    tree_size: int
    root: bytes
    tx_hash: str
    block_number: int
    receipt: dict[str, Any] | None

    def wire(self, log: LogIdentity) -> dict[str, Any]:
        """As docs/evidence.md spells it: the receipt's members are null when no node could give them."""
        return {
            "batch_id": self.batch_id,
            "tree_size": self.tree_size,
            "root": self.root.hex(),
            "chain_id": log.chain_id,
            "contract": log.contract.lower(),
            "tx_hash": self.tx_hash or None,
            "block_number": self.block_number,
            **dict.fromkeys(RECEIPT_MEMBERS),
            **(self.receipt or {}),
        }


RECEIPT_MEMBERS: Final = ("block_hash", "header", "receipt_index", "receipt_proof")


@dataclass(frozen=True, slots=True)
class ChangedRow:
    """A row that entries about ``resource`` changed: the value of one column of its key."""

    resource: str
    table: str
    column: str
    value: str


@dataclass(frozen=True, slots=True)
class EntryName:
    """An entry without what it says."""

    id: str
    action: str
    seq: int
    recorded_at: Instant
    batch_id: int


@dataclass(frozen=True, slots=True)
class Behind:
    """An entry without what it says, and how far it has come."""

    id: str
    action: str
    seq: int
    recorded_at: Instant
    sealed: bool
    """Whether a signed checkpoint covers it, so that it can be proved."""
    anchor: Anchor | None
    """The first on chain that covers it."""


@dataclass(frozen=True, slots=True)
class Provable:
    """Entries that the caller may see and what proves them: the first checkpoint that covers each, and the first
    anchor from there on, with the checkpoint of its batch. ``checkpoints`` stand in the order of their sizes."""

    resource: str
    at: Instant
    entries: tuple[Entry, ...]
    checkpoints: tuple[Batch, ...]
    anchors: tuple[Anchor, ...]


@dataclass(frozen=True, slots=True)
class Disclosed:
    """A sealed field in the clear: whoever knows ``salt`` can check ``value`` against the commitment at ``pointer``
    (RFC 6901, into the canonical entry)."""

    pointer: str
    field: str
    salt: str
    """Lower-case hex."""
    value: str

    def wire(self) -> dict[str, str]:
        """As it stands in a bundle."""
        return {"pointer": self.pointer, "field": self.field, "salt": self.salt, "value": self.value}


@dataclass(frozen=True, slots=True)
class Proof:
    """That an entry stands in the tree of a checkpoint: its leaf's siblings, nearest first."""

    entry: Entry
    tree_size: int
    path: tuple[bytes, ...]
    disclosed: tuple[Disclosed, ...] = ()

    @property
    def leaf_index(self) -> int:
        """Its 0-based place in the log."""
        return self.entry.seq - 1

    def wire(self) -> dict[str, Any]:
        """As it stands in a bundle."""
        return {
            "canonical": self.entry.canonical_bytes().decode(),
            "leaf_index": self.leaf_index,
            "tree_size": self.tree_size,
            "path": [node.hex() for node in self.path],
            "disclosed": [field.wire() for field in self.disclosed],
        }


@dataclass(frozen=True, slots=True)
class Consistency:
    """That the larger tree only adds to the smaller one (RFC 6962 §2.1.2)."""

    old_size: int
    new_size: int
    path: tuple[bytes, ...]

    def wire(self) -> dict[str, Any]:
        """As it stands in a bundle."""
        return {"from": self.old_size, "to": self.new_size, "path": [node.hex() for node in self.path]}


@dataclass(frozen=True, slots=True)
class Bundle:
    """Evidence that an outsider checks alone (docs/evidence.md). Entries stand in the order of the log."""

    log: LogIdentity
    resource: str
    made_at: Instant
    checkpoints: tuple[Batch, ...]
    anchors: tuple[Anchor, ...]
    consistency: tuple[Consistency, ...]
    entries: tuple[Proof, ...]

    def wire(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "format": "fintokenx-evidence/1",
            "log": {"origin": self.log.key.name, "key": str(self.log.key)},
            "subject_matter": {"resource": self.resource, "made_at": to_wire(self.made_at)},
            "checkpoints": [{"batch_id": batch.id, "note": batch.checkpoint} for batch in self.checkpoints],
            "anchors": [anchor.wire(self.log) for anchor in self.anchors],
            "consistency": [step.wire() for step in self.consistency],
            "entries": [proof.wire() for proof in self.entries],
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a verification: how much was checked, and every fault found, in words."""

    entries: int
    batches: int
    anchors: int
    faults: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing was found wrong."""
        return not self.faults


@dataclass(frozen=True, slots=True)
class RedteamRun:
    """One run of the red team's catalogue, as it is kept. ``outcome`` is its exit status: 0 or 1."""

    id: str
    run_at: Instant
    attacks: int
    broken: int
    outcome: int
    report_sha256: str
    """Lower-case hex, over the canonical bytes that are signed."""
    signature: str
    """Lower-case hex: Ed25519 over the same bytes."""
    signed_by_key: str
    storage_ref: str

    def row(self) -> dict[str, Any]:
        """Its columns."""
        return {name: getattr(self, name) for name in REDTEAM_COLUMNS}


REDTEAM_COLUMNS = (
    "id", "run_at", "attacks", "broken", "outcome", "report_sha256", "signature", "signed_by_key", "storage_ref",
)  # fmt: skip
