"""Routes of partner: the tenant's own page and its API keys."""

from __future__ import annotations

from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi import Query as Parameter
from pydantic import BaseModel, ConfigDict, Field

from fintokenx.kernel.caller import Role, WrongRole
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.errors import Unauthenticated
from fintokenx.kernel.machine import IllegalTransition
from fintokenx.parties.partner import service
from fintokenx.parties.partner.types import (
    KEY_NAME_LENGTH_MAX,
    ApiKey,
    BadKeyName,
    BadScope,
    Tenant,
    UnknownApiKey,
    UnknownTenant,
)
from fintokenx.web.edge import Mutation, Query, Secret, ShownOnce, mutation, problems, query
from fintokenx.web.inputs import Cursor, PageSize, PrintableText
from fintokenx.web.routes import EVERYBODY, may_call
from fintokenx.web.services import provided

router = APIRouter(tags=["partner"])

KEY_ID_PATTERN = r"^key_[0-9a-hjkmnp-tv-z]{26}$"
Command = Annotated[Mutation, Depends(mutation)]
Read = Annotated[Query, Depends(query)]


class TenantView(BaseModel):
    """Under whose flag you are."""

    model_config = ConfigDict(extra="forbid")
    id: str = Field(description="The tenant's id.", examples=["tnt_mercia"])
    display_name: str = Field(description="Its name for people.", examples=["Mercia Supply Chain"])
    custom_domain: str | None = Field(description="Where its people reach us.", examples=["pay.mercia.example"])
    theme: dict[str, Any] = Field(description="Colours and logo.", examples=[{"primary": "#0a5c4a"}])
    plan: str = Field(description="The plan it has agreed.", examples=["partner"])
    scope_rules: dict[str, bool] = Field(description="What is switched on.", examples=[{"invoices": True}])
    asking_discount_bps: int = Field(description="Default discount in basis points of face value.", examples=[180])

    @classmethod
    def of(cls, tenant: Tenant) -> TenantView:
        """What its own people may see: everything but where the money goes."""
        terms = tenant.terms
        return cls(
            id=tenant.id,
            display_name=terms.display_name,
            custom_domain=terms.custom_domain,
            theme=dict(terms.theme),
            plan=terms.plan,
            scope_rules=dict(terms.scope_rules),
            asking_discount_bps=terms.asking_discount_bps,
        )


Scope = Annotated[str, PrintableText(48)]


class CreateApiKey(BaseModel):
    """A new API key."""

    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, PrintableText(KEY_NAME_LENGTH_MAX)] = Field(
        description="What it is for.", examples=["ERP connector"]
    )
    scopes: list[Scope] = Field(
        min_length=1,
        max_length=50,
        description="`*`, or `<resource>:read` and `<resource>:write` with the first word of the path.",
        examples=[["invoices:write", "subjects:read"]],
    )


class ApiKeyView(BaseModel):
    """An API key, without its secret."""

    model_config = ConfigDict(extra="forbid")
    id: str = Field(pattern=KEY_ID_PATTERN, description="The key's id; it stands in the record as the actor.")
    name: str = Field(description="What it is for.", examples=["ERP connector"])
    scopes: list[str] = Field(description="What it may do.", examples=[["invoices:write"]])
    state: str = Field(description="ACTIVE or REVOKED.", examples=["ACTIVE"])
    created_at: Instant = Field(description="When it was made.")
    last_used_at: Instant | None = Field(description="When it was last used, to the minute.")

    @classmethod
    def of(cls, key: ApiKey) -> Self:
        """For its keepers."""
        return cls(
            id=key.id,
            name=key.name,
            scopes=list(key.scopes),
            state=key.state,
            created_at=key.created_at,
            last_used_at=key.last_used_at,
        )


class NewApiKeyView(ApiKeyView, ShownOnce):
    """A new API key with its secret, which is not shown again."""

    key: Secret = Field(
        default=None,
        description="The secret. Keep it: we store only its hash. Lost? Revoke this key and make another.",
        examples=["fxk_sandbox_mercia_" + "0" * 64],
    )


class ApiKeyPage(BaseModel):
    """Some keys, oldest first."""

    model_config = ConfigDict(extra="forbid")
    items: list[ApiKeyView] = Field(description="The keys.")
    next: str | None = Field(description="Give this as `after` for the following page; null on the last one.")


def _services(request: Request) -> service.PartnerServices:
    return provided(request, service.PartnerServices)


Services = Annotated[service.PartnerServices, Depends(_services)]


@router.get(
    "/v1/tenant",
    response_model=TenantView,
    responses=problems(Unauthenticated, UnknownTenant),
    openapi_extra=may_call(*EVERYBODY),
)
async def tenant(read: Read) -> TenantView:
    """The tenant that your credentials belong to."""
    return TenantView.of(await read.run(service.tenant))


@router.post(
    "/v1/api-keys",
    status_code=201,
    response_model=NewApiKeyView,
    responses=problems(Unauthenticated, WrongRole, BadKeyName, BadScope),
    openapi_extra=may_call(Role.PARTNER_ADMIN, Role.PLATFORM_ADMIN, in_person=True),
)
async def create_api_key(body: CreateApiKey, command: Command, services: Services) -> Response:
    """Make an API key. The secret is in this answer and nowhere else."""
    tenant_id = command.caller.tenant_id
    key_id = command.edge.ids.new("key")
    raw = await service.raw_api_key(services.vault, services.environment, tenant_id=tenant_id, key_id=key_id)
    return await command.run(
        lambda tx: service.create_api_key(
            tx, command.caller, key_id=key_id, raw=raw, name=body.name, scopes=body.scopes
        ),
        shown=lambda key: NewApiKeyView.of(key).model_copy(update={"key": raw}),
        status=201,
    )


@router.get(
    "/v1/api-keys",
    response_model=ApiKeyPage,
    responses=problems(Unauthenticated, WrongRole),
    openapi_extra=may_call(Role.PARTNER_ADMIN, Role.PLATFORM_ADMIN),
)
async def api_keys(
    read: Read,
    after: Annotated[Cursor, Parameter(description="The `next` of the page before.")] = "",
    limit: PageSize = 50,
) -> ApiKeyPage:
    """The tenant's API keys, revoked ones too."""
    found = await read.run(lambda tx: service.api_keys(tx, read.caller, after=after, limit=limit))
    return ApiKeyPage(items=[ApiKeyView.of(key) for key in found], next=found[-1].id if len(found) == limit else None)


@router.delete(
    "/v1/api-keys/{key_id}",
    response_model=ApiKeyView,
    responses=problems(Unauthenticated, WrongRole, UnknownApiKey, IllegalTransition),
    openapi_extra=may_call(Role.PARTNER_ADMIN, Role.PLATFORM_ADMIN, in_person=True),
)
async def revoke_api_key(
    key_id: Annotated[str, Path(pattern=KEY_ID_PATTERN, description="The key.")], command: Command
) -> Response:
    """Revoke a key. The next call with it is refused."""
    return await command.run(lambda tx: service.revoke_api_key(tx, command.caller, key_id=key_id), shown=ApiKeyView.of)
