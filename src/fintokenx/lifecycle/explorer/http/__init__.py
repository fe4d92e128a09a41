"""The explorer: a holder sees its own tokens, slices, transfers and the anchors of the record, and nobody else's."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response
from fastapi import Query as Parameter

from fintokenx import audit
from fintokenx.kernel.caller import Role, WrongRole
from fintokenx.kernel.ids import TOKEN_REFERENCE_PATTERN
from fintokenx.lifecycle.explorer.http.services import ExplorerServices, services
from fintokenx.lifecycle.explorer.http.views import (
    AnchorPage,
    AnchorView,
    HoldingPage,
    NewLinkView,
    TransferPage,
)
from fintokenx.lifecycle.explorer.service import own_holdings
from fintokenx.lifecycle.explorer.service.seen import Viewer
from fintokenx.lifecycle.explorer.types import HolderRequired, NotYourHoldings
from fintokenx.lifecycle.tokenisation import UnknownToken, UnknownWallet
from fintokenx.parties import auth
from fintokenx.web.edge import Completion, Mutation, Query, mutation, problems, query
from fintokenx.web.inputs import PageSize, SubjectId
from fintokenx.web.paging import Page, asked_for
from fintokenx.web.routes import OVERSEERS, may_call

router = APIRouter(prefix="/v1/explorer", tags=["explorer"])

Read = Annotated[Query, Depends(query)]
Needs = Annotated[ExplorerServices, Depends(services)]
TokenLimit = Annotated[
    PageSize, Parameter(description="At most so many tokens, with a line for each wallet that has or had it.")
]
After = Annotated[str | None, Parameter(pattern=r"^0x[0-9a-f]{64}$", description="The `next` of the page before.")]
Holder = Annotated[
    SubjectId | None,
    Parameter(
        description="Whose holdings: for staff, who hold none. A holder names nobody but itself.",
        examples=["sub_01jwrs8s50e9rbkszzv4yve5jt"],
    ),
]
Reference = Annotated[str, Path(pattern=TOKEN_REFERENCE_PATTERN, examples=["FXR-INV-23A4F"])]
ReferenceFilter = Annotated[
    str | None,
    Parameter(pattern=TOKEN_REFERENCE_PATTERN, description="Of this token alone.", examples=["FXR-INV-23A4F"]),
]
_REFUSALS = problems(WrongRole, NotYourHoldings, UnknownWallet, HolderRequired)


@router.get("/holdings", responses=_REFUSALS, openapi_extra=may_call(Role.LENDER, Role.INVESTOR, *OVERSEERS))
async def holdings(
    read: Read, needs: Needs, holder_subject_id: Holder = None, after: After = None, limit: TokenLimit = 50
) -> HoldingPage:
    """What the caller's own wallet has, or had, of each receivable: by the chain at one block and by our database.

    503 while the network does not answer: what the database says is not passed off as the chain's word."""
    viewer = Viewer(read.run, read.caller, needs.chain, holder_subject_id)
    return HoldingPage.of(await own_holdings.holdings(viewer, after=after, limit=limit))


@router.get(
    "/holdings/{reference}",
    responses=_REFUSALS | problems(UnknownToken, UnknownWallet),
    openapi_extra=may_call(Role.LENDER, Role.INVESTOR, *OVERSEERS),
)
async def holding(reference: Reference, read: Read, needs: Needs, holder_subject_id: Holder = None) -> HoldingPage:
    """What the caller's own wallet has of one token. Another holder's token is answered as one that nobody has."""
    viewer = Viewer(read.run, read.caller, needs.chain, holder_subject_id)
    return HoldingPage.of(await own_holdings.holdings(viewer, after=None, limit=1, reference=reference))


@router.get("/transfers", responses=_REFUSALS, openapi_extra=may_call(Role.LENDER, Role.INVESTOR, *OVERSEERS))
async def transfers(
    read: Read,
    needs: Needs,
    holder_subject_id: Holder = None,
    token_reference: ReferenceFilter = None,
    after: Annotated[
        str | None,
        Parameter(pattern=r"^[0-9]{1,15}-[0-9]{1,9}-[0-9]{1,9}$", description="The `next` of the page before."),
    ] = None,
    limit: PageSize = 50,
) -> TransferPage:
    """What the chain logged of the caller's own wallet, newest first, and the entry of the record behind each.

    503 while the network does not answer."""
    viewer = Viewer(read.run, read.caller, needs.chain, holder_subject_id)
    return TransferPage.of(await own_holdings.events(viewer, after=after, limit=limit, reference=token_reference))


@router.get("/anchors", responses=problems(WrongRole), openapi_extra=may_call(Role.LENDER, Role.INVESTOR, *OVERSEERS))
async def anchors(
    read: Read,
    after: Annotated[int | None, Parameter(ge=1, le=2**53 - 1, description="The `next` of the page before.")] = None,
    limit: PageSize = 50,
) -> AnchorPage:
    """Where the record is anchored on chain, newest first. `/v1/log/anchors` has them with their receipts."""
    found = await read.run(lambda tx: audit.anchors(tx, read.caller, before=after, limit=asked_for(limit)))
    page = Page.of(found, limit)
    return AnchorPage(
        items=[AnchorView.of(anchor) for anchor in page.items], next=page.next(lambda anchor: anchor.batch_id)
    )


@router.post(
    "/links",
    status_code=201,
    response_model=NewLinkView,
    responses=problems(WrongRole, auth.SessionRequired),
    openapi_extra=may_call(Role.LENDER, Role.INVESTOR),
)
async def link(command: Annotated[Mutation, Depends(mutation)], needs: Needs) -> Response:
    """A link that shows the caller's own holdings in a browser: once, within five minutes, while the sign-in lives.

    An earlier link of the same sign-in is dead from then on."""

    async def completed(link: NewLinkView) -> NewLinkView:
        raw = await auth.spell_page_link(needs.index, auth.PageLink(command.caller.tenant_id, link.link_id))
        return link.model_copy(update={"url": f"{needs.public_url}/explorer/{raw}"})

    return await command.run(
        lambda tx: auth.issue_page_link(tx, command.caller),
        shown=lambda issued: NewLinkView(link_id=issued.link.link_id, expires_at=issued.expires_at),
        status=201,
        completed=Completion(NewLinkView, completed),
    )
