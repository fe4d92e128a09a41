"""The MLRO queue and the alerts over HTTP, for compliance roles."""

from __future__ import annotations

from typing import Annotated, Final, Self

from fastapi import APIRouter, Depends, Request
from fastapi import Query as Parameter
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from fintokenx.audit import UnknownEntry
from fintokenx.kernel.caller import WrongRole
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Tx
from fintokenx.kernel.machine import IllegalTransition
from fintokenx.parties.auth import FourEyes
from fintokenx.parties.compliance import service
from fintokenx.parties.compliance.transitions import ALERT, CASE
from fintokenx.parties.compliance.types import (
    Alert,
    AlreadyDecided,
    Case,
    Decision,
    Finding,
    NothingSealed,
    RationaleMissing,
    SealedValue,
    UnknownAlert,
    UnknownCase,
)
from fintokenx.web.edge import Mutation, Query, mutation, problems, query
from fintokenx.web.inputs import Cursor, OneOf, PageSize, PrintableText, Reference
from fintokenx.web.routes import OFFICERS, may_call
from fintokenx.web.services import provided

router = APIRouter(tags=["compliance"])

_CASE_ID: Final = Field(description="The case.", examples=["cas_01jd8x9k2m4n6p8q0r2s4t6v8w"])
EntryId = Annotated[str, Field(pattern=r"^aud_[0-9a-z]{26}$", examples=["aud_01jwrs8s50e9rbkszzv4yve5jt"])]
FieldName = Annotated[str, Field(pattern=r"^[a-z_]{1,40}$", examples=["email"])]
After = Annotated[Cursor, Parameter(description="The `next` of the page before; empty for the first.")]
CaseState = Annotated[str, OneOf.states(CASE.states)]
AlertState = Annotated[str, OneOf.states(ALERT.states)]


class CaseView(BaseModel):
    """A case in the MLRO queue. Decided cases stay readable for ever."""

    model_config = ConfigDict(extra="forbid")

    id: str = _CASE_ID
    subject_id: str | None = Field(description="Whom it is about, if that is a subject.")
    resource: str = Field(description="What it is about.", examples=["onb_01jd8x9k2m4n6p8q0r2s4t6v8w"])
    reason: str = Field(description="Why a person is asked.", examples=["GATE3_REVIEW"])
    state: str = Field(description="Where it stands.", examples=["OPEN"])
    opened_at: Instant = Field(description="Since when it waits, UTC.")
    assigned_to: str | None = Field(description="Who works on it.")
    decided_at: Instant | None = Field(description="When it was decided, UTC.")
    decided_by: str | None = Field(description="Who decided it.")
    decision: Decision | None = Field(description="What was decided.")
    rationale_hash: str | None = Field(description="SHA-256 (hex) of the canonical rationale.")

    @classmethod
    def of(cls, case: Case) -> Self:
        """As the API shows it."""
        return cls(**{name: getattr(case, name) for name in CaseView.model_fields})


class CaseInFull(CaseView):
    """A case with the reasons of its decision."""

    rationale: str | None = Field(description="The reasons, in the decider's words; null when undecided or erased.")


class CasePage(BaseModel):
    """One page of the queue, oldest first."""

    model_config = ConfigDict(extra="forbid")

    items: list[CaseView] = Field(description="The cases.")
    next: str | None = Field(description="Send as `after` for the next page; null on the last.")


class DecideCase(BaseModel):
    """A decision and its reasons."""

    model_config = ConfigDict(extra="forbid")

    decision: Decision = Field(description="What is decided.", examples=["APPROVE"])
    rationale: Annotated[str, PrintableText(10_000, lines=True)] = Field(
        description="Why; kept sealed, its hash in the record.", examples=["Hit is a namesake."]
    )


