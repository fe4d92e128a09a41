"""Which rows the entries of invoice's actions carry, and what the modules above may carry of an invoice."""

from __future__ import annotations

from typing import Final

from fintokenx.audit import Carries, adds, always, changes, walking
from fintokenx.lifecycle.invoice.transitions import INVOICE, InvoiceEvent
from fintokenx.parties import auth, compliance

_MOVED: Final = changes("invoices", "state")
INVOICE_TOKENISED: Final = walking(changes("invoices", "state", "token_reference"), INVOICE, InvoiceEvent.TOKENISED)
INVOICE_LISTED: Final = walking(_MOVED, INVOICE, InvoiceEvent.LISTED)
INVOICE_COMMITTED: Final = walking(_MOVED, INVOICE, InvoiceEvent.COMMIT)
INVOICE_RELEASED: Final = walking(_MOVED, INVOICE, InvoiceEvent.CANCEL)
"""Back on the market before money has moved."""
INVOICE_REFUNDED: Final = walking(_MOVED, INVOICE, InvoiceEvent.REFUND)
INVOICE_FUNDED: Final = walking(_MOVED, INVOICE, InvoiceEvent.FUND)
INVOICE_COLLECTED: Final = walking(changes("invoices", "state", "collected_pence"), INVOICE, InvoiceEvent.COLLECT)
INVOICE_SETTLING: Final = walking(_MOVED, INVOICE, InvoiceEvent.START_SETTLING)
INVOICE_SETTLED: Final = walking(_MOVED, INVOICE, InvoiceEvent.SETTLE)
_READ: Final = (adds("invoice_documents"), adds("duplicates"))

CARRIES: Final[Carries] = {
    "SUBMIT_INVOICE": always(adds("invoices"), adds("invoice_documents")),
    "CONFIRM_INVOICE": (*always(_MOVED, adds("buyer_confirmations")), auth.LINK_CONFIRMED),
    "INVOICE_BUYER_DECLINE": (*always(_MOVED), auth.LINK_DECLINED),
    "INVOICE_WITHDRAW": (*always(_MOVED), auth.LINK_WITHDRAWN),
    "BUYER_PAGE_VIEW": always(adds("invoice_documents")),
    "INVOICE_DUPLICATE": always(adds("duplicates")),
    "INVOICE_EXTRACT_START": always(_MOVED),
    "INVOICE_EXTRACTED": (*always(_MOVED, adds("vision_runs")), *_READ),
    "INVOICE_REFER": (*always(_MOVED, adds("vision_runs")), *_READ, *compliance.CASE_OPENED),
    "INVOICE_REFUSE": always(_MOVED, adds("vision_runs")),
    "INVOICE_REVIEW_DECIDE": always(_MOVED),
    "INVOICE_DUE": always(_MOVED),
}
