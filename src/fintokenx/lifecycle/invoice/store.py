"""All SQL of invoices."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from fintokenx import audit
from fintokenx.kernel.db import Connection, Row, Tx
from fintokenx.kernel.machine import Transition
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.invoice.transitions import InvoiceEvent, InvoiceState
from fintokenx.lifecycle.invoice.types import Document, Invoice, KeptDocument, VisionRun

_COLUMNS = (
    "tenant_id, reference, originator_id, obligor_id, invoice_number, face_value_pence, collected_pence, currency,"
    " issue_date, tenor_days, maturity_date, asking_discount_bps, state, token_reference, document_sha256, created_at"
)
_DEAD = [InvoiceState.REJECTED, InvoiceState.DECLINED_BY_BUYER, InvoiceState.WITHDRAWN]


def _invoice(row: Row) -> Invoice:
    values = dict(row)
    return Invoice(
        face_value=Pence(values.pop("face_value_pence")),
        collected=Pence(values.pop("collected_pence")),
        state=InvoiceState(values.pop("state")),
        **values,
    )


async def find(tx: Tx, reference: str) -> Invoice | None:
    """One invoice of the tenant."""
    row = await tx.row(f"select {_COLUMNS} from app.invoices where reference = $1", reference)
    return _invoice(row) if row else None


async def find_anywhere(connection: Connection, reference: str) -> dict[str, Any] | None:
    """An invoice in whatever tenant, its public columns; ``connection`` reads under a bypass."""
    row = await connection.fetchrow(
        "select tenant_id, reference, originator_id, obligor_id, face_value_pence, currency, maturity_date, state,"
        " token_reference from app.invoices where reference = $1",
        reference,
    )
    return dict(row) if row else None


async def lock(tx: Tx, reference: str) -> Invoice | None:
    """Take the invoice's lock until the transaction ends, then read it."""
    await tx.lock(f"invoice:{reference}")
    return await find(tx, reference)


async def page(tx: Tx, *, party_id: str | None, state: str | None, after: str | None, limit: int) -> list[Invoice]:
    """Invoices by reference, of one party (seller or buyer) or of all."""
    rows = await tx.rows(
        f"""select {_COLUMNS} from app.invoices
             where ($1::text is null or originator_id = $1 or obligor_id = $1)
               and ($2::text is null or state = $2) and ($3::text is null or reference > $3)
             order by reference limit $4""",
        party_id,
        state,
        after,
        limit,
    )
    return [_invoice(row) for row in rows]


async def lock_submissions(tx: Tx, originator_id: str, document_sha256: str) -> None:
    """One submission per seller and per file at a time, so that the look for duplicates is exact."""
    for what in (originator_id, document_sha256):
        await tx.lock(f"submit:{what}")


async def same_file(tx: Tx, document_sha256: str) -> Invoice | None:
    """The live invoice with this very document, whoever its seller is."""
    row = await tx.row(
        f"select {_COLUMNS} from app.invoices where document_sha256 = $1 and state <> all($2)", document_sha256, _DEAD
    )
    return _invoice(row) if row else None


async def same_number(tx: Tx, originator_id: str, number_normalised: str) -> Invoice | None:
    """The live invoice of this seller with this number."""
    row = await tx.row(
        f"select {_COLUMNS} from app.invoices where originator_id = $1 and invoice_number_normalised = $2"
        " and state <> all($3)",
        originator_id,
        number_normalised,
        _DEAD,
    )
    return _invoice(row) if row else None


async def alike(tx: Tx, invoice: Invoice) -> str | None:
    """Another live invoice to the same buyer over the same amount and date; later ones too, since of two that are
    submitted at once neither may miss the other."""
    value = await tx.value(
        "select reference from app.invoices where obligor_id = $1 and face_value_pence = $2 and issue_date = $3"
        " and reference <> $4 and state <> all($5) order by created_at limit 1",
        invoice.obligor_id,
        invoice.face_value.value,
        invoice.issue_date,
        invoice.reference,
        _DEAD,
    )
    return str(value) if value else None


async def due_by(tx: Tx, day: date) -> list[str]:
    """Funded invoices whose maturity has come."""
    rows = await tx.rows(
        "select reference from app.invoices where state = 'FUNDED' and maturity_date <= $1 order by reference", day
    )
    return [row["reference"] for row in rows]


async def has_any(tx: Tx, party_id: str, *, but_in: Sequence[str]) -> bool:
    """Whether the party sells or owes an invoice in another state than these."""
    found = await tx.value(
        "select exists (select from app.invoices where originator_id = $1 and state <> all ($2))"
        " or exists (select from app.invoices where obligor_id = $1 and state <> all ($2))",
        party_id,
        list(but_in),
    )
    return bool(found)


async def any_but_in(tx: Tx, ended: Sequence[str]) -> bool:
    """Whether the tenant has an invoice in another state than these. Spelled out, for the index of open ones."""
    states = ", ".join(f"'{state}'" for state in ended)
    return bool(await tx.value(f"select exists (select from app.invoices where state not in ({states}))"))


def row_of(invoice: Invoice, number_normalised: str) -> audit.RowChange:
    """A new invoice."""
    return audit.insert(
        "invoices",
        {
            "tenant_id": invoice.tenant_id,
            "reference": invoice.reference,
            "originator_id": invoice.originator_id,
            "obligor_id": invoice.obligor_id,
            "invoice_number": invoice.invoice_number,
            "invoice_number_normalised": number_normalised,
            "face_value_pence": invoice.face_value,
            "collected_pence": invoice.collected,
            "currency": invoice.currency,
            "issue_date": invoice.issue_date,
            "tenor_days": invoice.tenor_days,
            "maturity_date": invoice.maturity_date,
            "asking_discount_bps": invoice.asking_discount_bps,
            "state": invoice.state,
            "token_reference": invoice.token_reference,
            "document_sha256": invoice.document_sha256,
            "created_at": invoice.created_at,
        },
    )


