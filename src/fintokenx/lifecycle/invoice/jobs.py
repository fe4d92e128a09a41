"""Reading a document, and telling invoices that they have fallen due: work after the transaction."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from fintokenx.kernel.blobs import Blobs
from fintokenx.kernel.jobs import Handler, Payload, Work
from fintokenx.lifecycle.invoice.ports import DocumentReader, DocumentRefused
from fintokenx.lifecycle.invoice.service import onward, submit
from fintokenx.lifecycle.invoice.types import Document


@dataclass(frozen=True, slots=True)
class InvoiceJobs:
    """The jobs of invoices and what they need of the outside."""

    reader: DocumentReader
    blobs: Blobs

    def handlers(self) -> dict[str, Handler]:
        """By job name."""
        return {
            "invoice.extract": self.extract,
            "invoice.case_decided": self.case_decided,
            "invoice.fall_due": self.fall_due,
        }

    async def extract(self, work: Work, payload: Payload) -> None:
        """Read the document off the event loop, archive what was read, compare (IN-03, IN-04)."""
        reference: str = payload["reference"]
        async with work.transaction() as tx:
            started = await submit.start_extraction(tx, work.caller, reference=reference)
        if started is None:
            return
        _invoice, original = started
        content = await self.blobs.get(work.tenant_id, original.storage_ref)
        try:
            reading = await asyncio.to_thread(self.reader.read, content)
        except DocumentRefused as refusal:
            async with work.completing() as tx:
                await submit.refuse_document(tx, work.caller, reference=reference, code=refusal.code)
            return
        stored = await self.blobs.put(work.tenant_id, "ocr_extract", reading.text.encode())
        extract = Document("ocr_extract", stored.storage_ref, stored.sha256, stored.size_bytes)
        async with work.completing() as tx:
            await submit.finish_extraction(tx, work.caller, reference=reference, reading=reading, extract=extract)

    async def case_decided(self, work: Work, payload: Payload) -> None:
        """A reviewer has decided about something; if it was an invoice in review, carry it out."""
        if not str(payload["resource"]).startswith("FXI-"):
            return
        async with work.completing() as tx:
            approved = payload["decision"] == "APPROVE"
            await submit.review_decided(tx, work.caller, reference=payload["resource"], approved=approved)

    async def fall_due(self, work: Work, _payload: Payload) -> None:
        """FUNDED → DUE for every invoice whose maturity has come, one transaction each."""
        async with work.transaction() as tx:
            due = await onward.fallen_due(tx, work.caller, day=tx.at.date())
        for reference in due:
            async with work.transaction() as tx:
                await onward.fall_due(tx, work.caller, reference=reference)
