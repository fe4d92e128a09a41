"""Sign in, who am I, sign out, subjects, and the public keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from fintokenx.kernel.caller import Caller, Role, WrongRole
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.machine import IllegalTransition
from fintokenx.parties.auth import service
from fintokenx.parties.auth.types import Erasure, Me, Session, Subject
from fintokenx.parties.auth.types.refusals import (
    CredentialTwice,
    ErasureBlocked,
    NotASubjectRole,
    ScopeMissing,
    SessionEnded,
    SignInRefused,
    SubjectExists,
    TenantsDiffer,
    TokenRefused,
    TooManyAttempts,
    UnknownSubject,
)
from fintokenx.web.edge import Completion, Mutation, Query, Secret, ShownOnce, mutation, problems, query
from fintokenx.web.inputs import CompanyNumber, EmailAddress, PrintableText, Reference
from fintokenx.web.routes import EVERYBODY, OFFICERS, may_call, open_to
from fintokenx.web.services import provided

router = APIRouter(tags=["auth"])

Command = Annotated[Mutation, Depends(mutation)]
Read = Annotated[Query, Depends(query)]
Address = Annotated[EmailAddress, Field(description="The e-mail address that the subject signs in with.")]


class CodeRequest(BaseModel):
    """Ask for a sign-in code by mail."""

    model_config = ConfigDict(extra="forbid")
    email: Address
    role: Role | None = Field(
        default=None, description="Only for the subject in this role; a code for each otherwise.", examples=["seller"]
    )


class CodeRequested(BaseModel):
    """The answer is the same for every address."""

    model_config = ConfigDict(extra="forbid")
    message: str = Field(
        default="If the address is known, a code is on its way. It is good for ten minutes.",
        description="For people.",
    )


class SignIn(BaseModel):
    """Sign in with the code from the mail."""

    model_config = ConfigDict(extra="forbid")
    email: Address
    code: str = Field(pattern=r"^[0-9]{8}$", description="Eight digits, good once.", examples=["04915523"])


class SessionView(BaseModel):
    """A session."""

    model_config = ConfigDict(extra="forbid")
    id: str = Field(description="The session's id.", examples=["ses_01jwrs8s50e9rbkszzv4yve5jt"])
    subject_id: str = Field(description="Who is signed in.", examples=["sub_01jwrs8s50e9rbkszzv4yve5jt"])
    role: Role = Field(description="In which role.", examples=["seller"])
    aal: int = Field(description="Assurance level (NIST SP 800-63B): 1, or 2 with a second factor.", examples=[1])
    created_at: Instant = Field(description="When it began.")
    expires_at: Instant = Field(description="When it ends by itself.")

    @classmethod
    def of(cls, session: Session) -> Self:
        """For its owner."""
        return cls(
            id=session.id,
            subject_id=session.subject_id,
            role=session.role,
            aal=session.aal,
            created_at=session.created_at,
            expires_at=session.expires_at,
        )


class NewSessionView(SessionView, ShownOnce):
    """A new session with its access token."""

    access_token: Secret = Field(
        default=None, description="A JWT, signed EdDSA; send it as `Authorization: Bearer`. Lost? Ask for a new code."
    )
    token_type: str = Field(default="Bearer", description="Always Bearer (RFC 6750).")


class MeView(BaseModel):
    """Who is calling right now."""

    model_config = ConfigDict(extra="forbid")
    tenant_id: str = Field(description="The tenant.", examples=["tnt_fintokenx"])
    actor: str = Field(description="What stands in the record for your actions.")
    role: Role = Field(description="The role.", examples=["seller"])
    on_behalf_of: str | None = Field(description="The subject that an administrator acts for.")
    has_api_key: bool = Field(description="Whether the request carried a valid API key.")
    subject_id: str | None = Field(description="The signed-in subject; null for an API key alone.")
    legal_name: str | None = Field(description="Its company's name.")
    state: str | None = Field(description="Its state.", examples=["ACTIVE"])
    session_id: str | None = Field(description="The session.")
    aal: int | None = Field(description="Its assurance level; null without a session.", examples=[1])

    @classmethod
    def of(cls, me: Me) -> MeView:
        """For themselves."""
        return cls(
            tenant_id=me.tenant_id,
            actor=me.actor,
            role=me.role,
            on_behalf_of=me.on_behalf_of,
            has_api_key=me.has_api_key,
            subject_id=me.subject.id if me.subject else None,
            legal_name=me.subject.legal_name if me.subject else None,
            state=me.subject.shown_state if me.subject else None,
            session_id=me.session.id if me.session else None,
            aal=me.session.aal if me.session else None,
        )


def _services(request: Request) -> service.AuthServices:
    return provided(request, service.AuthServices)


Services = Annotated[service.AuthServices, Depends(_services)]


def authentication(authenticator: service.Authenticator) -> Callable[[Request], Awaitable[Caller]]:
    """The ``authenticate`` of :class:`fintokenx.web.edge.Edge`. The address is the peer's own: a forwarded
    header can be made up. :raises CredentialTwice: which of two would count is not for us to guess"""

    async def authenticate(request: Request) -> Caller:
        if any(len(request.headers.getlist(name)) > 1 for name in ("Authorization", service.API_KEY_HEADER)):
            raise CredentialTwice
        ip = request.client.host if request.client else None
        return await authenticator.caller(request.headers, ip, method=request.method, path=request.url.path)

    return authenticate


@router.post(
    "/v1/sessions/codes",
    status_code=202,
    response_model=CodeRequested,
    responses=problems(TokenRefused, WrongRole, ScopeMissing),
    openapi_extra=may_call(Role.PARTNER_ADMIN),
)
async def request_code(body: CodeRequest, command: Command, services: Services) -> Response:
    """Have a sign-in code mailed. Needs an API key; tells nobody whether the address is known."""
    index = await _index(command, services, body.email)

    async def ask(tx: Any) -> CodeRequested:
        await service.request_login_code(tx, command.caller, email_index=index, role=body.role)
        return CodeRequested()

    return await command.run(ask, shown=lambda answer: answer, status=202)


@router.post(
    "/v1/sessions",
    status_code=201,
    response_model=NewSessionView,
    responses=problems(SignInRefused, WrongRole, ScopeMissing, TooManyAttempts),
    openapi_extra=may_call(Role.PARTNER_ADMIN),
)
async def sign_in(body: SignIn, command: Command, services: Services) -> Response:
    """Sign in with a mailed code. Needs an API key. Five wrong codes close the address for a quarter of an hour."""
    index = await _index(command, services, body.email)
    # The count commits by itself: the refusal of a wrong code rolls everything else back.
    async with command.edge.database.transaction(command.caller.tenant_id, request_id=command.request_id) as tx:
        attempt = await service.count_attempt(tx, command.caller, email_index=index)
    return await command.run(
        lambda tx: service.sign_in(tx, command.caller, attempt=attempt, code=body.code),
        shown=NewSessionView.of,
        status=201,
        completed=with_token(services, command.caller.tenant_id),
    )


def with_token(services: service.AuthServices, tenant_id: str) -> Completion[NewSessionView]:
    """What adds the token to a new session. Touches the vault."""

    async def completed(session: NewSessionView) -> NewSessionView:
        token = await services.tokens.sign(
            tenant_id=tenant_id,
            session_id=session.id,
            subject_id=session.subject_id,
            role=session.role,
            aal=session.aal,
            start=session.created_at,
            end=session.expires_at,
        )
        return session.model_copy(update={"access_token": token})

    return Completion(NewSessionView, completed)


async def _index(command: Mutation, services: service.AuthServices, email: str) -> str:
    return await service.email_index_of(services.index, tenant_id=command.caller.tenant_id, email=email)


@router.delete(
    "/v1/sessions/current",
    response_model=SessionView,
    responses=problems(SessionEnded, TokenRefused, WrongRole),
    openapi_extra=may_call(*EVERYBODY, in_person=True),
)
async def sign_out(command: Command) -> Response:
    """End the session of the access token."""
    return await command.run(lambda tx: service.end_session(tx, command.caller), shown=SessionView.of)


@router.get(
    "/v1/me",
    response_model=MeView,
    responses=problems(TokenRefused, SessionEnded, TenantsDiffer, ScopeMissing),
    openapi_extra=may_call(*EVERYBODY),
)
async def me(read: Read) -> MeView:
    """Who is calling right now, as the platform sees it."""
    return MeView.of(await read.run(lambda tx: service.me(tx, read.caller)))


@router.get("/.well-known/jwks.json", openapi_extra=open_to())
async def jwks(services: Services) -> dict[str, Any]:
    """The public keys of access tokens (RFC 7517). Open to everybody."""
    return await services.tokens.jwks()


class NewSubject(BaseModel):
    """A company that is to do business here, in one role."""

    model_config = ConfigDict(extra="forbid")
    role: Role = Field(description="seller, buyer, lender, investor, broker or partner_admin.", examples=["seller"])
    legal_name: Annotated[str, PrintableText(160)] = Field(description="As Companies House has it.")
    company_number: CompanyNumber = Field(description="Companies House number, eight characters.")
    representative_name: Annotated[str, PrintableText(140)] = Field(description="Who speaks for it. Stored sealed.")
    email: Address


class SubjectView(BaseModel):
    """A subject, without its people."""

    model_config = ConfigDict(extra="forbid")
    id: str = Field(description="The subject's id.", examples=["sub_01jwrs8s50e9rbkszzv4yve5jt"])
    role: Role = Field(description="Its role, for ever (AU-04).")
    legal_name: str = Field(description="The company's name.")
    company_number: str | None = Field(description="Its number at Companies House.")
    state: str = Field(description="Where it stands.", examples=["CREATED"])
    created_at: Instant = Field(description="Since when.")

    @classmethod
    def of(cls, subject: Subject) -> SubjectView:
        """For its partner and itself."""
        return cls(
            id=subject.id,
            role=subject.role,
            legal_name=subject.legal_name,
            company_number=subject.company_number,
            state=subject.shown_state,
            created_at=subject.created_at,
        )


@router.post(
    "/v1/subjects",
    status_code=201,
    response_model=SubjectView,
    responses=problems(SubjectExists, NotASubjectRole, WrongRole, ScopeMissing),
    openapi_extra=may_call(Role.PARTNER_ADMIN),
)
async def create_subject(body: NewSubject, command: Command, services: Services) -> Response:
    """Register a company in one role (AU-01, AU-05); it may then open its onboarding."""
    caller = command.caller
    subject_id = command.edge.ids.new("sub")
    sealer = services.sealer
    person = service.SealedPerson(
        await sealer.seal(caller.tenant_id, subject_id, "representative_name", body.representative_name),
        await sealer.seal(caller.tenant_id, subject_id, "email", body.email),
        await _index(command, services, body.email),
    )
    return await command.run(
        lambda tx: service.create_subject(
            tx,
            caller,
            subject_id=subject_id,
            role=body.role,
            legal_name=body.legal_name,
            company_number=body.company_number,
            person=person,
        ),
        shown=SubjectView.of,
        status=201,
    )


@router.get(
    "/v1/subjects/{subject_id}", responses=problems(UnknownSubject, WrongRole), openapi_extra=may_call(*EVERYBODY)
)
async def show_subject(subject_id: Reference, read: Read) -> SubjectView:
    """One subject: oneself, or any of the tenant for its partner and for staff."""
    return SubjectView.of(await read.run(lambda tx: service.visible_subject(tx, read.caller, subject_id=subject_id)))


class Erase(BaseModel):
    """Why a person's data is destroyed."""

    model_config = ConfigDict(extra="forbid")
    reason: Annotated[str, PrintableText(2000, length_min=20, lines=True)] = Field(
        description="In words, without naming the person. Kept sealed, under a key that outlives theirs.",
        examples=["Asked for by letter of 2 June; no business was ever done."],
    )


