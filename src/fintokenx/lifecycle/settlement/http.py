"""Routes of settlement."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Response
from fastapi import Query as Parameter
from pydantic import BaseModel, ConfigDict, Field, field_validator

from fintokenx.kernel.caller import Role, WrongRole
from fintokenx.kernel.machine import IllegalTransition
from fintokenx.kernel.money import ZERO, Pence
from fintokenx.lifecycle import marketplace
from fintokenx.lifecycle.settlement.service import collecting, funding, instructing, lines, reads
from fintokenx.lifecycle.settlement.transitions import COLLECTION
from fintokenx.lifecycle.settlement.types import (
    AmountOverFpsLimit,
    Collection,
    Disbursement,
    LineDoubt,
    NothingToAdvance,
    NotThatLine,
    PriceChanged,
    UnknownCollection,
    UnknownDisbursement,
    UnknownLineDoubt,
    WalletNotReady,
)
from fintokenx.parties import auth, kyc, partner
from fintokenx.web.edge import (
    IdempotencyInFlight,
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
    Mutation,
    Query,
    mutation,
    problems,
    query,
)
from fintokenx.web.inputs import Cursor, OneOf, PageSize, Reference
from fintokenx.web.paging import Page, asked_for
from fintokenx.web.routes import OFFICERS, OVERSEERS, may_call

router = APIRouter(tags=["settlement"])

CollectionState = Annotated[str, OneOf.states(COLLECTION.states)]


class PaymentBody(BaseModel):
    """A lender funds a listing."""

    model_config = ConfigDict(extra="forbid")

    listing_id: str = Field(
        pattern=r"^lst_[0-9a-z]{26}$", description="The listing to fund.", examples=["lst_01jx3zk5v4e8s9a2b7c6d5f4g3"]
    )
    expected_net_advance_pence: Pence | None = Field(
        None, description="What you expect to pay, in pence; refused when the price is another.", examples=[536726]
    )

    @field_validator("expected_net_advance_pence")
    @classmethod
    def _positive(cls, amount: Pence | None) -> Pence | None:
        if amount is not None and amount <= ZERO:
            raise ValueError("an advance is at least one penny")
        return amount


class PaymentView(BaseModel):
    """A disbursement: what a lender pays for a receivable, and how far that has come."""

    id: str = Field(description="Also the end-to-end id of the lender's payment.")
    listing_id: str
    invoice_reference: str = Field(examples=["FXI-7KQ2M9A"])
    token_reference: str
    lender_subject_id: str
    face_pence: Pence = Field(description="Face of the receivable, in pence.")
    discount_bps: int = Field(description="Flat discount for the whole tenor, in basis points of the face.")
    discount_pence: Pence = Field(description="ceil(face × bps / 10,000), in pence.")
    net_advance_pence: Pence = Field(description="Face less discount: what the lender pays and the seller receives.")
    state: str = Field(description="COMMITTED, CHECKED, FIAT_SENT, FIAT_FINAL, TOKEN_MOVED, … CLOSED.")
    funding_reference: str = Field(description="Reference of the lender's payment on the collections account.")
    fps_ref: str | None = Field(description="The bank's id of the lender's payment.")
    chain_tx_hash: str | None = Field(description="The transaction that moved the token.")
    payout_fps_ref: str | None = Field(description="The bank's id of the payment to the seller.")
    refund_fps_ref: str | None = Field(description="The bank's id of the refund to the lender, if there was one.")
    end_reason: str | None = Field(description="Why it was cancelled or refunded.")
    committed_at: datetime
    seller_credit_acked_at: datetime | None = Field(description="When the seller's bank was seen to show the credit.")

    @classmethod
    def of(cls, disbursement: Disbursement) -> PaymentView:
        """Spell a disbursement."""
        price = disbursement.price
        return cls(
            id=disbursement.id,
            listing_id=disbursement.listing_id,
            invoice_reference=disbursement.invoice_reference,
            token_reference=disbursement.token_reference,
            lender_subject_id=disbursement.lender_subject_id,
            face_pence=price.face,
            discount_bps=price.discount_bps,
            discount_pence=price.discount,
            net_advance_pence=price.net_advance,
            state=disbursement.state,
            funding_reference=instructing.funding_reference(disbursement.id),
            fps_ref=disbursement.fps_ref,
            chain_tx_hash=disbursement.chain_tx_hash,
            payout_fps_ref=disbursement.payout_fps_ref,
            refund_fps_ref=disbursement.refund_fps_ref,
            end_reason=disbursement.end_reason,
            committed_at=disbursement.committed_at,
            seller_credit_acked_at=disbursement.seller_credit_acked_at,
        )


class OnwardView(BaseModel):
    """One payee's part of a collection."""

    leg: str = Field(description="End-to-end id of its first payment.")
    payee_subject_id: str
    amount_pence: Pence


