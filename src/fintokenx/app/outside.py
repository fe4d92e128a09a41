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
from fintokenx.app import health, providers
from fintokenx.app.base import Base
from fintokenx.app.provision import CHAIN_CLIENT_KEY
from fintokenx.kernel.credentials import fetch
from fintokenx.kernel.settings import Settings
from fintokenx.kernel.vault import Vault
from fintokenx.lifecycle.chainwork.jobs.blocks import BlockWatch

STALL_SECONDS: Final = 10.0
"""A chain with blocks every two seconds that makes none for so long is stalled."""


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
    """The clients of every outside system; those of the providers by what the modules use them for."""

    network: Network
    blocks: BlockWatch
    providers: providers.Clients
    identity: SumsubClient
    screening: ComplyAdvantageClient
    payments: ClearBankClient
    accounts: OpenBankingClient
    mailer: SmtpMailer
    reader: IsolatedReader
    blobs: EncryptedBlobs


@asynccontextmanager
async def outside(base: Base) -> AsyncIterator[Outside]:
    """Connect to all of it.

    :raises BadSettings, ProviderNotListed: settings, list of providers and what is built here do not agree
    :raises VaultUnavailable: credentials are fetched at boot (P-20); a vault that is down stops the start
    """
    settings, vault = base.settings, base.vault
    async with AsyncExitStack() as stack:
        clients = await stack.enter_async_context(providers.connected(settings, vault, base.clock))
        chain = await stack.enter_async_context(network(settings, vault))
        reader = IsolatedReader()
        reader.prepare()
        stack.callback(reader.close)
        yield Outside(
            network=chain,
            blocks=BlockWatch(chain.chain, stall_seconds=STALL_SECONDS, machine_seconds=time.monotonic),
            providers=clients,
            identity=clients.the(SumsubClient),
            screening=clients.the(ComplyAdvantageClient),
            payments=clients.the(ClearBankClient),
            accounts=clients.the(OpenBankingClient),
            mailer=clients.the(SmtpMailer),
            reader=reader,
            blobs=EncryptedBlobs(settings.blobs_url, vault, DataKeys(base.database, vault, os.urandom), os.urandom),
        )


def components(base: Base, to: Outside) -> dict[str, health.Component]:
    """What /readyz asks: what everything stands on, and every provider that speaks HTTP."""
    settings = base.settings
    asked = [provider for provider in providers.PROVIDERS if provider.is_asked_over_http(settings)]
    return {
        "database": health.Component(base.database.healthy, needed=True),
        "vault": health.Component(base.vault.healthy, needed=True),
        "chain": health.Component(to.blocks.healthy, needed=False),
        **{
            provider.name: health.Component(
                partial(health.answers, settings.addresses()[provider.setting]), needed=provider.needed
            )
            for provider in asked
        },
    }
