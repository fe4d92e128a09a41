"""The onboarding form, the gates of a subject, and Sumsub's webhook."""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fintokenx.kernel.caller import Role, WrongRole, system
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.machine import IllegalTransition
from fintokenx.parties import partner
from fintokenx.parties.kyc import service
from fintokenx.parties.kyc.ports import WebhookRefused
from fintokenx.parties.kyc.types import (
    FORM_VERSION,
    OLDEST_YEARS,
    YOUNGEST_YEARS,
    BankAccount,
    BirthDateImplausible,
    FormIncomplete,
    FormOutdated,
    Gate,
    GateRun,
    Gates,
    GateState,
    NothingToRerun,
    NotYourSubject,
    OnboardingFile,
    OnboardingOpen,
    Person,
    PersonRole,
    UnknownApplicant,
)
from fintokenx.web.edge import Edge, Mutation, Query, mutation, problems, query
from fintokenx.web.inputs import CompanyNumber, IsoDate, PrintableText, Reference
from fintokenx.web.routes import CUSTOMERS, EVERYBODY, OFFICERS, may_call, open_to
from fintokenx.web.services import provided

router = APIRouter(tags=["kyc"])

SubjectId = Annotated[Reference, Path(description="The subject.", examples=["sub_01jd8x9k2m4n6p8q0r2s4t6v8w"])]


def _two_names(name: str) -> str:
    if " " not in name:
        raise ValueError("given names, space, family name")
    return name


class PersonForm(BaseModel):
    """A person behind the company. Stored sealed, under a key of the person's own."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, PrintableText(200, length_min=3), AfterValidator(_two_names)] = Field(
        description="Given names, space, family name.", examples=["Ada Byron"]
    )
    born_on: IsoDate = Field(
        description=f"Date of birth: {YOUNGEST_YEARS} to {OLDEST_YEARS} years old.", examples=["1985-12-10"]
    )
    roles: list[PersonRole] = Field(min_length=1, max_length=3, description="Why they are named.", examples=[["ubo"]])


class AccountForm(BaseModel):
    """The company's own bank account, to which money goes."""

    model_config = ConfigDict(extra="forbid")

    account_name: Annotated[str, PrintableText(140)] = Field(description="As the bank has it.", examples=["Acme Ltd"])
    sort_code: str = Field(pattern=r"^[0-9]{6}$", description="Six digits.", examples=["608371"])
    account_number: str = Field(pattern=r"^[0-9]{8}$", description="Eight digits.", examples=["12345678"])


class OnboardingForm(BaseModel):
    """Everything that gates 1 and 2 need."""

    model_config = ConfigDict(extra="forbid")

    form_version: Annotated[str, PrintableText(20)] = Field(
        description=f"Which form this is. Now: {FORM_VERSION}; another is refused as FORM_VERSION_OUTDATED.",
        examples=[FORM_VERSION],
        json_schema_extra={"enum": [FORM_VERSION]},
    )
    company_number: CompanyNumber = Field(description="Companies House number.", examples=["01234567"])
    persons: list[PersonForm] = Field(
        min_length=1, max_length=30, description="At least one director and one representative; every owner (UBO)."
    )
    designated_account: AccountForm = Field(description="Where money goes.")

    def people(self) -> list[Person]:
        """The persons, in our words."""
        return [Person(one.name, one.born_on, tuple(dict.fromkeys(one.roles))) for one in self.persons]


