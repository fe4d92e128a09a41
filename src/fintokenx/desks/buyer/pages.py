"""What a buyer sees behind its magic link: server-rendered, archived, hashed. A GET never uses the link up (AU-07)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from fintokenx.kernel.blobs import Blobs
from fintokenx.kernel.caller import Caller
from fintokenx.kernel.db import Tx
from fintokenx.kernel.errors import Refused, Unavailable
from fintokenx.kernel.sealing import Sealer
from fintokenx.lifecycle import invoice
from fintokenx.parties import auth
from fintokenx.web.edge import Edge
from fintokenx.web.forms import FormRefused, page_form
from fintokenx.web.pages import Pages
from fintokenx.web.services import provided

router = APIRouter(include_in_schema=False)

_PAGES: Final = Pages("fintokenx.desks.buyer", self_contained=True)
_CONFIRM: Final = _PAGES.template("confirm.html")
FORM_REFUSED: Final = "Go back and press one of the two buttons on the page. Nothing was changed."
_HEADINGS: Final = {
    404: "We do not know this link",
    409: "Nothing was changed",
    410: "This link is no longer valid",
}


@dataclass(frozen=True, slots=True)
class BuyerServices:
    """What the buyer's page needs besides the edge."""

    blobs: Blobs
    sealer: Sealer


def services(request: Request) -> BuyerServices:
    """Dependency."""
    return provided(request, BuyerServices)


def page_content(page: invoice.ConfirmationPage) -> bytes:
    """The page as it is sent, kept and hashed: its words and its stylesheet, and nothing that lies elsewhere."""
    return _page_and_seal(page)[0]


def _page_and_seal(page: invoice.ConfirmationPage) -> tuple[bytes, str]:
    """The page and its seal. No time, nonce or link stands in it, so the same invoice gives the same bytes.

    The seal is the hex SHA-256 of the page without its seal. The form posts it, so that an answer given on a page
    that has gone stale in a browser is not taken for an answer to the present one.
    """
    seal = hashlib.sha256(_CONFIRM.render(page=page, seal="").encode()).hexdigest()
    return _CONFIRM.render(page=page, seal=seal).encode(), seal


@router.get("/confirm/{link}")
async def show(link: str, request: Request, needs: Annotated[BuyerServices, Depends(services)]) -> HTMLResponse:
    """The confirmation page. Archived once per content; looked at as often as anybody likes."""
    edge = provided(request, Edge)
    request_id: str = request.state.request_id
    try:
        tenant_id = auth.tenant_of_magic_link(link)
        async with edge.database.transaction(tenant_id, request_id=request_id) as tx:
            caller, page = await _opened(tx, link)
        content, _seal = _page_and_seal(page)
        page_hash = hashlib.sha256(content).hexdigest()
        if page_hash not in page.shown_before:
            blob = await needs.blobs.put(tenant_id, "confirmation_page", content)
            archived = invoice.Document("confirmation_page", blob.storage_ref, blob.sha256, blob.size_bytes)
            async with edge.database.transaction(tenant_id, request_id=request_id) as tx:
                await invoice.record_page_view(tx, caller, reference=page.invoice.reference, page=archived)
    except (Refused, Unavailable) as fault:
        return _sorry(fault)
    return _PAGES.answer(content, headers={"FX-Page-Hash": page_hash})


@router.post("/confirm/{link}")
async def answer(
    link: str,
    request: Request,
    needs: Annotated[BuyerServices, Depends(services)],
) -> HTMLResponse:
    """The buyer's answer. The link is the idempotency key: it works once, whatever is posted again."""
    edge = provided(request, Edge)
    request_id: str = request.state.request_id
    try:
        form = await page_form(request, "seal", "decision")
        decision, seal = form["decision"], form["seal"]
        if decision not in ("confirm", "decline"):
            raise FormRefused("decision is neither confirm nor decline")
        tenant_id = auth.tenant_of_magic_link(link)
        async with edge.database.transaction(tenant_id, request_id=request_id) as tx:
            caller, page = await _opened(tx, link)
        address = request.client.host if request.client else "unknown"
        ip_sealed = await needs.sealer.seal(tenant_id, caller.must_be_subject(), "ip", address)
        async with edge.database.transaction(tenant_id, request_id=request_id) as tx:
            caller, page = await _opened(tx, link)
            if decision == "decline":
                await invoice.decline(tx, caller, reference=page.invoice.reference, link=link)
            else:
                await _confirm(tx, caller, page, link=link, seal=seal, ip_sealed=ip_sealed)
    except (Refused, Unavailable) as fault:
        return _sorry(fault)
    if decision == "decline":
        return _PAGES.message("Thank you", "It is on record that this is not your debt. It will not be financed.", 200)
    return _PAGES.message("Confirmed", _what_is_next(page), 200)


async def _opened(tx: Tx, link: str) -> tuple[Caller, invoice.ConfirmationPage]:
    caller = await auth.open_magic_link(tx, link)
    return caller, await invoice.confirmation_page(tx, caller, reference=caller.scope or "")


async def _confirm(
    tx: Tx, caller: Caller, page: invoice.ConfirmationPage, *, link: str, seal: str, ip_sealed: str
) -> None:
    """The form posts the seal of the page that was shown; an answer without it is to no page that we know of."""
    content, present = _page_and_seal(page)
    if seal != present:
        raise invoice.PageChanged
    page_hash = hashlib.sha256(content).hexdigest()
    reference = page.invoice.reference
    await invoice.confirm(tx, caller, reference=reference, page_hash=page_hash, ip_sealed=ip_sealed, link=link)


def _what_is_next(page: invoice.ConfirmationPage) -> str:
    asked = page.invoice
    return (
        f"Invoice {asked.invoice_number} is confirmed. Please pay {asked.face_value} by"
        f" {asked.maturity_date:%-d %B %Y} to {page.tenant.terms.collections.name}, quoting {asked.reference}."
    )


def _sorry(fault: Refused | Unavailable) -> HTMLResponse:
    if isinstance(fault, FormRefused):
        return _PAGES.message("Please choose", FORM_REFUSED, fault.status)
    if isinstance(fault, Unavailable):
        return _PAGES.message(
            "Not just now", "Something that we need does not answer. Please try again in a minute.", 503
        )
    return _PAGES.message(_HEADINGS.get(fault.status, "That did not work"), fault.title(), fault.status)
