"""An archive of sealed entries for the tests of trails and proofs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

from fintokenx import audit
from fintokenx.app import catalogue
from fintokenx.app import http as app_http
from fintokenx.audit import http as audit_http
from fintokenx.kernel.caller import Caller, Role, system
from fintokenx.kernel.db import Pool
from fintokenx.web.edge import Edge
from fintokenx.web.services import Services
from tests.support import World
from tests.support.fakes.anchors import AnchorsInMemory
from tests.support.fakes.signer import ORIGIN, SignerInMemory

HERE, THERE = "tnt_a", "tnt_b"

PLATFORM = system(HERE, "test")

SUBJECT = "sub_seller"

RECORDERS = {action.name: action.roles[0] for action in catalogue.ACTIONS}


@dataclass
class Archive:
    """Two tenants' records, the routes, and whoever is calling."""

    world: World
    sealer: Pool
    anchors: AnchorsInMemory
    app: FastAPI
    client: httpx.AsyncClient
    calling: list[Caller] = field(default_factory=lambda: [PLATFORM])

    async def record(self, *actions: str, tenant_id: str = HERE, resource: str = SUBJECT) -> list[str]:
        """Entries without rows, each in a transaction of its own; returns their ids."""
        made = []
        for action in actions:
            caller = Caller(tenant_id, RECORDERS[action], f"{RECORDERS[action]}:test")
            async with self.world.database.transaction(tenant_id) as tx:
                made.append(await audit.change(tx, caller, action=action, resource=resource, move=audit.Changes()))
        return made

    async def anchored(self) -> None:
        """Seal, sign and anchor."""
        await audit.seal(self.sealer, self.world.clock.now())
        await audit.sign_sealed(self.sealer, SignerInMemory(), ORIGIN, AnchorsInMemory())
        await audit.anchor_sealed(self.sealer, self.anchors, self.world.clock.now)

    async def get(self, path: str, role: Role, tenant_id: str = HERE, **query: Any) -> httpx.Response:
        self.calling[0] = Caller(tenant_id, role, f"{role}:test", subject_id=SUBJECT)
        return await self.client.get(path, params=query, headers={"fx-request-id": "req-the-same"})

    async def trail(self, role: Role) -> list[str]:
        page = await self.get("/v1/audit/entries", role, resource=SUBJECT)
        return [entry["action"] for entry in page.json()["items"]]


@pytest.fixture
async def archive(world: World) -> AsyncIterator[Archive]:
    calling = [PLATFORM]

    async def authenticate(_request: Request) -> Caller:
        return calling[0]

    app = app_http.create(
        ids=world.ids, routers=[audit_http.router], title="t", version="1", environment="local", swagger_ui=None
    )
    sealer = await world.pool("fx_sealer")
    app.state.services = Services(
        Edge(world.database, world.ids, authenticate, b"fingerprint key of tests"),
        audit_http.AuditServices(sealer, SignerInMemory().log),
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
        yield Archive(world, sealer, AnchorsInMemory(), app, client, calling)
    await sealer.close()
