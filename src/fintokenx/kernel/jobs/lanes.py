"""Job lanes: what a job waits behind. Each lane has slots of its own, so that slow work of one kind delays no other.

A module declares its jobs, each with the lane that it runs in and the time that one run may take. The worker tells the
database which lane each name has (``ops.job_lanes``), and there a job gets its lane when it is inserted, by whomever.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fintokenx.kernel.jobs.work import Handler


class Lane(StrEnum):
    """The kinds of work that do not wait for each other."""

    MONEY = "money"
    """Payments and statements, and the short work in the database that leads to them."""
    CHAIN = "chain"
    """Whatever a node of the network answers."""
    DOCUMENTS = "documents"
    """Reading files, and whatever else takes a processor for long."""
    OUTBOUND = "outbound"
    """Mail, identity and screening providers, sign-ins; also a job whose name nobody has declared."""
    AI = "ai"
    """Calls of models."""


SLOTS: Final[Mapping[Lane, int]] = {
    Lane.MONEY: 9,
    Lane.CHAIN: 12,
    Lane.DOCUMENTS: 4,
    Lane.OUTBOUND: 6,
    Lane.AI: 2,
}
"""How many jobs of each lane a process runs at once, where the settings say nothing else. A job waits for somebody
outside nearly all the time; but for reading documents, which has two processes (adapters/documents)."""


class UnknownLane(ValueError):
    """There is no lane of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"unknown lane {name!r}: there are {', '.join(Lane)}")


@dataclass(frozen=True, slots=True)
class Job:
    """A job that a module keeps: its name in ``ops.jobs``, who does it, in which lane, and for how long at most.

    ``seconds_max`` is machine time for one run, waiting for the outside included. A run that takes longer is cancelled,
    counted as failed and tried again (``JOB_OVERRAN``).

    :raises ValueError: no time at all
    """

    name: str
    handler: Handler
    lane: Lane
    seconds_max: float

    def __post_init__(self) -> None:
        if not self.seconds_max > 0:
            raise ValueError(f"{self.name} has no time to run in")


def by_name(jobs: Iterable[Job], *, promised: Collection[str] = ()) -> dict[str, Job]:
    """The jobs by their names.

    :raises ValueError: two modules own one name, or a name that is promised is nobody's job
    """
    found: dict[str, Job] = {}
    twice: set[str] = set()
    for job in jobs:
        if job.name in found:
            twice.add(job.name)
        found[job.name] = job
    if twice:
        raise ValueError(f"jobs with two owners: {sorted(twice)}")
    if orphans := set(promised) - found.keys():
        raise ValueError(f"promised, and nobody's job: {sorted(orphans)}")
    return found


def slots_of(names: Collection[str] = (), sizes: Mapping[str, int] | None = None) -> dict[Lane, int]:
    """The lanes that a process serves, and how many jobs of each at once. No names: all lanes.

    :raises UnknownLane: a name that no lane has
    :raises ValueError: a lane without a slot
    """
    known = {str(lane): lane for lane in Lane}
    if unknown := [name for name in (*names, *(sizes or {})) if name not in known]:
        raise UnknownLane(unknown[0])
    slots = {lane: (sizes or {}).get(lane, SLOTS[lane]) for lane in Lane if not names or lane in names}
    if empty := [lane for lane, size in slots.items() if size < 1]:
        raise ValueError(f"lane {empty[0]} has no slot")
    return slots


@dataclass(slots=True)
class Served:
    """A lane as one process serves it.

    One tenant has two thirds of the slots at most, and a sixth (one at least) is kept for tenants of whom nothing
    runs, so that however much waits in one tenant, and however slow it is, others are served.
    """

    lane: Lane
    slots: int
    served_last: str = ""
    """The tenant that was served last: the next claim goes on after it."""

    @property
    def per_tenant(self) -> int:
        """How many jobs of one tenant run at once."""
        return max(1, self.slots * 2 // 3)

    @property
    def kept_free(self) -> int:
        """How many slots are for tenants of whom nothing runs."""
        return max(1, self.slots // 6) if self.slots > 1 else 0
