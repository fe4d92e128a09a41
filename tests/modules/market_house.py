"""A market for the tests: a tenant with parties, tokens, listings and routes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from fintokenx import audit
from fintokenx.app import http as app_http
from fintokenx.kernel.bus import Reactions
from fintokenx.kernel.caller import Role
from fintokenx.kernel.db import Tx
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle import invoice, marketplace
from fintokenx.lifecycle.marketplace import http as marketplace_http
from fintokenx.lifecycle.marketplace.reactions import AFTERWARDS
from fintokenx.parties import auth
from fintokenx.parties.auth import http as auth_http
from fintokenx.web.edge import Edge
from fintokenx.web.services import Services
from tests.modules.paper import SYSTEM, Paper, caller_of, token_moved, wallet
from tests.modules.parties_house import HERE, House, house
from tests.support import World, names, world_from


@dataclass
class Market:
    """A seller's paper, lenders, and the routes."""

    house: House
    paper: Paper
    lender: auth.Subject
    client: httpx.AsyncClient
    wallets: dict[str, str] = field(default_factory=dict)

    @property
    def world(self) -> World:
        return self.house.world

    async def list_one(
        self,
        *,
        face_pence: int = 100_000,
        discount_bps: int = 200,
        days: int = 60,
        invited: tuple[str, ...] | None = None,
    ) -> marketplace.Listing:
        """A listing of a fresh invoice."""
        reference, token = await self.paper.invoice(face_pence=face_pence, discount_bps=discount_bps, days=days)
        async with self.world.database.transaction(HERE) as tx:
            await marketplace.open_listing(
                tx, SYSTEM, invoice_reference=reference, token_reference=token, invited=invited
            )
            return await marketplace.listing_of(tx, SYSTEM, invoice_reference=reference)

    async def limit(
        self, *, cap: int | None = None, days: int | None = None, bps: int | None = None, lender: Any = None
    ) -> None:
        """Set a lender's filter."""
        async with self.world.database.transaction(HERE) as tx:
            await marketplace.set_filter(
                tx,
                caller_of(lender or self.lender),
                max_tenor_days=days,
                min_discount_bps=bps,
                concentration_cap=None if cap is None else Pence(cap),
            )

    async def commit(self, listing: marketplace.Listing, lender: auth.Subject | None = None) -> None:
        """Take it, as settlement's command does."""
        who = lender or self.lender
        async with self.world.database.transaction(HERE) as tx:
            caller = caller_of(who)
            move = await marketplace.committed(tx, caller, listing_id=listing.id, lender_subject_id=who.id)
            move += await invoice.committed(tx, caller, reference=listing.invoice_reference)
            await audit.change(tx, caller, action="FUND_COMMIT", resource=listing.invoice_reference, move=move)

    async def fund(self, listing: marketplace.Listing) -> None:
        """The token is the lender's and the money final: one entry."""
        async with self.world.database.transaction(HERE) as tx:
            await self.fund_in(tx, listing)

    async def fund_in(self, tx: Tx, listing: marketplace.Listing) -> None:
        if self.lender.id not in self.wallets:
            self.wallets[self.lender.id] = await wallet(tx, self.lender)
        holder = {"holder_subject_id": self.lender.id, "holder_wallet": self.wallets[self.lender.id]}
        move = await marketplace.closed(tx, SYSTEM, listing_id=listing.id)
        move += await invoice.funded(tx, SYSTEM, reference=listing.invoice_reference)
        move += audit.Changes((token_moved(listing.token_reference, "MINTED", "HELD", **holder),))
        await audit.change(tx, SYSTEM, action="FUND_INVOICE", resource=listing.invoice_reference, move=move)

    async def give_back(self, listing: marketplace.Listing, action: str) -> None:
        async with self.world.database.transaction(HERE) as tx:
            move = await marketplace.reopened(tx, SYSTEM, listing_id=listing.id, action=action)
            refunded = action == "FIAT_REFUND"
            move += await invoice.released(tx, SYSTEM, reference=listing.invoice_reference, refunded=refunded)
            await audit.change(tx, SYSTEM, action=action, resource=listing.invoice_reference, move=move)

    async def seen_by(self, viewer: auth.Subject, tenant_id: str = HERE) -> list[str]:
        """The ids in the viewer's list."""
        async with self.world.database.transaction(tenant_id) as tx:
            return [found.id for found in await marketplace.visible_to(tx, caller_of(viewer))]

    async def state_of(self, listing: marketplace.Listing) -> tuple[str, str | None]:
        async with self.world.database.transaction(HERE) as tx:
            now = await marketplace.listing(tx, SYSTEM, listing_id=listing.id)
            return now.state, now.committed_by

    async def signed_in(self, subject: auth.Subject, email: str) -> dict[str, str]:
        """Headers of a session of this subject."""
        return {"authorization": f"Bearer {await self.house.token(subject, email)}", "fx-request-id": "req-the-same"}

    async def trail(self, resource: str) -> list[str]:
        async with self.world.database.transaction(HERE) as tx:
            return names(await audit.entries_of(tx, SYSTEM, resources=[resource]))


@pytest.fixture
async def market(cluster: str, template: str, tmp_path: Path) -> AsyncIterator[Market]:
    async with world_from(cluster, template, reactions=Reactions(afterwards=AFTERWARDS), pool_size=12) as world:
        made = house(world, tmp_path)
        await made.open_tenants()
        seller, buyer = (
            await made.subject(Role.SELLER, "s@oak.example"),
            await made.subject(Role.BUYER, "b@elm.example"),
        )
        lender = await made.subject(Role.LENDER, "l@ash.example")
        app = app_http.create(
            ids=world.ids,
            routers=[marketplace_http.router],
            title="t",
            version="1",
            environment="local",
            swagger_ui=None,
        )
        app.state.services = Services(
            Edge(world.database, world.ids, auth_http.authentication(made.authenticator), b"fingerprint key of tests")
        )
        transport = httpx.ASGITransport(app=app)
        async with made.client, httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield Market(made, Paper(world, seller, buyer), lender, client)
