"""What a buyer sees behind its magic link: server-rendered, archived, hashed. A GET never uses the link up (AU-07)."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, StrictUndefined
from jinja2 import Template as JinjaTemplate

from fintokenx.kernel.caller import Caller
from fintokenx.kernel.db import Tx
from fintokenx.kernel.edge import Edge
from fintokenx.kernel.errors import Refused
from fintokenx.lifecycle.invoice.http.services import InvoiceServices, services
from fintokenx.lifecycle.invoice.service import confirm
from fintokenx.lifecycle.invoice.types import Document
from fintokenx.parties import auth

router = APIRouter(include_in_schema=False)

_FILES: Final = files("fintokenx.lifecycle.invoice") / "templates"
_STYLE: Final = (_FILES / "style.css").read_text()
_TEMPLATES: Final = Environment(autoescape=True, undefined=StrictUndefined)
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Final = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the address holds the link
    "X-Content-Type-Options": "nosniff",
}


def _template(name: str) -> JinjaTemplate:
    return _TEMPLATES.from_string((_FILES / name).read_text())


_CONFIRM: Final = _template("confirm.html")
_DONE: Final = _template("done.html")


def page_bytes(page: confirm.ConfirmationPage) -> bytes:
    """The page: no time, no nonce, no link in it, so the same invoice gives the same bytes."""
    from markupsafe import Markup

    return _CONFIRM.render(page=page, style=Markup(_STYLE)).encode()  # noqa: S704 — our own stylesheet


def _done(heading: str, text: str, status: int) -> HTMLResponse:
    from markupsafe import Markup

    html = _DONE.render(heading=heading, text=text, style=Markup(_STYLE))  # noqa: S704 — our own stylesheet
    return HTMLResponse(html, status, _HEADERS)


def _refused(refusal: Refused) -> HTMLResponse:
    headings = {404: "We do not know this link", 410: "This link is no longer valid"}
    heading = headings.get(refusal.status, "That did not work")
    return _done(heading, refusal.title(), refusal.status)


async def _archive(needs: InvoiceServices, tenant_id: str, content: bytes) -> Document:
    blob = await needs.blobs.put(tenant_id, "confirmation_page", content)
    return Document("confirmation_page", blob.storage_ref, blob.sha256, blob.size_bytes)


async def _opened(tx: Tx, link: str) -> tuple[Caller, str, confirm.ConfirmationPage]:
    caller = await auth.open_magic_link(tx, link)
    reference = caller.scope or ""
    return caller, reference, await confirm.page_for(tx, caller, reference=reference)


@router.get("/confirm/{link}")
async def show(link: str, request: Request, needs: Annotated[InvoiceServices, Depends(services)]) -> HTMLResponse:
    """The confirmation page. Archived once per content; looked at as often as anybody likes."""
    edge: Edge = request.app.state.edge
    request_id: str = request.state.request_id
    try:
        tenant_id = auth.tenant_of_magic_link(link)
        async with edge.database.transaction(tenant_id, request_id=request_id) as tx:
            caller, reference, page = await _opened(tx, link)
        content = page_bytes(page)
        archived = await _archive(needs, tenant_id, content)
        async with edge.database.transaction(tenant_id, request_id=request_id) as tx:
            await confirm.viewed(tx, caller, reference=reference, page=archived)
    except Refused as refusal:
        return _refused(refusal)
    return HTMLResponse(content, 200, {**_HEADERS, "FX-Page-Hash": archived.sha256})


@router.post("/confirm/{link}")
async def answer(
    link: str,
    request: Request,
    needs: Annotated[InvoiceServices, Depends(services)],
    decision: Annotated[str, Form()] = "",
) -> HTMLResponse:
    """The buyer's answer. The link is the idempotency key: it works once, whatever is posted again."""
    edge: Edge = request.app.state.edge
    request_id: str = request.state.request_id
    if decision not in ("confirm", "decline"):
        return _done("Please choose", "Press one of the two buttons on the page.", 422)
    try:
        tenant_id = auth.tenant_of_magic_link(link)
        async with edge.database.transaction(tenant_id, request_id=request_id) as tx:
            caller, reference, page = await _opened(tx, link)
        address = request.client.host if request.client else "unknown"
        ip_sealed = await needs.sealer.seal(tenant_id, caller.must_be_subject(), "ip", address)
        async with edge.database.transaction(tenant_id, request_id=request_id) as tx:
            if decision == "decline":
                await confirm.decline(tx, caller, reference=reference, link=link)
            else:
                _caller, _reference, page = await _opened(tx, link)
                page_hash = hashlib.sha256(page_bytes(page)).hexdigest()
                await confirm.confirm(
                    tx, caller, reference=reference, page_hash=page_hash, ip_sealed=ip_sealed, link=link
                )
    except Refused as refusal:
        return _refused(refusal)
    if decision == "decline":
        return _done("Thank you", "We have told the seller that this is not your debt. Nothing will be financed.", 200)
    return _done("Confirmed", f"Invoice {page.invoice.invoice_number} is confirmed. Nothing else is needed.", 200)
