"""What compliance tells the modules above it."""

from __future__ import annotations

from dataclasses import dataclass

from fintokenx.kernel.bus import Fact


@dataclass(frozen=True, slots=True)
class CaseOpened(Fact):
    """A question waits in the MLRO queue."""

    case_id: str
    resource: str
    reason: str


@dataclass(frozen=True, slots=True)
class CaseDecided(Fact):
    """A person has decided; the module that asked acts on it in a job of its own. ``decision``: APPROVE, DECLINE."""

    case_id: str
    resource: str
    reason: str
    decision: str


@dataclass(frozen=True, slots=True)
class PersonalDataDisclosed(Fact):
    """Somebody was told what stands sealed in entries about a person: which fields of which entries, not what."""

    owner: str
    entries: tuple[str, ...]
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AlertRaised(Fact):
    """A cause has become true; told once per alert, not per occurrence."""

    alert_id: str
    cause: str
    resource: str
    severity: str
