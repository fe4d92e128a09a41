"""The mock ComplyAdvantage refuses what the vendor refuses, in the vendor's envelope, over real HTTP (A5)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from fintokenx.kernel.clock import FixedClock
from fintokenx.sandbox.providers import complyadvantage
from fintokenx.sandbox.providers.complyadvantage_requests import Rate
from tests.adapters.bank_house import serving
from tests.support.fakes.credentials import FixedCredential

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
FILTERS = {"types": ["sanction", "pep-class-1"]}
SEARCH: dict[str, Any] = {"search_term": "Ada Byron", "client_ref": "one", "filters": FILTERS}
NAMED: dict[str, Any] = {"first_name": "Ada", "middle_names": "", "last_name": "Byron"}


@asynccontextmanager
async def running(rate: Rate) -> AsyncIterator[httpx.AsyncClient]:
    app = complyadvantage.create_app(FixedClock(NOON), api_key=FixedCredential("key"), rate=rate)
    headers = {"Authorization": "Token key"}
    async with serving(app) as url, httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as http:
        yield http


@pytest.fixture(scope="module")
async def vendor() -> AsyncIterator[httpx.AsyncClient]:
    async with running(Rate(10_000)) as http:
        yield http


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"search_term": None}, "search_term"),
        ({"search_term": ""}, "search_term"),
        ({"search_term": " "}, "search_term"),
        ({"search_term": "x" * 256}, "search_term"),
        ({"search_term": ["Ada"]}, "search_term"),
        ({"search_term": {**NAMED, "last_name": ""}}, "search_term"),
        ({"search_term": {**NAMED, "last_name": 7}}, "search_term"),
        ({"search_term": {**NAMED, "surname": "Byron"}}, "search_term"),
        ({"search_term": {**NAMED, "first_name": "x" * 250}}, "search_term"),
        ({"client_ref": 7}, "client_ref"),
        ({"search_profile": "two words"}, "search_profile"),
        ({"fuzziness": 1.1}, "fuzziness"),
        ({"fuzziness": -0.1}, "fuzziness"),
        ({"fuzziness": "0.6"}, "fuzziness"),
        ({"fuzziness": True}, "fuzziness"),
        ({"exact_match": "false"}, "exact_match"),
        ({"offset": -1}, "offset"),
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": 10.0}, "limit"),
        ({"share_url": True}, "share_url"),
        ({"tags": ["case"]}, "tags"),
        ({"tags": {"case": 1}}, "tags"),
        ({"fuzzyness": 0.6}, "fuzzyness"),
        ({"filters": []}, "filters"),
        ({"filters": {"types": "sanction"}}, "filters.types"),
        ({"filters": {"types": ["sanctions"]}}, "filters.types"),
        ({"filters": {"types": ["pep-class-5"]}}, "filters.types"),
        ({"filters": {"birth_year": 90}}, "filters.birth_year"),
        ({"filters": {"birth_year": "1990-01-31"}}, "filters.birth_year"),
        ({"filters": {"remove_deceased": False}}, "filters.remove_deceased"),
        ({"filters": {"country_codes": ["GBR"]}}, "filters.country_codes"),
        ({"filters": {"entity_type": "individual"}}, "filters.entity_type"),
        ({"filters": {"entity_type": ["person"]}}, "filters.entity_type"),
        ({"filters": {"entitytype": "person"}}, "filters.entitytype"),
    ],
)
async def test_what_is_no_search_is_refused_and_named(
    vendor: httpx.AsyncClient, changed: dict[str, Any], named: str
) -> None:
    answer = await vendor.post("/searches", json={**SEARCH, **changed})
    assert (answer.status_code, answer.json()["code"], answer.json()["status"]) == (400, 400, "failure"), answer.text
    assert list(answer.json()["errors"]) == [named]


@pytest.mark.parametrize(
    "changed",
    [
        {"search_term": NAMED},
        {"search_term": "x" * 255, "fuzziness": 0, "limit": 100, "offset": 0, "share_url": 1, "exact_match": False},
        {"search_profile": "sanctions-only_1", "tags": {"case": "inv-42"}},
        {"filters": {"types": ["adverse-media-general"], "birth_year": "1990", "country_codes": ["GB"]}},
    ],
)
async def test_what_the_reference_names_is_taken(vendor: httpx.AsyncClient, changed: dict[str, Any]) -> None:
    assert (await vendor.post("/searches", json={**SEARCH, **changed})).status_code == 200


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"search_term": "x", "limit": NaN}', b"{}"]
)
async def test_what_is_no_json_object_is_refused(vendor: httpx.AsyncClient, content: bytes) -> None:
    answer = await vendor.post("/searches", content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["status"]) == (400, "failure")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/searches?page=0", 400),
        ("GET", "/searches?page=one", 400),
        ("GET", "/searches?page=%C2%B2", 400),
        ("GET", "/searches?per_page=101", 400),
        ("GET", "/searches?page=101&per_page=100", 400),
        ("GET", "/searches?monitored=1", 400),
        ("GET", "/searches?client_reference=one", 400),
        ("GET", "/searches?client_ref=one&client_ref=two", 400),
        ("GET", "/searches/unknown", 404),
        ("GET", "/searches/unknown?share_url=1", 400),
        ("GET", "/search", 404),
        ("PUT", "/searches", 405),
        ("DELETE", "/searches", 405),
        ("GET", "/searches?api_key=key", 400),
    ],
)
async def test_a_list_or_a_path_that_there_is_not_is_refused_in_the_envelope(
    vendor: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await vendor.request(method, path)
    assert (answer.status_code, answer.json()["code"], answer.json()["status"]) == (status, status, "failure")


async def test_a_body_of_another_media_type_or_another_key_is_refused(vendor: httpx.AsyncClient) -> None:
    text = await vendor.post("/searches", content=json.dumps(SEARCH), headers={"Content-Type": "text/plain"})
    bearer = await vendor.post("/searches", json=SEARCH, headers={"Authorization": "Bearer key"})
    in_query = await vendor.post("/searches?api_key=key", json=SEARCH, headers={"Authorization": ""})
    assert [answer.status_code for answer in (text, bearer, in_query)] == [415, 401, 401]


async def test_more_than_the_rate_in_a_window_is_refused() -> None:
    async with running(Rate(requests=2, window_seconds=600)) as vendor:
        asked = [(await vendor.get("/searches")).status_code for _ in range(3)]
    assert asked == [200, 200, 429]
    assert (Rate().requests, Rate().window_seconds) == (300, 60.0)
