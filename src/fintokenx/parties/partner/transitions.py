"""The machines of tenants and API keys, and what they record."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from fintokenx.audit import Action
from fintokenx.kernel.caller import Role
from fintokenx.kernel.machine import NOTHING, AnyMachine, machine


class TenantState(StrEnum):
    """Where a tenant stands."""

    ACTIVE = "ACTIVE"


class TenantEvent(StrEnum):
    """What moves a tenant."""

    OPEN = "open"


TENANT: Final = machine(
    "tenant",
    TenantState,
    TenantEvent,
    [(NOTHING, "open", "ACTIVE", "TENANT_OPEN")],
)


class ApiKeyState(StrEnum):
    """Where an API key stands."""

    ACTIVE = "ACTIVE"
    REVOKED = "REVOKED"


class ApiKeyEvent(StrEnum):
    """What moves an API key."""

    CREATE = "create"
    REVOKE = "revoke"


API_KEY: Final = machine(
    "api key",
    ApiKeyState,
    ApiKeyEvent,
    [
        (NOTHING, "create", "ACTIVE", "API_KEY_CREATE"),
        ("ACTIVE", "revoke", "REVOKED", "API_KEY_REVOKE"),
    ],
)

MACHINES: tuple[AnyMachine, ...] = (TENANT, API_KEY)

KEEPERS: Final = (Role.PARTNER_ADMIN, Role.PLATFORM_ADMIN, Role.SYSTEM)
"""Who looks after a tenant's keys."""

ACTIONS = (
    Action("TENANT_OPEN", (Role.PLATFORM_ADMIN, Role.SYSTEM)),
    Action("API_KEY_CREATE", KEEPERS, on_behalf_of="optional"),
    Action("API_KEY_REVOKE", KEEPERS, on_behalf_of="optional"),
)
