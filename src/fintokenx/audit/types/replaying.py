"""What a replay finds: cells that the record does not explain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
