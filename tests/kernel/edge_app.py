"""A small application at the edge: one mutation, one query."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from fintokenx import audit
from fintokenx.app import http as application
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Database, Tx
from fintokenx.kernel.errors import NotFound, Refused, Unauthenticated, Unavailable
from fintokenx.kernel.money import Pence
from fintokenx.web.edge import Edge, Mutation, Query, mutation, query
from fintokenx.web.services import Services
from tests.database.things import A, thing
from tests.support import World

router = APIRouter()


class NoRoom(Refused):
    """There is no room for more things."""

    code = "NO_ROOM"


class Make(BaseModel):
    """A thing to make."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(max_length=40)
    amount_pence: Pence


class Made(BaseModel):
    """A thing as shown."""

    id: str
    name: str
    amount_pence: Pence


async def make(tx: Tx, caller: Caller, body: Make) -> Made:
    """The command: one entry, one row, one job."""
    thing_id = tx.ids.new("thg")
    row = thing(tx.tenant_id, thing_id, note=body.name, amount_pence=body.amount_pence)
    await audit.change(
        tx, caller, action="THING_MAKE", resource=thing_id, move=audit.Changes(rows=(audit.insert("things", row),))
    )
    tx.enqueue("told", {}, dedupe_key=thing_id)
    match body.name:
        case "full":
            raise NoRoom("42 things")
        case "bug":
            raise RuntimeError("the secret word is xyzzy")
        case "bank":
            raise Unavailable("bank", "the secret word is xyzzy")
        case "broken at commit":
            await tx.write("select set_config('fx.test_break', 'on', true)")
    return Made(id=thing_id, name=body.name, amount_pence=body.amount_pence)


@router.post("/v1/things", status_code=201)
async def post_thing(body: Make, command: Annotated[Mutation, Depends(mutation)]) -> Response:
    return await command.run(lambda tx: make(tx, command.caller, body), shown=lambda made: made, status=201)


@router.post("/v1/others", status_code=201)
async def post_other(body: Make, command: Annotated[Mutation, Depends(mutation)]) -> Response:
    return await command.run(lambda tx: make(tx, command.caller, body), shown=lambda made: made, status=201)


@router.get("/v1/things/{thing_id}")
async def get_thing(thing_id: str, read: Annotated[Query, Depends(query)]) -> Made:
    async def found(tx: Tx) -> Made:
        row = await tx.row("select id, note, amount_pence from app.things where id = $1", thing_id)
        if row is None:
            raise NotFound
        return Made(id=row["id"], name=row["note"], amount_pence=Pence(row["amount_pence"]))

    return await read.run(found)


async def authenticate(request: Request) -> Caller:
    """Whoever the headers say: authentication is tested where it lives."""
    tenant = request.headers.get("test-tenant")
    if tenant is None:
        raise Unauthenticated
    actor = request.headers.get("test-actor", "sub_1")
    return Caller(tenant, Role.SELLER, actor, subject_id=actor, on_behalf_of=request.headers.get("test-for"))


def application_of(world: World, database: Database | None = None) -> FastAPI:
    app = application.create(ids=world.ids, routers=[router], title="test", version="0", environment="local")
    app.state.services = Services(
        Edge(database or world.database, world.ids, authenticate, b"fingerprint key of tests")
    )
    return app


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"test-tenant": A}
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers, timeout=60) as client:
        yield client


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(application_of(world)) as opened:
        yield opened


BODY = {"name": "kettle", "amount_pence": 1250}


def key(name: str = "k1") -> dict[str, str]:
    return {"FX-Idempotency-Key": name}


async def counted(world: World) -> tuple[int, int, int, int]:
    """How many things, entries, jobs and keys there are, in all tenants."""
    superuser = await world.connect("postgres")
    tables = ("app.things", "app.audit_entries", "ops.jobs", "ops.idempotency_keys")
    found = [await superuser.fetchval(f"select count(*) from {table}") for table in tables]
    await superuser.close()
    return (found[0], found[1], found[2], found[3])
