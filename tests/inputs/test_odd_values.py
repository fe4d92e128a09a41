"""Odd values at every place of every route: refused by name, never a fault of ours (issue 9, A6)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import structlog
from fastapi import APIRouter, Depends

from fintokenx.web.edge import Query, query
from fintokenx.web.routes import MEMBER
from tests.inputs.document import routes
from tests.inputs.house import ROLES, House, house_of
from tests.inputs.walk import Found, Walk
from tests.support import world_from

pytestmark = pytest.mark.anyio

planted = APIRouter()


@planted.get("/v1/planted/{word}")
async def careless(word: str, read: Annotated[Query, Depends(query)], number: int = 0) -> dict[str, Any]:
    """What a route of tomorrow could look like."""
    return {"found": await read.run(lambda tx: tx.value("select $1::bigint", number))}


@pytest.fixture(autouse=True)
def _brief_logs() -> Iterator[None]:
    """structlog's default draws every exception with all its locals, which takes seconds per fault."""
    structlog.configure(processors=[structlog.processors.KeyValueRenderer()])
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="module")
async def house(cluster: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder: Path = tmp_path_factory.mktemp("inputs")
    async with world_from(cluster, template) as world, house_of(world, folder, planted) as made:
        yield made


async def walked(house: House, *, planted_too: bool) -> Found:
    document = house.app.openapi()
    walk = Walk(house.client, document, [{"test-role": role} for role in ROLES])
    for route in routes(document):
        if route.path.startswith("/v1/planted") is planted_too:
            await walk.route(route)
    return walk.found


async def test_no_odd_value_at_any_place_of_any_route_is_a_fault(house: House) -> None:
    found = await walked(house, planted_too=False)
    assert found.faults == []
    assert found.requests > 3_000
    assert len(found.reached) > 55, "routes that somebody gets through to with plain values"
    assert found.statuses[422] > found.requests / 2


async def test_an_unknown_state_is_told_which_there_are_on_every_list(house: House) -> None:
    """A17: `?state=NOPE` answered an empty list."""
    asked = []
    for route in routes(house.app.openapi()):
        for parameter in route.parameters:
            if parameter["name"] != "state":
                continue
            states = next(each["enum"] for each in parameter["schema"]["anyOf"] if "enum" in each)
            headers = {"test-role": route.operation[MEMBER][-1]}
            refused = await house.client.get(route.path, params={"state": "NOPE"}, headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (422, "INVALID_REQUEST")
            assert all(f"'{state}'" in refused.json()["detail"] for state in states)
            taken = await house.client.get(route.path, params={"state": states[0]}, headers=headers)
            assert (taken.status_code, taken.json()["items"]) == (200, [])
            asked.append(route.path)
    assert {"/v1/cases", "/v1/alerts", "/v1/invoices", "/v1/wallet-recoveries", "/v1/collections"} <= set(asked)


async def test_a_careless_route_is_seen(house: House) -> None:
    """The twin: without it the walk could be blind."""
    found = await walked(house, planted_too=True)
    assert any("query.number='9223372036854775808'" in fault for fault in found.faults), found.faults
