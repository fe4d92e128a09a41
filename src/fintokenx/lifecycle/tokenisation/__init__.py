"""Receivables on the FinToken X Network: minted on confirmation, moved by the compliance contract, burned at the end.

The doors below move no token by themselves: they contribute Changes to the entry of the module above, promise the chain
what is wanted of it (chainwork), and its answer comes back as a Fact. ``reconcile`` holds the whole database against
the whole chain at one block and names each difference.
"""

from fintokenx.lifecycle.tokenisation.carries import BURN_REQUESTED, TOKEN_HELD, TRANSFER_PROMISED
from fintokenx.lifecycle.tokenisation.service.chain_audit.expectations import expected
from fintokenx.lifecycle.tokenisation.service.chain_audit.reconciliation import reconcile
from fintokenx.lifecycle.tokenisation.service.holding_rows import (
    HoldingRows,
    find_token,
    holding_rows,
    ids_of_holder,
    wallets_ever,
)
from fintokenx.lifecycle.tokenisation.service.identity import unflagged
from fintokenx.lifecycle.tokenisation.service.moving import burn, held, transfer
from fintokenx.lifecycle.tokenisation.service.reads import (
    HOLDERS,
    STAFF,
    exposure,
    find_anywhere,
    token,
    token_of,
    transactions,
    wallet_of,
)
from fintokenx.lifecycle.tokenisation.service.refreshing import refresh, refresh_known
from fintokenx.lifecycle.tokenisation.types import (
    Book,
    BusinessKeyReused,
    Drift,
    DriftKind,
    InvoiceNotConfirmed,
    Kind,
    Reconciliation,
    Recovery,
    RecoveryUnderWay,
    Slice,
    Token,
    TokenIsMoving,
    TransferNotConfirmed,
    UnknownRecovery,
    UnknownToken,
    UnknownWallet,
    Wallet,
    WalletNotOnChain,
    WalletNotRegistered,
)

__all__ = [
    "BURN_REQUESTED",
    "HOLDERS",
    "STAFF",
    "TOKEN_HELD",
    "TRANSFER_PROMISED",
    "Book",
    "BusinessKeyReused",
    "Drift",
    "DriftKind",
    "HoldingRows",
    "InvoiceNotConfirmed",
    "Kind",
    "Reconciliation",
    "Recovery",
    "RecoveryUnderWay",
    "Slice",
    "Token",
    "TokenIsMoving",
    "TransferNotConfirmed",
    "UnknownRecovery",
    "UnknownToken",
    "UnknownWallet",
    "Wallet",
    "WalletNotOnChain",
    "WalletNotRegistered",
    "burn",
    "expected",
    "exposure",
    "find_anywhere",
    "find_token",
    "held",
    "holding_rows",
    "ids_of_holder",
    "reconcile",
    "refresh",
    "refresh_known",
    "token",
    "token_of",
    "transactions",
    "transfer",
    "unflagged",
    "wallet_of",
    "wallets_ever",
]
