"""What a process hands to the modules: every part by name. A module's ``Needs`` picks what it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from fintokenx.audit import LogIdentity
from fintokenx.audit.ports import Anchors, CheckpointSigner, Own
from fintokenx.kernel.blobs import Blobs
from fintokenx.kernel.clock import Clock
from fintokenx.kernel.db import Database, Pool
from fintokenx.kernel.ids import Ids
from fintokenx.kernel.jobs import OpenTenants
from fintokenx.kernel.sealing import KeyTable, SealedColumn, Sealer
from fintokenx.kernel.settings import Settings
from fintokenx.kernel.vault import Vault
from fintokenx.lifecycle.chainwork.jobs.blocks import BlockWatch
from fintokenx.lifecycle.chainwork.ports import NonceChain
from fintokenx.lifecycle.explorer.ports import ChainHistory
from fintokenx.lifecycle.invoice import ConfirmationPage
from fintokenx.lifecycle.invoice.ports import DocumentReader
from fintokenx.lifecycle.settlement.ports import AccountInformation, FasterPayments, TokenTransfers
from fintokenx.lifecycle.tokenisation.ports import Chain, ChainState
from fintokenx.observers.notification.ports import Mailer
from fintokenx.parties.kyc.ports import IdentityVerification, NameScreening


class WholeChain(Chain, NonceChain, Protocol):
    """The chain as tokens are sent by it, and as the watch over nonces looks at it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that modules are made of. One per process."""

    settings: Settings
    vault: Vault
    clock: Clock
    ids: Ids
    database: Database
    sealer: Sealer
    blobs: Blobs
    reference_key: bytes
    fingerprint_key: bytes
    machine_seconds: Callable[[], float]

    sealer_pool: Pool
    auditor_pool: Pool
    claims: Pool
    open_tenants: OpenTenants

    chain: WholeChain
    chain_state: ChainState
    history: ChainHistory
    blocks: BlockWatch
    tokens: TokenTransfers
    stall_seconds: float
    minting_wallet_key: str
    anchors: Anchors
    signer: CheckpointSigner
    log: LogIdentity
    own_entries: Own | None

    identity: IdentityVerification
    screening: NameScreening
    payments: FasterPayments
    accounts: AccountInformation
    mailer: Mailer
    reader: DocumentReader
    page_content: Callable[[ConfirmationPage], bytes]

    sealed: Mapping[tuple[str, str], SealedColumn]
    key_tables: tuple[KeyTable, ...]
    provider_credentials: tuple[str, ...]
