"""Receivables on the FinToken X Network: minted on confirmation, moved by the compliance contract, burned at the end.

Whatever is wanted of the chain is a promise with a business key. A job gives it a nonce, signs it, keeps the bytes,
sends them and waits: each step is kept before the next, so that a crash or a lost answer anywhere leads to one
transaction on chain. The doors below move no token by themselves: they contribute a Move to the entry of the module
above, and the chain's answer comes back as a Fact. ``reconcile`` holds the whole database against the whole chain at
one block and names each difference.
"""

from fintokenx.lifecycle.tokenisation.carries import BURN_REQUESTED, TOKEN_HELD, TRANSFER_PROMISED
from fintokenx.lifecycle.tokenisation.service import explorer
from fintokenx.lifecycle.tokenisation.service.chain_audit.reconciliation import reconcile
from fintokenx.lifecycle.tokenisation.service.identity import unflagged
from fintokenx.lifecycle.tokenisation.service.moving import burn, held, transfer
from fintokenx.lifecycle.tokenisation.service.own_entries import OwnEntries
from fintokenx.lifecycle.tokenisation.service.reads import (
    chain_transaction,
    exposure,
    find_anywhere,
    token,
    token_of,
    transactions,
    wallet_of,
)
from fintokenx.lifecycle.tokenisation.service.refreshing import refresh, refresh_known
from fintokenx.lifecycle.tokenisation.types import (
    BusinessKeyReused,
    ChainTransaction,
    Drift,
    DriftKind,
    InvoiceNotConfirmed,
    Kind,
    Reconciliation,
    Recovery,
    RecoveryUnderWay,
    Token,
    TokenIsMoving,
    TransferNotConfirmed,
    UnknownChainTransaction,
    UnknownRecovery,
    UnknownToken,
    UnknownWallet,
    Wallet,
    WalletNotOnChain,
    WalletNotRegistered,
)

__all__ = [
    "BURN_REQUESTED",
    "TOKEN_HELD",
    "TRANSFER_PROMISED",
    "BusinessKeyReused",
    "ChainTransaction",
    "Drift",
    "DriftKind",
    "InvoiceNotConfirmed",
    "Kind",
    "OwnEntries",
    "Reconciliation",
    "Recovery",
    "RecoveryUnderWay",
    "Token",
    "TokenIsMoving",
    "TransferNotConfirmed",
    "UnknownChainTransaction",
    "UnknownRecovery",
    "UnknownToken",
    "UnknownWallet",
    "Wallet",
    "WalletNotOnChain",
    "WalletNotRegistered",
    "burn",
    "chain_transaction",
    "explorer",
    "exposure",
    "find_anywhere",
    "held",
    "reconcile",
    "refresh",
    "refresh_known",
    "token",
    "token_of",
    "transactions",
    "transfer",
    "unflagged",
    "wallet_of",
]
