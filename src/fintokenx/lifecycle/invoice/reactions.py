"""What invoice does about other modules' facts, and about its own afterwards."""

from __future__ import annotations

from fintokenx.kernel.bus import Afterwards, InStep
from fintokenx.kernel.caller import system
from fintokenx.kernel.db import Tx
from fintokenx.lifecycle.invoice.events import InvoiceDeclined, InvoiceSubmitted
from fintokenx.lifecycle.invoice.service import reads
from fintokenx.parties.auth.events import SubjectErased
from fintokenx.parties.compliance.events import CaseDecided


async def refuse_erasure(tx: Tx, erased: SubjectErased) -> None:
    """Nobody is erased while it sells or owes an invoice."""
    await reads.must_not_need(tx, system(tx.tenant_id, "erasure"), subject_id=erased.subject_id)


IN_STEP: tuple[InStep, ...] = (InStep(SubjectErased, refuse_erasure),)

AFTERWARDS = (
    Afterwards(InvoiceSubmitted, "invoice.extract"),
    Afterwards(InvoiceDeclined, "invoice.question_declined"),
    Afterwards(CaseDecided, "invoice.case_decided"),
)
