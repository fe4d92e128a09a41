"""The second factor: added, confirmed, and used to step a session up (AU-11)."""

from __future__ import annotations

from typing import Annotated, Self

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from fintokenx.kernel.caller import WrongRole
from fintokenx.kernel.clock import Instant
from fintokenx.parties.auth import service
from fintokenx.parties.auth.http.sessions import NewSessionView, Services
from fintokenx.parties.auth.types import Factor, FactorTry
from fintokenx.parties.auth.types.refusals import (
    MfaRefused,
    MfaRequired,
    SessionEnded,
    TooManyAttempts,
    TooManyFactors,
    UnknownFactor,
)
from fintokenx.web.edge import Mutation, Secret, ShownOnce, mutation, problems
from fintokenx.web.inputs import Reference
from fintokenx.web.routes import EVERYBODY, may_call

router = APIRouter(tags=["auth"])

Command = Annotated[Mutation, Depends(mutation)]
ISSUER = "FinToken X"


class FactorView(BaseModel):
    """A second factor, without its secret."""

    model_config = ConfigDict(extra="forbid")
    id: str = Field(description="The factor's id.", examples=["mfa_01jwrs8s50e9rbkszzv4yve5jt"])
    created_at: Instant = Field(description="When it was added.")
    confirmed_at: Instant | None = Field(description="Since when it counts; null until a code of it was shown.")

    @classmethod
    def of(cls, factor: Factor) -> Self:
        """For its owner."""
        return cls(id=factor.id, created_at=factor.created_at, confirmed_at=factor.confirmed_at)


class NewFactorView(FactorView, ShownOnce):
    """A new factor with its secret, shown once."""

    otpauth_uri: Secret = Field(
        default=None,
        description="For an authenticator app: TOTP, SHA-1, six digits, 30 seconds. Lost? Add another factor.",
    )


class Code(BaseModel):
    """The code that the authenticator app shows."""

    model_config = ConfigDict(extra="forbid")
    code: str = Field(pattern=r"^[0-9]{6}$", description="Six digits, accepted once.", examples=["492039"])


@router.post(
    "/v1/mfa/factors",
    status_code=201,
    response_model=NewFactorView,
    responses=problems(MfaRequired, TooManyFactors, SessionEnded, WrongRole),
    openapi_extra=may_call(*EVERYBODY, in_person=True),
)
async def add_factor(command: Command, services: Services) -> Response:
    """Add a TOTP secret. It is shown here and never again: a replay of this request shows no secret."""
    caller, ids = command.caller, command.edge.ids
    factor_id = ids.new("mfa")
    secret = service.new_secret(bytes.fromhex(ids.secret("mfa").removeprefix("mfa_")))
    sealed = await services.sealer.seal(caller.tenant_id, caller.must_be_subject(), f"mfa/{factor_id}", secret)
    uri = service.provisioning_uri(secret, account=caller.must_be_subject(), issuer=ISSUER)
    return await command.run(
        lambda tx: service.add_factor(tx, caller, factor_id=factor_id, secret_sealed=sealed),
        shown=lambda factor: NewFactorView.of(factor).model_copy(update={"otpauth_uri": uri}),
        status=201,
    )


@router.post(
    "/v1/mfa/factors/{factor_id}/confirm",
    response_model=FactorView,
    responses=problems(MfaRefused, TooManyAttempts, UnknownFactor, SessionEnded, WrongRole),
    openapi_extra=may_call(*EVERYBODY, in_person=True),
)
async def confirm_factor(factor_id: Reference, body: Code, command: Command, services: Services) -> Response:
    """Show a code of the new factor; from then on it counts."""
    tried, step = await _tried(command, services, body.code)
    if tried.factor.id != factor_id:
        raise UnknownFactor
    return await command.run(
        lambda tx: service.confirm_factor(tx, command.caller, tried=tried, step=step), shown=FactorView.of
    )


@router.post(
    "/v1/sessions/step-up",
    status_code=201,
    response_model=NewSessionView,
    responses=problems(MfaRefused, TooManyAttempts, UnknownFactor, SessionEnded, WrongRole),
    openapi_extra=may_call(*EVERYBODY, in_person=True),
)
async def step_up(body: Code, command: Command, services: Services) -> Response:
    """A session at assurance level 2 in place of this one, whose token is dead from then on."""
    caller = command.caller
    tried, step = await _tried(command, services, body.code)
    session_id, token = command.edge.ids.new("ses"), None
    if step is not None:
        # First of all: once this session has ended, nobody could ask for the other's token again.
        token = await services.tokens.sign(
            tenant_id=caller.tenant_id,
            session_id=session_id,
            subject_id=tried.factor.subject_id,
            role=caller.role,
            aal=service.AAL_2,
            start=tried.at,
            end=tried.at + service.SESSION_LIFE,
        )
    return await command.run(
        lambda tx: service.step_up(tx, caller, tried=tried, step=step, session_id=session_id),
        shown=lambda session: NewSessionView.of(session).model_copy(update={"access_token": token}),
        status=201,
    )


async def _tried(command: Mutation, services: service.AuthServices, code: str) -> tuple[FactorTry, int | None]:
    """The try, counted in a transaction of its own, and the time step that the code is of."""
    async with command.edge.database.transaction(command.caller.tenant_id, request_id=command.request_id) as tx:
        tried = await service.count_factor_try(tx, command.caller)
    factor = tried.factor
    secret = await services.sealer.open(factor.tenant_id, factor.subject_id, factor.field, factor.secret_sealed)
    return tried, service.step_of(secret, code, tried.at)
