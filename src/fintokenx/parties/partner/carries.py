"""Which rows the entries of partner's actions carry."""

from __future__ import annotations

from typing import Final

from fintokenx.audit import Carries, adds, always, changes

CARRIES: Final[Carries] = {
    "TENANT_OPEN": always(adds("tenants")),
    "API_KEY_CREATE": always(adds("api_keys")),
    "API_KEY_REVOKE": always(changes("api_keys", "state", "revoked_at")),
}
