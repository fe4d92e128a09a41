"""Disbursements, payment instructions, collections, and how they may be refused."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fintokenx.kernel.clock import Instant
from fintokenx.kernel.errors import Invalid, NotFound, Refused
from fintokenx.kernel.money import ZERO, Pence, flat_discount
from fintokenx.lifecycle.settlement.transitions import (
    CollectionState,
    DifferenceState,
    DisbursementState,
    InstructionState,
    LineDoubtState,
)

FPS_LIMIT: Final = Pence(100_000_000)
"""What one Faster Payment carries at most: £1,000,000."""

ATTEMPTS_MAX: Final = 5
"""Tries of one payment before a person takes over (SE-09)."""

RETRY_SECONDS: Final = (60, 300, 1_800, 7_200)
"""Delay after the n-th retriable reject."""

RECONCILED_WITHIN_SECONDS: Final = 4 * 3600
"""Without the seller's credit, or the statement of collections, for longer than this, somebody is told (SE-14)."""

DECIDED_WITHIN_SECONDS: Final = 3600
"""A payment that its bank has not decided for longer than this, somebody is told of."""

LENDER_DECIDED_WITHIN_SECONDS: Final = 900
"""The same for a lender's payment: it is owed an answer, and the listing is taken meanwhile."""


class UnknownDisbursement(NotFound):
    """There is no such payment that you may see."""


class UnknownCollection(NotFound):
    """There is no such collection that you may see."""


class LinesNotTaken(Refused):
    """Some lines of a statement could not be booked; the others were."""

    code = "LINES_NOT_TAKEN"


class LineContradicts(Refused):
    """A line has the id of a known one and another amount."""

    code = "LINE_CONTRADICTS"


class UnknownLineDoubt(NotFound):
    """There is no such doubt about a line."""


class NotThatLine(Invalid):
    """The line that it is said to be is not one of those that it may be."""

    code = "NOT_THAT_LINE"


class AmountOverFpsLimit(Invalid):
    """The net advance is more than one Faster Payment carries (£1,000,000)."""

    code = "AMOUNT_OVER_FPS_LIMIT"


class NothingToAdvance(Invalid):
    """The discount leaves nothing to pay out."""

    code = "NOTHING_TO_ADVANCE"


class WalletNotReady(Refused):
    """Your wallet is being registered on the network, so no token could reach it yet; try again in a minute."""

    code = "WALLET_NOT_READY"
    status = 409


class PriceChanged(Refused):
    """The net advance is not what you expected; read the listing again."""

    code = "PRICE_CHANGED"


@dataclass(frozen=True, slots=True)
class BankAccount:
    """A UK account. ``sort_code`` six digits, ``account_number`` eight, no separators."""

    name: str
    sort_code: str
    account_number: str


@dataclass(frozen=True, slots=True)
class BankCredit:
    """A booked inbound credit as a bank shows it, here and now: all but its amount may be completed later."""

    transaction_id: str
    """The bank's own; empty when it gives none, which it may do later."""
    amount: Pence
    booked_at: Instant
    narration: str
    end_to_end_id: str
    """Empty when the bank does not pass it on."""
    bank_reference: str = ""
    """The scheme's id of the payment; empty when it is not shown."""
    source: str = "AIS"
    """Who shows it: AIS (Open Banking) or FPS (the payments bank). Ids are unique within a source."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A whole list of the credits on an account from ``since`` on."""

    account: BankAccount
    since: Instant
    credits: tuple[BankCredit, ...]


@dataclass(frozen=True, slots=True)
class Form:
    """What a line was shown as. Of a narration its length and a digest: people write names there."""

    source: str
    transaction_id: str
    booked_at: Instant
    narration_length: int
    narration_sha256: str
    bank_reference: str
    end_to_end_id: str

    @property
    def content(self) -> tuple[object, ...]:
        """Everything but the bank's id."""
        return self.booked_at, self.narration_length, self.narration_sha256, self.bank_reference, self.end_to_end_id


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is known, with all that it was ever shown as, oldest first. ``kind``: what it turned out to be.
    ``doubt``: the state of the doubt about it, if there was one."""

    id: str
    kind: str
    amount: Pence
    doubt: str | None
    forms: tuple[Form, ...]

    @property
    def waits_to_be_booked(self) -> bool:
        """A person has said that it is new, and it has not been booked yet."""
        return self.kind == "doubt" and self.doubt == LineDoubtState.NEW


@dataclass(frozen=True, slots=True)
class Sighting:
    """A credit on an account that is to be dealt with now, under the id of its line. ``was_doubt``: it stands there as
    one, and a person has said that it is new."""

    account: BankAccount
    credit: BankCredit
    line_id: str
    form: Form
    was_doubt: bool = False

    @property
    def bank_transaction_id(self) -> str:
        """The bank's id where Open Banking shows one, else ours of the line."""
        return (
            self.credit.transaction_id if self.credit.source == "AIS" and self.credit.transaction_id else self.line_id
        )


