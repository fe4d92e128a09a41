"""How callers, sessions, links and administrators may be refused."""

from __future__ import annotations

from fintokenx.kernel.errors import Forbidden, Invalid, NotFound, Refused, Unauthenticated


class ErasureBlocked(Refused):
    """The law or money still needs this person's data; it cannot be erased yet."""

    code = "ERASURE_BLOCKED"

    def __init__(self, why: str) -> None:
        super().__init__(why, why=why)


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
