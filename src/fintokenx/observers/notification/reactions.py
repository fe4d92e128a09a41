"""What notification does about other modules' facts."""

from __future__ import annotations

from fintokenx.kernel.bus import Afterwards, InStep
from fintokenx.lifecycle.invoice.events import InvoiceAwaitingBuyer
from fintokenx.parties.auth.events import LoginCodeWanted

IN_STEP: tuple[InStep, ...] = ()

AFTERWARDS = (
    Afterwards(InvoiceAwaitingBuyer, "notification.ask_buyer"),
    Afterwards(LoginCodeWanted, "notification.login_code"),
)
