"""Routes of the marketplace."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi import Query as Parameter
from pydantic import BaseModel, ConfigDict, Field, field_validator

from fintokenx.kernel.caller import Role, WrongRole
from fintokenx.kernel.money import ZERO, Pence
from fintokenx.lifecycle.marketplace import service
from fintokenx.lifecycle.marketplace.types import Listing, ListingFilter, UnknownListing, Wanted
from fintokenx.web.edge import IdempotencyKeyRequired, Mutation, Query, mutation, problems, query
from fintokenx.web.inputs import Cursor, IsoDate, PageSize, Reference
from fintokenx.web.paging import Page, asked_for
from fintokenx.web.routes import OVERSEERS, may_call

router = APIRouter(tags=["marketplace"])


class ListingView(BaseModel):
    """A listing and its price."""

    id: str = Field(examples=["lst_01jx…"])
    invoice_reference: str = Field(examples=["FXI-7KQ2M9A"])
    token_reference: str = Field(examples=["FXR-INV-7KQ2M"])
    obligor_id: str = Field(description="The buyer, who has confirmed the debt.")
    face_pence: Pence = Field(description="What the buyer owes at maturity, in pence.")
    asking_discount_bps: int = Field(description="For the whole tenor, in basis points of the face.")
    discount_pence: Pence = Field(description="The discount in pence: face × rate, rounded up to a whole penny.")
    net_advance_pence: Pence = Field(description="What the lender pays, in pence: face less discount.")
    maturity_date: date = Field(description="When the buyer pays, ISO 8601.")
    state: str = Field(description="OPEN, COMMITTED or CLOSED_FUNDED.")
    created_at: datetime

    @classmethod
    def of(cls, listing: Listing) -> ListingView:
        """Spell a listing."""
        return cls(
            id=listing.id,
            invoice_reference=listing.invoice_reference,
            token_reference=listing.token_reference,
            obligor_id=listing.obligor_id,
            face_pence=listing.face,
            asking_discount_bps=listing.asking_discount_bps,
            discount_pence=listing.discount,
            net_advance_pence=listing.net_advance,
            maturity_date=listing.maturity_date,
            state=listing.state,
            created_at=listing.created_at,
        )


class ListingPage(BaseModel):
    """A page of listings; ``next`` is the cursor of the following one, null on the last."""

    items: list[ListingView]
    next: str | None


class ListingFilterBody(BaseModel):
    """What you want to see; a limit that is null or left out does not apply."""

    model_config = ConfigDict(extra="forbid")

    max_tenor_days: int | None = Field(
        None, strict=True, ge=1, le=3650, description="At most so many days to maturity.", examples=[90]
    )
    min_discount_bps: int | None = Field(
        None, strict=True, ge=1, le=5000, description="At least this discount, in basis points.", examples=[150]
    )
    concentration_cap_pence: Pence | None = Field(
        None, description="The most that any one buyer may owe you, in pence, at face.", examples=[50000000]
    )

    @field_validator("concentration_cap_pence")
    @classmethod
    def _not_negative(cls, cap: Pence | None) -> Pence | None:
        if cap is not None and cap < ZERO:
            raise ValueError("a cap is zero or more")
        return cap


class ListingFilterView(BaseModel):
    """A lender's filter; null: no limit of that kind."""

    lender_subject_id: str
    max_tenor_days: int | None
    min_discount_bps: int | None
    concentration_cap_pence: Pence | None

    @classmethod
    def of(cls, limits: ListingFilter) -> ListingFilterView:
        """Spell a filter."""
        return cls(
            lender_subject_id=limits.lender_subject_id,
            max_tenor_days=limits.max_tenor_days,
            min_discount_bps=limits.min_discount_bps,
            concentration_cap_pence=limits.concentration_cap,
        )


@router.get(
    "/v1/listings/primary", responses=problems(WrongRole), openapi_extra=may_call(Role.SELLER, Role.LENDER, *OVERSEERS)
)
async def primary_listings(
    read: Annotated[Query, Depends(query)],
    after: Annotated[Cursor, Parameter(description="`next` of the page before.")] = "",
    limit: Annotated[PageSize, Parameter(description="Listings per page.")] = 50,
    obligor_id: Annotated[Reference | None, Parameter(description="Of this buyer only.")] = None,
    min_discount_bps: Annotated[int | None, Parameter(ge=1, le=5000, description="At least this discount.")] = None,
    matures_by: Annotated[IsoDate | None, Parameter(description="Due on this day or before, ISO 8601.")] = None,
) -> ListingPage:
    """Lenders see what they could commit to now, within their filter and caps; sellers their own; staff all."""
    wanted = Wanted(obligor_id, min_discount_bps, matures_by)
    found = await read.run(
        lambda tx: service.visible_to(tx, read.caller, wanted=wanted, after=after, limit=asked_for(limit))
    )
    page = Page.of(found, limit)
    return ListingPage(
        items=[ListingView.of(listing) for listing in page.items], next=page.next(lambda listing: listing.id)
    )


@router.get(
    "/v1/listings/primary/{listing_id}",
    responses=problems(UnknownListing, WrongRole),
    openapi_extra=may_call(Role.SELLER, Role.LENDER, *OVERSEERS),
)
async def primary_listing(listing_id: Reference, read: Annotated[Query, Depends(query)]) -> ListingView:
    """One listing with its price. What you may not see is not found."""
    return ListingView.of(await read.run(lambda tx: service.listing(tx, read.caller, listing_id=listing_id)))


@router.get("/v1/listing-filters/me", responses=problems(WrongRole), openapi_extra=may_call(Role.LENDER))
async def my_filter(read: Annotated[Query, Depends(query)]) -> ListingFilterView:
    """Your filter: what you want to be shown."""
    return ListingFilterView.of(await read.run(lambda tx: service.filter_of(tx, read.caller)))


@router.put(
    "/v1/listing-filters/me",
    response_model=ListingFilterView,
    responses=problems(IdempotencyKeyRequired, WrongRole),
    openapi_extra=may_call(Role.LENDER),
)
async def set_my_filter(body: ListingFilterBody, command: Annotated[Mutation, Depends(mutation)]) -> Response:
    """Replace your filter. What you have committed to stays committed."""
    return await command.run(
        lambda tx: service.set_filter(
            tx,
            command.caller,
            max_tenor_days=body.max_tenor_days,
            min_discount_bps=body.min_discount_bps,
            concentration_cap=body.concentration_cap_pence,
        ),
        shown=ListingFilterView.of,
    )
