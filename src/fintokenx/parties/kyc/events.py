"""What kyc tells the modules above it. That a subject became active is auth's fact."""

from __future__ import annotations

from dataclasses import dataclass

from fintokenx.kernel.bus import Fact


@dataclass(frozen=True, slots=True)
class GateCleared(Fact):
    """A gate ended CLEAR."""

    subject_id: str
    run_id: str
    gate: int


@dataclass(frozen=True, slots=True)
class GateNotCleared(Fact):
    """A gate ended REFER or FAIL; a person decides. ``verdict`` says which."""

    subject_id: str
    run_id: str
    gate: int
    verdict: str


@dataclass(frozen=True, slots=True)
class ClearanceRenewed(Fact):
    """Gates 1 and 2 of somebody active were passed anew."""

    subject_id: str


@dataclass(frozen=True, slots=True)
class GateHeld(Fact):
    """A provider does not answer; nothing is concluded until it does (P-17)."""

    subject_id: str
    run_id: str
    gate: int
