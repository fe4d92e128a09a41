"""What auth tells the modules above. No secret and no personal data: whoever mails a code or a link asks for it."""

from __future__ import annotations

from dataclasses import dataclass

from fintokenx.kernel.bus import Fact
from fintokenx.kernel.clock import Instant


@dataclass(frozen=True, slots=True)
class SubjectCreated(Fact):
    """A subject exists and may open its onboarding."""

    subject_id: str
    role: str


@dataclass(frozen=True, slots=True)
class SubjectActive(Fact):
    """A subject has passed its gates; told once per activation (KY-02)."""

    subject_id: str
    role: str


@dataclass(frozen=True, slots=True)
class SubjectDeclined(Fact):
    """A subject was declined."""

    subject_id: str
    role: str


@dataclass(frozen=True, slots=True)
class SubjectSuspended(Fact):
    """No new business with this subject; what it owes and is owed goes on."""

    subject_id: str
    role: str
    reason: str


@dataclass(frozen=True, slots=True)
class SubjectResumed(Fact):
    """The cause of a suspension is gone."""

    subject_id: str
    role: str


@dataclass(frozen=True, slots=True)
class SubjectFrozen(Fact):
    """A subject may do nothing, its sessions and links are dead, money for it is held."""

    subject_id: str
    role: str


@dataclass(frozen=True, slots=True)
class SubjectUnfrozen(Fact):
    """A subject is back where it was before the freeze."""

    subject_id: str
    role: str
    state: str


@dataclass(frozen=True, slots=True)
class SubjectErased(Fact):
    """A person's data is being destroyed, in this very transaction: whoever still needs it refuses in step
    (:class:`fintokenx.parties.auth.ErasureBlocked`), whoever keeps keys of its own for the person destroys them."""

    subject_id: str
    role: str


@dataclass(frozen=True, slots=True)
class LoginCodeWanted(Fact):
    """Somebody wants to sign in as this subject: mail the code that ``auth.issue_login_code`` gives, while one of that
    moment would live (``auth.CODE_LIFE``)."""

    subject_id: str
    asked_at: Instant


@dataclass(frozen=True, slots=True)
class SignInBlocked(Fact):
    """So many codes were tried for one address that no more are looked at for a while (AU-13)."""

    email_index: str
    attempts: int


@dataclass(frozen=True, slots=True)
class SignInsRefused(Fact):
    """So many sign-ins as this subject were refused one after the other within a window (AU-13)."""

    subject_id: str
    attempts: int


@dataclass(frozen=True, slots=True)
class MagicLinkIssued(Fact):
    """A buyer has a new link to an invoice; earlier ones are dead."""

    link_id: str
    invoice_reference: str
    subject_id: str
    expires_at: Instant


@dataclass(frozen=True, slots=True)
class MagicLinkLapsed(Fact):
    """A link ran out unused."""

    link_id: str
    invoice_reference: str
    subject_id: str
