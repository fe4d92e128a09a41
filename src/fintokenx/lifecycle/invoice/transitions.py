"""The invoice's machine (statemachines §1), as far as code walks it, and the actions that invoice records."""

from __future__ import annotations

from fintokenx.audit import Action
from fintokenx.kernel.caller import Role
from fintokenx.kernel.machine import FROM_ABOVE, Machine, transitions

INVOICE = Machine(
    "invoice",
    transitions(
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
        ]
    ),
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
