"""What a reviewer decides by: each finding with the declared value and the value that was read, and the documents."""

from __future__ import annotations

from dataclasses import dataclass

from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx
from fintokenx.lifecycle.invoice import store
from fintokenx.lifecycle.invoice.service import compare, reads
from fintokenx.lifecycle.invoice.types import Invoice, KeptDocument, ReviewReason, VisionRun
from fintokenx.parties import auth


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to look at. The values are None where the finding is about none that was declared."""

    code: str
    field: str | None
    declared: compare.Value
    read: compare.Value
    other_invoice: str | None
    """The one that looks the same, of a near duplicate."""


@dataclass(frozen=True, slots=True)
class Review:
    """An invoice as its reviewer sees it; ``run`` is None while nobody has read the document."""

    invoice: Invoice
    run: VisionRun | None
    findings: tuple[Finding, ...]
    documents: tuple[KeptDocument, ...]


async def review(tx: Tx, caller: Caller, *, reference: str) -> Review:
    """Why an invoice goes or went to a person.

    :raises UnknownInvoice: none in this tenant
    """
    caller.must_be(Role.MLRO, Role.COMPLIANCE, tenant_id=tx.tenant_id)
    invoice = await reads.get(tx, caller, reference=reference)
    run = (await store.newest_runs(tx, [reference])).get(reference)
    findings = await _findings(tx, invoice, run) if run is not None else ()
    return Review(invoice, run, findings, tuple(await store.documents(tx, reference)))


async def _findings(tx: Tx, invoice: Invoice, run: VisionRun) -> tuple[Finding, ...]:
    sides = compare.compared(
        invoice,
        seller=await auth.subject(tx, invoice.originator_id),
        buyer=await auth.subject(tx, invoice.obligor_id),
        paper=compare.on_paper(run.extracted_fields),
    )
    beside = {side.field: side for side in sides}
    twin = await store.invoice_alike_on_record(tx, invoice.document_sha256)
    found = []
    for finding in run.findings:
        code, _, field = finding.partition(":")
        side = beside.get(field.replace(".", "_"))
        declared, read = (side.declared, side.read) if side is not None else (None, None)
        other = twin if code == ReviewReason.NEAR_DUPLICATE else None
        found.append(Finding(code, field or None, declared, read, other))
    return tuple(found)
