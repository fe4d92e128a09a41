"""Where is this, whoever's it is: an administrator's lookups across tenants, each with its own fingerprint (TI-08)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from fintokenx import audit
from fintokenx.kernel.bypass import Bypass, BypassRefused, Question
from fintokenx.kernel.caller import Role, WrongRole
from fintokenx.kernel.db import Connection
from fintokenx.kernel.errors import NotFound
from fintokenx.lifecycle import invoice, tokenisation
from fintokenx.parties import auth
from fintokenx.web.edge import Query, problems, query
from fintokenx.web.routes import may_call
from fintokenx.web.services import provided

router = APIRouter(tags=["administrators"])

Finder = Callable[[Connection, str], Awaitable[dict[str, Any] | None]]


class Asked(StrEnum):
    """What may be asked for. There is no free query."""

    INVOICE = "invoice"
    SUBJECT = "subject"
    TOKEN = "token"
    ENTRY = "entry"


FINDERS: Final[Mapping[Asked, Finder]] = {
    Asked.INVOICE: invoice.find_anywhere,
    Asked.SUBJECT: auth.find_anywhere,
    Asked.TOKEN: tokenisation.find_anywhere,
    Asked.ENTRY: audit.find_anywhere,
}


class FoundNowhere(NotFound):
    """No tenant has it. The question is on record all the same."""


class Lookup(BaseModel):
    """A question."""

    model_config = ConfigDict(extra="forbid")
    question: Asked = Field(description="What is looked for.")
    reference: str = Field(
        pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Its reference or id.", examples=["FXI-0A1B2C3"]
    )


class Found(BaseModel):
    """Where it is, and its public columns."""

    tenant_id: str = Field(description="Whose it is.", examples=["tnt_mercia"])
    columns: dict[str, str | int | datetime | date | None] = Field(description="What may be told of it.")


@router.post(
    auth.LOOKUPS_PATH,
    responses=problems(FoundNowhere, BypassRefused, auth.AdminTokenRefused, WrongRole),
    openapi_extra=may_call(Role.PLATFORM_ADMIN),
)
async def look_up(body: Lookup, request: Request, read: Annotated[Query, Depends(query)]) -> Found:
    """Find something in any tenant. Needs the token of a BYPASS admin session; leaves an entry RBAC_BYPASS in the trail
    of its tenant, which names the tenant that has it, and one in that tenant's own.

    It is a read, so there is no idempotency key, and no answer is kept: it holds what belongs to another tenant."""
    bypass = provided(request, Bypass)
    caller = read.caller
    caller.must_be(Role.PLATFORM_ADMIN, tenant_id=caller.tenant_id)
    if caller.admin_session_id is None:
        raise BypassRefused
    question = Question(caller.tenant_id, caller.admin_session_id, body.question, body.reference, read.request_id)
    async with bypass.reading(question) as connection:
        found = await FINDERS[body.question](connection, body.reference)
    if found is None:
        raise FoundNowhere
    return Found(tenant_id=found.pop("tenant_id"), columns=found)