class OnboardingView(BaseModel):
    """One attempt at onboarding."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(description="The file.", examples=["onb_01jd8x9k2m4n6p8q0r2s4t6v8w"])
    subject_id: str = Field(description="Whose it is.")
    form_version: str = Field(description="Which form it was.", examples=["2026-06"])
    company_number: str = Field(description="Companies House number.", examples=["01234567"])
    state: str = Field(description="Where it stands.", examples=["SUBMITTED"])
    submitted_at: Instant | None = Field(description="When it was handed in, UTC.")

    @classmethod
    def of(cls, file: OnboardingFile) -> Self:
        """As the API shows it."""
        return cls(**{name: getattr(file, name) for name in cls.model_fields})


class GateView(BaseModel):
    """The newest run of a gate."""

    model_config = ConfigDict(extra="forbid")

    gate: int = Field(description="1 identity, 2 screening, 3 review.", examples=[1])
    state: str = Field(
        description="NOT_STARTED, RUNNING, HELD, REFER, CLEAR or FAIL. HELD: the provider does not answer.",
        examples=["RUNNING"],
    )
    provider: str = Field(description="Who is asked.", examples=["sumsub"])
    verdict: str | None = Field(description="CLEAR, REFER or FAIL, once there is one.", examples=["CLEAR"])
    started_at: Instant | None = Field(description="Since when, UTC.")
    finished_at: Instant | None = Field(description="Until when, UTC.")

    @classmethod
    def of(cls, state: GateState | GateRun) -> Self:
        """As the API shows it."""
        return cls(**{name: getattr(state, name) for name in cls.model_fields})


class GatesView(BaseModel):
    """Where a subject stands. Gate 4 is monitoring's."""

    model_config = ConfigDict(extra="forbid")

    subject_id: str = Field(description="The subject.")
    state: str = Field(description="The subject's own state.", examples=["VERIFYING"])
    gates: list[GateView] = Field(description="Gates 1 to 3, in order.")

    @classmethod
    def of(cls, gates: Gates) -> Self:
        """As the API shows it."""
        return cls(
            subject_id=gates.subject_id,
            state=gates.subject_state,
            gates=[GateView.of(state) for state in gates.gates],
        )


def _services(request: Request) -> service.KycServices:
    return provided(request, service.KycServices)


@router.post(
    "/v1/subjects/{subject_id}/onboarding",
    response_model=OnboardingView,
    status_code=201,
    responses=problems(
        WrongRole, NotYourSubject, OnboardingOpen, IllegalTransition, FormOutdated, FormIncomplete, BirthDateImplausible
    ),
    openapi_extra=may_call(*CUSTOMERS, Role.PARTNER_ADMIN),
)
async def submit_onboarding(
    subject_id: SubjectId, body: OnboardingForm, request: Request, command: Annotated[Mutation, Depends(mutation)]
) -> Response:
    """Hand in the form; the gates start by themselves."""
    caller = command.caller
    reading = Query(command.edge, caller, command.request_id)
    at = await reading.run(lambda tx: service.may_onboard(tx, caller, subject_id=subject_id))
    form = await service.seal_form(
        _services(request).sealer,
        command.edge.ids,
        caller.tenant_id,
        form_version=body.form_version,
        company_number=body.company_number,
        persons=body.people(),
        account=BankAccount(**body.designated_account.model_dump()),
        at=at,
    )
    return await command.run(
        lambda tx: service.submit(tx, caller, subject_id=subject_id, form=form), shown=OnboardingView.of, status=201
    )


@router.get(
    "/v1/subjects/{subject_id}/gates", responses=problems(WrongRole, NotYourSubject), openapi_extra=may_call(*EVERYBODY)
)
async def show_gates(subject_id: SubjectId, reading: Annotated[Query, Depends(query)]) -> GatesView:
    """Gates 1 to 3 of the latest attempt."""
    return GatesView.of(await reading.run(lambda tx: service.gates(tx, reading.caller, subject_id=subject_id)))


@router.post(
    "/v1/subjects/{subject_id}/gates/{gate}/runs",
    response_model=GateView,
    status_code=201,
    responses=problems(WrongRole, NotYourSubject, NothingToRerun),
    openapi_extra=may_call(*OFFICERS),
)
async def run_gate_again(
    subject_id: SubjectId,
    gate: Annotated[int, Path(ge=1, le=2, description="Which gate.", examples=[2])],
    command: Annotated[Mutation, Depends(mutation)],
) -> Response:
    """Ask the provider once more. Only the roles mlro and compliance."""
    return await command.run(
        lambda tx: service.rerun(tx, command.caller, subject_id=subject_id, gate=Gate(gate)),
        shown=GateView.of,
        status=201,
    )


_UNSIGNED: Final[dict[int | str, dict[str, Any]]] = problems(WebhookRefused, UnknownApplicant, partner.UnknownTenant)


@router.post("/v1/webhooks/sumsub", responses=_UNSIGNED, openapi_extra=open_to("Sumsub, by its signature"))
async def take_sumsub_webhook(request: Request) -> Response:
    """Sumsub tells us that something happened to an applicant, whichever tenant's. Signed; the verdict itself is read
    from Sumsub by a job."""
    event = await _services(request).identity.read_webhook(request.headers, await request.body())
    edge = provided(request, Edge)
    tenant_id = service.tenant_of(event)
    caller = system(tenant_id, "webhook.sumsub")
    async with edge.database.transaction(tenant_id, request_id=request.state.request_id) as tx:
        await service.event_received(tx, caller, event=event)
    return Response(status_code=200)
