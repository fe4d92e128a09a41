"""Lanes of the queue: whatever is slow in one keeps no other waiting (ADR 0026).

Each has places of its own in every process that serves it, and a time limit for its jobs. Which lane a job is in is
declared beside its handler, loaded into ``fx.job_lanes`` and written into its row by the database: nobody who promises
a job can choose another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Lane(StrEnum):
    """What a job waits for."""

    MONEY = "money"
    """Banks, and what follows from money."""
    CHAIN = "chain"
    """Blocks."""
    DOCUMENTS = "documents"
    """Readers of documents: seconds of processor time each."""
    OUTBOUND = "outbound"
    """Other providers, mail, upkeep. A job that nobody has declared is here, too."""
    AI = "ai"
    """Models."""


@dataclass(frozen=True, slots=True)
class Slots:
    """Places of a lane in one process. Of one tenant, ``per_tenant`` jobs run at most (default: two thirds of all
    places), and a sixth of the places is kept for tenants of whom nothing runs."""

    count: int
    per_tenant: int = 0

    @property
    def of_one_tenant(self) -> int:
        """How many jobs of one tenant may run at once."""
        return self.per_tenant or max(1, self.count * 2 // 3)

    @property
    def kept(self) -> int:
        """How many places only tenants of whom nothing runs may take."""
        return self.count // 6


SLOTS: Final[Mapping[Lane, Slots]] = MappingProxyType(
    {
        Lane.MONEY: Slots(12),
        Lane.CHAIN: Slots(6),
        Lane.DOCUMENTS: Slots(3),
        Lane.OUTBOUND: Slots(6),
        Lane.AI: Slots(2),
    }
)
LIMIT_SECONDS: Final[Mapping[Lane, float]] = MappingProxyType(
    {Lane.MONEY: 60.0, Lane.CHAIN: 60.0, Lane.DOCUMENTS: 180.0, Lane.OUTBOUND: 60.0, Lane.AI: 300.0}
)
"""Machine time that one run of a job may take, unless the job says otherwise."""


class UnknownLane(ValueError):
    """There is no such lane."""


def lanes_in(text: str) -> tuple[Lane, ...]:
    """The lanes of a comma-separated list, each once, in the order of the list; all of them for an empty one.

    :raises UnknownLane: one of the names is none
    """
    names = [name.strip() for name in text.split(",")] if text.strip() else list(Lane)
    if unknown := [name for name in names if name not in list(Lane)]:
        raise UnknownLane(f"{', '.join(map(repr, unknown))}: there are {', '.join(Lane)}")
    return tuple(dict.fromkeys(Lane(name) for name in names))
