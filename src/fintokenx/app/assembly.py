"""Puts the parts of a process together: keys from the vault, connections of every login, the clients."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fintokenx.adapters.blobs import TENANT_KEYS
from fintokenx.adapters.chain import MINTING_WALLET, Deployment
from fintokenx.app.base import Base, pool_of
from fintokenx.app.checkpoint_signer import VaultSigner
from fintokenx.app.outside import STALL_SECONDS, Outside
from fintokenx.app.parts import Parts
from fintokenx.app.providers import credential_names
from fintokenx.app.provision import FINGERPRINT_KEY, REFERENCE_KEY
from fintokenx.audit import LogIdentity
from fintokenx.desks import buyer, operations
from fintokenx.kernel.credentials import fetch
from fintokenx.kernel.db import Pool
from fintokenx.kernel.notes import VerifierKey
from fintokenx.kernel.sealing import SUBJECT_KEYS, SealedColumn, Sealer
from fintokenx.kernel.settings import Settings
from fintokenx.kernel.vault import Vault
from fintokenx.lifecycle.explorer import OwnEntries
from fintokenx.parties import partner


@dataclass(frozen=True, slots=True)
class Pools:
    """Connections of each login but the platform's own (fx_app), which is the database's."""

    sealer: Pool
    auditor: Pool
    worker: Pool
    platform: Pool


async def log_identity(settings: Settings, vault: Vault) -> LogIdentity:
    """Whose log it is and where it is anchored, as evidence says it."""
    deployment = Deployment.load(Path(settings.chain_deployment))
    key = VerifierKey(settings.log_origin, await VaultSigner(vault).public_key())
    return LogIdentity(key, deployment.chain_id, deployment.audit_anchor)


@asynccontextmanager
async def pools(base: Base) -> AsyncIterator[Pools]:
    """Log in as everybody; out again at the end."""
    async with AsyncExitStack() as stack:

        async def opened(role: str, size_max: int) -> Pool:
            pool = await pool_of(base.settings, base.vault, role, size_max=size_max)
            stack.push_async_callback(pool.close)
            return pool

        yield Pools(
            sealer=await opened("fx_sealer", 4),
            # One each for the two comparisons that begin on the hour, so that a gap of nonces waits for neither.
            auditor=await opened("fx_auditor", 3),
            worker=await opened("fx_worker", 4),
            platform=await opened("fx_platform", 2),
        )


@dataclass(frozen=True, slots=True)
class Keys:
    """``reference`` permutes what is counted aloud, ``fingerprint`` digests request bodies."""

    reference: bytes
    fingerprint: bytes


async def keys(vault: Vault) -> Keys:
    """From the vault. :raises VaultUnavailable, NotInVault: they cannot be had"""
    return Keys(bytes.fromhex(await fetch(vault, REFERENCE_KEY)), bytes.fromhex(await fetch(vault, FINGERPRINT_KEY)))


def parts(
    base: Base,
    outside: Outside,
    logins: Pools,
    own_keys: Keys,
    *,
    log: LogIdentity,
    sealed: Mapping[tuple[str, str], SealedColumn],
    entropy: Callable[[int], bytes] = os.urandom,
) -> Parts:
    """All of it together."""
    vault, chain, history = base.vault, outside.network.chain, outside.network.history
    return Parts(
        settings=base.settings,
        vault=vault,
        clock=base.clock,
        ids=base.ids,
        database=base.database,
        sealer=Sealer(base.database, vault, entropy),
        blobs=outside.blobs,
        reference_key=own_keys.reference,
        fingerprint_key=own_keys.fingerprint,
        machine_seconds=time.monotonic,
        sealer_pool=logins.sealer,
        auditor_pool=logins.auditor,
        claims=logins.worker,
        open_tenants=partial(partner.open_tenants, logins.worker),
        chain=chain,
        chain_state=outside.network.state,
        history=history,
        blocks=outside.blocks,
        tokens=operations.OnlyWhileBlocksCome(chain, outside.blocks),
        stall_seconds=STALL_SECONDS,
        minting_wallet_key=MINTING_WALLET,
        anchors=outside.network.anchors,
        signer=VaultSigner(vault),
        log=log,
        own_entries=OwnEntries(history),
        identity=outside.identity,
        screening=outside.screening,
        payments=outside.payments,
        accounts=outside.accounts,
        mailer=outside.mailer,
        reader=outside.reader,
        page_content=buyer.page_content,
        sealed=sealed,
        key_tables=(SUBJECT_KEYS, TENANT_KEYS),
        provider_credentials=credential_names(),
    )
