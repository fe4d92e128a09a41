"""Who is calling, handed from the edge to every command (P-04)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fintokenx.kernel.errors import Forbidden, NotFound


class Role(StrEnum):
    """The actor roles of the record. ``system`` and ``agent`` are actors like others."""

    SELLER = "seller"
    BUYER = "buyer"
    LENDER = "lender"
    INVESTOR = "investor"
    BROKER = "broker"
    PARTNER_ADMIN = "partner_admin"
    MLRO = "mlro"
    COMPLIANCE = "compliance"
    PLATFORM_ADMIN = "platform_admin"
    SYSTEM = "system"
    AGENT = "agent"


HOME_TENANT: Final = "tnt_fintokenx"
"""The platform's own tenant: its administrators are staff here and nowhere else (fx.is_administrator says the same)."""
STAFF: Final = (Role.MLRO, Role.COMPLIANCE, Role.PLATFORM_ADMIN)
"""The platform's people."""


class WrongRole(Forbidden):
    """Your role may not do this."""

    code = "ROLE_FORBIDDEN"


class WrongTenant(NotFound):
    """There is nothing here that you may see."""


@dataclass(frozen=True, slots=True)
class Caller:
    """One authenticated caller in one tenant.

    ``actor`` is what stands in the record: a subject id, an API key id, or ``system:<job>``.
    ``subject_id`` is the party whose act it is; None for callers that are not a subject (API keys, system).
    ``on_behalf_of`` is that party when an administrator of the platform acts for it in an open admin session, and
    ``acts_as`` its role: the administrator passes exactly the guards that the party itself would (AD-16).
    ``aal`` is the assurance level of the sign-in (NIST SP 800-63B).
    ``scope`` limits a magic-link caller to one resource (AU-06).
    """

    tenant_id: str
    role: Role
    actor: str
    subject_id: str | None = None
    on_behalf_of: str | None = None
    session_id: str | None = None
    has_api_key: bool = False
    scope: str | None = None
    ip: str | None = None
    acts_as: Role | None = None
    admin_session_id: str | None = None
    aal: int = 1

    @property
    def party_role(self) -> Role:
        """The role whose guards hold: the caller's own, or that of the party it acts for."""
        return self.acts_as or self.role

    def must_be(self, *roles: Role, tenant_id: str) -> None:
        """Refuse before any SQL. Every public service function calls this first (P-04).

        :raises WrongTenant: the transaction is pinned to another tenant; says no more than "not found"
        :raises WrongRole: none of ``roles``
        """
        if self.tenant_id != tenant_id:
            raise WrongTenant
        if self.party_role not in roles:
            raise WrongRole(f"this needs the role {' or '.join(roles)}")

    def must_be_subject(self) -> str:
        """The caller's subject id. :raises WrongRole: the caller is not a subject"""
        if self.subject_id is None:
            raise WrongRole("this needs a signed-in subject")
        return self.subject_id


def system(tenant_id: str, name: str) -> Caller:
    """The platform itself, working through the job or command ``name``."""
    return Caller(tenant_id=tenant_id, role=Role.SYSTEM, actor=f"system:{name}")
