"""The money's own record: journals that balance, under every movement.

A command above adds :func:`post`'s Changes to its own, so that the journal stands in the entry of what it explains.
Client money never goes negative, a posted journal is never edited: both hold in the database, not only here.
"""

from fintokenx.lifecycle.ledger.carries import JOURNAL
from fintokenx.lifecycle.ledger.service import asset_balance, client_balance, movements_since, post, trial_balance
from fintokenx.lifecycle.ledger.types import (
    BANK_COLLECTIONS,
    SUSPENSE,
    Account,
    AccountBalance,
    AccountKind,
    Line,
    TrialBalance,
    Unbalanced,
    held_for,
    payable_to,
    refund_due,
)

__all__ = [
    "BANK_COLLECTIONS",
    "JOURNAL",
    "SUSPENSE",
    "Account",
    "AccountBalance",
    "AccountKind",
    "Line",
    "TrialBalance",
    "Unbalanced",
    "asset_balance",
    "client_balance",
    "held_for",
    "movements_since",
    "payable_to",
    "post",
    "refund_due",
    "trial_balance",
]
