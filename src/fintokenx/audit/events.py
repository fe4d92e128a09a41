"""What the record says of itself that others must hear."""

from __future__ import annotations

from dataclasses import dataclass

from fintokenx.kernel.bus import Fact


@dataclass(frozen=True, slots=True)
class StateDrifted(Fact):
    """A live row is not what its entries say: somebody changed it beside the record. Holds no values."""

    table: str
    key: str
    """The row's key as JSON."""
    columns: str
    """Names, with commas between; empty when the whole row is missing or too many."""
