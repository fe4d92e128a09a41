"""Accounts, lines and balances: the words of double entry."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fintokenx.kernel.errors import Refused
from fintokenx.kernel.money import ZERO, Pence


class AccountKind(StrEnum):
    """What an account is. CLIENT money belongs to somebody else and never goes negative."""

    ASSET = "asset"
    CLIENT = "client"
    INCOME = "income"
    EXPENSE = "expense"


@dataclass(frozen=True, slots=True)
class Account:
    """An account of one tenant's ledger; opened by the first journal that uses it."""

    code: str
    kind: AccountKind


BANK_COLLECTIONS = Account("bank:collections", AccountKind.ASSET)
"""Our money-holding account at the banking partner, as far as this tenant's business moves it."""

SUSPENSE = Account("suspense", AccountKind.CLIENT)
"""Inbound credits that are not yet matched to anything."""


def held_for(subject_id: str) -> Account:
    """Cash held for a subject until a token has moved or a refund has left."""
    return Account(f"held:{subject_id}", AccountKind.CLIENT)


def payable_to(subject_id: str) -> Account:
    """What is owed to a subject and about to be paid out."""
    return Account(f"payable:{subject_id}", AccountKind.CLIENT)


def refund_due(collection_id: str) -> Account:
    """What an inbound credit carried beyond what was owed; belongs to whoever sent it."""
    return Account(f"refund_due:{collection_id}", AccountKind.CLIENT)


@dataclass(frozen=True, slots=True)
class Line:
    """One side of a journal: exactly one of the amounts is positive, the other zero."""

    account: Account
    debit: Pence = ZERO
    credit: Pence = ZERO


class Unbalanced(Refused):
    """The journal's debits and credits differ."""

    code = "JOURNAL_UNBALANCED"
    status = 500


@dataclass(frozen=True, slots=True)
class AccountBalance:
    """Totals of an account."""

    code: str
    kind: AccountKind
    debit: Pence
    credit: Pence


@dataclass(frozen=True, slots=True)
class TrialBalance:
    """All accounts of a tenant; ``difference`` is zero or something is badly wrong."""

    accounts: tuple[AccountBalance, ...]
    debit: Pence
    credit: Pence

    @property
    def difference(self) -> Pence:
        """Total debits less total credits."""
        return self.debit - self.credit
