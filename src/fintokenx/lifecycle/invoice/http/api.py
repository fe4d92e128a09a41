"""The API of invoices: for sellers, and for whoever may look."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, Request, Response, UploadFile
from fastapi import Query as Parameter
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from fintokenx.kernel.caller import Role, WrongRole
from fintokenx.kernel.db import Tx
from fintokenx.kernel.ids import INVOICE_REFERENCE_PATTERN, TOKEN_REFERENCE_PATTERN
from fintokenx.kernel.machine import IllegalTransition
from fintokenx.kernel.money import ZERO, Pence
from fintokenx.lifecycle.invoice import ports
from fintokenx.lifecycle.invoice.http.services import InvoiceServices, services
from fintokenx.lifecycle.invoice.service import reader_threads, reads, reasons, submit
from fintokenx.lifecycle.invoice.transitions import INVOICE
from fintokenx.lifecycle.invoice.types import (
    Declaration,
    Document,
    DuplicateInvoice,
    Invoice,
    IssuedInFuture,
    MaturityBeforeIssue,
    MaturityInPast,
    NumberUnreadable,
    ObligorIsNoBuyer,
    ObligorUnknown,
    OnBehalfOfSeller,
    Reason,
    SameParty,
    TenorTooLong,
    UnknownInvoice,
)
from fintokenx.parties import kyc, partner
from fintokenx.web.edge import (
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
    Mutation,
    Query,
    mutation,
    mutation_of,
    problems,
    query,
)
from fintokenx.web.forms import FormRefused, GivenTwice, fields_once, json_once
from fintokenx.web.inputs import Cursor, IsoDate, OneOf, PageSize, PrintableText, Reference, SubjectId
from fintokenx.web.paging import Page, asked_for
from fintokenx.web.routes import OVERSEERS, may_call

router = APIRouter(tags=["invoices"])

InvoiceState = Annotated[str, OneOf.states(INVOICE.states)]
DECLARATION_LENGTH_MAX = 4096
Reasons = Mapping[str, tuple[Reason, ...]]


_DECLARED = """What you say about the document, as JSON text: `obligor_id` (the buyer, an active subject),
`invoice_number` as printed, `issue_date` and `maturity_date` (ISO 8601), `face_value_pence` (what is still to be paid,
a whole number of pence), optionally `asking_discount_bps` (for the whole tenor) and `currency` (GBP). For example
`{"obligor_id": "sub_…", "invoice_number": "INV-00417", "issue_date": "2026-06-01", "maturity_date": "2026-07-31",
"face_value_pence": 547680, "asking_discount_bps": 150}`."""


class DeclarationBody(BaseModel):
    """What the seller says about the uploaded document."""

    model_config = ConfigDict(extra="forbid")

    obligor_id: SubjectId = Field(description="The buyer: an active subject with the role buyer.")
    invoice_number: Annotated[str, PrintableText(64)] = Field(description="As printed.", examples=["INV-00417"])
    issue_date: IsoDate = Field(description="ISO 8601.", examples=["2026-06-01"])
    maturity_date: IsoDate = Field(description="The due date, ISO 8601.", examples=["2026-07-31"])
    face_value_pence: Pence = Field(
        description="The gross total, a whole number of pence, one at least.", examples=[547680]
    )
    currency: Annotated[str, PrintableText(8)] = Field("GBP", description="GBP and nothing else.", examples=["GBP"])
    asking_discount_bps: int | None = Field(
        None,
        strict=True,
        ge=1,
        le=5000,
        description="The discount that you offer for the whole tenor, in basis points of the face value;"
        " your platform's usual one unless you say.",
        examples=[200],
    )

    @field_validator("face_value_pence")
    @classmethod
    def _positive(cls, amount: Pence) -> Pence:
        if amount <= ZERO:
            raise ValueError("a face value is at least one penny")
        return amount


_JSON: dict[str, Any] = {
    "contentMediaType": "application/json",
    "contentSchema": DeclarationBody.model_json_schema(),
}


class ReasonView(BaseModel):
    """Why an invoice waits for us, or was rejected."""

    code: str = Field(description="For machines.", examples=["FIELD_MISMATCH"])
    field: str | None = Field(description="Of what you declared, if it is about one.", examples=["maturity_date"])
    text: str = Field(description="For people.", examples=["The due date in the document is not what you declared."])


class InvoiceView(BaseModel):
    """An invoice as it stands."""

    reference: str = Field(
        pattern=INVOICE_REFERENCE_PATTERN, description="What payments quote.", examples=["FXI-7KQ2M9A"]
    )
    originator_id: str = Field(description="The seller.", examples=["sub_01jwrs8s50e9rbkszzv4yve5jt"])
    obligor_id: str = Field(description="The buyer, who owes it.", examples=["sub_01jwrs8s50e9rbkszzv4yve5ju"])
    invoice_number: str = Field(description="The seller's own number, as declared.", examples=["INV-00417"])
    face_value_pence: Pence = Field(description="The gross total.", examples=[547680])
    collected_pence: Pence = Field(description="What the buyer has paid of it.", examples=[0])
    outstanding_pence: Pence = Field(description="What is left to pay.", examples=[547680])
    currency: str = Field(description="Always GBP.", examples=["GBP"])
    issue_date: date = Field(description="When it was issued.", examples=["2026-06-01"])
    tenor_days: int = Field(description="Days from issue to maturity.", examples=[60])
    maturity_date: date = Field(description="When it is due.", examples=["2026-07-31"])
    asking_discount_bps: int = Field(description="The discount asked for, for the whole tenor.", examples=[200])
    state: str = Field(description="Where it is in its life.", examples=["AWAITING_BUYER"])
    token_reference: str | None = Field(
        pattern=TOKEN_REFERENCE_PATTERN, description="Its token, once there is one.", examples=["FXR-INV-7K2M9"]
    )
    document_sha256: str = Field(description="Of the uploaded document, hex.", examples=["9f86d081884c7d65…"])
    created_at: datetime = Field(description="When it was submitted.")
    reasons: list[ReasonView] = Field(
        description="Why it is IN_REVIEW or REJECTED, for its seller and staff; empty in every other state."
    )

    @classmethod
    def of(cls, invoice: Invoice, reasons: Sequence[Reason] = ()) -> InvoiceView:
        """Spell an invoice, with what its reader may know of the reasons."""
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
            reasons=[ReasonView(code=reason.code, field=reason.field, text=reason.text) for reason in reasons],
        )


class InvoicePage(BaseModel):
    """A page of invoices."""

    items: list[InvoiceView] = Field(description="By reference.")
    next: str | None = Field(description="Give it as `after` to get the following page; null on the last one.")


async def _upload(request: Request) -> Mutation:
    """Caller and key are looked at before the body is; :func:`_fingerprinted` completes it."""
    return await mutation_of(request, fingerprint=b"")


def _fingerprinted(command: Mutation, content: bytes, declared: str) -> Mutation:
    """Two uploads are one request when file and declaration are the same, whatever the multipart boundary."""
    fingerprint = command.request_digest + hashlib.sha256(content).digest() + declared.encode()
    return replace(command, request_digest=hashlib.sha256(fingerprint).digest())


@router.post(
    "/v1/invoices",
    status_code=201,
    response_model=InvoiceView,
    responses=problems(
        IdempotencyKeyRequired, IdempotencyKeyReused, FormRefused, GivenTwice, WrongRole, OnBehalfOfSeller,
        partner.OutOfScope,
        kyc.SubjectNotActive, DuplicateInvoice, MaturityInPast, MaturityBeforeIssue,
        TenorTooLong, IssuedInFuture, NumberUnreadable,
        SameParty, ObligorUnknown, ObligorIsNoBuyer,
        ports.CurrencyUnsupported, ports.EmptyFile, ports.FileTooLarge, ports.TooManyPages,
        ports.UnsupportedContent, ports.EncryptedDocument, ports.DamagedDocument, ports.ActiveContent,
    ), openapi_extra=may_call(Role.SELLER, Role.PLATFORM_ADMIN))  # fmt: skip
async def submit_invoice(
    request: Request,
    upload: Annotated[Mutation, Depends(_upload)],
    needs: Annotated[InvoiceServices, Depends(services)],
    file: Annotated[UploadFile, File(description="A PDF (text layer or Factur-X) or a UBL/CII XML invoice.")],
    declared: Annotated[str, Form(description=_DECLARED, max_length=DECLARATION_LENGTH_MAX, json_schema_extra=_JSON)],
) -> Response:
    """Upload an invoice and declare what it says. It is stored encrypted, then read and compared."""
    submit.seller_of(upload.caller, upload.caller.tenant_id)
    fields_once(await request.form(), "file", "declared")
    json_once(declared)
    content = await file.read(needs.file_bytes_max + 1)
    if len(content) > needs.file_bytes_max:
        raise ports.FileTooLarge
    command = _fingerprinted(upload, content, declared)
    declaration = _declaration(declared)
    document = await _stored(needs, command.caller.tenant_id, content)
    try:
        return await command.run(
            lambda tx: submit.submit(
                tx, command.caller, declared=declaration, document=document, reference_key=needs.reference_key
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
        raise ports.CurrencyUnsupported
    return Declaration(
        obligor_id=body.obligor_id,
        invoice_number=body.invoice_number,
        issue_date=body.issue_date,
        maturity_date=body.maturity_date,
        face_value=body.face_value_pence,
        asking_discount_bps=body.asking_discount_bps,
    )


async def _stored(needs: InvoiceServices, tenant_id: str, content: bytes) -> Document:
    """The document in the archive, once its content, not its name, says that it is one (IN-06)."""
    kind = await reader_threads.inspect(needs.reader, content)
    type_ = "original_pdf" if kind in ("pdf", "factur_x") else "original_xml"
    blob = await needs.blobs.put(tenant_id, type_, content)
    return Document(type_, blob.storage_ref, blob.sha256, blob.size_bytes)


async def _keep_that_it_was_tried(command: Mutation, refusal: DuplicateInvoice, document: Document) -> None:
    database = command.edge.database
    async with database.transaction(command.caller.tenant_id, request_id=command.request_id) as tx:
        await submit.record_duplicate(tx, command.caller, refusal=refusal, document_sha256=document.sha256)


@router.get("/v1/invoices", responses=problems(WrongRole), openapi_extra=may_call(Role.SELLER, Role.BUYER, *OVERSEERS))
async def list_invoices(
    read: Annotated[Query, Depends(query)],
    state: Annotated[
        InvoiceState | None, Parameter(description="Only those in this state.", examples=["LISTED"])
    ] = None,
    after: Annotated[Cursor | None, Parameter(description="The cursor of the page before.")] = None,
    limit: PageSize = 50,
) -> InvoicePage:
    """Your invoices (sellers, buyers) or the tenant's (staff), by reference."""

    async def with_reasons(tx: Tx) -> tuple[Page[Invoice], Reasons]:
        found = await reads.page(tx, read.caller, state=state, after=after, limit=asked_for(limit))
        page = Page.of(found, limit)
        return page, await reasons.by_invoice(tx, read.caller, page.items)

    page, why = await read.run(with_reasons)
    return InvoicePage(
        items=[_view(invoice, why) for invoice in page.items], next=page.next(lambda invoice: invoice.reference)
    )