class AlertView(BaseModel):
    """A cause that is true of a resource. ``occurrences`` counts while the alert is open."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(description="The alert.", examples=["alt_01jd8x9k2m4n6p8q0r2s4t6v8w"])
    cause: str = Field(description="What is the matter.", examples=["KYC_DELAY"])
    resource: str = Field(description="What it is about.")
    severity: str = Field(description="NOTICE, WARNING or CRITICAL.", examples=["WARNING"])
    state: str = Field(description="RAISED, ACKED or CLOSED.", examples=["RAISED"])
    raised_at: Instant = Field(description="First seen, UTC.")
    last_seen_at: Instant = Field(description="Last seen, UTC.")
    occurrences: int = Field(description="How often it was seen while open.", examples=[1])
    finding: Finding | None = Field(description="What it turned out to be.")

    @classmethod
    def of(cls, alert: Alert) -> Self:
        """As the API shows it."""
        return cls(**{name: getattr(alert, name) for name in AlertView.model_fields})


class AlertPage(BaseModel):
    """One page of alerts, oldest first."""

    model_config = ConfigDict(extra="forbid")

    items: list[AlertView] = Field(description="The alerts.")
    next: str | None = Field(description="Send as `after` for the next page; null on the last.")


class CloseAlert(BaseModel):
    """What an alert turned out to be."""

    model_config = ConfigDict(extra="forbid")

    finding: Finding = Field(description="Whether the cause was real.", examples=["TRUE_ALARM"])


def _services(request: Request) -> service.ComplianceServices:
    return provided(request, service.ComplianceServices)


@router.get("/v1/cases", responses=problems(WrongRole), openapi_extra=may_call(*OFFICERS))
async def list_cases(
    reading: Annotated[Query, Depends(query)],
    state: Annotated[CaseState | None, Parameter(description="Only cases in this state.")] = None,
    after: After = "",
    limit: PageSize = 50,
) -> CasePage:
    """The MLRO queue, oldest first."""
    found = await reading.run(lambda tx: service.cases(tx, reading.caller, state=state, after=after, limit=limit))
    return CasePage(items=[CaseView.of(case) for case in found], next=found[-1].id if len(found) == limit else None)


@router.get("/v1/cases/{case_id}", responses=problems(WrongRole, UnknownCase), openapi_extra=may_call(*OFFICERS))
async def show_case(case_id: Reference, request: Request, reading: Annotated[Query, Depends(query)]) -> CaseInFull:
    """One case, with the reasons of its decision."""
    case = await reading.run(lambda tx: service.case_of(tx, reading.caller, case_id=case_id))
    rationale = await service.open_rationale(_services(request).sealer, case, reading.caller.tenant_id)
    return CaseInFull(**CaseView.of(case).model_dump(), rationale=rationale)


@router.post(
    "/v1/cases/{case_id}/decision",
    response_model=CaseView,
    responses=problems(WrongRole, FourEyes, UnknownCase, AlreadyDecided, RationaleMissing),
    openapi_extra=may_call(*OFFICERS),
)
async def decide_case(
    case_id: Reference, body: DecideCase, request: Request, command: Annotated[Mutation, Depends(mutation)]
) -> Response:
    """Decide a case for good. Only the roles mlro and compliance; of the recovery of a wallet only mlro, and not who
    asked for it. What follows is done by a job."""
    reading = Query(command.edge, command.caller, command.request_id)
    case = await reading.run(lambda tx: service.case_of(tx, command.caller, case_id=case_id))
    sealer = _services(request).sealer
    rationale = await service.seal_rationale(sealer, case, command.caller.tenant_id, body.rationale)
    return await command.run(
        lambda tx: service.decide(tx, command.caller, case_id=case_id, decision=body.decision, rationale=rationale),
        shown=CaseView.of,
    )


@router.get("/v1/alerts", responses=problems(WrongRole), openapi_extra=may_call(*OFFICERS))
async def list_alerts(
    reading: Annotated[Query, Depends(query)],
    state: Annotated[AlertState | None, Parameter(description="Only alerts in this state.")] = None,
    after: After = "",
    limit: PageSize = 50,
) -> AlertPage:
    """The tenant's alerts, oldest first."""
    found = await reading.run(lambda tx: service.alerts(tx, reading.caller, state=state, after=after, limit=limit))
    return AlertPage(items=[AlertView.of(alert) for alert in found], next=found[-1].id if len(found) == limit else None)


