"""The routes of settlement: who may fund, and what customers and staff see (SE-01, AU-09)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import Request

from fintokenx.app import http as application
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle import marketplace
from fintokenx.lifecycle.settlement import http as settlement_http
from fintokenx.lifecycle.settlement.ports import (
    BankCredit,
)
from fintokenx.lifecycle.settlement.service import (
    statement_lines,
)
from fintokenx.lifecycle.settlement.types import Statement
from fintokenx.web.edge import Edge
from fintokenx.web.services import Services
from tests.modules.settlement_house import (
    BUYER,
    COLLECTIONS,
    NET,
    PLATFORM,
    TENANT,
    Place,
)
from tests.modules.settlement_place import habits, place

pytestmark = pytest.mark.anyio
__all__ = ["habits", "place"]

# ── The API


@pytest.fixture
async def client(place: Place) -> AsyncIterator[httpx.AsyncClient]:
    """The routes, with callers that a header names: their authentication is auth's own business."""

    async def authenticate(request: Request) -> Caller:
        role, _, key = request.headers["test-caller"].partition("+")
        if role in place.parties:
            subject_id = place.parties[role]
            return Caller(TENANT, Role(role), subject_id, subject_id=subject_id, has_api_key=key == "key")
        return Caller(TENANT, Role(role), f"test:{role}", has_api_key=key == "key")

    ids, routers = place.world.ids, [settlement_http.router]
    app = application.create(ids=ids, routers=routers, title="tests", version="1", environment="local")
    app.state.services = Services(
        Edge(place.world.database, place.world.ids, authenticate, b"fingerprint key of tests")
    )

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://test", headers={"fx-request-id": "req_test"}
    ) as made:
        yield made


def as_(caller: str, key: str = "k1") -> dict[str, str]:
    return {"test-caller": caller, "fx-idempotency-key": key}


async def test_a_lender_funds_with_session_and_key_once_per_idempotency_key(
    place: Place, client: httpx.AsyncClient
) -> None:
    """SE-01, AU-09."""
    reference = await place.listed()
    async with place.tx() as tx:
        listing = await marketplace.listing_of(tx, PLATFORM, invoice_reference=reference)
    body = {"listing_id": listing.id, "expected_net_advance_pence": NET.value}
    for caller in ("lender", "partner_admin+key"):
        assert (await client.post("/v1/payments", json=body, headers=as_(caller))).status_code == 403
    first = await client.post("/v1/payments", json=body, headers=as_("lender+key"))
    second = await client.post("/v1/payments", json=body, headers=as_("lender+key"))
    assert (first.status_code, second.status_code) == (201, 201), first.text
    assert first.content == second.content
    taken = await client.post("/v1/payments", json=body, headers=as_("lender+key", "k2"))
    assert (taken.status_code, taken.json()["code"]) == (409, "ILLEGAL_TRANSITION")
    shown = await client.get(f"/v1/payments/{first.json()['id']}", headers=as_("seller"))
    assert (shown.status_code, shown.json()["net_advance_pence"]) == (200, NET.value)
    assert (await client.get("/v1/payments/dis_none", headers=as_("lender"))).status_code == 404


@pytest.mark.parametrize("amount", [0, -1, 1.5, "982000", True])
async def test_an_expected_advance_is_a_positive_whole_number(
    place: Place, client: httpx.AsyncClient, amount: object
) -> None:
    body = {"listing_id": place.world.ids.new("lst"), "expected_net_advance_pence": amount}
    assert (await client.post("/v1/payments", json=body, headers=as_("lender+key"))).status_code == 422


async def test_staff_see_collections_and_customers_do_not(place: Place, client: httpx.AsyncClient) -> None:
    for pence in (100, 200):
        await place.bank.pay(BUYER, COLLECTIONS, pence, "WHAT")
        await place.collect()
    page = (await client.get("/v1/collections?state=UNMATCHED&limit=1", headers=as_("compliance"))).json()
    assert [item["amount_pence"] for item in page["items"]] == [100]
    rest = (await client.get(f"/v1/collections?after={page['next']}", headers=as_("compliance"))).json()
    assert ([item["amount_pence"] for item in rest["items"]], rest["next"]) == ([200], None)
    one = await client.get(f"/v1/collections/{page['next']}", headers=as_("compliance"))
    assert one.json() == page["items"][0]
    assert (await client.get("/v1/collections", headers=as_("lender"))).status_code == 403
    assert (await client.get("/v1/collections/col_none", headers=as_("compliance"))).status_code == 404


async def test_an_officer_sees_and_decides_what_a_doubtful_line_is(place: Place, client: httpx.AsyncClient) -> None:
    now = place.world.clock.now()
    lines_shown = [BankCredit(name, Pence(500), now, "", "") for name in ("T1", "T2")]
    for line in lines_shown:
        async with place.tx() as tx:
            statement = Statement(COLLECTIONS, now, (line,))
            await statement_lines.take_line(tx, PLATFORM, statement=statement, credit=line)
    page = (await client.get("/v1/line-doubts?state=OPEN", headers=as_("compliance"))).json()
    [doubt] = page["items"]
    assert (doubt["amount_pence"], doubt["state"], page["next"]) == (500, "OPEN", None)
    assert (await client.get("/v1/line-doubts", headers=as_("lender"))).status_code == 403
    place_of_it = f"/v1/line-doubts/{doubt['line_id']}/decision"
    for body in ({}, {"decision": "SAME"}, {"decision": "NEW", "same_as": doubt["may_be"][0]}, {"decision": "BOTH"}):
        assert (await client.post(place_of_it, json=body, headers=as_("compliance"))).status_code == 422
    body = {"decision": "SAME", "same_as": doubt["may_be"][0]}
    assert (await client.post(place_of_it, json=body, headers=as_("partner_admin"))).status_code == 403
    decided = await client.post(place_of_it, json=body, headers=as_("compliance"))
    assert (decided.status_code, decided.json()["state"]) == (200, "SAME"), decided.text
    again = await client.post(place_of_it, json=body, headers=as_("compliance", "k2"))
    assert (again.status_code, again.json()["code"]) == (409, "ILLEGAL_TRANSITION")
    assert len(await place.collections()) == 1
