"""What settlement needs of the banks, in its own words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from fintokenx.kernel.clock import Instant
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.settlement.types import BankAccount, BankCredit

__all__ = [
    "AccountInformation",
    "BankAccount",
    "BankCredit",
    "FasterPayments",
    "PaymentInstruction",
    "PaymentOutcome",
    "PaymentState",
    "TokenTransfers",
]


@dataclass(frozen=True, slots=True)
class PaymentInstruction:
    """One Faster Payment. ``end_to_end_id`` (≤ 35 characters, ours, unique) makes sending it idempotent."""

    end_to_end_id: str
    debtor: BankAccount
    creditor: BankAccount
    amount: Pence
    reference: str
    """What the payee sees; ≤ 18 characters reach the scheme."""


class PaymentState(StrEnum):
    """PENDING unless the bank said otherwise in a word that we know."""

    PENDING = "PENDING"
    SETTLED = "SETTLED"
    REJECTED = "REJECTED"
    RETURNED = "RETURNED"


@dataclass(frozen=True, slots=True)
class PaymentOutcome:
    """What the bank knows of an instruction. ``retriable`` is meaningful for REJECTED only (SE-09)."""

    state: PaymentState
    bank_ref: str
    """The bank's transaction id; empty while there is none."""
    reason_code: str = ""
    retriable: bool = False


class FasterPayments(Protocol):
    """Outbound payments. Raises ``Unavailable(outcome_unknown=True)`` when an instruction may have been taken."""

    async def submit(self, instruction: PaymentInstruction) -> PaymentOutcome:
        """Hand the instruction to the bank. The same instruction twice is one payment (P-15)."""
        ...

    async def look_up(self, debtor: BankAccount, end_to_end_id: str) -> PaymentOutcome | None:
        """What became of the instruction; None when the bank has never heard of it."""
        ...


class AccountInformation(Protocol):
    """Open Banking AIS. Raises ``Unavailable`` when the bank does not answer well; returns booked GBP credits only."""

    async def credits(self, account: BankAccount, since: Instant) -> list[BankCredit]:
        """All booked credits from ``since`` on, oldest first, every page read."""
        ...

    async def balance(self, account: BankAccount) -> Pence:
        """What is booked on the account now; below zero where it is overdrawn."""
        ...


class TokenTransfers(Protocol):
    """The look at the chain before money moves (SE-05). Raises ``Unavailable`` when the network does not answer."""

    async def minting_wallet(self) -> str:
        """The wallet that holds every token until it is funded."""
        ...

    async def can_transfer(self, from_wallet: str, to_wallet: str, token_id: int, amount: Pence) -> tuple[bool, str]:
        """Whether the network would let this transfer through now, and its reason in words."""
        ...
