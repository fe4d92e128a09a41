"""Tokens, wallets, chain transactions, and how they may be refused."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from enum import StrEnum
from typing import Any

from fintokenx.kernel.clock import Instant
from fintokenx.kernel.errors import Invalid, NotFound, Refused
from fintokenx.kernel.money import Pence


class UnknownToken(NotFound):
    """There is no such token that you may see."""


class UnknownWallet(NotFound):
    """There is no such wallet that you may see."""


class UnknownChainTransaction(NotFound):
    """There is no such chain transaction that you may see."""


class InvoiceNotConfirmed(Refused):
    """Only a confirmed invoice becomes a token."""

    code = "INVOICE_NOT_CONFIRMED"


class WalletNotRegistered(Invalid):
    """The receiver has no wallet that the identity registry vouches for."""

    code = "WALLET_NOT_REGISTERED"


class TokenIsMoving(Refused):
    """Another transfer or burn of this token is under way."""

    code = "TOKEN_IS_MOVING"


class TransferNotConfirmed(Refused):
    """The chain has not confirmed that this token went to this holder."""

    code = "TRANSFER_NOT_CONFIRMED"


class BusinessKeyReused(Refused):
    """This business key belongs to another chain transaction."""

    code = "BUSINESS_KEY_REUSED"


class Kind(StrEnum):
    """What a chain transaction does."""

    MINT = "mint"
    TRANSFER = "transfer"
    BURN = "burn"
    IDENTITY = "identity"


@dataclass(frozen=True, slots=True)
class Token:
    """One receivable on chain. ``token_id_hex`` is the uint256 as ``0x`` and 64 lower-case hex digits."""

    tenant_id: str
    reference: str
    invoice_reference: str
    obligor_id: str
    token_id_hex: str
    contract_address: str | None
    """FXReceivableToken, checksummed; None until the mint is submitted."""
    face: Pence
    due_date: date
    document_sha256: str
    state: str
    holder_subject_id: str | None
    """Who holds the whole of it; None while it stands in the minting wallet."""
    holder_wallet: str | None
    """The address that holds it; None before the mint."""
    requested_at: Instant
    minted_at: Instant | None
    burned_at: Instant | None
    burn_tx: str | None

    @property
    def token_id(self) -> int:
        """The id as the chain counts it."""
        return int(self.token_id_hex, 16)

    @property
    def due_at_unix(self) -> int:
        """Midnight UTC of the due date."""
        return int(datetime.combine(self.due_date, time(), UTC).timestamp())


@dataclass(frozen=True, slots=True)
class Wallet:
    """A custody wallet: its key lies in the vault under ``key_name`` and never leaves it."""

    tenant_id: str
    id: str
    subject_id: str
    address: str
    key_name: str
    claims: int
    """Bitmap of :class:`ports.Claims` as last confirmed on chain."""
    claims_expire_at: Instant | None
    state: str
    created_at: Instant
    registered_at: Instant | None

    @property
    def registered(self) -> bool:
        """Whether the identity registry vouches for it."""
        return self.state == "REGISTERED"


@dataclass(frozen=True, slots=True)
class ChainTransaction:
    """One thing wanted of the chain, once per ``business_key``; ``arguments`` depend on the kind."""

    tenant_id: str
    id: str
    business_key: str
    kind: Kind
    token_reference: str | None
    wallet_id: str | None
    resource: str
    """Under what its entries are recorded: the invoice's reference, or the subject's id."""
    arguments: Mapping[str, Any]
    state: str
    sender: str | None
    nonce: int | None
    tx_hash: str | None
    raw: bytes | None
    block_number: int | None
    revert_reason: str | None
    promised_at: Instant
    submitted_at: Instant | None
    confirmed_at: Instant | None


def token_id_of(tenant_id: str, invoice_reference: str, document_sha256: str) -> str:
    """The uint256 of an invoice's token: SHA-256 of ``FXR``, tenant, invoice and document, joined by NUL, as hex text.

    It follows from the invoice and not from our numbering, and the contract creates an id once: so even a database
    that was restored from an older backup cannot mint the same receivable twice.
    """
    return "0x" + hashlib.sha256("\0".join(("FXR", tenant_id, invoice_reference, document_sha256)).encode()).hexdigest()
