"""Which rows the entries of settlement's commands carry."""

from __future__ import annotations

from typing import Final

from fintokenx.audit import Carries, adds, always, changes, known_as
from fintokenx.lifecycle import invoice, ledger, marketplace, tokenisation
from fintokenx.parties import compliance

_DISBURSEMENT_MOVED: Final = changes("disbursements", "state")
_DISBURSEMENT_ENDED: Final = changes("disbursements", "state", "end_reason")
_PAYMENT_QUEUED: Final = adds("payment_instructions")
_PAYMENT_MOVED: Final = changes("payment_instructions", "state")
_PAYMENT_CONCLUDED: Final = changes("payment_instructions", "state", "bank_ref", "reason_code", "concluded_at")
_COLLECTION_MOVED: Final = changes("collections", "state")
_LINE_KEPT: Final = (
    adds("reconciliations"),
    adds("line_forms"),
    changes("reconciliations", "kind", "matched_to"),
)
"""A new line with its first form, or a doubt that has been decided."""
_DIFFERENCE_CHANGED: Final = changes("balance_differences", "bank_pence", "books_pence", "state", "closed_at")

CARRIES: Final[Carries] = {
    "FUND_COMMIT": always(adds("disbursements"), marketplace.LISTING_COMMITTED, invoice.INVOICE_COMMITTED),
    "FUND_CHECK": always(_DISBURSEMENT_MOVED, _PAYMENT_QUEUED),
    "FUND_CANCEL": (
        *always(_DISBURSEMENT_ENDED, marketplace.LISTING_RELEASED, invoice.INVOICE_RELEASED),
        _PAYMENT_CONCLUDED,
        *_LINE_KEPT,
    ),
    "FUND_INVOICE": (
        *always(
            changes("disbursements", "state", "chain_tx_hash", "fps_ref"),
            invoice.INVOICE_FUNDED,
            tokenisation.TOKEN_HELD,
            marketplace.LISTING_FUNDED,
            _PAYMENT_QUEUED,
        ),
        *ledger.JOURNAL,
    ),
    "FIAT_OUT": (*always(changes("payment_instructions", "state", "sent_at")), _DISBURSEMENT_MOVED),
    "FIAT_IN": (
        changes("disbursements", "state", "fps_ref"),
        _PAYMENT_CONCLUDED,
        tokenisation.TRANSFER_PROMISED,
        *ledger.JOURNAL,
    ),
    "FIAT_PAID": (
        *always(changes("disbursements", "payout_fps_ref", "paid_out_at"), _PAYMENT_CONCLUDED),
        *ledger.JOURNAL,
    ),
    "FIAT_REFUND": (
        *always(
            changes("disbursements", "state", "refund_fps_ref"),
            _PAYMENT_CONCLUDED,
            marketplace.LISTING_REFUNDED,
            invoice.INVOICE_REFUNDED,
        ),
        *ledger.JOURNAL,
    ),
    "FIAT_RETRY": (*always(_PAYMENT_CONCLUDED, _PAYMENT_QUEUED), _DISBURSEMENT_MOVED),
    "FIAT_ESCALATE": (
        *always(_PAYMENT_CONCLUDED),
        _DISBURSEMENT_MOVED,
        _COLLECTION_MOVED,
        *known_as("raise_on_escalation", *compliance.ALERT_RAISED),
    ),
    "FIAT_RETURN": (
        *always(_PAYMENT_CONCLUDED),
        _DISBURSEMENT_MOVED,
        _COLLECTION_MOVED,
        *_LINE_KEPT,
        *known_as("raise_on_return", *compliance.ALERT_RAISED),
        *ledger.JOURNAL,
    ),
    "CHAIN_REFUSED": (
        *always(_DISBURSEMENT_ENDED, _PAYMENT_QUEUED),
        *known_as("raise_on_chain_refusal", *compliance.ALERT_RAISED),
    ),
    "SELLER_CREDIT_ACK": (*always(changes("disbursements", "state", "seller_credit_acked_at")), *_LINE_KEPT),
    "RECON_ALERT": (
        *always(changes("disbursements", "recon_alerted_at")),
        *known_as("raise_on_late_credit", *compliance.ALERT_RAISED),
    ),
    "RECON_LINE": _LINE_KEPT,
    "RECON_SAME": always(adds("line_forms")),
    "RECON_DOUBT": always(adds("reconciliations"), adds("line_forms"), adds("line_doubts")),
    "RECON_DECIDE": (
        *always(changes("line_doubts", "state", "decided_at", "decided_by")),
        changes("reconciliations", "kind", "repeat_of"),
    ),
    "BALANCE_DIFFERS": (adds("balance_differences"), _DIFFERENCE_CHANGED),
    "BALANCE_AGREES": always(_DIFFERENCE_CHANGED),
    "BALANCE_GAP": (adds("statement_readings"), changes("statement_readings", "balance_gap_since")),
    "BALANCE_READ": always(changes("statement_readings", "balance_gap_since")),
    "RECON_GAP": (adds("statement_readings"), changes("statement_readings", "gap_since")),
    "RECON_WHOLE": always(changes("statement_readings", "gap_since")),
    "RECEIVE_CREDIT": (
        *always(adds("collections")),
        *_LINE_KEPT,
        *known_as("raise_on_unmatched_credit", *compliance.ALERT_RAISED),
        *ledger.JOURNAL,
    ),
    "RECEIVE_SETTLEMENT": (
        *always(changes("collections", "state", "allocated_pence", "refund_due_pence", "onward_payments")),
        invoice.INVOICE_COLLECTED,
        _PAYMENT_QUEUED,
        *ledger.JOURNAL,
    ),
    "SETTLEMENT_START": always(invoice.INVOICE_SETTLING),
    "BURN_REQUEST": tokenisation.BURN_REQUESTED,
    "ONWARD_HELD": (*always(_PAYMENT_MOVED), _COLLECTION_MOVED),
    "ONWARD_RELEASE": (*always(_PAYMENT_MOVED), _COLLECTION_MOVED),
    "ONWARD_PAID": (*always(_PAYMENT_CONCLUDED), _COLLECTION_MOVED, *ledger.JOURNAL),
}
