"""Chain transactions, and how they may be refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fintokenx.kernel.clock import Instant
from fintokenx.kernel.errors import NotFound
from fintokenx.lifecycle.chainwork.transitions import ChainTxState


class UnknownChainTransaction(NotFound):
    """There is no such chain transaction that you may see."""


@dataclass(frozen=True, slots=True)
class ChainTransaction:
    """One thing wanted of the chain, once per ``business_key``; ``arguments`` depend on the kind."""

    tenant_id: str
    id: str
    business_key: str
    kind: str
    """A word of the module that wants it."""
    token_reference: str | None
    wallet_id: str | None
    resource: str
    """Under what its entries are recorded: the invoice's reference, or the subject's id."""
    arguments: Mapping[str, Any]
    state: ChainTxState
    sender: str | None
    nonce: int | None
    tx_hash: str | None
    raw: bytes | None
    block_number: int | None
    revert_reason: str | None
    promised_at: Instant
    submitted_at: Instant | None
    confirmed_at: Instant | None