class ErasureView(BaseModel):
    """That a person's data was destroyed."""

    model_config = ConfigDict(extra="forbid")
    id: str = Field(description="The erasure.", examples=["era_01jwrs8s50e9rbkszzv4yve5jt"])
    subject_id: str = Field(description="Whose data it was.")
    erased_at: Instant = Field(description="When.")
    erased_by: str = Field(description="Who did it.")

    @classmethod
    def of(cls, erasure: Erasure) -> ErasureView:
        """Without its reason."""
        return cls(**{name: getattr(erasure, name) for name in cls.model_fields})


@router.post(
    "/v1/subjects/{subject_id}/erasure",
    response_model=ErasureView,
    responses=problems(UnknownSubject, ErasureBlocked, IllegalTransition, WrongRole),
    openapi_extra=may_call(*OFFICERS),
)
async def erase_subject(subject_id: Reference, body: Erase, command: Command, services: Services) -> Response:
    """Destroy what is personal about a subject, for good. Only the roles mlro and compliance; refused while open
    business or a freeze needs the person. Done again it is the same erasure. The company's name and number stay."""
    caller = command.caller
    erasure_id = command.edge.ids.new("era")
    reason = await service.seal_reason(services.sealer, caller, erasure_id=erasure_id, reason=body.reason)
    return await command.run(
        lambda tx: service.erase(tx, caller, subject_id=subject_id, erasure_id=erasure_id, reason_sealed=reason),
        shown=ErasureView.of,
    )
