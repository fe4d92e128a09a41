"""What becomes true of a token, for those above."""

from __future__ import annotations

from dataclasses import dataclass

from fintokenx.kernel.bus import Fact


@dataclass(frozen=True, slots=True)
class TokenMinted(Fact):
    """The receivable stands on chain, in our minting wallet."""

    token_reference: str
    invoice_reference: str


@dataclass(frozen=True, slots=True)
class TransferConfirmed(Fact):
    """The chain has moved the token."""

    business_key: str
    token_reference: str
    tx_hash: str


@dataclass(frozen=True, slots=True)
class TransferRefused(Fact):
    """The chain has refused to move the token, for ``reason``; nothing has moved."""

    business_key: str
    token_reference: str
    reason: str


@dataclass(frozen=True, slots=True)
class TokenBurned(Fact):
    """The receivable is gone from the chain; its reference is never used again."""

    token_reference: str
    invoice_reference: str
