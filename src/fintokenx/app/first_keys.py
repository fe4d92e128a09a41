"""A tenant's API key, made on a local system. Loads no module that it does not need."""

from __future__ import annotations

from fintokenx.app.base import connected
from fintokenx.app.local import LocalSystem
from fintokenx.kernel.bus import Fact, InStep, Reactions
from fintokenx.kernel.caller import system
from fintokenx.parties import partner


class _Nobody(Reactions):
    """A new key is no fact that anybody answers, so those who answer are not loaded; a fact that was told all the same
    would be lost, and is refused."""

    def in_step_with(self, fact: Fact) -> list[InStep]:
        """:raises NotImplementedError: always"""
        raise NotImplementedError(fact.name())

    after = in_step_with  # type: ignore[assignment]


async def create_api_key(of: LocalSystem, tenant_id: str, name: str, scopes: list[str]) -> str:
    """A fresh key; the only time that it is seen."""
    settings = of.settings()
    async with connected(settings, _Nobody(), pool_size=1) as on:
        key_id = on.ids.new("key")
        raw = await partner.raw_api_key(on.vault, settings.environment, tenant_id=tenant_id, key_id=key_id)
        async with on.database.transaction(tenant_id, request_id="cli") as tx:
            caller = system(tenant_id, "cli")
            await partner.create_api_key(tx, caller, key_id=key_id, raw=raw, name=name, scopes=scopes)
        return raw
