"""Routes of the record for those who may see it: trails, proofs, bundles."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi import Query as Parameter

from fintokenx.audit.http.services import AuditServices
from fintokenx.audit.http.views import BundleView, EntryPage, EntryView
from fintokenx.audit.service.proving import provable, provable_of_resource, prove
from fintokenx.audit.service.trails import entries_of
from fintokenx.audit.types import Provable
from fintokenx.audit.types.refusals import BundleTooLarge, NothingRecorded, ProofPending, UnknownEntry
from fintokenx.kernel.caller import Role, WrongRole
from fintokenx.kernel.db import database_answers
from fintokenx.web.edge import Query, problems, query
from fintokenx.web.inputs import PageSize, Position, Reference
from fintokenx.web.paging import Page, asked_for
from fintokenx.web.routes import OVERSEERS, may_call
from fintokenx.web.services import provided

router = APIRouter(tags=["audit"])

Resource = Annotated[
    str,
    Parameter(
        pattern=r"^[A-Za-z0-9_./:-]{1,128}$",
        description="An invoice reference, a subject id …: whatever entries are about.",
        examples=["FXI-7KQ2M9A"],
    ),
]


@router.get("/v1/audit/entries", responses=problems(WrongRole), openapi_extra=may_call(*OVERSEERS))
async def trail(
    read: Annotated[Query, Depends(query)], resource: Resource, after: Position = 0, limit: PageSize = 100
) -> EntryPage:
    """The trail of one resource (an invoice reference, a subject id …), oldest first.

    For staff, and for a partner without what concerns cases, alerts, gates and freezes. Customers get none for now."""
    found = await read.run(
        lambda tx: entries_of(tx, read.caller, resources=[resource], after_seq=after, limit=asked_for(limit))
    )
    page = Page.of(found, limit)
    return EntryPage(items=[EntryView.of(entry) for entry in page.items], next=page.next(lambda entry: entry.seq))


@router.get(
    "/v1/audit/entries/{entry_id}/proof",
    responses=problems(UnknownEntry, ProofPending, WrongRole),
    openapi_extra=may_call(Role.LENDER, Role.INVESTOR, *OVERSEERS),
)
async def proof(entry_id: Reference, request: Request, read: Annotated[Query, Depends(query)]) -> BundleView:
    """A bundle of one entry: that it stands in the first signed checkpoint that covers it, and where that is anchored
    (AD-09). Discloses nothing of other tenants but hashes (AD-13). A lender or investor proves what is behind the
    transfers of its own wallet (`/v1/explorer/transfers`)."""
    own = provided(request, AuditServices).own
    found = await read.run(lambda tx: provable(tx, read.caller, entry_id=entry_id, own=own))
    return await _proved(request, found)


@router.get(
    "/v1/audit/bundle",
    responses=problems(NothingRecorded, ProofPending, BundleTooLarge, WrongRole),
    openapi_extra=may_call(*OVERSEERS),
)
async def bundle(resource: Resource, request: Request, read: Annotated[Query, Depends(query)]) -> BundleView:
    """A bundle of all entries of a resource that the caller may see: those of its trail."""
    found = await read.run(lambda tx: provable_of_resource(tx, read.caller, resource=resource))
    return await _proved(request, found)


async def _proved(request: Request, found: Provable) -> BundleView:
    """With no transaction of the tenant open."""
    services = provided(request, AuditServices)
    with database_answers():
        return BundleView.of(await prove(found, hashes=services.hashes, log=services.log))