class CollectionView(BaseModel):
    """One inbound credit. Onward payments and refund due add up to its amount once it is allocated."""

    id: str
    bank_transaction_id: str
    amount_pence: Pence
    received_at: datetime = Field(description="When the bank booked it.")
    state: str = Field(description="MATCHED, UNMATCHED, DISTRIBUTING, PART_HELD, DISTRIBUTED or REFUND_DUE.")
    invoice_reference: str | None
    narration_match: str | None = Field(description="What was recognised in the narration; the rest is not kept.")
    match_method: str | None = Field(description="EXACT or NORMALISED.")
    allocated_pence: Pence
    refund_due_pence: Pence
    onward_payments: list[OnwardView]

    @classmethod
    def of(cls, collection: Collection) -> CollectionView:
        """Spell a collection."""
        return cls(
            id=collection.id,
            bank_transaction_id=collection.bank_transaction_id,
            amount_pence=collection.amount,
            received_at=collection.received_at,
            state=collection.state,
            invoice_reference=collection.invoice_reference,
            narration_match=collection.narration_match,
            match_method=collection.match_method,
            allocated_pence=collection.allocated,
            refund_due_pence=collection.refund_due,
            onward_payments=[
                OnwardView(leg=part.leg, payee_subject_id=part.payee_subject_id, amount_pence=part.amount)
                for part in collection.onward
            ],
        )


class CollectionPage(BaseModel):
    """A page of collections; ``next`` is the cursor of the following one."""

    items: list[CollectionView]
    next: str | None


class LineDoubtView(BaseModel):
    """A line of the collections account that may be one that is in the books. Nothing is booked for it while it is
    OPEN."""

    line_id: str = Field(description="Its id.", examples=["rec_06g2h5x3v8w9y7z1a2b3c4d5e6"])
    amount_pence: Pence
    booked_at: datetime = Field(description="When the bank booked it, as it was shown first.")
    may_be: list[str] = Field(
        description="Ids of the known lines of this amount that the bank no longer shows as it did."
    )
    state: str = Field(description="OPEN, NEW or SAME.")
    opened_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    same_as: str | None = Field(description="The known line that it is, by the decision.")

    @classmethod
    def of(cls, doubt: LineDoubt) -> LineDoubtView:
        """Spell a doubt."""
        return cls(
            line_id=doubt.line_id,
            amount_pence=doubt.amount,
            booked_at=doubt.booked_at,
            may_be=list(doubt.may_be),
            state=doubt.state,
            opened_at=doubt.opened_at,
            decided_at=doubt.decided_at,
            decided_by=doubt.decided_by,
            same_as=doubt.repeat_of,
        )


class LineDoubtPage(BaseModel):
    """A page of doubts; ``next`` is the cursor of the following one."""

    items: list[LineDoubtView]
    next: str | None


class NewLine(BaseModel):
    """It is a credit of its own: the next reading books it."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal["NEW"]


class SameLine(BaseModel):
    """It is a known line, shown differently: nothing is booked for it."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal["SAME"]
    same_as: str = Field(pattern=r"^rec_[0-9a-z]{26}$", description="One of the doubt's `may_be`.")


@router.post(
    "/v1/payments",
    status_code=201,
    response_model=PaymentView,
    responses=problems(
        IdempotencyKeyRequired, IdempotencyKeyReused, IdempotencyInFlight, WrongRole, auth.ApiKeyRequired,
        auth.SessionRequired, partner.OutOfScope, kyc.SubjectNotActive, kyc.ClearanceLapsed,
        kyc.NoDesignatedAccount, marketplace.UnknownListing, marketplace.ConcentrationCapReached,
        marketplace.OutsideAppetite, marketplace.ListingMatured, IllegalTransition, PriceChanged, AmountOverFpsLimit,
        NothingToAdvance, WalletNotReady,
    ),
    openapi_extra=may_call(Role.LENDER, both=True),
)  # fmt: skip
async def fund(body: PaymentBody, command: Annotated[Mutation, Depends(mutation)]) -> Response:
    """Fund a listing. Needs a lender's session and an API key. The price is the published formula over the listing;
    of several lenders at once one succeeds. The payment then runs by itself; read it to see how far it is."""
    auth.require_both(command.caller)
    return await command.run(
        lambda tx: funding.commit(
            tx, command.caller, listing_id=body.listing_id, expected_net_advance=body.expected_net_advance_pence
        ),
        shown=PaymentView.of,
        status=201,
    )


