"""Admin sessions: asked for, approved by another administrator, opened, closed (AD-16, TI-07)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from fintokenx.kernel.caller import Caller, Role, WrongRole
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.machine import IllegalTransition
from fintokenx.parties import partner
from fintokenx.parties.auth import service
from fintokenx.parties.auth.http.sessions import Services
from fintokenx.parties.auth.types import AdminSession, Purpose
from fintokenx.parties.auth.types.refusals import (
    AdminSessionOver,
    FourEyes,
    MfaRequired,
    NotACustomer,
    UnknownAdminSession,
)
from fintokenx.web.edge import Completion, Mutation, Query, Secret, ShownOnce, mutation, problems, query
from fintokenx.web.inputs import Cursor, PageSize, PrintableText, Reference, SubjectId, TenantId
from fintokenx.web.paging import Page, asked_for
from fintokenx.web.routes import may_call

router = APIRouter(tags=["administrators"])

Command = Annotated[Mutation, Depends(mutation)]
Read = Annotated[Query, Depends(query)]
_REFUSALS = (UnknownAdminSession, FourEyes, AdminSessionOver, IllegalTransition, MfaRequired, WrongRole)


class AdminSessionRequest(BaseModel):
    """Ask to come in."""

    model_config = ConfigDict(extra="forbid")
    tenant_id: TenantId = Field(description="The tenant acted upon.")
    on_behalf_of: SubjectId = Field(description="The customer it is about, a subject of that tenant.")
    purpose: Purpose = Field(description="ACT for that customer, or BYPASS to read across tenants.")
    reason: Annotated[str, PrintableText(500, length_min=20)] = Field(
        description="Why, in words for the record; no personal data."
    )


class InTenant(BaseModel):
    """Which tenant's admin session is meant."""

    model_config = ConfigDict(extra="forbid")
    tenant_id: TenantId = Field(description="The tenant acted upon.")


class AdminSessionView(BaseModel):
    """An admin session."""

    model_config = ConfigDict(extra="forbid")
    id: str = Field(description="The admin session's id.", examples=["ads_01jwrs8s50e9rbkszzv4yve5jt"])
    tenant_id: str = Field(description="The tenant acted upon.")
    purpose: Purpose = Field(description="What for.")
    on_behalf_of: str = Field(description="For whom.")
    reason: str = Field(description="Why.")
    state: str = Field(description="Where it stands.", examples=["APPROVED"])
    requested_by: str = Field(description="The administrator who asked.")
    requested_at: Instant = Field(description="When.")
    approved_by: str | None = Field(description="The other administrator.")
    approved_at: Instant | None = Field(description="When.")
    opened_at: Instant | None = Field(description="When its fifteen minutes began.")
    expires_at: Instant | None = Field(description="When they end.")
    closed_at: Instant | None = Field(description="When it was closed before time.")

    @classmethod
    def of(cls, session: AdminSession) -> Self:
        """For administrators and the tenant's partner."""
        return cls(**{name: getattr(session, name) for name in AdminSessionView.model_fields})


class OpenedView(AdminSessionView, ShownOnce):
    """An admin session that has just been opened."""

    access_token: Secret = Field(
        default=None, description="A JWT for this tenant; dies with the admin session and with your own."
    )
    token_type: str = Field(default="Bearer", description="Always Bearer (RFC 6750).")


class AdminSessionPage(BaseModel):
    """Admin sessions, newest first; ``next`` is the cursor of the following page."""

    items: list[AdminSessionView]
    next: str | None


@router.post(
    "/v1/admin/sessions",
    status_code=201,
    response_model=AdminSessionView,
    responses=problems(partner.UnknownTenant, MfaRequired, WrongRole),
    openapi_extra=may_call(Role.PLATFORM_ADMIN),
)
async def request_session(body: AdminSessionRequest, command: Command) -> Response:
    """Ask to act for a customer, or to read across tenants. Needs a second factor. Whether there is such a customer
    is not told before another administrator has approved."""
    there = _abroad(command, body.tenant_id)
    return await there.run(
        lambda tx: service.request_admin_session(
            tx, there.caller, purpose=body.purpose, on_behalf_of=body.on_behalf_of, reason=body.reason
        ),
        shown=AdminSessionView.of,
        status=201,
    )


