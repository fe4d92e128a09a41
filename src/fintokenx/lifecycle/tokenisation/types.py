"""Tokens, wallets, recoveries, and how they may be refused."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from enum import StrEnum

from fintokenx.kernel.clock import Instant
from fintokenx.kernel.errors import Invalid, NotFound, Refused
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.chainwork import ChainTransaction
from fintokenx.lifecycle.tokenisation.transitions import RecoveryState, TokenState, WalletState


class UnknownToken(NotFound):
    """There is no such token that you may see."""


class UnknownWallet(NotFound):
    """There is no such wallet that you may see."""


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


class UnknownRecovery(NotFound):
    """There is no such recovery that you may see."""


class RecoveryUnderWay(Refused):
    """A recovery of this subject's wallet is asked for or under way already."""

    code = "RECOVERY_UNDER_WAY"
    status = 409


class WalletNotOnChain(Refused):
    """The identity registry never heard of this wallet: it can hold nothing that would have to be recovered."""

    code = "WALLET_NOT_ON_CHAIN"


class Kind(StrEnum):
    """What a chain transaction does: three kinds to a token, REFRESH to the sanctions list, the others to a wallet."""

    MINT = "mint"
    TRANSFER = "transfer"
    BURN = "burn"
    IDENTITY = "identity"
    FLAG = "flag"
    RECOVERY = "recovery"
    REMOVAL = "removal"
    REFRESH = "refresh"


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
    state: TokenState
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
    state: WalletState
    created_at: Instant
    registered_at: Instant | None
    checked_at: Instant | None = None
    """Of the subject's checks on which these claims rest; they end a year after it."""
    flagged_at: Instant | None = None
    """Since when the chain's sanctions list names it."""

    @property
    def registered(self) -> bool:
        """Whether the identity registry vouches for it."""
        return self.state == WalletState.REGISTERED


@dataclass(frozen=True, slots=True)
class Recovery:
    """The way of a subject's holdings from a wallet that is lost to its next one."""

    tenant_id: str
    id: str
    subject_id: str
    lost_wallet_id: str
    new_wallet_id: str | None
    """Known once holdings begin to move."""
    case_id: str
    """Where the MLRO decides, in compliance."""
    reason: str
    state: RecoveryState
    requested_at: Instant
    requested_by: str
    decided_at: Instant | None = None
    decided_by: str | None = None
    completed_at: Instant | None = None


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a fractionalised token and who holds it."""

    tenant_id: str
    id: str
    token_reference: str
    index: int
    face: Pence
    holder_subject_id: str
    holder_wallet: str


@dataclass(frozen=True, slots=True)
class Book:
    """What the database says of all tenants' tokens and wallets at one moment."""

    tokens: Sequence[Token]
    slices: Sequence[Slice]
    """Of every token; those of a burned one are history."""
    wallets: Sequence[Wallet]
    transactions: Sequence[ChainTransaction]
    """All but those that can no longer matter, oldest first."""


class DriftKind(StrEnum):
    """In what database and chain differ; the value is how a sentence begins."""

    TOKEN_EXISTENCE = "token existence"
    TOKEN_CONTRACT = "token contract"
    TOKEN_FACE = "token face"
    TOKEN_DUE = "token due"
    TOKEN_DOCUMENT = "token document"
    TOKEN_SUPPLY = "token supply"
    TOKEN_BURN = "token burn"
    HOLDING = "holding"
    HOLDING_LOG = "holding log"
    WALLET_REGISTRATION = "wallet registration"
    WALLET_VERIFIED = "wallet verified"
    WALLET_CLAIMS = "wallet claims"
    WALLET_EXPIRY = "wallet expiry"
    WALLET_ROLE = "wallet role"
    WALLET_COUNTRY = "wallet country"
    WALLET_FLAG = "wallet flag"
    UNKNOWN_TOKEN = "unknown token"
    UNKNOWN_WALLET = "unknown wallet"
    WAITING = "waits too long"


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing on which database and chain do not agree, and that nothing in flight explains."""

    kind: DriftKind
    resource: str
    """A token's reference or number, a subject's id; for a holding and an identity the wallet after it."""
    database: str
    """For a log: what it adds up to."""
    chain: str
    tenant_id: str | None
    """None: of something that no tenant knows."""

    def told(self) -> str:
        """One sentence for people."""
        first = "the contract's log adds up to" if self.kind is DriftKind.HOLDING_LOG else "the database says"
        return f"{self.kind} {self.resource}: {first} {self.database}, the chain says {self.chain}"


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What a comparison of database and chain found, at one block."""

    block_number: int
    block_time_unix: int
    tokens: int
    holdings: int
    wallets: int
    events: int
    """Logs that were added up."""
    in_flight: int
    """Tokens and wallets about which a transaction was under way: each had to stand as before or as after it."""
    drifts: tuple[Drift, ...]

    @property
    def equal(self) -> bool:
        """Whether there is none."""
        return not self.drifts


def token_id_of(tenant_id: str, invoice_reference: str, document_sha256: str) -> str:
    """The uint256 of an invoice's token: SHA-256 of ``FXR``, tenant, invoice and document, joined by NUL, as hex text.

    It follows from the invoice and not from our numbering, and the contract creates an id once: so even a database
    that was restored from an older backup cannot mint the same receivable twice.
    """
    return "0x" + hashlib.sha256("\0".join(("FXR", tenant_id, invoice_reference, document_sha256)).encode()).hexdigest()
