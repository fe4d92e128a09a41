"""What becomes true of money, for those above and for the observers."""

from __future__ import annotations

from dataclasses import dataclass

from fintokenx.kernel.bus import Fact


@dataclass(frozen=True, slots=True)
class FundingCommitted(Fact):
    """A lender has committed to a listing (F1)."""

    disbursement_id: str
    invoice_reference: str
    lender_subject_id: str


@dataclass(frozen=True, slots=True)
class FundingCancelled(Fact):
    """A commitment ended before any money had moved; the listing is open again."""

    disbursement_id: str
    invoice_reference: str
    lender_subject_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class InvoiceFunded(Fact):
    """The lender holds the receivable; the advance is on its way to the seller."""

    disbursement_id: str
    invoice_reference: str
    lender_subject_id: str


@dataclass(frozen=True, slots=True)
class FundingRefunded(Fact):
    """The network refused the token, and the lender has its money back; the listing is open again."""

    disbursement_id: str
    invoice_reference: str
    lender_subject_id: str


@dataclass(frozen=True, slots=True)
class TokenRefusedAfterFiat(Fact):
    """Alert: money is in collections, the network refuses the token; a refund is on its way (SE-05)."""

    disbursement_id: str
    invoice_reference: str
    reason: str


@dataclass(frozen=True, slots=True)
class DisbursementClosed(Fact):
    """The seller's bank shows the advance (F4)."""

    disbursement_id: str
    invoice_reference: str


@dataclass(frozen=True, slots=True)
class PaymentEscalated(Fact):
    """Alert: a payment was rejected for good, rejected too often or sent back; a person must look (SE-09)."""

    end_to_end_id: str
    purpose: str
    invoice_reference: str
    reason_code: str


@dataclass(frozen=True, slots=True)
class ReconciliationLate(Fact):
    """Alert: four hours after the advance was sent, the seller's bank has not shown it (SE-14)."""

    disbursement_id: str
    invoice_reference: str


@dataclass(frozen=True, slots=True)
class CreditUnmatched(Fact):
    """A credit came in that names no invoice of ours; it lies in suspense until a person has looked."""

    collection_id: str


@dataclass(frozen=True, slots=True)
class CreditAllocated(Fact):
    """A buyer's payment is booked on its invoice and shared between the holders."""

    collection_id: str
    invoice_reference: str


@dataclass(frozen=True, slots=True)
class PaymentHeld(Fact):
    """The payee may not be paid at present; the money stays with us (SE-18)."""

    end_to_end_id: str
    invoice_reference: str
    subject_id: str
