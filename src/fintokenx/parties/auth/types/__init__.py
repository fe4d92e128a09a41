"""Subjects, sessions, magic links, and how they may be refused."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.sealing import SealedColumn
from fintokenx.parties.auth.transitions import AdminSessionState, MagicLinkState, SessionState, SubjectState

SEALED: Final = {
    ("subjects", "representative_name_sealed"): SealedColumn("representative_name", ("id",)),
    ("subjects", "email_sealed"): SealedColumn("email", ("id",)),
    ("mfa_factors", "secret_sealed"): SealedColumn("mfa_secret", ("subject_id",), is_secret=True),
    ("erasures", "reason_sealed"): SealedColumn("reason", ("id",)),
}
"""The sealed columns of auth. An erasure's reason has a key of its own: that of the person is gone with it."""


SANCTIONS: Final = "SANCTIONS"
"""The ground of a freeze after a true hit on a sanctions list."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One party in one role. Personal data is sealed: open it with ``kernel.sealing`` under (tenant, id, field)."""

    tenant_id: str
    id: str
    role: Role
    legal_name: str
    """Of the company, never of a person."""
    company_number: str | None
    representative_name_sealed: str | None
    """Field name ``representative_name``."""
    email_sealed: str | None
    """Field name ``email``."""
    email_index: str | None
    state: SubjectState
    suspension_reason: str | None
    frozen_from: SubjectState | None
    created_at: Instant
    last_kyc_run_at: Instant | None
    last_screening_at: Instant | None
    cleared_at: Instant | None = None
    """When the older of the answers behind its clear gates 1 and 2 was had; None: it was never cleared."""
    freeze_ground: str | None = None
    """``SANCTIONS`` while it is frozen because a sanctions list names it."""

    @property
    def is_sanctioned(self) -> bool:
        """Whether the chain's sanctions list must name its wallet (CH-14)."""
        return self.freeze_ground == SANCTIONS

    @property
    def shown_state(self) -> str:
        """The state for the customer's eyes: a freeze shows as a suspension (it may be about a SAR)."""
        return SubjectState.SUSPENDED if self.state is SubjectState.FROZEN else self.state

    @property
    def is_barred(self) -> bool:
        """Whether nobody may enter as this subject: it is frozen, or there is nobody any more."""
        return self.state in (SubjectState.FROZEN, SubjectState.ERASED)


@dataclass(frozen=True, slots=True)
class Erasure:
    """That a person's data was destroyed, by whom and why."""

    id: str
    subject_id: str
    erased_at: Instant
    erased_by: str
    reason_sealed: str
    """Field ``reason``, under a key named by this id."""


@dataclass(frozen=True, slots=True)
class Session:
    """A sign-in. It ends by ``state``, or by itself at ``expires_at``."""

    tenant_id: str
    id: str
    subject_id: str
    role: Role
    aal: int
    """NIST SP 800-63B authenticator assurance level: 1 or 2."""
    state: SessionState
    created_at: Instant
    expires_at: Instant

    @property
    def caller(self) -> Caller:
        """Whoever signed in, as far as this sign-in goes."""
        return Caller(
            tenant_id=self.tenant_id,
            role=self.role,
            actor=self.subject_id,
            subject_id=self.subject_id,
            session_id=self.id,
            aal=self.aal,
        )


@dataclass(frozen=True, slots=True)
class MagicLink:
    """A buyer's access to one invoice. Only the hash of its token is known."""

    tenant_id: str
    id: str
    invoice_reference: str
    subject_id: str
    state: MagicLinkState
    issued_at: Instant
    expires_at: Instant


@dataclass(frozen=True, slots=True)
class Throttle:
    """How often one address was tried and written to in a window of time. A sign-in that goes well sets the tries back
    to zero."""

    window_from: Instant
    attempts: int
    codes: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to sign in, counted and committed before its code is looked at."""

    email_index: str
    allowed: bool


@dataclass(frozen=True, slots=True)
class LoginCode:
    """A code that may still be used; ``code_scrypt`` is salted scrypt of the digits."""

    subject_id: str
    salt: bytes
    code_scrypt: bytes


@dataclass(frozen=True, slots=True)
class Factor:
    """A second factor: a TOTP secret (RFC 6238), sealed under (tenant, subject, ``mfa/<id>``)."""

    tenant_id: str
    id: str
    subject_id: str
    secret_sealed: str
    created_at: Instant
    confirmed_at: Instant | None

    @property
    def field(self) -> str:
        """The name under which the secret is sealed."""
        return f"mfa/{self.id}"


@dataclass(frozen=True, slots=True)
class FactorTry:
    """One try of a factor's code, counted and committed before the code is looked at."""

    factor: Factor
    at: Instant
    allowed: bool


class Purpose(StrEnum):
    """What an admin session is for."""

    ACT = "ACT"
    """Customer actions on behalf of one subject."""
    BYPASS = "BYPASS"
    """Reading across tenants, one fingerprint for each lookup."""


@dataclass(frozen=True, slots=True)
class AdminSession:
    """An administrator's way into a tenant: asked for, approved by another one, open for a quarter of an hour."""

    tenant_id: str
    """The tenant acted upon."""
    id: str
    purpose: Purpose
    on_behalf_of: str
    reason: str
    state: AdminSessionState
    requested_by: str
    requested_at: Instant
    approved_by: str | None = None
    approved_at: Instant | None = None
    opened_at: Instant | None = None
    expires_at: Instant | None = None
    closed_at: Instant | None = None


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified JWT says. With ``admin_session_id`` the subject is an administrator of the platform's own tenant,
    whose session ``session_id`` is, and ``tenant_id`` the tenant that it came into."""

    tenant_id: str
    subject_id: str
    role: Role
    session_id: str
    admin_session_id: str | None = None
    on_behalf_of: str | None = None


@dataclass(frozen=True, slots=True)
class Me:
    """Who is calling right now (AU-03). ``subject`` and ``session`` are None for an API key alone."""

    tenant_id: str
    actor: str
    role: Role
    on_behalf_of: str | None
    has_api_key: bool
    subject: Subject | None
    session: Session | None


@dataclass(frozen=True, slots=True)
class CredentialVersion:
    """That a provider's credential was replaced. ``stored_as`` names the value in the vault; it is not the value."""

    name: str
    version: int
    stored_as: str
    rotated_at: Instant
    rotated_by: str
