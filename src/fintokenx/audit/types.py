"""Row operations, entries and proofs: the words of the record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from fintokenx.kernel.bus import Fact
from fintokenx.kernel.caller import Role
from fintokenx.kernel.canonical import canonical_json, plain
from fintokenx.kernel.clock import Instant, to_wire
from fintokenx.kernel.errors import Refused
from fintokenx.kernel.merkle import leaf_hash


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
class Move:
    """What one module contributes to a command: its rows and the facts that they make true.

    A lower module's door returns a Move (it has locked and guarded its row); the command above adds the Moves up and
    records them as one entry, so that a business event that touches five tables is one entry, once.
    """

    rows: tuple[RowChange, ...] = ()
    facts: tuple[Fact, ...] = ()

    def __add__(self, other: Move) -> Move:
        return Move(self.rows + other.rows, self.facts + other.facts)


OnBehalfOf = Literal["required_from_admin", "forbidden", "optional", "required"]


@dataclass(frozen=True, slots=True)
class Action:
    """One line of the closed taxonomy (AD-15): what may be recorded, by whom, for whom."""

    name: str
    roles: tuple[Role, ...]
    customer_facing: bool = False
    on_behalf_of: OnBehalfOf = "forbidden"
    staff_only: bool = False
    """Its entries are shown to staff and not to the tenant's partner: they tell of cases, alerts, gates or freezes."""


class UnknownEntry(Refused):
    """There is no such entry that you may see."""

    code = "NOT_FOUND"
    status = 404


class NotYetAnchored(Refused):
    """The entry stands, but its batch is not anchored yet; ask again after the next batch."""

    code = "PROOF_PENDING"
    status = 409


class AnchorConflict(Refused):
    """The chain holds other anchors than this database: it was restored, or its record was rewritten."""

    code = "ANCHOR_CONFLICT"
    status = 409


GENESIS_HASH = bytes(32)
"""``prev_hash`` of entry 1."""


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
        head = canonical_json({"action": self.action, "actor": self.actor, "actor_role": self.actor_role})
        tail = canonical_json(
            {
                "id": self.id,
                "merkle_batch_id": self.merkle_batch_id,
                "on_behalf_of": self.on_behalf_of,
                "prev_hash": self.prev_hash.hex(),
                "request_id": self.request_id,
                "resource": self.resource,
                "seq": self.seq,
                "tenant_id": self.tenant_id,
                "timestamp": to_wire(self.timestamp),
                "v": 1,
            }
        )
        return head[:-1] + b',"diff":' + self.diff.encode() + b"," + tail[1:]

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


@dataclass(frozen=True, slots=True)
class Proof:
    """That an entry stands in an anchored tree: its leaf, its place, its path, and where the root is anchored."""

    entry: Entry
    tree_size: int
    path: tuple[bytes, ...]
    root: bytes
    batch_id: int
    tx_hash: str
    block_number: int


@dataclass(frozen=True, slots=True)
class Provable:
    """An entry and the anchored batch whose tree holds it: what its proof is worked out from."""

    entry: Entry
    batch: Batch
    tx_hash: str
    block_number: int


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


DriftKind = Literal["CHANGED", "MISSING", "UNEXPLAINED"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One column in which a row differs from the record. Values as Postgres spells them, long and sealed ones cut."""

    column: str
    replayed: str | None
    live: str | None


@dataclass(frozen=True, slots=True)
class Drift:
    """A live row that is not what the record says. MISSING: the record has it and the table does not; UNEXPLAINED: the
    table has it and the record does not."""

    table: str
    tenant_id: str
    key: str
    """The row's key as JSON."""
    kind: DriftKind
    cells: tuple[Cell, ...]

    def told(self) -> str:
        """In words."""
        where = f"{self.table} {self.key}"
        match self.kind:
            case "MISSING":
                return f"{where}: recorded, but not there"
            case "UNEXPLAINED":
                return f"{where}: there, but no entry explains it"
            case _:
                cells = (f"{cell.column}: recorded {cell.replayed!r}, live {cell.live!r}" for cell in self.cells)
                return f"{where}: {'; '.join(cells)}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One table against its replay. ``drifts`` holds the first differing rows, ``differing`` counts all of them."""

    table: str
    replayed_rows: int
    live_rows: int
    differing: int
    sealed_under_dead_keys: int
    """Sealed fields whose key was destroyed: equal on both sides, and for nobody to open (AD-14)."""
    drifts: tuple[Drift, ...]


@dataclass(frozen=True, slots=True)
class Replay:
    """What carrying out the whole record anew has shown (P-06)."""

    entries: int
    operations: int
    tables: tuple[Comparison, ...]
    faults: tuple[str, ...]
    """Entries that cannot be carried out, in words. What they did is missing from the replayed rows."""
    apply_seconds: float
    seconds: float

    @property
    def differing(self) -> int:
        """How many live rows are not what the record says."""
        return sum(table.differing for table in self.tables)

    @property
    def equal(self) -> bool:
        """Whether state is the fold of the record, to the last cell."""
        return not self.faults and not self.differing
