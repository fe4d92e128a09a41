"""Administrators with their sessions, for the tests of what they may do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from fintokenx.audit import http as audit_http
from fintokenx.desks import operations
from fintokenx.desks.buyer import page_content
from fintokenx.kernel.bypass import Bypass
from fintokenx.kernel.caller import Role
from fintokenx.kernel.jobs import Worker
from fintokenx.lifecycle.invoice import http as invoice_http
from fintokenx.parties import auth
from fintokenx.parties.auth.jobs import JOBS
from fintokenx.parties.kyc import http as kyc_http
from tests.database.things import all_entries
from tests.modules.invoice_house import House as InvoiceHouse
from tests.modules.invoice_house import OneAtATime, invoice_house
from tests.modules.parties_house import House, house
from tests.modules.signed_in import Person
from tests.support import World

REASON = "The customer asked by phone, ticket 4711"

NOW = datetime.fromisoformat("2026-06-16T09:00:00Z")


@dataclass
class Office:
    """Two administrators, signed in with two factors, and an installation with customers in two tenants."""

    invoices: InvoiceHouse
    house: House
    bypass: Bypass
    ann: Person
    bob: Person

    @property
    def world(self) -> World:
        return self.house.world

    async def post(self, bearer: str, path: str, body: object = None) -> httpx.Response:
        return await self.house.post(path, body, authorization=f"Bearer {bearer}")

    async def get(self, bearer: str, path: str) -> httpx.Response:
        return await self.house.client.get(path, headers={"authorization": f"Bearer {bearer}"})

    async def request(self, subject: auth.Subject, purpose: str = "ACT", **changes: Any) -> httpx.Response:
        body = {"tenant_id": subject.tenant_id, "on_behalf_of": subject.id, "purpose": purpose, "reason": REASON}
        return await self.ann.post("/v1/admin/sessions", body | changes)

    async def step(self, who: Person, session: dict[str, Any], step: str) -> httpx.Response:
        return await who.post(f"/v1/admin/sessions/{session['id']}/{step}", {"tenant_id": session["tenant_id"]})

    async def approved(self, subject: auth.Subject, purpose: str = "ACT") -> dict[str, Any]:
        session: dict[str, Any] = (await self.request(subject, purpose)).json()
        answer = await self.step(self.bob, session, "approve")
        assert answer.status_code == 200, answer.text
        return session

    async def opened(self, subject: auth.Subject, purpose: str = "ACT") -> dict[str, Any]:
        """An open session of ann's with its token."""
        answer = await self.step(self.ann, await self.approved(subject, purpose), "open")
        assert answer.status_code == 200, answer.text
        session: dict[str, Any] = answer.json()
        return session

    async def look_up(self, bearer: str, question: str, reference: str) -> httpx.Response:
        return await self.post(bearer, "/v1/admin/lookups", {"question": question, "reference": reference})

    async def entries(self, *actions: str) -> list[Any]:
        return [row for row in await all_entries(self.world) if row["action"] in actions]

    async def work(self) -> None:
        """Let the jobs of auth that are due run."""
        claims = await self.world.pool("fx_worker")
        worker = Worker(
            claims=claims, database=self.world.database, jobs=JOBS, periodic=(), clock=self.world.clock,
            ids=self.world.ids, poll_seconds=0.02,
        )  # fmt: skip
        running = asyncio.create_task(worker.run())
        try:
            async with asyncio.timeout(30):
                while await self.invoices.rows(DUE, self.world.clock.now()):
                    await asyncio.sleep(0.05)
        finally:
            worker.stop()
            await running
            await claims.close()

    def time_passes(self, **much: int) -> None:
        self.world.clock.set(self.world.clock.now() + timedelta(**much))


DUE = "select id from ops.jobs where state = 'READY' and name = 'auth.expire_admin_session' and run_at <= $1"


async def signed_in(at: House, name: str) -> Person:
    """An administrator at assurance level 2."""
    email = f"{name}@fintokenx.example"
    subject = await at.subject(Role.PLATFORM_ADMIN, email)
    person = Person(at, subject, await at.token(subject, email))
    await person.add()
    assert (await person.confirm(person.code())).status_code == 200
    answer = await person.step_up(person.code(steps=1))
    assert answer.status_code == 201
    person.bearer = answer.json()["access_token"]
    return person


@pytest.fixture
async def office(cluster: str, template: str, tmp_path: Path) -> AsyncIterator[Office]:
    async with invoice_house(cluster, template, tmp_path, OneAtATime()) as invoices:
        world = invoices.world
        world.clock.set(NOW)
        platform = await world.pool("fx_platform", 1)
        bypass = Bypass(platform, pins=world.pins, clock=world.clock, ids=world.ids)
        at = house(
            world, tmp_path, invoice_http.router, kyc_http.router, audit_http.router, operations.router,
            services=(
                invoice_http.InvoiceServices(
                    invoices.blobs, invoices.reader, invoices.sealer, b"test" * 8, page_content
                ),
                bypass,
            ),
        )  # fmt: skip
        at.keys = 1000  # the other house counts from one
        yield Office(invoices, at, bypass, await signed_in(at, "ann"), await signed_in(at, "bob"))
        await platform.close()
        await at.client.aclose()


def said(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, str(answer.json().get("code", ""))