def move(
    invoice: Invoice, transition: Transition[InvoiceState, InvoiceEvent], **changes: tuple[Any, Any]
) -> audit.RowChange:
    """The invoice's state change, with other columns as ``name=(before, after)``."""
    before = {"state": transition.source, **{name: pair[0] for name, pair in changes.items()}}
    after = {"state": transition.target, **{name: pair[1] for name, pair in changes.items()}}
    key = {"tenant_id": invoice.tenant_id, "reference": invoice.reference}
    return audit.update("invoices", key=key, before=before, after=after)


def document(tx: Tx, reference: str, stored: Document) -> audit.RowChange:
    """An artefact of an invoice."""
    return audit.insert(
        "invoice_documents",
        {
            "tenant_id": tx.tenant_id,
            "id": tx.ids.new("doc"),
            "invoice_reference": reference,
            "type": stored.type,
            "storage_ref": stored.storage_ref,
            "sha256": stored.sha256,
            "size_bytes": stored.size_bytes,
            "created_at": tx.at,
        },
    )


async def documents(tx: Tx, reference: str) -> list[KeptDocument]:
    """All artefacts of an invoice, oldest first."""
    rows = await tx.rows(
        "select id, type, storage_ref, sha256, size_bytes from app.invoice_documents where invoice_reference = $1"
        " order by created_at, id",
        reference,
    )
    return [KeptDocument(**dict(row)) for row in rows]


def vision_run(
    tx: Tx, reference: str, *, model: str, confidence_bps: int, fields: dict[str, Any], findings: Sequence[str]
) -> audit.RowChange:
    """What a reader made of the document (IN-03)."""
    return audit.insert(
        "vision_runs",
        {
            "tenant_id": tx.tenant_id,
            "id": tx.ids.new("vis"),
            "invoice_reference": reference,
            "model": model,
            "confidence_bps": confidence_bps,
            "extracted_fields": fields,
            "findings": list(findings),
            "ran_at": tx.at,
        },
    )


async def newest_runs(tx: Tx, references: Sequence[str]) -> dict[str, VisionRun]:
    """The last reading of each of these invoices, by reference."""
    rows = await tx.rows(
        "select distinct on (invoice_reference) invoice_reference, model, confidence_bps, extracted_fields, findings,"
        " ran_at from app.vision_runs where invoice_reference = any($1)"
        " order by invoice_reference, ran_at desc, id desc",
        list(references),
    )
    found = [dict(row) for row in rows]
    return {row.pop("invoice_reference"): VisionRun(**row) for row in found}


async def invoice_alike_on_record(tx: Tx, document_sha256: str) -> str | None:
    """The invoice of which the one with this document was found to be a near duplicate."""
    value = await tx.value(
        "select invoice_reference from app.duplicates where document_sha256 = $1 and kind = 'SAME_OBLIGOR_AMOUNT_DATE'"
        " order by detected_at desc limit 1",
        document_sha256,
    )
    return str(value) if value else None


def duplicate(tx: Tx, *, reference: str, kind: str, document_sha256: str, submitted_by: str) -> audit.RowChange:
    """That somebody submitted it again (IN-07)."""
    return audit.insert(
        "duplicates",
        {
            "tenant_id": tx.tenant_id,
            "id": tx.ids.new("dup"),
            "invoice_reference": reference,
            "kind": kind,
            "document_sha256": document_sha256,
            "submitted_by": submitted_by,
            "detected_at": tx.at,
        },
    )


async def is_known_duplicate(tx: Tx, *, reference: str, kind: str, document_sha256: str, submitted_by: str) -> bool:
    """Whether this very try is on record."""
    return bool(
        await tx.value(
            "select exists (select from app.duplicates where invoice_reference = $1 and kind = $2"
            " and document_sha256 = $3 and submitted_by = $4)",
            reference,
            kind,
            document_sha256,
            submitted_by,
        )
    )


async def is_confirmed(tx: Tx, reference: str) -> bool:
    """Whether the buyer has confirmed it, however far it has come since."""
    return bool(
        await tx.value("select exists (select from app.buyer_confirmations where invoice_reference = $1)", reference)
    )


async def pages_shown(tx: Tx, reference: str) -> frozenset[str]:
    """The hashes of the confirmation pages that are archived."""
    rows = await tx.rows(
        "select sha256 from app.invoice_documents where invoice_reference = $1 and type = 'confirmation_page'",
        reference,
    )
    return frozenset(row["sha256"] for row in rows)


def confirmation(
    tx: Tx, *, reference: str, confirmed_by: str, page_hash: str, ip_sealed: str, session_id: str
) -> audit.RowChange:
    """Who confirmed what page, when, from where (IN-12)."""
    return audit.insert(
        "buyer_confirmations",
        {
            "tenant_id": tx.tenant_id,
            "id": tx.ids.new("cnf"),
            "invoice_reference": reference,
            "confirmed_by": confirmed_by,
            "confirmed_at": tx.at,
            "page_hash": page_hash,
            "ip_sealed": ip_sealed,
            "session_id": session_id,
        },
    )