@router.get(
    "/v1/invoices/{reference}",
    responses=problems(UnknownInvoice, WrongRole),
    openapi_extra=may_call(Role.SELLER, Role.BUYER, Role.LENDER, Role.INVESTOR, *OVERSEERS),
)
async def get_invoice(reference: Reference, read: Annotated[Query, Depends(query)]) -> InvoiceView:
    """One invoice."""

    async def with_reasons(tx: Tx) -> tuple[Invoice, Reasons]:
        found = await reads.get(tx, read.caller, reference=reference)
        return found, await reasons.by_invoice(tx, read.caller, [found])

    return _view(*await read.run(with_reasons))


def _view(invoice: Invoice, why: Reasons) -> InvoiceView:
    return InvoiceView.of(invoice, why.get(invoice.reference, ()))


@router.post(
    "/v1/invoices/{reference}/withdraw",
    response_model=InvoiceView,
    responses=problems(IdempotencyKeyRequired, IdempotencyKeyReused, UnknownInvoice, IllegalTransition, WrongRole),
    openapi_extra=may_call(Role.SELLER),
)
async def withdraw_invoice(reference: Reference, command: Annotated[Mutation, Depends(mutation)]) -> Response:
    """Take an invoice back, as long as its buyer has not confirmed it."""
    return await command.run(lambda tx: submit.withdraw(tx, command.caller, reference=reference), shown=InvoiceView.of)
