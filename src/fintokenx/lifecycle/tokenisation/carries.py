"""Which rows the entries of tokenisation's actions carry, and what the modules above may carry of a token."""

from __future__ import annotations

from typing import Final

from fintokenx.audit import Carried, Carries, adds, always, changes, known_as, walking
from fintokenx.lifecycle import chainwork, invoice
from fintokenx.lifecycle.tokenisation.transitions import TOKEN, TokenEvent
from fintokenx.parties import compliance


def _promised(name: str) -> Carried:
    """Something that is wanted of the chain, as its machine calls it."""
    return known_as(f"promise {name}", chainwork.PROMISED)[0]


TRANSFER_PROMISED: Final = _promised("transfer")
TOKEN_HELD: Final = walking(changes("tokens", "state", "holder_subject_id", "holder_wallet"), TOKEN, TokenEvent.HOLD)
BURN_REQUESTED: Final = (changes("tokens", "state"), _promised("burn"))

_CLAIMED: Final = changes("wallets", "state", "claims", "checked_at", "claims_expire_at", "registered_at")
_RECOVERY_MOVED: Final = changes("wallet_recoveries", "state")

CARRIES: Final[Carries] = {
    "TOKEN_REQUEST": always(adds("tokens"), _promised("mint")),
    "TOKEN_SUBMIT": (
        *always(changes("tokens", "state", "contract_address")),
        *known_as("submit mint", chainwork.SIGNED),
    ),
    "TOKEN_PENDING": (changes("tokens", "state"), *known_as("revert mint", chainwork.REVERTED)),
    "TOKEN_MINT": always(
        *known_as("mint", chainwork.CONFIRMED_AT_LAST),
        changes("tokens", "state", "minted_at", "holder_wallet"),
        invoice.INVOICE_TOKENISED,
    ),
    "TOKEN_TRANSFER": always(*known_as("transfer", chainwork.CONFIRMED)),
    "BURN_REQUEST": BURN_REQUESTED,
    "TOKEN_BURN": always(
        *known_as("burn", chainwork.CONFIRMED_AT_LAST),
        changes("tokens", "state", "burned_at", "burn_tx"),
        invoice.INVOICE_SETTLED,
    ),
    "WALLET_CREATE": always(adds("wallets")),
    "CLAIMS_REQUEST": (*always(_promised("identity")), chainwork.SUPERSEDED),
    "CLAIMS_ISSUE": always(*known_as("issue claims", chainwork.CONFIRMED), _CLAIMED),
    "CLAIMS_REVOKE": always(*known_as("revoke claims", chainwork.CONFIRMED), _CLAIMED),
    "SANCTIONS_FLAG_REQUEST": (*always(_promised("flag")), *known_as("supersede by flag", chainwork.SUPERSEDED)),
    "SANCTIONS_FLAG": always(*known_as("flag", chainwork.CONFIRMED), changes("wallets", "flagged_at")),
    "SANCTIONS_CONFIRM_REQUEST": (
        *always(_promised("refresh")),
        *known_as("supersede by refresh", chainwork.SUPERSEDED),
    ),
    "SANCTIONS_CONFIRM": always(*known_as("refresh", chainwork.CONFIRMED)),
    "WALLET_RECOVERY_REQUEST": (
        *always(adds("wallet_recoveries")),
        *known_as("open_on_wallet_recovery", *compliance.CASE_OPENED),
    ),
    "WALLET_RECOVERY_APPROVE": always(
        changes("wallet_recoveries", "state", "decided_at", "decided_by"), changes("wallets", "state")
    ),
    "WALLET_RECOVERY_DECLINE": always(changes("wallet_recoveries", "state", "decided_at", "decided_by")),
    "TOKEN_RECOVER_REQUEST": always(_promised("recovery"), changes("wallet_recoveries", "state", "new_wallet_id")),
    "TOKEN_RECOVER": (
        *always(*known_as("recover", chainwork.CONFIRMED_AT_LAST)),
        changes("slices", "holder_wallet"),
        changes("tokens", "state", "holder_wallet"),
    ),
    "WALLET_RETIRE_REQUEST": always(_promised("removal"), _RECOVERY_MOVED),
    "WALLET_RETIRE": always(
        *known_as("remove", chainwork.CONFIRMED_AT_LAST),
        changes("wallets", "state"),
        changes("wallet_recoveries", "state", "completed_at"),
    ),
}
