"""Cases for people to decide, alerts for people to see, and what is refused about them."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fintokenx.kernel.canonical import canonical_json
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.errors import Invalid, NotFound, Refused
from fintokenx.kernel.sealing import SealedColumn
from fintokenx.parties.compliance.transitions import AlertState, CaseState

SEALED: Final = {("review_queue", "rationale_sealed"): SealedColumn("rationale", ("subject_id", "id"))}
"""The sealed columns of compliance; :attr:`Case.sealing_key` says the same of the owner."""


class Decision(StrEnum):
    """What a decider may say of a case."""

    APPROVE = "APPROVE"
    DECLINE = "DECLINE"


class Severity(StrEnum):
    """How soon somebody must look at an alert."""

    NOTICE = "NOTICE"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"


class Finding(StrEnum):
    """What an alert turned out to be when it was closed."""

    TRUE_ALARM = "TRUE_ALARM"
    FALSE_ALARM = "FALSE_ALARM"


class UnknownCase(NotFound):
    """There is no such case that you may see."""


class UnknownAlert(NotFound):
    """There is no such alert that you may see."""


class AlreadyDecided(Refused):
    """This case has been decided, and a decision stays; a new question is a new case."""

    code = "CASE_ALREADY_DECIDED"
    status = 409


class RationaleMissing(Invalid):
    """A decision needs its reasons in words."""

    code = "RATIONALE_REQUIRED"


class NothingSealed(NotFound):
    """These entries hold none of these fields."""

    code = "NOTHING_SEALED"


@dataclass(frozen=True, slots=True)
class SealedValue:
    """A value that stands sealed in an entry, and whose key opens it."""

    entry_id: str
    pointer: str
    """RFC 6901, into the entry's canonical JSON."""
    field: str
    owner: str
    sealed: str


@dataclass(frozen=True, slots=True)
class DisclosedValue:
    """What proves a sealed value to somebody who holds the entry (docs/evidence.md); ``salt`` in hex.

    Both are None when the person was erased: then nobody can tell what it was.
    """

    entry_id: str
    pointer: str
    field: str
    salt: str | None
    value: str | None


@dataclass(frozen=True, slots=True)
class Rationale:
    """The reasons of a decision: ``sealed`` for the case row, ``sha256`` (lower-case hex) for the record."""

    sealed: str
    sha256: str


def canonical_rationale(text: str) -> str:
    """The one spelling of a rationale: Unicode NFC, no white space around it.

    :raises RationaleMissing: nothing is left of it
    """
    canonical = unicodedata.normalize("NFC", text).strip()
    if not canonical:
        raise RationaleMissing
    return canonical


def rationale_hash(text: str) -> str:
    """SHA-256 (lower-case hex) of the RFC 8785 bytes of the canonical rationale (KY-06)."""
    return hashlib.sha256(canonical_json(canonical_rationale(text))).hexdigest()


@dataclass(frozen=True, slots=True)
class Case:
    """A row of the MLRO queue. ``resource`` is what the question is about, ``reason`` a machine word."""

    id: str
    subject_id: str | None
    resource: str
    reason: str
    state: CaseState
    opened_at: Instant
    declines_subject: bool = False
    """Whether to decline the case is to decline the subject."""
    assigned_to: str | None = None
    decided_at: Instant | None = None
    decided_by: str | None = None
    decision: str | None = None
    rationale_sealed: str | None = None
    rationale_hash: str | None = None

    @property
    def sealing_key(self) -> str:
        """Whose key seals the rationale: the person it speaks of, or the case when it speaks of nobody known."""
        return self.subject_id or self.id


@dataclass(frozen=True, slots=True)
class Alert:
    """One cause that is true of one resource; seen again while it is open, it counts instead of multiplying."""

    id: str
    cause: str
    resource: str
    severity: str
    state: AlertState
    raised_at: Instant
    last_seen_at: Instant
    occurrences: int
    acknowledged_at: Instant | None = None
    acknowledged_by: str | None = None
    closed_at: Instant | None = None
    closed_by: str | None = None
    finding: str | None = None
