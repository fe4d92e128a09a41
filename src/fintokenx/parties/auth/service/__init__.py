"""Commands and guarded queries of auth, by what they are about."""

from fintokenx.parties.auth.service.authenticator import Authenticator, AuthServices, require_both
from fintokenx.parties.auth.service.credentials import administrators, credential_version, rotate_credential
from fintokenx.parties.auth.service.magic_links import (
    EXPIRE_JOB,
    consume_magic_link,
    expire_magic_link,
    issue_magic_link,
    open_magic_link,
    tenant_of_magic_link,
    withdraw_magic_links,
)
from fintokenx.parties.auth.service.sign_in import (
    count_attempt,
    email_index_of,
    end_session,
    issue_login_code,
    me,
    request_login_code,
    sign_in,
)
from fintokenx.parties.auth.service.subjects import (
    SealedPerson,
    action_of,
    active_holders,
    advance,
    create_staff,
    create_subject,
    find_subject,
    gate_ran,
    subject,
    subject_of_company,
    visible_subject,
)
from fintokenx.parties.auth.service.tokens import AUDIENCE, Tokens

__all__ = [
    "AUDIENCE",
    "EXPIRE_JOB",
    "AuthServices",
    "Authenticator",
    "SealedPerson",
    "Tokens",
    "action_of",
    "active_holders",
    "administrators",
    "advance",
    "consume_magic_link",
    "count_attempt",
    "create_staff",
    "create_subject",
    "credential_version",
    "email_index_of",
    "end_session",
    "expire_magic_link",
    "find_subject",
    "gate_ran",
    "issue_login_code",
    "issue_magic_link",
    "me",
    "open_magic_link",
    "request_login_code",
    "require_both",
    "rotate_credential",
    "sign_in",
    "subject",
    "subject_of_company",
    "tenant_of_magic_link",
    "visible_subject",
    "withdraw_magic_links",
]
