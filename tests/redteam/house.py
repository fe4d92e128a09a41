"""A system on a test's own database, its API in this process, and runs of the red team against it."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import asyncpg
import httpx
from fastapi import APIRouter

from fintokenx.adapters.chain import Deployment
from fintokenx.adapters.vault import LocalVault
from fintokenx.app import providers, provision, redteam, wiring
from fintokenx.app.modules import MODULES
from fintokenx.app.parts import Parts
from fintokenx.app.redteam import session
from fintokenx.kernel.settings import Environment, Settings
from fintokenx.web.module import Module
from tests.support import PASSWORD, ROLES, World, hold_to_declared_rows, world_from

PIN_KEY = b"p" * 32
"""What tests/support/harness/database.py signs pins with."""
NOWHERE = "http://127.0.0.1:9"
"""Nobody listens there: the outside systems are away, and no attack needs them."""
START = datetime(2026, 6, 2, 9, tzinfo=UTC)


@dataclass
class House:
    """One system."""

    world: World
    settings: Settings
    transport: httpx.AsyncBaseTransport
    state: Any
    """``app.state`` of the API."""

    async def play(self, *only: str) -> dict[str, redteam.Result]:
        """Play the attacks of these ids and families (all when none is named), by id."""
        results = await redteam.play(self.settings, redteam.chosen(only), transport=self.transport)
        return {result.attack.id: result for result in results}

    async def bypass(self, *only: str) -> session.Done:
        """The whole run, with report and archive."""
        return await session.bypass(self.settings, redteam.chosen(only), transport=self.transport)

    async def plant(self, hole: str) -> None:
        """Make a hole, as the superuser."""
        connection = await self.world.connect("postgres")
        try:
            await connection.execute(hole)
        finally:
            await connection.close()

    async def superuser(self) -> asyncpg.Connection:
        """For looking."""
        return await self.world.connect("postgres")


def provider_settings() -> list[str]:
    """The settings that hold an address of a provider."""
    return [provider.setting for provider in providers.PROVIDERS if provider.setting.endswith("_url")]


async def _vault(folder: Path) -> None:
    vault = LocalVault(folder, os.urandom)
    await provision.credentials(vault)
    for role in ROLES:
        await vault.put_secret(provision.password_of(role), PASSWORD)
    await vault.put_secret(provision.PIN_KEY, PIN_KEY.hex())


def _settings(world: World, folder: Path, addresses: Mapping[str, str]) -> Settings:
    host = world.admin_dsn.rsplit("@", 1)[1].rsplit("/", 1)[0]
    nobody = "0x" + "00" * 20
    names = Deployment.__dataclass_fields__.keys() - {"chain_id", "rules", "from_block"}
    deployment = Deployment(chain_id=1, rules={}, **dict.fromkeys(names, nobody))
    deployment.save(folder / "deployment.json")
    (folder / "blobs").mkdir()
    (folder / "clock.json").write_text(json.dumps({}))
    return Settings(
        environment=Environment.LOCAL,
        public_url="http://test",
        listen_host="127.0.0.1",
        listen_port=0,
        database_url=f"postgresql://{host}/{world.name}",
        vault=f"file:{folder / 'vault'}",
        blobs_url=f"file://{folder / 'blobs'}",
        chain_rpc_urls=(NOWHERE,),
        chain_id=1,
        chain_deployment=str(folder / "deployment.json"),
        smtp_host="127.0.0.1",
        smtp_port=9,
        **{**dict.fromkeys(provider_settings(), NOWHERE), **addresses},
    )


@asynccontextmanager
async def house(
    cluster: str,
    template: str,
    folder: Path,
    *,
    routers: Sequence[APIRouter] = (),
    addresses: Mapping[str, str] = MappingProxyType({}),
    modules: Sequence[Module[Parts]] = MODULES,
) -> AsyncIterator[House]:
    """A system with its two tenants open. ``routers`` are further routes, for holes in the API; ``addresses`` those of
    providers that are there."""
    async with world_from(cluster, template) as world:
        await hold_to_declared_rows(world)
        await world.tell_mined("0x000000000000000000000000000000000000Ab01", 0)
        await _vault(folder / "vault")
        settings = _settings(world, folder, addresses)
        async with wiring.base(settings, pool_size=2) as on:
            await provision.tenants(on.database)
        app = wiring.create_app(settings, modules=modules)
        for router in routers:
            app.include_router(router)
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
            yield House(world, settings, transport, app.state)
