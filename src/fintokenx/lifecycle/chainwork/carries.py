"""Which rows the entries of chain transactions carry, and what the modules above may carry of them."""

from __future__ import annotations

from typing import Final

from fintokenx.audit import Carries, adds, always, changes, walking
from fintokenx.lifecycle.chainwork.transitions import CHAIN_TX, ChainTxEvent

_RESERVED: Final = changes(
    "chain_tx", "state", "sender", "nonce", "tx_hash", "raw", "block_number", "revert_reason", "submitted_at"
)
_SIGNED: Final = changes("chain_tx", "state", "tx_hash", "raw", "submitted_at")
_CONFIRMED: Final = changes(
    "chain_tx", "state", "sender", "nonce", "tx_hash", "raw", "block_number", "revert_reason", "submitted_at",
    "confirmed_at",
)  # fmt: skip
_REVERTED: Final = changes("chain_tx", "state", "block_number", "revert_reason")

PROMISED: Final = walking(adds("chain_tx"), CHAIN_TX, ChainTxEvent.PROMISE)
"""Something that is wanted of the chain."""
SIGNED: Final = walking(_SIGNED, CHAIN_TX, ChainTxEvent.SIGN)
CONFIRMED: Final = walking(_CONFIRMED, CHAIN_TX, ChainTxEvent.CONFIRM)
CONFIRMED_AT_LAST: Final = walking(_CONFIRMED, CHAIN_TX, ChainTxEvent.CONFIRM, ChainTxEvent.CONFIRM_AFTER_REFUSAL)
"""Of what must not fail: a refusal is not the end."""
REVERTED: Final = walking(_REVERTED, CHAIN_TX, ChainTxEvent.REVERT)
SUPERSEDED: Final = walking(changes("chain_tx", "state"), CHAIN_TX, ChainTxEvent.SUPERSEDE)

CARRIES: Final[Carries] = {
    "CHAIN_TX_RESERVE": always(_RESERVED),
    "CHAIN_TX_SIGN": always(_SIGNED),
    "CHAIN_TX_REVERT": always(_REVERTED),
}