@dataclass(frozen=True, slots=True)
class LineDoubt:
    """A line that may be a known one. ``line_id`` is its own; it is booked by nobody while this is OPEN."""

    tenant_id: str
    line_id: str
    account: str
    amount: Pence
    booked_at: Instant
    may_be: tuple[str, ...]
    state: LineDoubtState
    opened_at: Instant
    decided_at: Instant | None
    decided_by: str | None
    repeat_of: str | None


class Purpose(StrEnum):
    """Why money leaves an account. Only DISBURSEMENT_IN is paid from a customer's account, into collections."""

    DISBURSEMENT_IN = "disbursement_in"
    PAYOUT = "payout"
    REFUND = "refund"
    ONWARD = "onward"


@dataclass(frozen=True, slots=True)
class Price:
    """What a lender pays now for a face value later (flat discount, rounded up; tests/vectors/discount.json)."""

    face: Pence
    discount_bps: int
    discount: Pence
    net_advance: Pence

    @classmethod
    def of(cls, face: Pence, discount_bps: int) -> Price:
        """:raises NothingToAdvance: the discount eats the whole face"""
        discount = flat_discount(face, discount_bps)
        if discount >= face:
            raise NothingToAdvance
        return cls(face, discount_bps, discount, face - discount)


@dataclass(frozen=True, slots=True)
class Disbursement:
    """One lender's purchase of one receivable. ``fps_ref`` and its kin are the bank's transaction ids."""

    tenant_id: str
    id: str
    listing_id: str
    invoice_reference: str
    token_reference: str
    lender_subject_id: str
    seller_subject_id: str
    price: Price
    state: DisbursementState
    fps_ref: str | None
    payout_fps_ref: str | None
    refund_fps_ref: str | None
    chain_tx_hash: str | None
    end_reason: str | None
    committed_at: Instant
    paid_out_at: Instant | None
    recon_alerted_at: Instant | None
    seller_credit_acked_at: Instant | None


@dataclass(frozen=True, slots=True)
class Instruction:
    """One try of one payment. ``leg`` names the payment, ``end_to_end_id`` the try: ``<leg>``, then ``<leg>-2`` …

    ``subject_id`` is the customer on the other side of the collections account. SENT means that the bank may have it.
    """

    tenant_id: str
    end_to_end_id: str
    leg: str
    attempt: int
    purpose: Purpose
    disbursement_id: str | None
    collection_id: str | None
    invoice_reference: str
    subject_id: str
    debtor: BankAccount
    creditor: BankAccount
    amount: Pence
    reference: str
    state: InstructionState
    bank_ref: str | None
    reason_code: str | None
    queued_at: Instant
    sent_at: Instant | None
    concluded_at: Instant | None


@dataclass(frozen=True, slots=True)
class OnwardPayment:
    """One payee's part of a collection; ``leg`` leads to its instructions."""

    leg: str
    payee_subject_id: str
    amount: Pence


@dataclass(frozen=True, slots=True)
class Collection:
    """One inbound credit. ``narration_match`` is the part of the narration that was recognised, never the rest of it:
    people write names there. Σ onward + refund due = amount once it is allocated (SE-12)."""

    tenant_id: str
    id: str
    bank_transaction_id: str
    amount: Pence
    received_at: Instant
    state: CollectionState
    invoice_reference: str | None
    narration_match: str | None
    match_method: str | None
    allocated: Pence
    refund_due: Pence
    onward: tuple[OnwardPayment, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """How an account's statement is being read. ``gap_since``: the first of the readings that were not whole and that
    no whole one has followed; None while nothing is missing. ``balance_gap_since``: the same of its balance.
    ``account``: sort code and account number."""

    tenant_id: str
    account: str
    gap_since: Instant | None
    balance_gap_since: Instant | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """What the bank has of ours and what the books say, which nothing on its way explains. ``account``: sort code and
    account number."""

    tenant_id: str
    id: str
    account: str
    bank: Pence
    books: Pence
    state: DifferenceState
    opened_at: Instant
    closed_at: Instant | None

    @property
    def surplus(self) -> Pence:
        """What the bank has beyond the books; below zero what it lacks."""
        return self.bank - self.books


@dataclass(frozen=True, slots=True)
class Match:
    """What was recognised in a narration. ``method``: EXACT or NORMALISED."""

    invoice_reference: str
    text: str
    method: str


def is_given(end_to_end_id: str) -> bool:
    """Whether a payer gave an id: ISO 20022 has a word for one who gave none."""
    return end_to_end_id not in ("", "NOTPROVIDED")


def end_to_end_id(leg: str, attempt: int) -> str:
    """A rejected payment stays rejected under its id, so a further try needs a new one."""
    return leg if attempt == 1 else f"{leg}-{attempt}"


def portions(amount: Pence) -> list[Pence]:
    """An amount in parts that Faster Payments carry."""
    whole, rest = divmod(amount.value, FPS_LIMIT.value)
    return [FPS_LIMIT] * whole + ([Pence(rest)] if Pence(rest) > ZERO else [])
