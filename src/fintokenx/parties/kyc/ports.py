"""What kyc needs of the outside, in its own words. A verdict that a client does not know is PENDING (P-17)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Literal, Protocol

from fintokenx.kernel.clock import Instant
from fintokenx.kernel.errors import Unauthenticated


class Verdict(StrEnum):
    """What a provider said, reduced to what we act on. Only CLEAR lets anybody through."""

    CLEAR = "CLEAR"
    REFER = "REFER"
    FAIL = "FAIL"
    PENDING = "PENDING"


@dataclass(frozen=True, slots=True)
class Applicant:
    """A person or a company to be verified. ``external_id`` is ours, unique, and makes opening idempotent; it names the
    tenant too (:func:`external_id`)."""

    external_id: str
    kind: Literal["individual", "company"]
    name: str
    """Full legal name; for a person ``given names`` + one space + ``family name``."""
    registration_number: str | None = None
    """Companies House number, eight characters, for a company."""
    born_on: date | None = None
    country: str = "GBR"
    """ISO 3166-1 alpha-3."""


@dataclass(frozen=True, slots=True)
class ProviderVerdict:
    """One answer of a provider. ``raw`` is its body exactly as received, for the encrypted archive."""

    verdict: Verdict
    provider_ref: str
    detail: str
    """Machine words without personal data, e.g. ``GREEN`` or ``RED/FINAL: FORGERY``."""
    raw: bytes
    reviewed_at: Instant | None = None
    """When the review ended, to the second by the provider's clock; None when it does not say."""


@dataclass(frozen=True, slots=True)
class VerificationEvent:
    """A webhook, verified. ``event_id`` is the same for every delivery of one event (KY-09)."""

    event_id: str
    event_type: str
    applicant_ref: str
    external_id: str
    occurred_at: Instant


def external_id(tenant_id: str, party_id: str) -> str:
    """Under what a party is known to the provider.

    All tenants share the provider's one account and its one webhook address. So what the provider signs says itself
    whose it is, and nobody is looked for across tenants.
    """
    return f"{tenant_id}:{party_id}"


class WebhookRefused(Unauthenticated):
    """The webhook is not signed by the provider, or cannot be read."""

    code = "WEBHOOK_SIGNATURE_INVALID"


class IdentityVerification(Protocol):
    """Gate 1 (KY-07). Every call raises ``kernel.errors.Unavailable`` when the provider does not answer well."""

    async def open_applicant(self, applicant: Applicant) -> str:
        """Create the applicant, or find the one with this external id; return the provider's id."""
        ...

    async def request_check(self, applicant_ref: str, *, reviewed_before: Instant | None = None) -> None:
        """Ask the provider to review. Asking again is harmless: only a review that asked for better documents, or one
        that ended before ``reviewed_before``, is followed by another."""
        ...

    async def verdict(self, applicant_ref: str) -> ProviderVerdict:
        """The review's state now; PENDING for everything but an explicit success or failure."""
        ...

    async def read_webhook(self, headers: Mapping[str, str], body: bytes) -> VerificationEvent:
        """Check the signature over the raw bytes, then read. Without the secret, ``Unavailable``.

        :raises WebhookRefused: anything else"""
        ...


@dataclass(frozen=True, slots=True)
class ScreeningName:
    """A name to hold against sanctions, PEP and adverse-media lists. ``external_id`` is ours and stable."""

    external_id: str
    kind: Literal["person", "company"]
    name: str
    birth_year: int | None = None


@dataclass(frozen=True, slots=True)
class ScreeningHit:
    """One list entry that may be the screened name."""

    provider_hit_ref: str
    hit_types: tuple[str, ...]
    """e.g. ``sanction``, ``pep-class-1``, ``adverse-media``."""
    match_status: str


@dataclass(frozen=True, slots=True)
class ScreeningAnswer:
    """CLEAR: no hit at all. REFER: hits for a person to decide. PENDING: anything else."""

    verdict: Verdict
    provider_ref: str
    hits: tuple[ScreeningHit, ...]
    raw: bytes


class NameScreening(Protocol):
    """Gate 2 (KY-10). Raises ``kernel.errors.Unavailable`` when the provider does not answer well."""

    async def screen(self, name: ScreeningName) -> ScreeningAnswer:
        """Search all lists for the name, as of now."""
        ...
