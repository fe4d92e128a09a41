"""At the edge: what does not fit is refused and named without its value (P-10, P-24)."""

from __future__ import annotations

import json

import httpx
import pytest

from fintokenx.kernel.bus import Reactions
from fintokenx.kernel.db import Database
from tests.database.things import B
from tests.kernel.edge_app import BODY, application_of, client, client_of, counted, key
from tests.support import World

pytestmark = pytest.mark.anyio
__all__ = ["client"]


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
