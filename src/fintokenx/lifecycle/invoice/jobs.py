"""Reading a document, carrying out decisions, and falling due: work after the transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fintokenx.kernel.blobs import Blobs
from fintokenx.kernel.jobs import Job, Lane, Payload, Work
from fintokenx.lifecycle.invoice.ports import DamagedDocument, DocumentReader, DocumentRefused, Reading
from fintokenx.lifecycle.invoice.service import examine, onward, reader_threads
from fintokenx.lifecycle.invoice.service.reads import any_open
from fintokenx.lifecycle.invoice.types import Document
from fintokenx.parties import compliance

READINGS_MAX: Final = 3
"""A reader that was starved or killed calls a document damaged that it had found sound at its arrival: ask again."""


@dataclass(frozen=True, slots=True)
class InvoiceJobs:
    """The jobs of invoices and what they need of the outside."""

    reader: DocumentReader
    blobs: Blobs

    def jobs(self) -> tuple[Job, ...]:
        """``fall_due`` is periodic, per tenant."""
        return (
            Job("invoice.extract", self.extract, Lane.DOCUMENTS, seconds_max=120),
            Job("invoice.case_decided", self.case_decided, Lane.MONEY, seconds_max=30),
            Job("invoice.question_declined", self.question_declined, Lane.MONEY, seconds_max=30),
            Job("invoice.fall_due", self.fall_due, Lane.MONEY, seconds_max=300),
        )

    async def extract(self, work: Work, payload: Payload) -> None:
        """Read the document off the event loop, archive what was read, compare (IN-03, IN-04)."""
        reference: str = payload["reference"]
        async with work.transaction() as tx:
            original = await examine.start_extraction(tx, work.caller, reference=reference)
        if original is None:
            return
        content = await self.blobs.get(work.tenant_id, original.storage_ref)
        try:
            found = await reader_threads.read(self.reader, content)
        except DocumentRefused as refusal:
            if isinstance(refusal, DamagedDocument) and work.attempts < READINGS_MAX:
                raise
            async with work.completing() as tx:
                await examine.refuse_document(tx, work.caller, reference=reference, code=refusal.code)
            return
        artefacts = await self._archived(work.tenant_id, found)
        async with work.completing() as tx:
            await examine.finish_extraction(tx, work.caller, reference=reference, reading=found, artefacts=artefacts)

    async def _archived(self, tenant_id: str, found: Reading) -> tuple[Document, ...]:
        artefacts = {"ocr_extract": found.text.encode(), "vision_artefacts": examine.artefact_of(found)}
        stored = {kind: await self.blobs.put(tenant_id, kind, content) for kind, content in artefacts.items()}
        return tuple(Document(kind, blob.storage_ref, blob.sha256, blob.size_bytes) for kind, blob in stored.items())

    async def case_decided(self, work: Work, payload: Payload) -> None:
        """A person has decided a case; if it is about an invoice in review, carry it out."""
        reference: str = payload["resource"]
        if not reference.startswith("FXI-"):
            return
        decision = compliance.Decision(payload["decision"])
        async with work.completing() as tx:
            await examine.review_decided(
                tx, work.caller, reference=reference, reason=payload["reason"], decision=decision
            )

    async def question_declined(self, work: Work, payload: Payload) -> None:
        """A buyer says that it does not owe this: a person asks why it was submitted."""
        async with work.completing() as tx:
            await examine.question_declined(
                tx, work.caller, reference=payload["reference"], originator_id=payload["originator_id"]
            )

    async def fall_due(self, work: Work, _payload: Payload) -> None:
        """FUNDED → DUE for every invoice whose maturity has come, one transaction each."""
        async with work.transaction() as tx:
            due = await onward.fallen_due(tx, work.caller, day=tx.at.date())
            if not await any_open(tx, work.caller):
                work.may_rest()
        for reference in due:
            async with work.transaction() as tx:
                await onward.fall_due(tx, work.caller, reference=reference)
