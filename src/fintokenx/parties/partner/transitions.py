"""The machines of tenants and API keys, and what they record."""

from __future__ import annotations

from typing import Final

from fintokenx.audit import Action
from fintokenx.kernel.caller import Role
from fintokenx.kernel.machine import NOTHING, Machine, transitions

TENANT: Final = Machine("tenant", transitions([(NOTHING, "open", "ACTIVE", "TENANT_OPEN")]))

API_KEY: Final = Machine(
    "api key",
    transitions(
        [
            (NOTHING, "create", "ACTIVE", "API_KEY_CREATE"),
            ("ACTIVE", "revoke", "REVOKED", "API_KEY_REVOKE"),
        ]
    ),
)

MACHINES: tuple[Machine, ...] = (TENANT, API_KEY)

KEEPERS: Final = (Role.PARTNER_ADMIN, Role.PLATFORM_ADMIN, Role.SYSTEM)
"""Who looks after a tenant's keys."""

ACTIONS = (
    Action("TENANT_OPEN", (Role.PLATFORM_ADMIN, Role.SYSTEM)),
    Action("API_KEY_CREATE", KEEPERS, on_behalf_of="optional"),
    Action("API_KEY_REVOKE", KEEPERS, on_behalf_of="optional"),
)
