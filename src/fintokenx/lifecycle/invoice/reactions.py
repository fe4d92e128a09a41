"""What invoice does about other modules' facts, and about its own afterwards."""

from __future__ import annotations

from fintokenx.kernel.bus import Afterwards, InStep
from fintokenx.lifecycle.invoice.events import InvoiceDeclined, InvoiceSubmitted
from fintokenx.parties.compliance.events import CaseDecided

IN_STEP: tuple[InStep, ...] = ()

AFTERWARDS = (
    Afterwards(InvoiceSubmitted, "invoice.extract"),
    Afterwards(InvoiceDeclined, "invoice.question_declined"),
    Afterwards(CaseDecided, "invoice.case_decided"),
)
