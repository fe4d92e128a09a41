"""Submitted, read, confirmed by the buyer: the spine of everything downstream (IN-16).

A seller uploads a document and declares what it says; a reader reads it; where both agree the buyer is asked, else a
person looks. The buyer confirms a page whose hash is kept. From then on the modules above move the invoice along its
machine through the doors below, each of which contributes a Move to the one entry that the top command records.
"""

from fintokenx.lifecycle.invoice.carries import INVOICE_COLLECTED, INVOICE_MOVED, INVOICE_TOKENISED
from fintokenx.lifecycle.invoice.service.confirm import (
    ConfirmationPage,
    confirm,
    confirmation_page,
    decline,
    record_page_view,
)
from fintokenx.lifecycle.invoice.service.onward import (
    collected,
    committed,
    fall_due,
    funded,
    listed,
    released,
    settled,
    settling,
    tokenised,
)
from fintokenx.lifecycle.invoice.service.reads import any_open, documents, find_anywhere, get, page
from fintokenx.lifecycle.invoice.service.reasons import reasons
from fintokenx.lifecycle.invoice.service.submit import submit, withdraw
from fintokenx.lifecycle.invoice.types import (
    SEALED,
    AlreadyConfirmed,
    Declaration,
    Document,
    DuplicateInvoice,
    Invoice,
    IssuedInFuture,
    MaturityBeforeIssue,
    MaturityInPast,
    MoreThanOutstanding,
    NotYourInvoice,
    NumberUnreadable,
    ObligorIsNoBuyer,
    ObligorUnknown,
    OnBehalfOfSeller,
    PageChanged,
    Reason,
    ReviewReason,
    SameParty,
    TenorTooLong,
    UnknownInvoice,
)

__all__ = [
    "INVOICE_COLLECTED",
    "INVOICE_MOVED",
    "INVOICE_TOKENISED",
    "SEALED",
    "AlreadyConfirmed",
    "ConfirmationPage",
    "Declaration",
    "Document",
    "DuplicateInvoice",
    "Invoice",
    "IssuedInFuture",
    "MaturityBeforeIssue",
    "MaturityInPast",
    "MoreThanOutstanding",
    "NotYourInvoice",
    "NumberUnreadable",
    "ObligorIsNoBuyer",
    "ObligorUnknown",
    "OnBehalfOfSeller",
    "PageChanged",
    "Reason",
    "ReviewReason",
    "SameParty",
    "TenorTooLong",
    "UnknownInvoice",
    "any_open",
    "collected",
    "committed",
    "confirm",
    "confirmation_page",
    "decline",
    "documents",
    "fall_due",
    "find_anywhere",
    "funded",
    "get",
    "listed",
    "page",
    "reasons",
    "record_page_view",
    "released",
    "settled",
    "settling",
    "submit",
    "tokenised",
    "withdraw",
]
