"""Onboarding files, gate runs, what they found and what was decided; what is refused about them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from enum import IntEnum, StrEnum
from typing import Final, Literal

from fintokenx.kernel.clock import Instant
from fintokenx.kernel.errors import Forbidden, Invalid, NotFound, Refused
from fintokenx.kernel.sealing import SealedColumn
from fintokenx.parties.kyc.transitions import FileState, GateRunState

SEALED: Final = {
    ("onboarding_parties", "name_sealed"): SealedColumn("name", ("id",)),
    ("onboarding_parties", "born_on_sealed"): SealedColumn("born_on", ("id",)),
}
"""The sealed columns of kyc: each person of a file under a key of their own."""
FORM_VERSION: Final = "2026-06"
"""The only form that is accepted; a file remembers which one it was."""
YOUNGEST_YEARS: Final = 16
"""Companies Act 2006 s. 157: nobody younger may be a director."""
OLDEST_YEARS: Final = 120

DELAY_ALERT_SECONDS: Final = 60
"""Business time without a verdict after which somebody is told, once (KY-08)."""


CHECKS_HOLD: Final = timedelta(days=365)
"""How long the answers behind a clearance count, and a claim on chain lives: from the check, not from its issue."""
RENEWED_BEFORE: Final = timedelta(days=30)
"""The providers are asked anew so long before."""


class Gate(IntEnum):
    """The gates that kyc runs; 4 is monitoring's."""

    IDENTITY = 1
    SCREENING = 2
    REVIEW = 3


PROVIDERS: Final = {Gate.IDENTITY: "sumsub", Gate.SCREENING: "complyadvantage", Gate.REVIEW: "internal"}

CLEAR: Final = "CLEAR"
REFER: Final = "REFER"
FAIL: Final = "FAIL"
HITS_REFERRED: Final = "GATE2_REFER"
"""Reason of the case about screening hits; approving it says that the hits are somebody else."""
RENEWAL: Final = "RENEWAL_"
"""Before the reason of a case about somebody who is active and was checked anew."""
REVIEW_DUE: Final = "GATE3_REVIEW"
"""Reason of the case on which the subject becomes active or is declined."""


class PersonRole(StrEnum):
    """Why a person stands in a file (KY-07)."""

    REPRESENTATIVE = "representative"
    DIRECTOR = "director"
    UBO = "ubo"


class OnboardingOpen(Refused):
    """An onboarding file is open already; it must be decided before there is another one."""

    code = "ONBOARDING_ALREADY_OPEN"
    status = 409


class FormOutdated(Invalid):
    """This version of the form is no longer accepted."""

    code = "FORM_VERSION_OUTDATED"


class FormIncomplete(Invalid):
    """The form lacks something that the gates need."""

    code = "FORM_INCOMPLETE"


class BirthDateImplausible(Invalid):
    """Somebody in the form is younger than 16 or older than 120 years, or not born yet."""

    code = "BIRTH_DATE_IMPLAUSIBLE"


class NotYourSubject(NotFound):
    """There is no such subject that you may see."""


class UnknownApplicant(NotFound):
    """The webhook is about an applicant that no tenant has opened."""

    code = "APPLICANT_UNKNOWN"


class SubjectNotActive(Forbidden):
    """This subject has not passed the gates, or is suspended."""

    code = "SUBJECT_NOT_ACTIVE"


class ClearanceLapsed(Forbidden):
    """The checks behind your clearance are too old; until they are passed anew you cannot buy."""

    code = "CLEARANCE_LAPSED"


class NoDesignatedAccount(Refused):
    """This subject has named no bank account."""

    code = "NO_DESIGNATED_ACCOUNT"
    status = 409


class NothingToRerun(Refused):
    """This gate has no run that could be repeated: none, one that is going, or the file is decided."""

    code = "GATE_NOT_RERUNNABLE"
    status = 409


@dataclass(frozen=True, slots=True)
class Person:
    """A person as the form names them. In clear: never stored, only sealed."""

    name: str
    born_on: date
    roles: tuple[PersonRole, ...]


@dataclass(frozen=True, slots=True)
class BankAccount:
    """A company's own account: business data, not personal."""

    account_name: str
    sort_code: str
    account_number: str


@dataclass(frozen=True, slots=True)
class Party:
    """The company, or one person, of a file. ``id`` is also what the providers know them by."""

    id: str
    kind: Literal["company", "individual"]
    roles: tuple[str, ...] = ()
    name_sealed: str | None = None
    born_on_sealed: str | None = None
    applicant_ref: str | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """A form whose personal data is sealed, with the ids under whose keys it was sealed."""

    file_id: str
    form_version: str
    company_number: str
    parties: tuple[Party, ...]
    account: BankAccount


@dataclass(frozen=True, slots=True)
class OnboardingFile:
    """One attempt of a subject."""

    id: str
    subject_id: str
    form_version: str
    state: FileState
    company_name: str
    company_number: str
    opened_at: Instant
    submitted_at: Instant | None = None
    mlro_decided_at: Instant | None = None
    mlro_decided_by: str | None = None
    rationale_hash: str | None = None


@dataclass(frozen=True, slots=True)
class GateRun:
    """One execution of a gate. ``state`` RUNNING or HELD while it lasts, then the verdict."""

    id: str
    file_id: str
    subject_id: str
    gate: int
    attempt: int
    provider: str
    provider_ref: str | None
    state: GateRunState
    verdict: str | None
    raw_payload_ref: str | None
    started_at: Instant
    requested_at: Instant | None = None
    delay_alerted_at: Instant | None = None
    finished_at: Instant | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """What a job needs to run a gate: the run, its file, and who is to be checked."""

    run: GateRun
    file: OnboardingFile
    parties: tuple[Party, ...]


@dataclass(frozen=True, slots=True)
class Hit:
    """One list entry that may be the party."""

    party_id: str
    provider_hit_ref: str
    hit_types: tuple[str, ...]
    match_status: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a gate ended in. ``raw_payload_ref`` names the encrypted blob with every answer as received."""

    verdict: str
    provider_ref: str | None
    raw_payload_ref: str
    hits: tuple[Hit, ...] = ()


@dataclass(frozen=True, slots=True)
class GateState:
    """The newest run of a gate, or NOT_STARTED (KY-01)."""

    gate: int
    provider: str
    state: str
    verdict: str | None = None
    started_at: Instant | None = None
    finished_at: Instant | None = None


@dataclass(frozen=True, slots=True)
class Gates:
    """Where a subject stands."""

    subject_id: str
    subject_state: str
    gates: tuple[GateState, ...]
