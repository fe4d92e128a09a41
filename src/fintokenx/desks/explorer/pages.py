"""The explorer in a browser, behind a page link: a GET only asks, so that whoever looks a link over in passing does
not use it up; the button's POST shows, once.

With htmx the answer takes the place of the question and the button works once: a second press while the chain is being
read would get a page that says that the link is used up. Without JavaScript it is a plain form.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from fintokenx import audit
from fintokenx.kernel.caller import Caller
from fintokenx.kernel.db import Tx
from fintokenx.kernel.errors import Refused, Unavailable
from fintokenx.kernel.money import PENCE_MAX, Pence
from fintokenx.lifecycle import explorer
from fintokenx.lifecycle.explorer.ports import ChainHistory
from fintokenx.parties import auth, partner
from fintokenx.parties.auth.ports import BlindIndex
from fintokenx.web.edge import Edge
from fintokenx.web.forms import page_form
from fintokenx.web.pages import Pages
from fintokenx.web.services import provided

router = APIRouter(include_in_schema=False)

ROWS_MAX: Final = 200
ANCHORS_MAX: Final = 20

Result = TypeVar("Result")

_PAGES: Final = Pages("fintokenx.desks.explorer")
_HEADINGS: Final = {
    404: "We do not know this link",
    410: "This link is no longer valid",
    422: "Go back and press the button on the page",
}


@dataclass(frozen=True, slots=True)
class ExplorerPageServices:
    """What the page needs besides the edge: the chain as it tells of single wallets, and the key of page links."""

    chain: ChainHistory
    index: BlindIndex


def services(request: Request) -> ExplorerPageServices:
    """Dependency."""
    return provided(request, ExplorerPageServices)


def _money(pence: int) -> str:
    """The chain counts further than our pence."""
    return str(Pence(pence)) if 0 <= pence <= PENCE_MAX else f"{pence} pence"


_PAGES.environment.filters["money"] = _money
_SHOW: Final = _PAGES.template("explorer.html")


@router.get("/explorer/{link}")
async def ask(link: str, request: Request, needs: Annotated[ExplorerPageServices, Depends(services)]) -> HTMLResponse:
    """The button that shows the holdings. Looked at as often as anybody likes."""
    try:
        known = await auth.read_page_link(needs.index, link)
        async with _edge(request).database.transaction(known.tenant_id, request_id=request.state.request_id) as tx:
            await auth.open_page_link(tx, known)
    except (Refused, Unavailable) as fault:
        return _sorry(fault)
    text = "They are shown once. Nobody else’s are."
    return _PAGES.message("Your holdings", text, 200, button="Show my holdings")


@router.post("/explorer/{link}")
async def show(link: str, request: Request, needs: Annotated[ExplorerPageServices, Depends(services)]) -> HTMLResponse:
    """The holdings, once: the link is used up when everything has been read, so an outage does not cost it."""
    try:
        await page_form(request)  # the button has no fields
        known = await auth.read_page_link(needs.index, link)

        async def run(read: Callable[[Tx], Awaitable[Result]], /) -> Result:
            async with _edge(request).database.transaction(known.tenant_id, request_id=request.state.request_id) as tx:
                return await read(tx)

        content = await _page(run, known, needs)
    except (Refused, Unavailable) as fault:
        return _sorry(fault)
    return _PAGES.answer(content)


async def _page(run: explorer.Run, known: auth.PageLink, needs: ExplorerPageServices) -> str:
    caller = await run(lambda tx: auth.open_page_link(tx, known))
    viewer = explorer.Viewer(run, caller, needs.chain)
    holdings = await explorer.holdings(viewer, after=None, limit=ROWS_MAX)
    transfers = await explorer.events(viewer, after=None, limit=ROWS_MAX)

    async def last(tx: Tx) -> dict[str, Any]:
        shown = await _around(tx, caller)
        await auth.use_page_link(tx, caller, link=known)
        return shown

    return _SHOW.render(holdings=holdings, transfers=transfers, rows_max=ROWS_MAX, **await run(last))


async def _around(tx: Tx, caller: Caller) -> dict[str, Any]:
    return {
        "anchors": await audit.anchors(tx, caller, before=None, limit=ANCHORS_MAX),
        "tenant": await partner.tenant(tx),
        "holder": await auth.subject(tx, caller.must_be_subject()),
        "at": tx.at,
    }


def _edge(request: Request) -> Edge:
    return provided(request, Edge)


def _sorry(fault: Refused | Unavailable) -> HTMLResponse:
    if isinstance(fault, Unavailable):
        text = "The network or something else that we need does not answer, and we do not guess. Please try again."
        return _PAGES.message("Not just now", text, 503)
    return _PAGES.message(_HEADINGS.get(fault.status, "That did not work"), fault.title(), fault.status)
