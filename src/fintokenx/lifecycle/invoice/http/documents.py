"""The artefacts of an invoice: which there are, and their very bytes, so that anybody can recompute a hash."""

from __future__ import annotations

import base64
import hashlib
from typing import Annotated, Any, Final

import structlog
from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field

from fintokenx.kernel.blobs import BlobTampered
from fintokenx.kernel.caller import Role, WrongRole
from fintokenx.kernel.sealing import Shredded
from fintokenx.lifecycle.invoice.http.services import InvoiceServices, services
from fintokenx.lifecycle.invoice.service import reads
from fintokenx.lifecycle.invoice.types import DocumentNotAsRecorded, KeptDocument, UnknownDocument, UnknownInvoice
from fintokenx.web.edge import Query, problems, query
from fintokenx.web.inputs import Reference
from fintokenx.web.routes import OVERSEERS, may_call

log = structlog.get_logger("fintokenx.invoice")

router = APIRouter(tags=["invoices"])

_MEDIA_TYPES: Final = {
    "original_pdf": ("application/pdf", "pdf"),
    "original_xml": ("application/xml", "xml"),
    "ocr_extract": ("text/plain; charset=utf-8", "txt"),
    "vision_artefacts": ("application/json", "json"),
    "confirmation_page": ("text/html; charset=utf-8", "html"),
}
_BYTES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The bytes as they were stored. `Repr-Digest` (RFC 9530) is their SHA-256.",
        "content": {
            media_type.partition(";")[0]: {"schema": {"type": "string", "format": "binary"}}
            for media_type, _ in _MEDIA_TYPES.values()
        },
    }
}


class DocumentView(BaseModel):
    """An artefact and its hash."""

    id: str = Field(description="Its bytes are at its `/content`.", examples=["doc_01jwrs8s50e9rbkszzv4yve5jt"])
    type: str = Field(description="What it is.", examples=["original_pdf", "ocr_extract", "confirmation_page"])
    sha256: str = Field(description="Of its bytes, hex; the same stands in the record.", examples=["9f86d081884c7d65…"])
    size_bytes: int = Field(description="Its length.", examples=[48213])

    @classmethod
    def of(cls, document: KeptDocument) -> DocumentView:
        """Spell a document."""
        return cls(id=document.id, type=document.type, sha256=document.sha256, size_bytes=document.size_bytes)


@router.get(
    "/v1/invoices/{reference}/documents",
    responses=problems(UnknownInvoice, WrongRole),
    openapi_extra=may_call(Role.SELLER, Role.BUYER, Role.LENDER, Role.INVESTOR, *OVERSEERS),
)
async def list_documents(reference: Reference, read: Annotated[Query, Depends(query)]) -> list[DocumentView]:
    """Its artefacts with their hashes, oldest first."""
    found = await read.run(lambda tx: reads.documents(tx, read.caller, reference=reference))
    return [DocumentView.of(document) for document in found]


@router.get(
    "/v1/invoices/{reference}/documents/{document_id}/content",
    response_class=Response,
    responses=_BYTES | problems(UnknownDocument, WrongRole, Shredded, DocumentNotAsRecorded),
    openapi_extra=may_call(Role.SELLER, *OVERSEERS),
)
async def document_content(
    reference: Reference,
    document_id: Reference,
    read: Annotated[Query, Depends(query)],
    needs: Annotated[InvoiceServices, Depends(services)],
) -> Response:
    """The very bytes of an artefact, for its seller and for staff. What the reader made of the document
    (`vision_artefacts`) is for our staff alone."""
    found = await read.run(lambda tx: reads.artefact(tx, read.caller, reference=reference, document_id=document_id))
    content = await _as_recorded(needs, read.caller.tenant_id, found)
    media_type, ending = _MEDIA_TYPES[found.type]
    digest = base64.b64encode(bytes.fromhex(found.sha256)).decode()
    headers = {
        "Repr-Digest": f"sha-256=:{digest}:",
        "Content-Disposition": f'attachment; filename="{reference}-{found.type}.{ending}"',
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Cache-Control": "no-store",
    }
    return Response(content, headers=headers, media_type=media_type)


async def _as_recorded(needs: InvoiceServices, tenant_id: str, found: KeptDocument) -> bytes:
    """:raises DocumentNotAsRecorded: it is gone, or other bytes are there"""
    try:
        content = await needs.blobs.get(tenant_id, found.storage_ref)
    except (KeyError, BlobTampered) as fault:
        log.error("document_not_as_recorded", document_id=found.id, fault=type(fault).__name__)
        raise DocumentNotAsRecorded from fault
    if hashlib.sha256(content).hexdigest() != found.sha256:
        log.error("document_not_as_recorded", document_id=found.id, fault="other bytes")
        raise DocumentNotAsRecorded
    return content
