"""The invoice's machine (statemachines §1), as far as code walks it, and the actions that invoice records."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from fintokenx.audit import Action
from fintokenx.kernel.caller import Role
from fintokenx.kernel.machine import FROM_ABOVE, machine


class InvoiceState(StrEnum):
    """Where an invoice stands."""

    SUBMITTED = "SUBMITTED"
    EXTRACTING = "EXTRACTING"
    AWAITING_BUYER = "AWAITING_BUYER"
    IN_REVIEW = "IN_REVIEW"
    REJECTED = "REJECTED"
    CONFIRMED = "CONFIRMED"
    DECLINED_BY_BUYER = "DECLINED_BY_BUYER"
    WITHDRAWN = "WITHDRAWN"
    TOKENISED = "TOKENISED"
    LISTED = "LISTED"
    FUNDING = "FUNDING"
    FUNDED = "FUNDED"
    DUE = "DUE"
    PART_PAID = "PART_PAID"
    PAID = "PAID"
    SETTLING = "SETTLING"
    SETTLED = "SETTLED"


class InvoiceEvent(StrEnum):
    """What moves an invoice."""

    SUBMIT = "submit"
    START_EXTRACTION = "start_extraction"
    EXTRACTED = "extracted"
    REFER = "refer"
    REFUSE = "refuse"
    APPROVE = "approve"
    REJECT = "reject"
    CONFIRM = "confirm"
    DECLINE = "decline"
    WITHDRAW = "withdraw"
    TOKENISED = "tokenised"
    LISTED = "listed"
    COMMIT = "commit"
    CANCEL = "cancel"
    REFUND = "refund"
    FUND = "fund"
    FALL_DUE = "fall_due"
    COLLECT = "collect"
    START_SETTLING = "start_settling"
    SETTLE = "settle"


INVOICE: Final = machine(
    "invoice",
    InvoiceState,
    InvoiceEvent,
    [
        ("", "submit", "SUBMITTED", "SUBMIT_INVOICE"),
        ("SUBMITTED", "start_extraction", "EXTRACTING", "INVOICE_EXTRACT_START"),
        ("EXTRACTING", "extracted", "AWAITING_BUYER", "INVOICE_EXTRACTED"),
        ("EXTRACTING", "refer", "IN_REVIEW", "INVOICE_REFER"),
        ("EXTRACTING", "refuse", "REJECTED", "INVOICE_REFUSE"),
        ("IN_REVIEW", "approve", "AWAITING_BUYER", "INVOICE_REVIEW_DECIDE"),
        ("IN_REVIEW", "reject", "REJECTED", "INVOICE_REVIEW_DECIDE"),
        ("AWAITING_BUYER", "confirm", "CONFIRMED", "CONFIRM_INVOICE"),
        ("AWAITING_BUYER", "decline", "DECLINED_BY_BUYER", "INVOICE_BUYER_DECLINE"),
        ("SUBMITTED|EXTRACTING|IN_REVIEW|AWAITING_BUYER", "withdraw", "WITHDRAWN", "INVOICE_WITHDRAW"),
        ("CONFIRMED", "tokenised", "TOKENISED", FROM_ABOVE),
        ("TOKENISED", "listed", "LISTED", FROM_ABOVE),
        ("LISTED", "commit", "FUNDING", FROM_ABOVE),
        ("FUNDING", "cancel", "LISTED", FROM_ABOVE),
        ("FUNDING", "refund", "LISTED", FROM_ABOVE),
        ("FUNDING", "fund", "FUNDED", FROM_ABOVE),
        ("FUNDED", "fall_due", "DUE", "INVOICE_DUE"),
        ("FUNDED|DUE|PART_PAID", "collect", "PART_PAID", FROM_ABOVE),
        ("FUNDED|DUE|PART_PAID", "collect", "PAID", FROM_ABOVE),
        ("PAID", "start_settling", "SETTLING", FROM_ABOVE),
        ("SETTLING", "settle", "SETTLED", FROM_ABOVE),
    ],
)

MACHINES = (INVOICE,)

_SYSTEM = (Role.SYSTEM,)
SUBMITTERS = (Role.SELLER, Role.PLATFORM_ADMIN)
"""An administrator names the seller that it acts for (AD-16)."""

ACTIONS = (
    Action("SUBMIT_INVOICE", SUBMITTERS, True, "required_from_admin"),
    Action("CONFIRM_INVOICE", (Role.BUYER, Role.PLATFORM_ADMIN), True, "required_from_admin"),
    Action("INVOICE_BUYER_DECLINE", (Role.BUYER, Role.PLATFORM_ADMIN), True, "required_from_admin"),
    Action("INVOICE_WITHDRAW", SUBMITTERS, True, "required_from_admin"),
    Action("BUYER_PAGE_VIEW", (Role.BUYER, Role.PLATFORM_ADMIN), True, "required_from_admin"),
    Action("INVOICE_DUPLICATE", SUBMITTERS, True, "required_from_admin"),
    Action("INVOICE_EXTRACT_START", _SYSTEM),
    Action("INVOICE_EXTRACTED", _SYSTEM),
    Action("INVOICE_REFER", _SYSTEM),
    Action("INVOICE_REFUSE", _SYSTEM),
    Action("INVOICE_REVIEW_DECIDE", _SYSTEM),
    Action("INVOICE_DUE", _SYSTEM),
)
