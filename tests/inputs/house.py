"""Every route of the platform before a real database, vault, blobs and reader; a header says in which role one calls.

Nothing here runs jobs, and the chain has a single block with nothing in it: what is looked at is what comes in.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import httpx
from fastapi import APIRouter, FastAPI, Request

from fintokenx import audit
from fintokenx.adapters.blobs import DataKeys, EncryptedBlobs
from fintokenx.adapters.documents import TextReader
from fintokenx.adapters.outbound import Circuits
from fintokenx.adapters.sumsub import SumsubClient
from fintokenx.adapters.vault import LocalVault
from fintokenx.app import catalogue, wiring
from fintokenx.app import http as app_http
from fintokenx.app.health import Health
from fintokenx.app.providers import Clients
from fintokenx.audit import http as audit_http
from fintokenx.desks import buyer, explorer
from fintokenx.kernel.bypass import Bypass
from fintokenx.kernel.caller import Caller, Role, system
from fintokenx.kernel.errors import Unauthenticated
from fintokenx.kernel.notes import VerifierKey
from fintokenx.kernel.sealing import Sealer
from fintokenx.kernel.settings import Environment
from fintokenx.lifecycle.chainwork.ports import ChainHead
from fintokenx.lifecycle.explorer import OwnEntries
from fintokenx.lifecycle.explorer.http.services import ExplorerServices
from fintokenx.lifecycle.explorer.ports import Held, WalletEvent
from fintokenx.lifecycle.invoice import http as invoice_http
from fintokenx.lifecycle.tokenisation.ports import Holding
from fintokenx.parties import auth, compliance, kyc, partner
from fintokenx.sandbox import http as sandbox_http
from fintokenx.sandbox.clock import SandboxClock
from fintokenx.web.edge import Edge
from fintokenx.web.services import Services
from tests.modules.parties_house import HERE, ISSUER, NUMBERS, terms
from tests.support import World
from tests.support.fakes.credentials import FixedCredential
from tests.support.fakes.outbound import calm
from tests.support.fakes.signer import ORIGIN, SignerInMemory

ROLES = (
    Role.PARTNER_ADMIN, Role.PLATFORM_ADMIN, Role.MLRO, Role.COMPLIANCE, Role.SELLER, Role.BUYER, Role.LENDER,
    Role.INVESTOR, Role.BROKER,
)  # fmt: skip
STAFF = (Role.MLRO, Role.COMPLIANCE, Role.PLATFORM_ADMIN)


class StillChain:
    """One block, in which nothing has happened."""

    async def head(self) -> ChainHead:
        return ChainHead(1, b"\x00" * 32, 1_780_000_000)

    async def minting_wallet(self) -> str:
        return "0x" + "0" * 40

    async def events(self, block_number: int, wallets: Sequence[str], *, afresh: bool = False) -> list[WalletEvent]:
        return []

    async def held(self, block_number: int, holdings: Sequence[Holding]) -> Mapping[Holding, Held]:
        return {}

    async def follow(self, timestamp: int) -> None:
        """The chain's clock goes with the sandbox's."""

    async def pause(self) -> None:
        """Nothing moves anyway."""

    async def resume(self) -> None:
        """Nothing moves anyway."""


SESSION: Final = "ses_" + "0" * 26


@dataclass
class House:
    """All routes, and somebody in each role."""

    world: World
    app: FastAPI
    client: httpx.AsyncClient
    subjects: dict[Role, str]

    def caller(self, role: Role) -> Caller:
        return Caller(
            HERE, role, self.subjects[role], subject_id=self.subjects[role], session_id=SESSION,
            has_api_key=True, ip="203.0.113.77", aal=2,
        )  # fmt: skip


@asynccontextmanager
async def house_of(world: World, folder: Path, *more: APIRouter) -> AsyncIterator[House]:
    """All routers of the platform, and ``more``."""
    vault = LocalVault(folder / "vault", os.urandom)
    sealer = Sealer(world.database, vault, os.urandom)
    app = app_http.create(
        ids=world.ids, routers=[*wiring.routers(), sandbox_http.router, *more], title="test", version="0",
        environment="local",
    )  # fmt: skip
    sealer_pool, platform = await world.pool("fx_sealer", 2), await world.pool("fx_platform", 1)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client:
        house = House(world, app, client, {})

        async def authenticate(request: Request) -> Caller:
            role = request.headers.get("test-role")
            if role is None:
                raise Unauthenticated
            return house.caller(Role(role))

        log = audit.LogIdentity(await _verifier_key(), 4711, "0x" + "0" * 40)
        app.state.services = _services(world, vault, sealer, authenticate, folder).and_also(
            Bypass(platform, pins=world.pins, clock=world.clock, ids=world.ids),
            audit_http.AuditServices(sealer_pool, log, OwnEntries(StillChain())),  # type: ignore[arg-type]
            Clients({}, Circuits((), clock=world.clock, machine_seconds=time.monotonic)),
        )
        await _people(house, sealer)
        try:
            yield house
        finally:
            await sealer_pool.close()
            await platform.close()
            await app.state.services.of(kyc.KycServices).identity.aclose()


async def _verifier_key() -> VerifierKey:
    return VerifierKey(ORIGIN, await SignerInMemory().public_key())


def _services(world: World, vault: LocalVault, sealer: Sealer, authenticate: object, folder: Path) -> Services:
    chain = StillChain()
    blobs = EncryptedBlobs("memory:///", vault, DataKeys(world.database, vault, os.urandom), os.urandom)
    authenticator = auth.Authenticator(world.database, vault, world.clock, Environment.LOCAL, ISSUER)
    secret = FixedCredential("secret")
    identity = SumsubClient("http://sumsub.example", secret, secret, secret, clock=world.clock, guard=calm())
    sandbox = sandbox_http.SandboxServices(
        SandboxClock(folder / "clock"), chain, {}, open_to_all=True, session_life=auth.SESSION_LIFE,  # type: ignore[arg-type]
    )  # fmt: skip
    return Services(
        Edge(world.database, world.ids, authenticate, b"fingerprint key of tests"),  # type: ignore[arg-type]
        auth.AuthServices(authenticator.tokens, sealer, sealer),
        partner.PartnerServices(vault, Environment.LOCAL),
        compliance.ComplianceServices(sealer, catalogue.SEALED),
        kyc.KycServices(identity, None, sealer, blobs),  # type: ignore[arg-type]
        invoice_http.InvoiceServices(blobs, TextReader(), sealer, b"test" * 8, buyer.page_content),
        buyer.BuyerServices(blobs, sealer),
        ExplorerServices(chain, sealer, ISSUER),  # type: ignore[arg-type]
        explorer.ExplorerPageServices(chain, sealer),  # type: ignore[arg-type]
        Health({}),
        sandbox,
    )


async def _people(house: House, sealer: Sealer) -> None:
    """The tenant, and a subject in every role."""
    seed, database = system(HERE, "seed"), house.world.database
    async with database.transaction(HERE) as tx:
        await partner.open_tenant(tx, seed, terms=terms())
    for role in ROLES:
        subject_id = house.world.ids.new("sub")
        email = f"{role}@acme.example"
        person = auth.SealedPerson(
            await sealer.seal(HERE, subject_id, "representative_name", "Ada Byron"),
            await sealer.seal(HERE, subject_id, "email", email),
            await auth.email_index_of(sealer, tenant_id=HERE, email=email),
        )
        async with database.transaction(HERE) as tx:
            if role in STAFF:
                made = await auth.create_staff(
                    tx, seed, subject_id=subject_id, role=role, employer="FinToken X Ltd", person=person
                )
            else:
                made = await auth.create_subject(
                    tx, seed, subject_id=subject_id, role=role, legal_name="Acme Ltd", company_number=next(NUMBERS),
                    person=person,
                )  # fmt: skip
        house.subjects[role] = made.id
    async with database.transaction(HERE) as tx:  # the sign-in that all of them show
        row = {
            "tenant_id": HERE, "id": SESSION, "subject_id": made.id, "aal": 2, "state": "ACTIVE", "created_at": tx.at,
            "expires_at": tx.at + timedelta(days=1), "revoked_at": None,
        }  # fmt: skip
        move = audit.Changes((audit.insert("sessions", row),))
        await audit.change(tx, house.caller(role), action="SESSION_OPEN", resource=made.id, move=move)
