"""A town with a real chain and the routes of tokenisation and audit in front of it; somebody is calling."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import httpx
from fastapi import FastAPI, Request

from fintokenx import audit
from fintokenx.adapters.chain import HistoryClient, Rpc, StateClient
from fintokenx.app import http as app_http
from fintokenx.audit import http as audit_http
from fintokenx.desks import explorer
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Pool
from fintokenx.lifecycle import tokenisation
from fintokenx.lifecycle.chainwork.ports import ChainHead
from fintokenx.lifecycle.explorer import OwnEntries
from fintokenx.lifecycle.explorer import http as explorer_http
from fintokenx.lifecycle.explorer.http.services import ExplorerServices
from fintokenx.lifecycle.explorer.ports import Held, WalletEvent
from fintokenx.lifecycle.tokenisation import http as routes
from fintokenx.lifecycle.tokenisation.ports import Holding
from fintokenx.sandbox.processes import free_port
from fintokenx.web.edge import Edge
from fintokenx.web.services import Services
from tests.modules.tokens_house import TENANT, Hashes
from tests.reconciliation.house import Town, town_in
from tests.support import World
from tests.support.fakes.anchors import AnchorsInMemory
from tests.support.fakes.signer import ORIGIN, SignerInMemory

URL: Final = "https://fx.example"
REFERENCE: Final = "FXR-INV-00000"
"""A token that nobody has."""
ROUTES: Final = (
    "/v1/explorer/holdings",
    "/v1/explorer/holdings/{reference}",
    "/v1/explorer/transfers",
    "/v1/explorer/transfers?token_reference={reference}",
)


@dataclass
class Watched:
    """The real history, seen to be asked only while no transaction is open; it can hide the newest logs once, as a
    node does that lags behind."""

    real: HistoryClient
    pool: Pool
    asked: list[str] = field(default_factory=list)
    lag_once: bool = False
    one_at_a_time: bool = True
    """Whether a connection that is out can only be the asker's own."""

    def _look(self, what: str) -> None:
        self.asked.append(what)
        if not self.one_at_a_time:
            return
        busy = self.pool.get_size() - self.pool.get_idle_size()
        assert busy == 0, f"{what} is asked of the chain while {busy} connections are out"

    async def head(self) -> ChainHead:
        self._look("head")
        return await self.real.head()

    async def minting_wallet(self) -> str:
        return await self.real.minting_wallet()

    async def events(self, block_number: int, wallets: Sequence[str], *, afresh: bool = False) -> list[WalletEvent]:
        self._look("events afresh" if afresh else "events")
        found = await self.real.events(block_number, wallets, afresh=afresh)
        if self.lag_once and not afresh:
            return found[:-1]
        return found

    async def held(self, block_number: int, holdings: Sequence[Holding]) -> Mapping[Holding, Held]:
        self._look("held")
        return await self.real.held(block_number, holdings)


@dataclass
class Window:
    """Somebody looks into the town through HTTP."""

    town: Town
    chain: Watched
    client: httpx.AsyncClient
    anchors: AnchorsInMemory
    sealer: Pool
    calling: list[Caller]
    app: FastAPI

    @property
    def world(self) -> World:
        return self.town.world

    def lender(self, number: int) -> Caller:
        return holder(self.town.lenders[number])

    async def get(self, caller: Caller, path: str, **query: Any) -> httpx.Response:
        self.calling[0] = caller
        return await self.client.get(path, params=query or None, headers={"fx-request-id": "req-the-same"})

    async def post(self, caller: Caller, path: str, *, key: str = "k") -> httpx.Response:
        self.calling[0] = caller
        return await self.client.post(path, headers={"FX-Idempotency-Key": key, "fx-request-id": "req-the-same"})

    async def holdings(self, caller: Caller, **query: Any) -> list[dict[str, Any]]:
        return await self._items(caller, "holdings", query)

    async def transfers(self, caller: Caller, **query: Any) -> list[dict[str, Any]]:
        return await self._items(caller, "transfers", query)

    async def _items(self, caller: Caller, what: str, query: dict[str, Any]) -> list[dict[str, Any]]:
        answer = await self.get(caller, f"/v1/explorer/{what}", **query)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["items"]
        return found

    @asynccontextmanager
    async def nobody_listens(self) -> AsyncIterator[None]:
        """The explorer asks a node that is not there."""
        real, rpc = self.chain.real, Rpc([f"http://127.0.0.1:{free_port()}"])
        self.chain.real = HistoryClient(rpc, self.town.deployment, StateClient(rpc, self.town.deployment))
        try:
            yield
        finally:
            self.chain.real = real
            await rpc.aclose()

    async def seal(self) -> None:
        """Seal, sign and anchor, as every ten minutes."""
        await audit.seal(self.sealer, self.world.clock.now())
        await audit.sign_sealed(self.sealer, SignerInMemory(), ORIGIN, AnchorsInMemory())
        await audit.anchor_sealed(self.sealer, self.anchors, self.world.clock.now)

    async def held(self, number: int) -> tokenisation.Token:
        """A token in a lender's wallet."""
        return await self.town.held(self.town.lenders[number])

    async def burned(self, token: tokenisation.Token) -> None:
        await self.town.request_burn(token)
        await self.town.house.until_idle()

    async def session_of(self, caller: Caller) -> Caller:
        """The same, signed in."""
        session_id = self.world.ids.new("ses")
        now, life = self.world.clock.now(), timedelta(hours=12)
        await self.town.tamper(
            "sessions",
            "insert into app.sessions (tenant_id, id, subject_id, aal, state, created_at, expires_at) values"
            f" ('{TENANT}', '{session_id}', '{caller.subject_id}', 1, 'ACTIVE', '{now}', '{now + life}')",
        )
        return Caller(TENANT, caller.role, caller.actor, subject_id=caller.subject_id, session_id=session_id)


def holder(subject_id: str, role: Role = Role.LENDER, tenant_id: str = TENANT) -> Caller:
    return Caller(tenant_id, role, subject_id, subject_id=subject_id)


@asynccontextmanager
async def window_on(world: World) -> AsyncIterator[Window]:
    """Three lenders, registered."""
    async with town_in(world) as town:
        await town.register(*town.lenders)
        calling = [holder("nobody")]

        async def authenticate(_request: Request) -> Caller:
            return calling[0]

        app = app_http.create(
            ids=world.ids,
            routers=[routes.router, explorer_http.router, audit_http.router, explorer.router],
            title="t",
            version="1",
            environment="local",
        )
        chain = Watched(HistoryClient(town.rpc, town.deployment, town.state), world.app)
        sealer = await world.pool("fx_sealer")
        app.state.services = Services(
            Edge(world.database, world.ids, authenticate, b"fingerprint key of tests"),
            ExplorerServices(chain, Hashes(), URL),
            explorer.ExplorerPageServices(chain, Hashes()),
            audit_http.AuditServices(sealer, SignerInMemory().log, OwnEntries(chain)),
        )
        transport = httpx.ASGITransport(app=app)
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                yield Window(town, chain, client, AnchorsInMemory(), sealer, calling, app)
        finally:
            await sealer.close()
