"""At the edge: one effect per key, equal answers, none before the commit, problems that say nothing they must not
(P-10 … P-14, P-24)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from fintokenx import audit
from fintokenx.app import http as application
from fintokenx.kernel.bus import Reactions
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Database, Tx
from fintokenx.kernel.errors import NotFound, Refused, Unauthenticated, Unavailable
from fintokenx.kernel.money import Pence
from fintokenx.web.edge import REPLAY_HEADER, Edge, Mutation, Query, mutation, query
from fintokenx.web.services import Services
from tests.database.things import A, B, all_entries, thing
from tests.support import World

pytestmark = pytest.mark.anyio
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
        tx, caller, action="THING_MAKE", resource=thing_id, move=audit.Move(rows=(audit.insert("things", row),))
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


async def test_fifty_identical_posts_at_once_have_one_effect_and_fifty_equal_answers(
    world: World, client: httpx.AsyncClient
) -> None:
    """P-13."""
    answers = await asyncio.gather(*(client.post("/v1/things", json=BODY, headers=key()) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum(REPLAY_HEADER in answer.headers for answer in answers) == 49
    assert await counted(world) == (1, 1, 1, 1)


async def test_a_replay_is_the_stored_answer_byte_for_byte_and_says_so(world: World, client: httpx.AsyncClient) -> None:
    """P-11."""
    first = await client.post("/v1/things", json=BODY, headers=key())
    second = await client.post("/v1/things", json=BODY, headers=key())
    assert (second.status_code, second.content) == (201, first.content)
    assert REPLAY_HEADER not in first.headers
    assert second.headers[REPLAY_HEADER] == "true"
    assert second.headers["content-type"] == first.headers["content-type"]
    assert len(await all_entries(world)) == 1


async def test_a_replay_waits_for_the_disk_before_it_tells_what_another_transaction_committed(world: World) -> None:
    """A committed row is visible a moment before it is flushed: the replay must not be quicker than the disk."""
    superuser = await world.connect("postgres")
    async with client_of(application_of(world)) as client:
        first = await client.post("/v1/things", json=BODY, headers=key())
        # The other transaction of this story: committed without waiting for its flush.
        await superuser.execute("set synchronous_commit = off; create table public.unflushed as select 1")
        written = await superuser.fetchval("select pg_current_wal_insert_lsn()")
        second = await client.post("/v1/things", json=BODY, headers=key())
        flushed = await superuser.fetchval("select pg_current_wal_flush_lsn() >= $1", written)
    await superuser.close()
    assert second.content == first.content
    assert flushed


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "REQUIRED"),
        (key(""), "REQUIRED"),
        (key("a" * 256), "TOO_LONG"),
        (key("a" * 300), "TOO_LONG"),
        (key("a\tb"), "UNREADABLE"),
        ([*key("a").items(), *key("b").items()], "TWICE"),
    ],
)
async def test_a_mutation_without_a_usable_key_is_refused_and_told_why(
    world: World, client: httpx.AsyncClient, headers: Any, code: str
) -> None:
    """P-10, A17: a long key was called missing."""
    answer = await client.post("/v1/things", json=BODY, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, f"IDEMPOTENCY_KEY_{code}")
    assert await counted(world) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    "changed",
    [
        {"json": {**BODY, "amount_pence": 1251}},
        {"url": "/v1/others"},
        {"url": "/v1/things?dry=1"},
        {"headers": {**key(), "test-actor": "sub_2"}},
        {"headers": {**key(), "test-for": "sub_3"}},
    ],
)
async def test_a_key_is_refused_for_another_body_route_or_principal(
    world: World, client: httpx.AsyncClient, changed: dict[str, Any]
) -> None:
    """P-12."""
    request: dict[str, Any] = {"url": "/v1/things", "json": BODY, "headers": key()}
    assert (await client.post(**request)).status_code == 201
    answer = await client.post(**{**request, **changed})
    assert (answer.status_code, answer.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert await counted(world) == (1, 1, 1, 1)


async def test_one_tenants_key_is_free_in_another(world: World, client: httpx.AsyncClient) -> None:
    """P-12, TI-06."""
    mine = await client.post("/v1/things", json=BODY, headers=key())
    theirs = await client.post(
        "/v1/things", json={"name": "pan", "amount_pence": 1}, headers={**key(), "test-tenant": B}
    )
    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert mine.content != theirs.content
    assert await counted(world) == (2, 2, 2, 2)


async def test_a_refusal_stores_nothing_and_leaves_the_key_free(world: World, client: httpx.AsyncClient) -> None:
    refused = await client.post("/v1/things", json={"name": "full", "amount_pence": 1}, headers=key())
    assert (refused.status_code, refused.json()["code"]) == (409, "NO_ROOM")
    assert await counted(world) == (0, 0, 0, 0)
    assert (await client.post("/v1/things", json=BODY, headers=key())).status_code == 201


@pytest.mark.parametrize(
    ("name", "status", "code"), [("bug", 500, "INTERNAL_FAULT"), ("bank", 503, "BANK_UNAVAILABLE")]
)
async def test_a_fault_stores_nothing_and_tells_nothing(
    world: World, client: httpx.AsyncClient, name: str, status: int, code: str
) -> None:
    """P-24: no stack trace, no text of an exception."""
    answer = await client.post("/v1/things", json={"name": name, "amount_pence": 1}, headers=key())
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "xyzzy" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.json()["request_id"] == answer.headers["fx-request-id"]
    assert await counted(world) == (0, 0, 0, 0)


async def break_at_commit(world: World) -> None:
    """A deferred constraint that fails inside COMMIT when the command asks for it."""
    superuser = await world.connect("postgres")
    await superuser.execute("""
        create function public.fail_at_commit() returns trigger language plpgsql as $$
        begin
          if current_setting('fx.test_break', true) = 'on' then
            raise exception 'refused inside COMMIT' using errcode = '23514';
          end if;
          return null;
        end $$;
        create constraint trigger z_fail_at_commit after insert on app.things
          deferrable initially deferred for each row execute function public.fail_at_commit();
        grant usage on schema public to public; grant execute on function public.fail_at_commit() to public;
    """)
    await superuser.close()


async def test_when_the_commit_fails_nobody_is_told_of_success(world: World, client: httpx.AsyncClient) -> None:
    """Trap 1: an answer that left before the commit would have been a 201."""
    await break_at_commit(world)
    body = {"name": "broken at commit", "amount_pence": 1}
    answer = await client.post("/v1/things", json=body, headers=key())
    assert answer.status_code == 500
    assert await counted(world) == (0, 0, 0, 0)
    assert (await client.post("/v1/things", json=BODY, headers=key())).status_code == 201, "and the key is free"


async def test_when_the_entry_cannot_be_linked_at_commit_nobody_is_told_of_success(
    world: World, client: httpx.AsyncClient
) -> None:
    """P-05 at the edge: a failing INSERT on audit_entries is a 5xx and no row."""
    superuser = await world.connect("postgres")
    await superuser.execute("alter table app.audit_entries add constraint broken check (false) not valid")
    assert (await client.post("/v1/things", json=BODY, headers=key())).status_code == 500
    assert await counted(world) == (0, 0, 0, 0)
    await superuser.execute("alter table app.audit_entries drop constraint broken")
    await superuser.close()
    assert (await client.post("/v1/things", json=BODY, headers=key())).status_code == 201


async def test_a_request_that_dies_with_its_connection_can_be_repeated_as_it_is(world: World) -> None:
    """P-14: killed between effect and answer, the same key gives exactly one effect."""
    app = application_of(world)
    superuser = await world.connect("postgres")
    async with client_of(app) as client:
        for attempt in range(4):
            lost = asyncio.create_task(client.post("/v1/things", json=BODY, headers=key()))
            await asyncio.sleep(0.002 * attempt)
            await superuser.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'fx_app' and datname = $1",
                world.name,
            )
            assert (await lost).status_code in (201, 500, 503)
        final = await client.post("/v1/things", json=BODY, headers=key())
        if final.status_code == 503:
            final = await client.post("/v1/things", json=BODY, headers=key())
    await superuser.close()
    assert final.status_code == 201
    assert await counted(world) == (1, 1, 1, 1)


async def test_a_key_whose_first_request_still_runs_is_told_so_after_a_while(world: World) -> None:
    """The waiting twin gives up after five seconds with 409 and a Retry-After."""
    connection = await world.connect("fx_app")
    await connection.execute(f"begin; set local fx.pin = '{world.pins.pin(A)}'")
    await connection.execute(
        "insert into ops.idempotency_keys values ($1, 'k1', 'p', 'r', '\\x00', null, null, null, now())", A
    )
    async with client_of(application_of(world)) as client:
        answer = await client.post("/v1/things", json=BODY, headers=key())
    await connection.close()
    assert (answer.status_code, answer.json()["code"]) == (409, "IDEMPOTENCY_IN_FLIGHT")
    assert answer.headers["retry-after"] == "2"
    assert await counted(world) == (0, 0, 0, 0)


@pytest.mark.parametrize("amount", ["12.5", '"12.50"', "1e3", "true", "9223372036854775808"])
async def test_an_amount_that_is_no_whole_number_of_pence_is_unprocessable(
    world: World, client: httpx.AsyncClient, amount: str
) -> None:
    """P-08, at a route."""
    content = f'{{"name": "kettle", "amount_pence": {amount}}}'
    answer = await client.post("/v1/things", content=content, headers={**key(), "content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_REQUEST")
    assert await counted(world) == (0, 0, 0, 0)


async def test_another_tenants_thing_and_a_missing_one_are_the_same_404(client: httpx.AsyncClient) -> None:
    """P-24: byte for byte, but for the request id."""
    made = (await client.post("/v1/things", json=BODY, headers=key())).json()
    assert (await client.get(f"/v1/things/{made['id']}")).json() == made
    same = {"test-tenant": B, "fx-request-id": "request-number-1"}
    foreign = await client.get(f"/v1/things/{made['id']}", headers=same)
    missing = await client.get("/v1/things/thg_none", headers=same)
    assert (foreign.status_code, foreign.content) == (404, missing.content)
    assert {k: v for k, v in foreign.headers.items() if k != "date"} == dict(missing.headers)


async def test_what_does_not_fit_the_schema_is_named_without_its_value(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/things", json={"name": "x" * 41, "amount_pence": "hunter2"}, headers=key())
    assert answer.status_code == 422
    assert {error["field"] for error in answer.json()["errors"]} == {"body.name", "body.amount_pence"}
    assert "hunter2" not in answer.text


@pytest.mark.parametrize(
    "content",
    [
        '{"name": "kettle", "name": "pan", "amount_pence": 1}',
        '{"name": "kettle", "amount_pence": 1, "amount_pence": 2}',
        '{"name": "kettle", "amount_pence": 1, "more": {"a": 1, "a": 2}}',
    ],
)
async def test_what_is_said_twice_is_not_guessed(world: World, client: httpx.AsyncClient, content: str) -> None:
    """A15, for JSON and addresses: of two values the framework takes the last."""
    headers = {**key(), "content-type": "application/json"}
    answer = await client.post("/v1/things", content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "GIVEN_TWICE")
    twice = await client.get("/v1/things/thg_none?a=1&a=2")
    assert (twice.status_code, twice.json()["code"], twice.json()["detail"]) == (422, "GIVEN_TWICE", "query.a")
    assert await counted(world) == (0, 0, 0, 0)


async def test_a_field_of_an_impossible_name_is_named_as_far_as_it_can_be(client: httpx.AsyncClient) -> None:
    """A name of the caller's own making may be no text at all, or a megabyte."""
    headers = {**key(), "content-type": "application/json"}
    for name in (rb"\ud800", "naïve".encode(), b"x" * 100_000):
        content = b'{"' + name + b'": 1, "name": "x"}'
        answer = await client.post("/v1/things", content=content, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_REQUEST")
        assert len(answer.content) < 2_000


async def test_text_with_a_nul_is_the_callers_fault(world: World, client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/things", json={"name": "a\x00b", "amount_pence": 1}, headers=key())
    assert answer.status_code == 422
    assert await counted(world) == (0, 0, 0, 0)


async def test_without_credentials_there_is_nothing_to_see(world: World) -> None:
    transport = httpx.ASGITransport(application_of(world))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as nobody:
        answer = await nobody.post("/v1/things", json=BODY, headers=key())
    assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHENTICATED")


async def test_a_database_that_is_away_is_a_503_that_may_be_retried(world: World) -> None:
    pool = await world.pool("fx_app", 1)
    database = Database(pool, pins=world.pins, clock=world.clock, ids=world.ids, reactions=Reactions())
    await pool.close()
    async with client_of(application_of(world, database)) as client:
        answer = await client.post("/v1/things", json=BODY, headers=key())
    assert (answer.status_code, answer.json()["code"]) == (503, "DATABASE_UNAVAILABLE")
    assert answer.headers["retry-after"] == "2"
    assert json.loads(answer.content)["component"] == "database"