@router.post(
    "/v1/admin/sessions/{admin_session_id}/approve",
    response_model=AdminSessionView,
    responses=problems(*_REFUSALS),
    openapi_extra=may_call(Role.PLATFORM_ADMIN),
)
async def approve_session(admin_session_id: Reference, body: InTenant, command: Command) -> Response:
    """Another administrator's yes."""
    return await _step(command, body, admin_session_id, service.approve_admin_session)


@router.post(
    "/v1/admin/sessions/{admin_session_id}/refuse",
    response_model=AdminSessionView,
    responses=problems(*_REFUSALS),
    openapi_extra=may_call(Role.PLATFORM_ADMIN),
)
async def refuse_session(admin_session_id: Reference, body: InTenant, command: Command) -> Response:
    """An administrator's no."""
    return await _step(command, body, admin_session_id, service.refuse_admin_session)


@router.post(
    "/v1/admin/sessions/{admin_session_id}/close",
    response_model=AdminSessionView,
    responses=problems(*_REFUSALS),
    openapi_extra=may_call(Role.PLATFORM_ADMIN),
)
async def close_session(admin_session_id: Reference, body: InTenant, command: Command) -> Response:
    """Done before time."""
    return await _step(command, body, admin_session_id, service.close_admin_session)


@router.post(
    "/v1/admin/sessions/{admin_session_id}/open",
    response_model=OpenedView,
    responses=problems(*_REFUSALS, NotACustomer),
    openapi_extra=may_call(Role.PLATFORM_ADMIN),
)
async def open_session(admin_session_id: Reference, body: InTenant, command: Command, services: Services) -> Response:
    """Come in, for fifteen minutes. The answer holds the token of the admin session."""
    home = command.caller

    async def completed(session: OpenedView) -> OpenedView:
        if session.opened_at is None or session.expires_at is None:
            raise LookupError("an opened admin session has its times")
        token = await services.tokens.sign(
            tenant_id=session.tenant_id,
            session_id=home.session_id or "",
            subject_id=home.actor,
            role=home.role,
            aal=home.aal,
            start=session.opened_at,
            end=session.expires_at,
            admin=AdminSession(**session.model_dump(include=set(AdminSessionView.model_fields))),
        )
        return session.model_copy(update={"access_token": token})

    there = _abroad(command, body.tenant_id)
    return await there.run(
        lambda tx: service.open_admin_session(tx, there.caller, admin_session_id=admin_session_id),
        shown=OpenedView.of,
        completed=Completion(OpenedView, completed),
    )


@router.get(
    "/v1/admin/sessions",
    responses=problems(MfaRequired, WrongRole),
    openapi_extra=may_call(Role.PARTNER_ADMIN, Role.PLATFORM_ADMIN),
)
async def list_sessions(
    read: Read, tenant_id: TenantId | None = None, before: Cursor = "", limit: PageSize = 50
) -> AdminSessionPage:
    """Who came in. An administrator names the tenant; a partner sees those of its own."""
    caller = read.caller
    if caller.role is Role.PLATFORM_ADMIN and caller.admin_session_id is None:
        caller = service.abroad(caller, tenant_id or caller.tenant_id)
    there = replace(read, caller=caller)
    found = await there.run(lambda tx: service.admin_sessions(tx, caller, before=before, limit=asked_for(limit)))
    page = Page.of(found, limit)
    return AdminSessionPage(
        items=[AdminSessionView.of(session) for session in page.items], next=page.next(lambda session: session.id)
    )


def _abroad(command: Mutation, tenant_id: str) -> Mutation:
    """The same command, in the tenant acted upon: its row, its entry and its idempotency key belong there."""
    return replace(command, caller=service.abroad(command.caller, tenant_id))


async def _step(
    command: Mutation,
    body: InTenant,
    admin_session_id: str,
    step: Callable[..., Awaitable[AdminSession]],
) -> Response:
    there = _abroad(command, body.tenant_id)

    async def take(tx: Any) -> AdminSession:
        caller: Caller = there.caller
        return await step(tx, caller, admin_session_id=admin_session_id)

    return await there.run(take, shown=AdminSessionView.of)
