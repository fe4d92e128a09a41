"""The API of invoices."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from fintokenx.kernel.caller import WrongRole
from fintokenx.kernel.edge import (
    IDEMPOTENCY_HEADER,
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
    Mutation,
    Query,
    mutation,
    mutation_of,
    problems,
    query,
)
from fintokenx.kernel.errors import Refused
from fintokenx.kernel.ids import INVOICE_REFERENCE_PATTERN
from fintokenx.kernel.machine import IllegalTransition
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.invoice import ports, service
from fintokenx.lifecycle.invoice.http.services import InvoiceServices, services
from fintokenx.lifecycle.invoice.service import confirm, reads, submit
from fintokenx.lifecycle.invoice.types import (
    Declaration,
    Document,
    DuplicateInvoice,
    Invoice,
    IssuedInFuture,
    MaturityBeforeIssue,
    MaturityInPast,
    ObligorUnknown,
    SameParty,
    UnknownInvoice,
)

__all__ = ["confirm", "router", "service"]

router = APIRouter(tags=["invoices"])


class DeclarationBody(BaseModel):
    """What the seller says about the uploaded document."""

    model_config = ConfigDict(extra="forbid")

    obligor_id: str = Field(description="The buyer: an active subject with the role buyer.", examples=["sub_01…"])
    invoice_number: str = Field(min_length=1, max_length=64, description="As printed.", examples=["INV-00417"])
    issue_date: date = Field(description="ISO 8601.", examples=["2026-06-01"])
    maturity_date: date = Field(description="The due date, ISO 8601.", examples=["2026-07-31"])
    face_value_pence: Pence = Field(description="The gross total, a whole number of pence.", examples=[547680])
    currency: str = Field("GBP", description="GBP only.")
    asking_discount_bps: int = Field(
        strict=True, ge=1, le=5000, description="The discount you ask for, for the whole tenor, in basis points."
    )

    @field_validator("face_value_pence")
    @classmethod
    def _positive(cls, amount: Pence) -> Pence:
        if amount <= Pence(0):
            raise ValueError("a face value is at least one penny")
        return amount

    @field_validator("invoice_number")
    @classmethod
    def _printable(cls, number: str) -> str:
        if not number.isprintable() or not any(character.isalnum() for character in number):
            raise ValueError("an invoice number has printable characters, one letter or digit at least")
        return number


class InvoiceView(BaseModel):
    """An invoice as it stands."""

    reference: str = Field(pattern=INVOICE_REFERENCE_PATTERN, examples=["FXI-7KQ2M9A"])
    originator_id: str
    obligor_id: str
    invoice_number: str
    face_value_pence: Pence
    collected_pence: Pence
    outstanding_pence: Pence
    currency: str
    issue_date: date
    tenor_days: int
    maturity_date: date
    asking_discount_bps: int
    state: str
    token_reference: str | None
    document_sha256: str
    created_at: datetime

    @classmethod
    def of(cls, invoice: Invoice) -> InvoiceView:
        """Spell an invoice."""
        return cls(
            reference=invoice.reference,
            originator_id=invoice.originator_id,
            obligor_id=invoice.obligor_id,
            invoice_number=invoice.invoice_number,
            face_value_pence=invoice.face_value,
            collected_pence=invoice.collected,
            outstanding_pence=invoice.outstanding,
            currency=invoice.currency,
            issue_date=invoice.issue_date,
            tenor_days=invoice.tenor_days,
            maturity_date=invoice.maturity_date,
            asking_discount_bps=invoice.asking_discount_bps,
            state=invoice.state,
            token_reference=invoice.token_reference,
            document_sha256=invoice.document_sha256,
            created_at=invoice.created_at,
        )


class InvoicePage(BaseModel):
    """A page of invoices; ``next`` is the cursor of the following one."""

    items: list[InvoiceView]
    next: str | None


class DocumentView(BaseModel):
    """An artefact and its hash."""

    type: str
    sha256: str
    size_bytes: int

    @classmethod
    def of(cls, document: Document) -> DocumentView:
        """Spell a document."""
        return cls(type=document.type, sha256=document.sha256, size_bytes=document.size_bytes)


class CurrencyRefused(Refused):
    """Only pounds sterling are taken (P-07)."""

    code = "CURRENCY_UNSUPPORTED"
    status = 422


@router.post(
    "/v1/invoices",
    status_code=201,
    response_model=InvoiceView,
    responses=problems(
        IdempotencyKeyRequired, IdempotencyKeyReused, WrongRole, DuplicateInvoice, MaturityInPast, MaturityBeforeIssue,
        IssuedInFuture, SameParty, ObligorUnknown, CurrencyRefused, ports.EmptyFile, ports.FileTooLarge,
        ports.TooManyPages, ports.UnsupportedContent, ports.EncryptedDocument, ports.DamagedDocument,
        ports.ActiveContent,
    ),
    openapi_extra={"parameters": [{"in": "header", "name": IDEMPOTENCY_HEADER, "required": True,
                                   "schema": {"type": "string", "minLength": 1, "maxLength": 255}}]},
)  # fmt: skip
async def submit_invoice(
    request: Request,
    needs: Annotated[InvoiceServices, Depends(services)],
    file: Annotated[UploadFile, File(description="A PDF (text layer or Factur-X) or a UBL/CII XML invoice.")],
    declared: Annotated[str, Form(description="A DeclarationBody as JSON text.")],
) -> Response:
    """Upload an invoice and declare what it says. It is stored encrypted, then read and compared."""
    content = await file.read(needs.file_bytes_max + 1)
    digest = hashlib.sha256(content).hexdigest()
    command = await mutation_of(request, fingerprint=f"{digest}\n{declared}".encode())
    if len(content) > needs.file_bytes_max:
        raise ports.FileTooLarge
    body = _declaration(declared)
    kind = await asyncio.to_thread(needs.reader.inspect, content)
    stored_as = "original_pdf" if kind in ("pdf", "factur_x") else "original_xml"
    blob = await needs.blobs.put(command.caller.tenant_id, stored_as, content)
    document = Document(stored_as, blob.storage_ref, blob.sha256, blob.size_bytes)
    try:
        return await command.run(
            lambda tx: submit.submit(
                tx, command.caller, declared=body, document=document, reference_key=needs.reference_key
            ),
            shown=InvoiceView.of,
            status=201,
        )
    except DuplicateInvoice as refusal:
        await _keep_that_it_was_tried(command, refusal, document)
        raise


def _declaration(text: str) -> Declaration:
    try:
        body = DeclarationBody.model_validate_json(text)
    except ValidationError as fault:
        errors = [{**error, "loc": ("declared", *error["loc"])} for error in fault.errors(include_input=False)]
        raise RequestValidationError(errors) from fault
    if body.currency != "GBP":
        raise CurrencyRefused
    return Declaration(
        obligor_id=body.obligor_id,
        invoice_number=body.invoice_number,
        issue_date=body.issue_date,
        maturity_date=body.maturity_date,
        face_value=body.face_value_pence,
        asking_discount_bps=body.asking_discount_bps,
    )


async def _keep_that_it_was_tried(command: Mutation, refusal: DuplicateInvoice, document: Document) -> None:
    database = command.edge.database
    async with database.transaction(command.caller.tenant_id, request_id=command.request_id) as tx:
        await submit.record_duplicate(tx, command.caller, refusal=refusal, document_sha256=document.sha256)


@router.get("/v1/invoices", responses=problems(WrongRole))
async def list_invoices(
    read: Annotated[Query, Depends(query)], state: str | None = None, after: str | None = None, limit: int = 50
) -> InvoicePage:
    """Your invoices (sellers, buyers) or the tenant's (staff), by reference."""
    limit = max(1, min(limit, 200))
    found = await read.run(lambda tx: reads.page(tx, read.caller, state=state, after=after, limit=limit + 1))
    more = found[limit - 1].reference if len(found) > limit else None
    return InvoicePage(items=[InvoiceView.of(invoice) for invoice in found[:limit]], next=more)


@router.get("/v1/invoices/{reference}", responses=problems(UnknownInvoice))
async def get_invoice(reference: str, read: Annotated[Query, Depends(query)]) -> InvoiceView:
    """One invoice."""
    return InvoiceView.of(await read.run(lambda tx: reads.get(tx, read.caller, reference=reference)))


@router.get("/v1/invoices/{reference}/documents", responses=problems(UnknownInvoice))
async def list_documents(reference: str, read: Annotated[Query, Depends(query)]) -> list[DocumentView]:
    """Its artefacts with their hashes."""
    found = await read.run(lambda tx: reads.documents(tx, read.caller, reference=reference))
    return [DocumentView.of(document) for document in found]


@router.post(
    "/v1/invoices/{reference}/withdraw",
    response_model=InvoiceView,
    responses=problems(IdempotencyKeyRequired, UnknownInvoice, IllegalTransition, WrongRole),
)
async def withdraw_invoice(reference: str, command: Annotated[Mutation, Depends(mutation)]) -> Response:
    """Take an invoice back, as long as its buyer has not confirmed it."""
    return await command.run(lambda tx: submit.withdraw(tx, command.caller, reference=reference), shown=InvoiceView.of)
