"""A small installation for the tests of partner and auth: two tenants, a vault, a sealer and the two routers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from fastapi import APIRouter

from fintokenx.adapters.vault.local import LocalVault
from fintokenx.app import http as application
from fintokenx.kernel.caller import Role, system
from fintokenx.kernel.sealing import Sealer
from fintokenx.kernel.settings import Environment
from fintokenx.kernel.vault import VaultUnavailable
from fintokenx.parties import auth, partner
from fintokenx.parties.auth import http as auth_http
from fintokenx.parties.partner import http as partner_http
from fintokenx.web.edge import Edge
from fintokenx.web.services import Services
from tests.support import World

HERE, THERE = "tnt_fintokenx", "tnt_mercia"
ISSUER = "https://sandbox.fintokenx.example"
NUMBERS = iter(f"{number:08d}" for number in range(1, 100_000_000))


def terms(name: str = "FinToken X") -> partner.TenantTerms:
    """What is agreed with a tenant of the tests."""
    return partner.TenantTerms(
        display_name=name,
        custom_domain=None,
        theme={"primary": "#123456"},
        plan="partner",
        scope_rules={"invoices": True, "funding": True},
        mail_from="invoices@fintokenx.example",
        collections=partner.CollectionsAccount("FinToken X Collections", "040004", "12345678"),
        asking_discount_bps=180,
    )


async def open_tenant(world: World, tenant_id: str) -> None:
    """A tenant that rows can belong to."""
    async with world.database.transaction(tenant_id) as tx:
        await partner.open_tenant(tx, system(tenant_id, "seed"), terms=terms())


async def away(*_: object) -> bytes:
    """In place of what a vault does."""
    raise VaultUnavailable("away")


@dataclass
class House:
    """The installation; ``client`` talks to its routes."""

    world: World
    vault: LocalVault
    sealer: Sealer
    authenticator: auth.Authenticator
    client: httpx.AsyncClient
    keys: int = 0

    async def open_tenants(self) -> None:
        """Both tenants, as the CLI opens them."""
        for tenant_id in (HERE, THERE):
            await open_tenant(self.world, tenant_id)

    async def api_key(self, tenant_id: str = HERE, *scopes: str) -> str:
        """A raw API key; may do everything unless told otherwise."""
        key_id = self.world.ids.new("key")
        raw = await partner.raw_api_key(self.vault, Environment.LOCAL, tenant_id=tenant_id, key_id=key_id)
        async with self.world.database.transaction(tenant_id) as tx:
            await partner.create_api_key(
                tx, system(tenant_id, "seed"), key_id=key_id, raw=raw, name="test", scopes=scopes or ("*",)
            )
        return raw

    async def person(self, subject_id: str, email: str, tenant_id: str = HERE) -> auth.SealedPerson:
        """A sealed representative."""
        return auth.SealedPerson(
            representative_name_sealed=await self.sealer.seal(
                tenant_id, subject_id, "representative_name", "Ada Byron"
            ),
            email_sealed=await self.sealer.seal(tenant_id, subject_id, "email", email),
            email_index=await auth.email_index_of(self.sealer, tenant_id=tenant_id, email=email),
        )

    async def subject(self, role: Role, email: str, tenant_id: str = HERE) -> auth.Subject:
        """A company with a representative; staff for a role of staff."""
        subject_id = self.world.ids.new("sub")
        person = await self.person(subject_id, email, tenant_id)
        seed = system(tenant_id, "seed")
        async with self.world.database.transaction(tenant_id) as tx:
            if role in (Role.MLRO, Role.COMPLIANCE, Role.PLATFORM_ADMIN):
                return await auth.create_staff(
                    tx, seed, subject_id=subject_id, role=role, employer="FinToken X Ltd", person=person
                )
            return await auth.create_subject(
                tx,
                seed,
                subject_id=subject_id,
                role=role,
                legal_name="Ada Byron Engines Ltd",
                company_number=next(NUMBERS),
                person=person,
            )

    async def code(self, subject: auth.Subject) -> str:
        """The code that the mail to this subject would carry."""
        async with self.world.database.transaction(subject.tenant_id) as tx:
            return await auth.issue_login_code(tx, system(subject.tenant_id, "mail"), subject_id=subject.id)

    async def post(self, path: str, body: object, **headers: str) -> httpx.Response:
        """POST with a fresh idempotency key unless one is given."""
        self.keys += 1
        sent = {"fx-idempotency-key": f"k{self.keys}", **{n.replace("_", "-"): v for n, v in headers.items()}}
        return await self.client.post(path, json=body, headers=sent)

    async def token(self, subject: auth.Subject, email: str) -> str:
        """Sign in through the routes; the access token."""
        body = {"email": email, "code": await self.code(subject)}
        answer = await self.post("/v1/sessions", body, fx_api_key=await self.api_key(subject.tenant_id))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["access_token"])


def house(world: World, folder: Path, *more: APIRouter, services: Sequence[object] = ()) -> House:
    """An installation on this test's database; tenants are not open yet. ``more`` routers find ``services``."""
    vault = LocalVault(folder / "vault", os.urandom)
    sealer = Sealer(world.database, vault, os.urandom)
    authenticator = auth.Authenticator(world.database, vault, world.clock, Environment.LOCAL, ISSUER)
    routers = [partner_http.router, auth_http.router, *more]
    app = application.create(ids=world.ids, routers=routers, title="tests", version="1", environment="local")
    app.state.services = Services(
        Edge(world.database, world.ids, auth_http.authentication(authenticator), b"fingerprint key of tests"),
        partner.PartnerServices(vault, Environment.LOCAL),
        auth.AuthServices(authenticator.tokens, sealer, sealer),
        *services,
    )

    client = httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://test", headers={"fx-request-id": "req_test"}
    )
    return House(world, vault, sealer, authenticator, client)
