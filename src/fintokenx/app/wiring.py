"""The whole platform on one page: providers, reactions, jobs, routes, and how they are handed to each other."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
from fastapi import FastAPI

import fintokenx.audit.http as audit_http
import fintokenx.lifecycle.invoice.http as invoice_http
import fintokenx.lifecycle.ledger.http as ledger_http
import fintokenx.lifecycle.marketplace.http as marketplace_http
import fintokenx.lifecycle.settlement.http as settlement_http
import fintokenx.lifecycle.tokenisation.http as tokenisation_http
import fintokenx.parties.auth.http as auth_http
import fintokenx.parties.compliance.http as compliance_http
import fintokenx.parties.kyc.http as kyc_http
import fintokenx.parties.partner.http as partner_http
import fintokenx.sandbox.http as sandbox_http
from fintokenx import audit
from fintokenx.adapters.ais import OpenBankingClient
from fintokenx.adapters.blobs import TENANT_KEYS, DataKeys, EncryptedBlobs
from fintokenx.adapters.chain import (
    MINTING_WALLET,
    AnchorClient,
    ChainClient,
    Deployment,
    HistoryClient,
    Rpc,
    StateClient,
    client_context,
)
from fintokenx.adapters.complyadvantage import ComplyAdvantageClient
from fintokenx.adapters.documents import IsolatedReader
from fintokenx.adapters.fps import ClearBankClient
from fintokenx.adapters.mail import SmtpMailer
from fintokenx.adapters.sumsub import SumsubClient
from fintokenx.app import catalogue, health
from fintokenx.app import http as app_http
from fintokenx.app.base import Base, connected, open_clock, pool_of
from fintokenx.app.checkpoint_signer import VaultSigner
from fintokenx.app.provision import (
    CHAIN_CLIENT_KEY,
    CLEARBANK_SIGNING_KEY,
    FINGERPRINT_KEY,
    PROVIDER_SECRETS,
    REFERENCE_KEY,
)
from fintokenx.audit.jobs import AuditJobs, SampleJob
from fintokenx.desks import buyer, explorer, operations
from fintokenx.kernel import jobs, rewrapping
from fintokenx.kernel.bus import Reactions
from fintokenx.kernel.bypass import Bypass
from fintokenx.kernel.credentials import VaultCredential, fetch
from fintokenx.kernel.db import Pool
from fintokenx.kernel.edge import Edge
from fintokenx.kernel.ids import Ids
from fintokenx.kernel.notes import VerifierKey
from fintokenx.kernel.jobs.periodic import OpenTenants, Periodic
from fintokenx.kernel.sealing import SUBJECT_KEYS, Sealer
from fintokenx.kernel.settings import Environment, Settings
from fintokenx.kernel.vault import Vault
from fintokenx.lifecycle import tokenisation
from fintokenx.lifecycle.invoice import reactions as invoice_reactions
from fintokenx.lifecycle.invoice.jobs import InvoiceJobs
from fintokenx.lifecycle.marketplace import reactions as marketplace_reactions
from fintokenx.lifecycle.marketplace.jobs import HANDLERS as MARKETPLACE_HANDLERS
from fintokenx.lifecycle.settlement import reactions as settlement_reactions
from fintokenx.lifecycle.settlement.jobs import SettlementJobs
from fintokenx.lifecycle.tokenisation import reactions as tokenisation_reactions
from fintokenx.lifecycle.tokenisation.http.services import ExplorerServices
from fintokenx.lifecycle.tokenisation.jobs import TokenisationJobs, gaps
from fintokenx.lifecycle.tokenisation.jobs.blocks import BlockWatch
from fintokenx.lifecycle.tokenisation.jobs.reconciling import ReconciliationJob
from fintokenx.observers.notification import reactions as notification_reactions
from fintokenx.observers.notification.jobs import NotificationJobs
from fintokenx.parties import auth, compliance, kyc, partner
from fintokenx.parties.auth.jobs import HANDLERS as AUTH_HANDLERS
from fintokenx.parties.compliance import reactions as compliance_reactions
from fintokenx.parties.kyc import reactions as kyc_reactions
from fintokenx.sandbox.anvil import ChainControl
from fintokenx.sandbox.clock import SandboxClock

log = structlog.get_logger("fintokenx.app")

VERSION: Final = "0.1.0"
STALL_SECONDS: Final = 10.0
"""A chain with blocks every two seconds that makes none for so long is stalled."""
HOME_TENANT: Final = "tnt_fintokenx"
DEBTOR_ADDRESS: Final = "GB, London, EC2A 4NE, 1 Ledger Row"

REACTING: Final = (
    compliance_reactions,
    kyc_reactions,
    invoice_reactions,
    tokenisation_reactions,
    marketplace_reactions,
    settlement_reactions,
    notification_reactions,
)
"""Who answers whom: docs/reactions.md is printed from these."""

ROUTERS: Final = (
    health.router,
    partner_http.router,
    auth_http.router,
    compliance_http.router,
    kyc_http.router,
    ledger_http.router,
    invoice_http.router,
    tokenisation_http.router,
    marketplace_http.router,
    settlement_http.router,
    audit_http.router,
    operations.router,
    buyer.router,
    explorer.router,
)


def reactions() -> Reactions:
    """All subscriptions."""
    return Reactions(
        [reaction for module in REACTING for reaction in module.IN_STEP],
        [reaction for module in REACTING for reaction in module.AFTERWARDS],
    )


@asynccontextmanager
async def base(settings: Settings, *, pool_size: int = 16) -> AsyncIterator[Base]:
    """Connected, with everybody who answers a fact listening.

    :raises VaultUnavailable, UnsafeRole: refuses to start
    """
    async with connected(settings, reactions(), pool_size=pool_size) as on:
        yield on


async def log_identity(settings: Settings, vault: Vault) -> audit.LogIdentity:
    """Whose log it is and where it is anchored, as evidence says it."""
    deployment = Deployment.load(Path(settings.chain_deployment))
    key = VerifierKey(settings.log_origin, await VaultSigner(vault).public_key())
    return audit.LogIdentity(key, deployment.chain_id, deployment.audit_anchor)


async def chain_tls(settings: Settings, vault: Vault) -> ssl.SSLContext | None:
    """How to meet the nodes; None where the settings name no certificates, as on a local chain."""
    if not (settings.chain_authorities or settings.chain_client_certificate):
        return None
    key = await fetch(vault, CHAIN_CLIENT_KEY) if settings.chain_client_certificate else ""
    return client_context(
        authorities=settings.chain_authorities, certificate=settings.chain_client_certificate, key_pem=key
    )


@dataclass(frozen=True, slots=True)
class Network:
    """The chain: as tokenisation uses it, as audit does, read at one block, and as it tells of single wallets."""

    chain: ChainClient
    anchors: AnchorClient
    state: StateClient
    history: HistoryClient


@asynccontextmanager
async def network(settings: Settings, vault: Vault) -> AsyncIterator[Network]:
    """Connect to the deployed contracts. :raises BadSettings: the certificates for it are no good"""
    rpc = Rpc(settings.chain_rpc_urls, tls=await chain_tls(settings, vault))
    deployment = Deployment.load(Path(settings.chain_deployment))
    try:
        state = StateClient(rpc, deployment)
        yield Network(
            ChainClient(rpc, vault, deployment),
            AnchorClient(rpc, vault, deployment),
            state,
            HistoryClient(rpc, deployment, state),
        )
    finally:
        await rpc.aclose()


@dataclass(frozen=True, slots=True)
class Outside:
    """The clients of every outside system."""

    network: Network
    blocks: BlockWatch
    identity: SumsubClient
    screening: ComplyAdvantageClient
    payments: ClearBankClient
    accounts: OpenBankingClient
    mailer: SmtpMailer
    reader: IsolatedReader
    blobs: EncryptedBlobs


@asynccontextmanager
async def outside(on: Base) -> AsyncIterator[Outside]:
    """Credentials are fetched here, at boot (P-20); a vault that is down stops the start."""
    settings, vault, clock = on.settings, on.vault, on.clock

    async def sign(message: bytes) -> bytes:
        return await vault.sign_rsa_sha256(CLEARBANK_SIGNING_KEY, message)

    async def credential(name: str) -> VaultCredential:
        found = VaultCredential(vault, name, clock)
        await found.value()
        return found

    async with AsyncExitStack() as stack:
        chain = await stack.enter_async_context(network(settings, vault))
        identity = SumsubClient(
            settings.sumsub_url,
            await credential("sumsub/app-token"),
            await credential("sumsub/app-secret"),
            await credential("sumsub/webhook-secret"),
            clock=clock,
        )
        screening = ComplyAdvantageClient(
            settings.complyadvantage_url, await credential("complyadvantage/api-key"), clock=clock
        )
        payments = ClearBankClient(
            base_url=settings.bank_url,
            token=await credential("bank/clearbank-token"),
            sign=sign,
            debtor_address=DEBTOR_ADDRESS,
        )
        accounts = OpenBankingClient(
            base_url=settings.open_banking_url, token=await credential("bank/open-banking-token"), clock=clock
        )
        for client in (identity, screening, payments, accounts):
            stack.push_async_callback(client.aclose)
        mailer = SmtpMailer(
            host=settings.smtp_host,
            port=settings.smtp_port,
            clock=clock,
            security="none" if settings.environment is Environment.LOCAL else "starttls",
        )
        blobs = EncryptedBlobs(settings.blobs_url, vault, DataKeys(on.database, vault, os.urandom), os.urandom)
        reader = IsolatedReader()
        reader.prepare()
        stack.callback(reader.close)
        coming = BlockWatch(chain.chain, stall_seconds=STALL_SECONDS, machine_seconds=time.monotonic)
        yield Outside(chain, coming, identity, screening, payments, accounts, mailer, reader, blobs)


def handlers(
    on: Base,
    to: Outside,
    sealer: Sealer,
    sealer_pool: Pool,
    auditor_pool: Pool,
    claims: Pool,
    reference_key: bytes,
    open_tenants: OpenTenants,
) -> Mapping[str, jobs.Handler]:
    """Every job of the platform by name. :raises ValueError: two modules own one name"""
    kyc_services = kyc.KycServices(to.identity, to.screening, sealer, to.blobs)
    tokens = operations.OnlyWhileBlocksCome(to.network.chain, to.blocks)
    owned: list[Mapping[str, jobs.Handler]] = [
        AUTH_HANDLERS,
        kyc.handlers(kyc_services),
        InvoiceJobs(to.reader, to.blobs).handlers(),
        TokenisationJobs(
            chain=to.network.chain,
            hashes=sealer,
            reference_key=reference_key,
            minting_wallet_key=MINTING_WALLET,
            stall_seconds=STALL_SECONDS,
            machine_seconds=time.monotonic,
            tell_mined=gaps.tell_mined_with(claims),
            active_holders=auth.active_holders,
        ).handlers(),
        MARKETPLACE_HANDLERS,
        SettlementJobs(to.payments, to.accounts, tokens).handlers(),
        NotificationJobs(to.mailer, sealer, on.settings.public_url).handlers(),
        AuditJobs(sealer_pool, to.network.anchors, on.clock, VaultSigner(on.vault), on.settings.log_origin).handlers(),
        SampleJob(auditor_pool, on.database).handlers(),
        ReconciliationJob(auditor_pool, on.database, to.network.state, open_tenants).handlers(),
        gaps.GapJob(auditor_pool, to.network.chain, gaps.tell_mined_with(claims), time.monotonic).handlers(),
        operations.Watch(
            (
                operations.REDTEAM_OVERDUE,
                operations.credentials_are_young(on.database, on.vault, on.clock, PROVIDER_SECRETS),
            )
        ).handlers(),
        operations.SanctionsConfirmation(on.database, to.screening, to.network.chain, open_tenants).handlers(),
        operations.HaltWatch(to.blocks).handlers(),
        rewrapping.Rewrapping(on.vault, (SUBJECT_KEYS, TENANT_KEYS)).handlers(),
    ]
    found: dict[str, jobs.Handler] = {}
    for module in owned:
        if twice := found.keys() & module.keys():
            raise ValueError(f"jobs with two owners: {sorted(twice)}")
        found.update(module)
    return found


SETTLEMENT_SEEN_WITHIN: Final = timedelta(minutes=15)
"""Money that nobody expects is seen so soon; what somebody expects, within seconds."""
NET_EVERY: Final = timedelta(hours=1)
"""How often a net under lost jobs is drawn where nothing is open."""


def periodic() -> tuple[Periodic, ...]:
    """What falls due by the clock."""
    return (
        Periodic("audit.anchor", audit.SEAL_EVERY, HOME_TENANT),
        Periodic("audit.replay_sample", timedelta(hours=1), HOME_TENANT),
        Periodic("tokenisation.reconcile", timedelta(hours=1), HOME_TENANT),
        Periodic(gaps.JOB, gaps.EVERY, HOME_TENANT),
        *(Periodic(job, every, HOME_TENANT) for job, every in operations.PERIODIC.items()),
        Periodic(rewrapping.JOB, rewrapping.EVERY, each_tenant=True, resting=rewrapping.RESTING),
        Periodic("settlement.collect", timedelta(seconds=5), each_tenant=True, resting=SETTLEMENT_SEEN_WITHIN),
        Periodic("settlement.check_balance", timedelta(minutes=1), each_tenant=True, resting=SETTLEMENT_SEEN_WITHIN),
        Periodic("settlement.resume", timedelta(minutes=5), each_tenant=True, resting=NET_EVERY),
        Periodic("tokenisation.walk", timedelta(minutes=1), each_tenant=True, resting=NET_EVERY),
        Periodic("marketplace.walk", timedelta(minutes=5), each_tenant=True, resting=NET_EVERY),
        Periodic("invoice.fall_due", timedelta(minutes=15), each_tenant=True, resting=NET_EVERY),
    )


def components(on: Base, to: Outside) -> dict[str, health.Component]:
    """What /readyz asks."""

    settings = on.settings
    asked = {
        "sumsub": settings.sumsub_url,
        "complyadvantage": settings.complyadvantage_url,
        "bank": settings.bank_url,
        "open_banking": settings.open_banking_url,
    }
    return {
        "database": health.Component(on.database.healthy, needed=True),
        "vault": health.Component(on.vault.healthy, needed=True),
        "chain": health.Component(to.blocks.healthy, needed=False),
        **{name: health.Component(partial(health.answers, url), needed=False) for name, url in asked.items()},
    }


async def _alive(worker: jobs.Worker) -> bool:
    return worker.alive


def create_app(settings: Settings) -> FastAPI:
    """The platform as one ASGI application; its lifespan connects everything and runs the worker."""
    ids = Ids(open_clock(settings), os.urandom)
    swagger_ui = Path(__file__).resolve().parents[3] / "node_modules" / "swagger-ui-dist"
    sandboxed = settings.environment.has_sandbox_controls and bool(settings.sandbox_clock)
    app = app_http.create(
        ids=ids,
        routers=[*ROUTERS, *([sandbox_http.router] if sandboxed else [])],
        title="FinToken X",
        version=VERSION,
        environment=settings.environment.value,
        swagger_ui=swagger_ui if swagger_ui.is_dir() else None,
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with base(settings) as on, outside(on) as to:
            sealer = Sealer(on.database, on.vault, os.urandom)
            sealer_pool = await pool_of(settings, on.vault, "fx_sealer", size_max=4)
            # One each for the two comparisons that begin on the hour, so that a gap of nonces waits for neither.
            auditor_pool = await pool_of(settings, on.vault, "fx_auditor", size_max=3)
            claims = await pool_of(settings, on.vault, "fx_worker", size_max=4)
            platform = await pool_of(settings, on.vault, "fx_platform", size_max=2)
            reference_key = bytes.fromhex(await fetch(on.vault, REFERENCE_KEY))
            fingerprint_key = bytes.fromhex(await fetch(on.vault, FINGERPRINT_KEY))
            _fill(app, on, to, sealer, sealer_pool, reference_key, fingerprint_key)
            app.state.bypass = Bypass(platform, pins=on.pins, clock=on.clock, ids=on.ids)
            app.state.log = await log_identity(settings, on.vault)
            open_tenants = partial(partner.open_tenants, claims)
            worker = jobs.Worker(
                claims=claims,
                database=on.database,
                handlers=handlers(on, to, sealer, sealer_pool, auditor_pool, claims, reference_key, open_tenants),
                periodic=periodic(),
                open_tenants=open_tenants,
                tell_dead=operations.tell_dead,
                clock=on.clock,
                ids=on.ids,
            )
            running = asyncio.create_task(worker.run())
            app.state.components["worker"] = health.Component(partial(_alive, worker), needed=True)
            log.info("started", environment=settings.environment.value, port=settings.listen_port, version=VERSION)
            try:
                yield
            finally:
                worker.stop()
                await running
                await claims.close()
                await platform.close()
                await sealer_pool.close()
                await auditor_pool.close()

    app.router.lifespan_context = lifespan
    return app


def _fill(
    app: FastAPI,
    on: Base,
    to: Outside,
    sealer: Sealer,
    sealer_pool: Pool,
    reference_key: bytes,
    fingerprint_key: bytes,
) -> None:
    """Put on ``app.state`` what the routes ask for."""
    settings = on.settings
    authenticator = auth.Authenticator(on.database, on.vault, on.clock, settings.environment, settings.public_url)
    state: dict[str, Any] = {
        "edge": Edge(on.database, on.ids, auth_http.authentication(authenticator), fingerprint_key),
        "auth": auth.AuthServices(authenticator.tokens, sealer, sealer),
        "partner": partner.PartnerServices(on.vault, settings.environment),
        "compliance": compliance.ComplianceServices(sealer, catalogue.SEALED),
        "kyc": kyc.KycServices(to.identity, to.screening, sealer, to.blobs),
        "invoice": invoice_http.InvoiceServices(to.blobs, to.reader, sealer, reference_key, buyer.page_content),
        "buyer": buyer.BuyerServices(to.blobs, sealer),
        "explorer": ExplorerServices(to.network.history, sealer, settings.public_url),
        "explorer_page": explorer.ExplorerPageServices(to.network.history, sealer),
        "own_entries": tokenisation.OwnEntries(to.network.history),
        "sealer_pool": sealer_pool,
        "components": components(on, to),
    }
    if settings.environment.has_sandbox_controls and isinstance(on.clock, SandboxClock):
        state["sandbox"] = sandbox_http.SandboxServices(
            on.clock,
            ChainControl(settings.chain_rpc_urls[0]),
            settings.sandbox_control_urls,
            open_to_all=settings.environment is Environment.LOCAL,
            session_life=auth.SESSION_LIFE,
        )
    for name, value in state.items():
        setattr(app.state, name, value)
