"""Subjects, sessions, magic links, and how they may be refused."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.errors import Forbidden, Invalid, NotFound, Refused, Unauthenticated
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


class ErasureBlocked(Refused):
    """The law or money still needs this person's data; it cannot be erased yet."""

    code = "ERASURE_BLOCKED"

    def __init__(self, why: str) -> None:
        super().__init__(why, why=why)


@dataclass(frozen=True, slots=True)
class CredentialVersion:
    """That a provider's credential was replaced. ``stored_as`` names the value in the vault; it is not the value."""

    name: str
    version: int
    stored_as: str
    rotated_at: Instant
    rotated_by: str


class NotAnAdministrator(Forbidden):
    """Only an active platform administrator may do this, in person."""

    code = "NOT_AN_ADMINISTRATOR"


class RotatedMeanwhile(Refused):
    """Somebody else has just rotated this credential; nothing was done."""

    code = "CREDENTIAL_ROTATED_MEANWHILE"


class UnknownSubject(NotFound):
    """There is no such subject that you may see."""


class SubjectExists(Refused):
    """This company is here already in this role."""

    code = "SUBJECT_EXISTS"


class StaffExists(Refused):
    """Somebody signs in with this address in this role already."""

    code = "STAFF_EXISTS"


class NotASubjectRole(Invalid):
    """This role cannot be created here."""

    code = "ROLE_INVALID"


class ReasonRequired(Invalid):
    """A suspension needs a reason code."""

    code = "REASON_REQUIRED"


class SubjectFrozen(Refused):
    """This subject may do nothing at present."""

    code = "SUBJECT_NOT_ACTIVE"


class SignInRefused(Unauthenticated):
    """The address and the code do not belong together, or the code is used or too old."""

    code = "SIGN_IN_REFUSED"


class TooManyAttempts(Refused):
    """Too many attempts; wait a quarter of an hour and ask for a new code."""

    code = "TOO_MANY_ATTEMPTS"
    status = 429


class CredentialTwice(Refused):
    """The request has two credentials of one kind; send one."""

    code = "CREDENTIAL_TWICE"
    status = 400


class TooManyFactors(Refused):
    """Too many second factors were added within a day; confirm the newest, or come back tomorrow."""

    code = "TOO_MANY_FACTORS"
    status = 429


class TokenRefused(Unauthenticated):
    """The access token is not one of ours, or is not valid any more."""

    code = "TOKEN_INVALID"


class SessionEnded(Unauthenticated):
    """This session has ended; sign in again."""

    code = "SESSION_ENDED"


class TenantsDiffer(Forbidden):
    """The access token and the API key belong to different tenants."""

    code = "TENANT_MISMATCH"


class ScopeMissing(Forbidden):
    """The API key's scopes do not cover this."""

    code = "SCOPE_MISSING"


class ApiKeyRequired(Forbidden):
    """This needs an API key beside the session."""

    code = "API_KEY_REQUIRED"


class SessionRequired(Forbidden):
    """This needs a signed-in person beside the API key."""

    code = "SESSION_REQUIRED"


class AdminTokenRefused(Forbidden):
    """This admin session is for something else."""

    code = "ADMIN_SESSION_PURPOSE"


class NotOfThePlatform(Invalid):
    """Administrators of the platform are staff of the platform's own tenant."""

    code = "TENANT_INVALID"


class MfaRequired(Forbidden):
    """This needs a sign-in with a second factor."""

    code = "MFA_REQUIRED"


class MfaRefused(Forbidden):
    """The code of the second factor is wrong, too old, or used."""

    code = "MFA_REFUSED"


class UnknownFactor(NotFound):
    """You have no such second factor."""


class FourEyes(Forbidden):
    """Somebody else has to approve this."""

    code = "FOUR_EYES"


class NotACustomer(Invalid):
    """An administrator acts for a customer or a partner of that tenant, never for staff or for nobody."""

    code = "NOT_A_CUSTOMER"


class UnknownAdminSession(NotFound):
    """There is no such admin session that you may see."""


class AdminSessionOver(Refused):
    """This admin session has run out; ask for another one."""

    code = "ADMIN_SESSION_OVER"


class UnknownPageLink(NotFound):
    """There is nothing behind this link."""


class PageLinkOver(Refused):
    """This link opened its page before, or is too old; ask for a new one."""

    code = "PAGE_LINK_OVER"
    status = 410


class UnknownMagicLink(NotFound):
    """There is nothing behind this link."""


class MagicLinkUsed(Refused):
    """This link has been used."""

    code = "MAGIC_LINK_USED"
    status = 410


class MagicLinkExpired(Refused):
    """This link is too old; ask for a new one."""

    code = "MAGIC_LINK_EXPIRED"
    status = 410


class MagicLinkRevoked(Refused):
    """This link has been replaced or withdrawn."""

    code = "MAGIC_LINK_REVOKED"
    status = 410


class MagicLinkOutOfScope(Forbidden):
    """This link is for its own page and for nothing else."""

    code = "MAGIC_LINK_SCOPE"
