"""Tenants, their API keys, and how both may be refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from fintokenx.kernel.clock import Instant
from fintokenx.kernel.errors import Forbidden, Invalid, NotFound, Refused, Unauthenticated
from fintokenx.parties.partner.transitions import ApiKeyState, TenantState


class Feature(StrEnum):
    """What a tenant's ``scope_rules`` switch on; a feature that they do not name is off (PA-02)."""

    INVOICES = "invoices"
    FUNDING = "funding"
    SECONDARY = "secondary"
    STABLECOIN = "stablecoin"


@dataclass(frozen=True, slots=True)
class CollectionsAccount:
    """Where buyers of this tenant pay: name, six-digit sort code, eight-digit account number."""

    name: str
    sort_code: str
    account_number: str


@dataclass(frozen=True, slots=True)
class TenantTerms:
    """Everything about a tenant that is agreed with it."""

    display_name: str
    custom_domain: str | None
    theme: Mapping[str, Any]
    plan: str
    scope_rules: Mapping[str, bool]
    mail_from: str
    """A role address such as ``invoices@mercia.example``; never a person's."""
    collections: CollectionsAccount
    asking_discount_bps: int
    """The discount a new invoice asks for unless it says otherwise, in basis points of its face value."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant as it stands."""

    id: str
    terms: TenantTerms
    state: TenantState
    opened_at: Instant


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key without its secret. ``last_used_at`` is exact to a minute."""

    tenant_id: str
    id: str
    name: str
    scopes: tuple[str, ...]
    state: ApiKeyState
    created_at: Instant
    created_by: str
    last_used_at: Instant | None = None

    def allows(self, resource: str, *, writing: bool) -> bool:
        """Whether a scope covers it. ``*`` covers everything, ``invoices:write`` reading and changing invoices."""
        covering = {"*", f"{resource}:write"} | (set() if writing else {f"{resource}:read"})
        return not covering.isdisjoint(self.scopes)


class TenantExists(Refused):
    """This tenant is open already."""

    code = "TENANT_EXISTS"


ASKING_DISCOUNT_BPS_MAX: Final = 5000


class BadTerms(Invalid):
    """These terms cannot be agreed with a tenant."""

    code = "TENANT_TERMS_INVALID"


class UnknownTenant(NotFound):
    """There is no such tenant."""


class OutOfScope(Forbidden):
    """Your organisation's agreement does not cover this."""

    code = "TENANT_SCOPE"


class UnknownApiKey(NotFound):
    """There is no such API key that you may see."""


class ApiKeyRefused(Unauthenticated):
    """The API key is not one of ours, or has been revoked."""

    code = "API_KEY_INVALID"


KEY_NAME_LENGTH_MAX: Final = 80


class BadKeyName(Invalid):
    """The name of an API key has 1 to 80 visible characters."""

    code = "API_KEY_NAME_INVALID"


class BadScope(Invalid):
    """A scope reads `*`, `<resource>:read` or `<resource>:write`."""

    code = "SCOPE_INVALID"
