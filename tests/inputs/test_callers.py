"""Every route says who may call it, the edge holds it to that, and the command behind it agrees (issue 9, A19)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fastapi import APIRouter

from fintokenx.kernel.caller import Role
from fintokenx.parties.kyc.types import FORM_VERSION
from fintokenx.web import edge
from fintokenx.web.routes import MEMBER, may_call
from tests.inputs.document import Schema, document_of, routes
from tests.inputs.house import ROLES, House, house_of
from tests.inputs.walk import Walk
from tests.support import world_from

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def house(cluster: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder: Path = tmp_path_factory.mktemp("callers")
    async with world_from(cluster, template) as world, house_of(world, folder) as made:
        yield made


def silent(document: Schema) -> list[str]:
    """Routes that do not say who may call."""
    return [route.name for route in routes(document) if not route.operation.get(MEMBER)]


def test_every_route_says_who_may_call_it_and_what_a_key_needs() -> None:
    document = document_of()
    assert silent(document) == []
    by_name = {route.name: route.operation for route in routes(document)}
    upload, payment, health = by_name["POST /v1/invoices"], by_name["POST /v1/payments"], by_name["GET /healthz"]
    assert (upload[MEMBER], upload["x-api-key-scope"]) == (["seller", "platform_admin"], "invoices:write")
    assert "Who may call: seller, platform_admin. An API key needs the scope `invoices:write`." in upload["description"]
    assert payment["security"] == [{"session": [], "apiKey": []}]
    assert (health[MEMBER], health["security"]) == (["anyone"], [])
    assert {"apiKey": []} in by_name["GET /v1/invoices"]["security"]
    assert by_name["GET /v1/invoices"]["x-api-key-scope"] == "invoices:read"
    assert "x-api-key-scope" not in by_name["GET /v1/me"], "any key may ask whose it is"
    form = document["components"]["schemas"]["OnboardingForm"]["properties"]["form_version"]
    assert form["enum"] == [FORM_VERSION]


def test_a_route_that_does_not_say_is_named() -> None:
    """The twin."""
    router = APIRouter()

    @router.get("/v1/silent")
    async def silent_route() -> None:
        """Says nothing."""

    assert silent(document_of(router)) == ["GET /v1/silent"]


async def refused(house: House, *, held: bool, monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str]]:
    """Route and role wherever a call was refused for the role: by the edge, or only by the command behind it."""
    if not held:
        monkeypatch.setattr(edge, "refuse_others", lambda request, caller: None)
    document = house.app.openapi()
    found = set()
    for route in routes(document):
        for role in ROLES:
            walk = Walk(house.client, document, [{"test-role": role}], prefix=f"{held}-{role}-")
            if await walk.plain_code(route) == "ROLE_FORBIDDEN":
                found.add((route.name, role.value))
    return found


async def test_the_edge_and_the_commands_refuse_the_same_roles(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    document = house.app.openapi()
    declared = {
        (route.name, role.value)
        for route in routes(document)
        if {role.value for role in Role} >= set(route.operation[MEMBER])
        for role in ROLES
        if role not in route.operation[MEMBER]
    }
    assert len(declared) > 250
    assert await refused(house, held=True, monkeypatch=monkeypatch) == declared
    assert await refused(house, held=False, monkeypatch=monkeypatch) == declared


def test_an_api_key_by_itself_is_offered_only_where_it_does() -> None:
    alone = {"apiKey": []}
    assert alone in may_call(Role.PARTNER_ADMIN)["security"]
    for declared in (
        may_call(Role.SELLER),
        may_call(Role.PARTNER_ADMIN, in_person=True),
        may_call(Role.LENDER, both=True),
    ):
        assert alone not in declared["security"]
