"""What lies outside but database and vault: the chain, the providers, the object store, the reader's processes."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from fintokenx.adapters.ais import OpenBankingClient
from fintokenx.adapters.blobs import DataKeys, EncryptedBlobs
from fintokenx.adapters.chain import (
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
from fintokenx.app import health
from fintokenx.app.base import Base
from fintokenx.app.provision import CHAIN_CLIENT_KEY, CLEARBANK_SIGNING_KEY
from fintokenx.kernel.credentials import VaultCredential, fetch
from fintokenx.kernel.settings import Environment, Settings
from fintokenx.kernel.vault import Vault
from fintokenx.lifecycle.tokenisation.jobs.blocks import BlockWatch

STALL_SECONDS: Final = 10.0
"""A chain with blocks every two seconds that makes none for so long is stalled."""
DEBTOR_ADDRESS: Final = "GB, London, EC2A 4NE, 1 Ledger Row"


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
async def outside(base: Base) -> AsyncIterator[Outside]:
    """Credentials are fetched here, at boot (P-20); a vault that is down stops the start."""
    settings, vault, clock = base.settings, base.vault, base.clock

    async def sign(message: bytes) -> bytes:
        return await vault.sign_rsa_sha256(CLEARBANK_SIGNING_KEY, message)

    async def credential(name: str) -> VaultCredential:
        held = VaultCredential(vault, name, clock)
        await held.value()
        return held

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
        blobs = EncryptedBlobs(settings.blobs_url, vault, DataKeys(base.database, vault, os.urandom), os.urandom)
        reader = IsolatedReader()
        reader.prepare()
        stack.callback(reader.close)
        coming = BlockWatch(chain.chain, stall_seconds=STALL_SECONDS, machine_seconds=time.monotonic)
        yield Outside(chain, coming, identity, screening, payments, accounts, mailer, reader, blobs)


def components(base: Base, to: Outside) -> dict[str, health.Component]:
    """What /readyz asks."""

    settings = base.settings
    asked = {
        "sumsub": settings.sumsub_url,
        "complyadvantage": settings.complyadvantage_url,
        "bank": settings.bank_url,
        "open_banking": settings.open_banking_url,
    }
    return {
        "database": health.Component(base.database.healthy, needed=True),
        "vault": health.Component(base.vault.healthy, needed=True),
        "chain": health.Component(to.blocks.healthy, needed=False),
        **{name: health.Component(partial(health.answers, url), needed=False) for name, url in asked.items()},
    }
