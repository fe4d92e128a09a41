"""What notification does about other modules' facts."""

from __future__ import annotations

from fintokenx.kernel.bus import Afterwards, InStep
from fintokenx.lifecycle.invoice.events import InvoiceAwaitingBuyer, InvoiceInReview, InvoiceRejected
from fintokenx.parties.auth.events import LoginCodeWanted

IN_STEP: tuple[InStep, ...] = ()

AFTERWARDS = (
    Afterwards(InvoiceAwaitingBuyer, "notification.ask_buyer"),
    Afterwards(InvoiceInReview, "notification.invoice_in_review"),
    Afterwards(InvoiceRejected, "notification.invoice_rejected"),
    Afterwards(LoginCodeWanted, "notification.login_code"),
)