@router.post(
    "/v1/alerts/{alert_id}/acknowledgement",
    response_model=AlertView,
    responses=problems(WrongRole, UnknownAlert, IllegalTransition),
    openapi_extra=may_call(*OFFICERS),
)
async def acknowledge(alert_id: Reference, command: Annotated[Mutation, Depends(mutation)]) -> Response:
    """Say that somebody is looking at it."""
    return await command.run(
        lambda tx: service.acknowledge_alert(tx, command.caller, alert_id=alert_id), shown=AlertView.of
    )


@router.post(
    "/v1/alerts/{alert_id}/closure",
    response_model=AlertView,
    responses=problems(WrongRole, UnknownAlert, IllegalTransition),
    openapi_extra=may_call(*OFFICERS),
)
async def close(alert_id: Reference, body: CloseAlert, command: Annotated[Mutation, Depends(mutation)]) -> Response:
    """Say what it turned out to be."""
    return await command.run(
        lambda tx: service.close_alert(tx, command.caller, alert_id=alert_id, finding=body.finding),
        shown=AlertView.of,
    )


class Disclose(BaseModel):
    """Which fields of which entries are to be told."""

    model_config = ConfigDict(extra="forbid")

    entries: list[EntryId] = Field(min_length=1, max_length=100, description="Ids of entries.")
    fields: list[FieldName] = Field(min_length=1, max_length=20, description="Names of sealed fields.")


class DisclosedView(BaseModel):
    """A sealed field, and what proves it to whoever holds the entry (docs/evidence.md)."""

    model_config = ConfigDict(extra="forbid")

    entry_id: str = Field(description="The entry that holds it.")
    pointer: str = Field(description="Where (RFC 6901, into the canonical entry).")
    field: str = Field(description="What it is.", examples=["email"])
    salt: str | None = Field(default=None, description="Hex; null when the person was erased.")
    value: str | None = Field(default=None, description="In clear; null when the person was erased.")
    shredded: bool = Field(default=False, description="The person was erased: nobody can tell any more.")


class DisclosuresView(BaseModel):
    """What was asked for and found."""

    model_config = ConfigDict(extra="forbid")

    disclosed: list[DisclosedView] = Field(description="In the order of the entries.")


@router.post(
    "/v1/audit/disclosures",
    response_model=DisclosuresView,
    responses=problems(WrongRole, UnknownEntry, NothingSealed),
    openapi_extra=may_call(*OFFICERS),
)
async def disclose(body: Disclose, request: Request, command: Annotated[Mutation, Depends(mutation)]) -> Response:
    """Tell sealed personal data and prove it. Only the roles mlro and compliance; that it was told is on record under
    the person's id before it is."""
    needs = _services(request)
    values: list[SealedValue] = []

    async def record(tx: Tx) -> DisclosuresView:
        values[:] = await service.record_disclosure(
            tx, command.caller, entry_ids=body.entries, fields=body.fields, sealed=needs.sealed
        )
        return _without_values(values)

    answer = await command.run(record, shown=lambda shown: shown)
    # The stored answer holds no personal data. A replay finds the same values again, and tells them again.
    if not values:
        reading = Query(command.edge, command.caller, command.request_id)
        values[:] = await reading.run(
            lambda tx: service.find_sealed(
                tx, command.caller, entry_ids=body.entries, fields=body.fields, sealed=needs.sealed
            )
        )
    told = await service.disclose(needs.sealer, command.caller.tenant_id, values)
    shown = DisclosuresView(
        disclosed=[
            DisclosedView(**{name: getattr(one, name) for name in _PROOF}, shredded=one.value is None) for one in told
        ]
    )
    headers = {name: value for name, value in answer.headers.items() if name.startswith("fx-")}
    headers["Cache-Control"] = "no-store"
    return Response(shown.model_dump_json(), answer.status_code, headers, media_type="application/json")


_PROOF: Final = ("entry_id", "pointer", "field", "salt", "value")


def _without_values(found: list[SealedValue]) -> DisclosuresView:
    return DisclosuresView(
        disclosed=[DisclosedView(entry_id=one.entry_id, pointer=one.pointer, field=one.field) for one in found]
    )
