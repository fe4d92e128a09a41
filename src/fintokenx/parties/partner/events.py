"""What partner tells the modules above."""

from __future__ import annotations

from dataclasses import dataclass

from fintokenx.kernel.bus import Fact


@dataclass(frozen=True, slots=True)
class TenantOpened(Fact):
    """A tenant may be served from now on."""

    tenant_id: str


@dataclass(frozen=True, slots=True)
class ApiKeyRevoked(Fact):
    """Calls with this key are refused from now on."""

    key_id: str
