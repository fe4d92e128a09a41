"""Recoveries of lost wallets, for officers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi import Query as Parameter
from pydantic import BaseModel, ConfigDict, Field

from fintokenx.kernel.caller import WrongRole
from fintokenx.kernel.clock import Instant
from fintokenx.lifecycle.tokenisation.service import recovering
from fintokenx.lifecycle.tokenisation.transitions import RECOVERY
from fintokenx.lifecycle.tokenisation.types import (
    Recovery,
    RecoveryUnderWay,
    UnknownRecovery,
    UnknownWallet,
    WalletNotOnChain,
)
from fintokenx.parties.auth import UnknownSubject
from fintokenx.web.edge import Mutation, Query, mutation, problems, query
from fintokenx.web.inputs import Cursor, OneOf, PageSize, PrintableText, Reference, SubjectId
from fintokenx.web.routes import OFFICERS, may_call

router = APIRouter(tags=["tokenisation"])

Read = Annotated[Query, Depends(query)]
RecoveryState = Annotated[str, OneOf.states(RECOVERY.states)]


class RecoveryRequest(BaseModel):
    """Ask that a wallet be given up."""

    model_config = ConfigDict(extra="forbid")
    subject_id: SubjectId = Field(description="Whose wallet is lost.")
    reason: Annotated[str, PrintableText(500, length_min=20)] = Field(
        description="What happened, in words for the record; no personal data."
    )


class RecoveryView(BaseModel):
    """The way of a subject's holdings from a lost wallet to its next one."""

    model_config = ConfigDict(extra="forbid")
    id: str = Field(description="Its id.", examples=["rec_06g2h5x3v8w9y7z1a2b3c4d5e6"])
    subject_id: str = Field(description="Whose wallet was lost.")
    lost_wallet_id: str = Field(description="The wallet that is given up.")
    new_wallet_id: str | None = Field(description="The next one; null until holdings begin to move.")
    case_id: str = Field(description="Where the MLRO decides: POST /v1/cases/{case_id}/decision.")
    reason: str = Field(description="What happened.")
    state: str = Field(description="REQUESTED, DECLINED, APPROVED, MOVING, RETIRING or COMPLETED.")
    requested_at: Instant = Field(description="When it was asked for.")
    requested_by: str = Field(description="By whom; somebody else decides.")
    decided_at: Instant | None = Field(description="When the MLRO decided.")
    decided_by: str | None = Field(description="Who that was.")
    completed_at: Instant | None = Field(description="When everything was in the new wallet, and the old one retired.")

    @classmethod
    def of(cls, recovery: Recovery) -> RecoveryView:
        """For officers."""
        return cls(**{name: getattr(recovery, name) for name in cls.model_fields})


class RecoveryPage(BaseModel):
    """Recoveries, oldest first."""

    model_config = ConfigDict(extra="forbid")
    items: list[RecoveryView]
    next: str | None = Field(description="Give this as `after` for the next page; null on the last.")


@router.post(
    "/v1/wallet-recoveries",
    status_code=201,
    response_model=RecoveryView,
    responses=problems(WrongRole, UnknownSubject, UnknownWallet, WalletNotOnChain, RecoveryUnderWay),
    openapi_extra=may_call(*OFFICERS),
)
async def request_recovery(body: RecoveryRequest, command: Annotated[Mutation, Depends(mutation)]) -> Response:
    """Ask for the recovery of a lost wallet. Only mlro and compliance; an MLRO who did not ask decides the case."""
    return await command.run(
        lambda tx: recovering.request(tx, command.caller, subject_id=body.subject_id, reason=body.reason),
        shown=RecoveryView.of,
        status=201,
    )


@router.get(
    "/v1/wallet-recoveries/{recovery_id}",
    responses=problems(WrongRole, UnknownRecovery),
    openapi_extra=may_call(*OFFICERS),
)
async def show_recovery(recovery_id: Reference, read: Read) -> RecoveryView:
    """One recovery, and how far it has come."""
    return RecoveryView.of(await read.run(lambda tx: recovering.recovery(tx, read.caller, recovery_id=recovery_id)))


@router.get("/v1/wallet-recoveries", responses=problems(WrongRole), openapi_extra=may_call(*OFFICERS))
async def list_recoveries(
    read: Read,
    state: Annotated[RecoveryState | None, Parameter(description="Only those in this state.")] = None,
    after: Annotated[Cursor, Parameter(description="The `next` of the page before.")] = "",
    limit: PageSize = 50,
) -> RecoveryPage:
    """The tenant's recoveries, oldest first; those that ended stay."""
    found = await read.run(lambda tx: recovering.recoveries(tx, read.caller, state=state, after=after, limit=limit))
    following = found[-1].id if len(found) == limit else None
    return RecoveryPage(items=[RecoveryView.of(each) for each in found], next=following)
