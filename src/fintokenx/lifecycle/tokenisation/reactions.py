"""What tokenisation does about other modules' facts."""

from __future__ import annotations

from fintokenx.kernel.bus import Afterwards, InStep
from fintokenx.lifecycle.invoice.events import InvoiceConfirmed
from fintokenx.parties.auth.events import SubjectActive, SubjectFrozen, SubjectUnfrozen

IN_STEP: tuple[InStep, ...] = ()

AFTERWARDS = (
    Afterwards(InvoiceConfirmed, "tokenisation.mint"),
    Afterwards(SubjectActive, "tokenisation.issue_claims"),
    Afterwards(SubjectUnfrozen, "tokenisation.issue_claims"),
    Afterwards(SubjectFrozen, "tokenisation.revoke_claims"),
)
