"""Which rows the entries of tokenisation's actions carry, and what the modules above may carry of a token."""

from __future__ import annotations

from typing import Final

from fintokenx.audit import Carries, adds, always, changes, known_as, walking
from fintokenx.lifecycle import invoice
from fintokenx.lifecycle.tokenisation.transitions import CHAIN_TX, TOKEN
from fintokenx.parties import compliance

_PROMISED: Final = adds("chain_tx")
"""Something that is wanted of the chain."""
TRANSFER_PROMISED: Final = walking(_PROMISED, CHAIN_TX, "promise transfer")
TOKEN_HELD: Final = walking(changes("tokens", "state", "holder_subject_id", "holder_wallet"), TOKEN, "hold")
BURN_REQUESTED: Final = (changes("tokens", "state"), _PROMISED)

_SIGNED: Final = changes("chain_tx", "state", "tx_hash", "raw", "submitted_at")
_RESERVED: Final = changes(
    "chain_tx", "state", "sender", "nonce", "tx_hash", "raw", "block_number", "revert_reason", "submitted_at"
)
_CONFIRMED: Final = changes(
    "chain_tx", "state", "sender", "nonce", "tx_hash", "raw", "block_number", "revert_reason", "submitted_at",
    "confirmed_at",
)  # fmt: skip
_REVERTED: Final = changes("chain_tx", "state", "block_number", "revert_reason")
_CLAIMED: Final = changes("wallets", "state", "claims", "checked_at", "claims_expire_at", "registered_at")
_RECOVERY_MOVED: Final = changes("wallet_recoveries", "state")

CARRIES: Final[Carries] = {
    "TOKEN_REQUEST": always(adds("tokens"), _PROMISED),
    "CHAIN_TX_RESERVE": always(_RESERVED),
    "CHAIN_TX_SIGN": always(_SIGNED),
    "CHAIN_TX_REVERT": always(_REVERTED),
    "TOKEN_SUBMIT": (*always(changes("tokens", "state", "contract_address")), _SIGNED),
    "TOKEN_PENDING": (changes("tokens", "state"), _REVERTED),
    "TOKEN_MINT": always(
        _CONFIRMED, changes("tokens", "state", "minted_at", "holder_wallet"), invoice.INVOICE_TOKENISED
    ),
    "TOKEN_TRANSFER": always(_CONFIRMED),
    "BURN_REQUEST": BURN_REQUESTED,
    "TOKEN_BURN": always(_CONFIRMED, changes("tokens", "state", "burned_at", "burn_tx"), invoice.INVOICE_SETTLED),
    "WALLET_CREATE": always(adds("wallets")),
    "CLAIMS_REQUEST": (*always(_PROMISED), changes("chain_tx", "state")),
    "CLAIMS_ISSUE": always(_CONFIRMED, _CLAIMED),
    "CLAIMS_REVOKE": always(_CONFIRMED, _CLAIMED),
    "SANCTIONS_FLAG_REQUEST": (*always(_PROMISED), changes("chain_tx", "state")),
    "SANCTIONS_FLAG": always(_CONFIRMED, changes("wallets", "flagged_at")),
    "SANCTIONS_CONFIRM_REQUEST": (*always(_PROMISED), changes("chain_tx", "state")),
    "SANCTIONS_CONFIRM": always(_CONFIRMED),
    "WALLET_RECOVERY_REQUEST": (
        *always(adds("wallet_recoveries")),
        *known_as("open_on_wallet_recovery", *compliance.CASE_OPENED),
    ),
    "WALLET_RECOVERY_APPROVE": always(
        changes("wallet_recoveries", "state", "decided_at", "decided_by"), changes("wallets", "state")
    ),
    "WALLET_RECOVERY_DECLINE": always(changes("wallet_recoveries", "state", "decided_at", "decided_by")),
    "TOKEN_RECOVER_REQUEST": always(_PROMISED, changes("wallet_recoveries", "state", "new_wallet_id")),
    "TOKEN_RECOVER": (
        *always(_CONFIRMED),
        changes("slices", "holder_wallet"),
        changes("tokens", "state", "holder_wallet"),
    ),
    "WALLET_RETIRE_REQUEST": always(_PROMISED, _RECOVERY_MOVED),
    "WALLET_RETIRE": always(
        _CONFIRMED, changes("wallets", "state"), changes("wallet_recoveries", "state", "completed_at")
    ),
}