@router.get(
    "/v1/payments/{payment_id}",
    responses=problems(UnknownDisbursement, WrongRole),
    openapi_extra=may_call(Role.SELLER, Role.LENDER, *OVERSEERS),
)
async def get_payment(payment_id: Reference, read: Annotated[Query, Depends(query)]) -> PaymentView:
    """One payment: your own (lenders, sellers) or any of the tenant (staff)."""
    return PaymentView.of(await read.run(lambda tx: reads.disbursement(tx, read.caller, disbursement_id=payment_id)))


@router.get("/v1/collections", responses=problems(WrongRole), openapi_extra=may_call(*OVERSEERS))
async def list_collections(
    read: Annotated[Query, Depends(query)],
    state: Annotated[
        CollectionState | None, Parameter(description="Only these, e.g. UNMATCHED: money in suspense.")
    ] = None,
    after: Annotated[Cursor | None, Parameter(description="Cursor: the `next` of the page before.")] = None,
    limit: PageSize = 50,
) -> CollectionPage:
    """Inbound credits of the tenant, oldest first, for staff."""
    found = await read.run(
        lambda tx: collecting.collections(tx, read.caller, state=state, after=after, limit=asked_for(limit))
    )
    page = Page.of(found, limit)
    return CollectionPage(
        items=[CollectionView.of(credit) for credit in page.items], next=page.next(lambda credit: credit.id)
    )


@router.get(
    "/v1/collections/{collection_id}",
    responses=problems(UnknownCollection, WrongRole),
    openapi_extra=may_call(*OVERSEERS),
)
async def get_collection(collection_id: Reference, read: Annotated[Query, Depends(query)]) -> CollectionView:
    """One inbound credit, for staff."""
    return CollectionView.of(
        await read.run(lambda tx: collecting.collection(tx, read.caller, collection_id=collection_id))
    )


@router.get("/v1/line-doubts", responses=problems(WrongRole), openapi_extra=may_call(*OVERSEERS))
async def list_line_doubts(
    read: Annotated[Query, Depends(query)],
    state: Annotated[Literal["OPEN", "NEW", "SAME"] | None, Parameter(description="Only these.")] = None,
    after: Annotated[Cursor | None, Parameter(description="Cursor: the `next` of the page before.")] = None,
    limit: PageSize = 50,
) -> LineDoubtPage:
    """Lines of the collections account that wait, or waited, for a person to say whether they are new, for staff."""
    found = await read.run(lambda tx: lines.doubts(tx, read.caller, state=state, after=after, limit=asked_for(limit)))
    page = Page.of(found, limit)
    return LineDoubtPage(
        items=[LineDoubtView.of(doubt) for doubt in page.items], next=page.next(lambda doubt: doubt.line_id)
    )


@router.post(
    "/v1/line-doubts/{line_id}/decision",
    response_model=LineDoubtView,
    responses=problems(
        IdempotencyKeyRequired, IdempotencyKeyReused, IdempotencyInFlight, WrongRole, UnknownLineDoubt, NotThatLine,
        IllegalTransition,
    ),
    openapi_extra=may_call(*OFFICERS),
)  # fmt: skip
async def decide_line_doubt(
    line_id: Reference,
    body: Annotated[NewLine | SameLine, Field(discriminator="decision")],
    command: Annotated[Mutation, Depends(mutation)],
) -> Response:
    """Say what a doubtful line is. A compliance officer or MLRO decides, after a look at the bank's own statement."""
    same_as = body.same_as if isinstance(body, SameLine) else None
    return await command.run(
        lambda tx: lines.decide(tx, command.caller, line_id=line_id, same_as=same_as),
        shown=LineDoubtView.of,
        status=200,
    )
