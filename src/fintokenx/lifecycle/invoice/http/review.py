"""What a reviewer sees of an invoice before it decides the case about it."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from fintokenx.kernel.caller import WrongRole
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.invoice.http.documents import DocumentView
from fintokenx.lifecycle.invoice.service import review
from fintokenx.lifecycle.invoice.service.compare import Value
from fintokenx.lifecycle.invoice.types import UnknownInvoice
from fintokenx.web.edge import Query, problems, query
from fintokenx.web.inputs import Reference
from fintokenx.web.routes import OFFICERS, may_call

router = APIRouter(tags=["invoices"])


class FindingView(BaseModel):
    """One thing to look at."""

    model_config = ConfigDict(extra="forbid")

    code: str = Field(description="What was found (docs/doubts.md).", examples=["FIELD_MISMATCH"])
    field: str | None = Field(description="Of which field, if it is about one.", examples=["due_date"])
    declared: str | int | None = Field(
        description="What was declared, or is registered of the party; amounts in pence, dates as ISO 8601."
    )
    read: str | int | None = Field(description="What the document states, spelled alike; null where it does not say.")
    other_invoice: str | None = Field(description="Of a near duplicate: the reference of the one that looks the same.")

    @classmethod
    def of(cls, finding: review.Finding) -> FindingView:
        """Spell a finding."""
        return cls(
            code=finding.code,
            field=finding.field,
            declared=_spelled(finding.declared),
            read=_spelled(finding.read),
            other_invoice=finding.other_invoice,
        )


class ReviewView(BaseModel):
    """Why an invoice goes or went to a person, and the documents to look at."""

    model_config = ConfigDict(extra="forbid")

    reference: str = Field(description="The invoice.", examples=["FXI-7KQ2M9A"])
    state: str = Field(description="Where it stands.", examples=["IN_REVIEW"])
    reader: str | None = Field(
        description="Who read the document; `refused` where it was not taken, null while nobody has.",
        examples=["fintokenx-text/2"],
    )
    confidence_bps: int | None = Field(description="How far the reader trusts itself, in basis points.")
    read_at: datetime | None = Field(description="When, UTC.")
    findings: list[FindingView] = Field(description="Everything to look at.")
    documents: list[DocumentView] = Field(description="The artefacts, oldest first; their bytes are at `/content`.")

    @classmethod
    def of(cls, found: review.Review) -> ReviewView:
        """Spell a review."""
        run = found.run
        return cls(
            reference=found.invoice.reference,
            state=found.invoice.state,
            reader=run.model if run is not None else None,
            confidence_bps=run.confidence_bps if run is not None else None,
            read_at=run.ran_at if run is not None else None,
            findings=[FindingView.of(finding) for finding in found.findings],
            documents=[DocumentView.of(document) for document in found.documents],
        )


@router.get(
    "/v1/invoices/{reference}/review",
    responses=problems(UnknownInvoice, WrongRole),
    openapi_extra=may_call(*OFFICERS),
)
async def show_review(reference: Reference, read: Annotated[Query, Depends(query)]) -> ReviewView:
    """What a case about an invoice is decided by: each finding with the declared value and the value that was read,
    and the documents."""
    return ReviewView.of(await read.run(lambda tx: review.review(tx, read.caller, reference=reference)))


def _spelled(value: Value) -> str | int | None:
    match value:
        case Pence():
            return value.value
        case date():
            return value.isoformat()
        case _:
            return value
