"""Which rows the entries of invoice's actions carry, and what the modules above may carry of an invoice."""

from __future__ import annotations

from typing import Final

from fintokenx.audit import Carries, adds, always, changes
from fintokenx.parties import auth, compliance

INVOICE_MOVED: Final = changes("invoices", "state")
INVOICE_TOKENISED: Final = changes("invoices", "state", "token_reference")
INVOICE_COLLECTED: Final = changes("invoices", "state", "collected_pence")
_READ: Final = (adds("invoice_documents"), adds("duplicates"))

CARRIES: Final[Carries] = {
    "SUBMIT_INVOICE": always(adds("invoices"), adds("invoice_documents")),
    "CONFIRM_INVOICE": (*always(INVOICE_MOVED, adds("buyer_confirmations")), auth.LINK_MOVED),
    "INVOICE_BUYER_DECLINE": (*always(INVOICE_MOVED), auth.LINK_MOVED),
    "INVOICE_WITHDRAW": (*always(INVOICE_MOVED), auth.LINK_MOVED),
    "BUYER_PAGE_VIEW": always(adds("invoice_documents")),
    "INVOICE_DUPLICATE": always(adds("duplicates")),
    "INVOICE_EXTRACT_START": always(INVOICE_MOVED),
    "INVOICE_EXTRACTED": (*always(INVOICE_MOVED, adds("vision_runs")), *_READ),
    "INVOICE_REFER": (*always(INVOICE_MOVED, adds("vision_runs")), *_READ, *compliance.CASE_OPENED),
    "INVOICE_REFUSE": always(INVOICE_MOVED, adds("vision_runs")),
    "INVOICE_REVIEW_DECIDE": always(INVOICE_MOVED),
    "INVOICE_DUE": always(INVOICE_MOVED),
}
