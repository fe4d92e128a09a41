"""How the providers do, for those who look after the platform: what this process has seen of each since it began."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from fintokenx.adapters.outbound import CircuitState, Health
from fintokenx.app import providers
from fintokenx.app.providers import Clients
from fintokenx.kernel.caller import Role, WrongRole
from fintokenx.kernel.jobs import Lane
from fintokenx.web.edge import Query, problems, query
from fintokenx.web.routes import OFFICERS, may_call
from fintokenx.web.services import provided

router = APIRouter(tags=["operations"])

STAFF = (Role.PLATFORM_ADMIN, *OFFICERS)


class ProviderView(BaseModel):
    """One provider. Neither its address nor a credential is shown."""

    name: str = Field(description="As in `/readyz`, where that asks it.", examples=["bank"])
    lane: Lane = Field(description="Of the jobs that wait for it while it fails.")
    state: Literal["untried", "working", "failing"] = Field(
        description="By the last call to it: a useful answer, or none; `untried` since this process began."
    )
    circuit: CircuitState = Field(
        description="`closed`: it is called. `open`: it is left alone for seconds. `half_open`: one call is on trial."
    )
    last_success_at: datetime | None = Field(description="When a call last had a useful answer. Business time.")
    last_failure_at: datetime | None = Field(description="When a call last had none. Business time.")
    consecutive_failures: int = Field(description="Calls without a useful answer since the last one that had one.")


class Providers(BaseModel):
    """All providers."""

    items: list[ProviderView]


@router.get("/v1/ops/providers", responses=problems(WrongRole), openapi_extra=may_call(*STAFF))
async def list_providers(request: Request, read: Annotated[Query, Depends(query)]) -> Providers:
    """How each provider does, as the process that answers has seen it since it began."""
    read.caller.must_be(*STAFF, tenant_id=read.caller.tenant_id)
    clients = provided(request, Clients)
    lanes = {provider.name: provider.lane for provider in providers.PROVIDERS}
    return Providers(items=[_view(row, lanes[row.name]) for row in clients.circuits.health()])


def _view(row: Health, lane: Lane) -> ProviderView:
    tried = row.last_success_at is not None or row.last_failure_at is not None
    return ProviderView(
        name=row.name,
        lane=lane,
        state="failing" if row.consecutive_failures else "working" if tried else "untried",
        circuit=row.circuit,
        last_success_at=row.last_success_at,
        last_failure_at=row.last_failure_at,
        consecutive_failures=row.consecutive_failures,
    )
