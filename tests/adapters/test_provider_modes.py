"""The switchboard of the mock servers does what its words say, over real HTTP and against a vendor of three lines."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from fintokenx.kernel.clock import FixedClock
from fintokenx.sandbox.providers.mode_words import TRANSPORT_MODES, WEBHOOK_MODES
from fintokenx.sandbox.providers.modes import Modes
from tests.support.harness.serving import served

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)

PROCESSED = {"slow", "malformed", "wrong_shape", "lost_response"}


class Vendor:
    """Counts what it was told to make."""

    def __init__(self) -> None:
        self.modes = Modes(
            "vendor",
            FixedClock(NOON),
            own=WEBHOOK_MODES,
            client_reference=lambda _method, _path, headers, _body: headers.get("x-request-id"),
        )
        self.made: list[Any] = []
        self.app = Starlette(
            routes=[Route("/things", self.make, methods=["POST"]), Route("/things", self.count, methods=["GET"])]
        )
        self.modes.install(self.app)

    def forget(self) -> None:
        self.modes.set("up")
        self.modes.log.clear()
        self.made.clear()

    async def make(self, request: Request) -> JSONResponse:
        thing, reference = await request.json(), request.headers.get("x-request-id")
        if thing not in self.made:
            self.made.append(thing)
            self.modes.effect(reference, "thing made")
        return JSONResponse({"made": thing}, 201)

    async def count(self, _: Request) -> JSONResponse:
        return JSONResponse({"things": len(self.made)})


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[tuple[Vendor, httpx.AsyncClient]]:
    vendor = Vendor()
    async with served(vendor.app) as url, httpx.AsyncClient(base_url=url, timeout=0.2) as http:
        yield vendor, http


@pytest.fixture
def vendor(running: tuple[Vendor, httpx.AsyncClient]) -> Vendor:
    """The one vendor of this module, as new."""
    vendor = running[0]
    vendor.forget()
    return vendor


@pytest.fixture
def http(running: tuple[Vendor, httpx.AsyncClient]) -> httpx.AsyncClient:
    return running[1]


async def test_a_vendor_works_until_told_otherwise(vendor: Vendor, http: httpx.AsyncClient) -> None:
    answer = await http.post("/things", json="chair")
    assert (answer.status_code, answer.json(), vendor.made) == (201, {"made": "chair"}, ["chair"])


@pytest.mark.parametrize("mode", sorted(TRANSPORT_MODES))
async def test_every_transport_mode_spoils_the_answer(mode: str, vendor: Vendor, http: httpx.AsyncClient) -> None:
    """And processes the request or not, as its meaning says."""
    assert (await http.post("/control/mode", json={"mode": mode})).status_code == 200
    try:
        answer = await http.post("/things", json="chair")
        useful = answer.status_code == 201 and answer.json() == {"made": "chair"}
    except (httpx.TransportError, ValueError):
        useful = False
    assert not useful
    assert vendor.made == (["chair"] if mode in PROCESSED else [])


@pytest.mark.parametrize("mode", ["down", "lost_response"])
async def test_a_dropped_connection_gives_not_a_byte(mode: str, vendor: Vendor, http: httpx.AsyncClient) -> None:
    vendor.modes.set(mode)
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        await http.post("/things", json="chair")
    assert vendor.modes.log.deliveries[0].status is None


@pytest.mark.parametrize("mode", ["timeout", "slow"])
async def test_a_late_answer_outlasts_the_clients_patience(mode: str, vendor: Vendor, http: httpx.AsyncClient) -> None:
    vendor.modes.set(mode, seconds=30)
    with pytest.raises(httpx.ReadTimeout):
        await http.post("/things", json="chair")


async def test_a_slow_answer_arrives_whole(vendor: Vendor, http: httpx.AsyncClient) -> None:
    vendor.modes.set("slow", seconds=0.05)
    began = time.monotonic()
    assert (await http.post("/things", json="chair")).json() == {"made": "chair"}
    assert time.monotonic() - began >= 0.05


async def test_after_a_lost_response_reads_are_answered(vendor: Vendor, http: httpx.AsyncClient) -> None:
    vendor.modes.set("lost_response")
    with pytest.raises(httpx.TransportError):
        await http.post("/things", json="chair")
    assert (await http.get("/things")).json() == {"things": 1}


async def test_server_errors_come_in_turn(vendor: Vendor, http: httpx.AsyncClient) -> None:
    vendor.modes.set("5xx")
    statuses = [(await http.get("/things")).status_code for _ in range(4)]
    assert sorted(statuses[:3]) == [500, 502, 503]
    assert statuses[3] == statuses[0]


async def test_a_malformed_body_is_cut_but_counted_right(vendor: Vendor, http: httpx.AsyncClient) -> None:
    vendor.modes.set("malformed")
    answer = await http.post("/things", json="chair")
    assert len(answer.content) == int(answer.headers["content-length"])
    with pytest.raises(ValueError):
        answer.json()


async def test_html_and_other_shapes_look_like_success(vendor: Vendor, http: httpx.AsyncClient) -> None:
    vendor.modes.set("html")
    page = await http.get("/things")
    vendor.modes.set("wrong_shape")
    shape = await http.get("/things")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert (shape.status_code, shape.json()) == (200, {"unexpected": [True, None]})


async def test_a_rate_limit_says_how_long_unless_bare(vendor: Vendor, http: httpx.AsyncClient) -> None:
    vendor.modes.set("rate_limited", seconds=7)
    told = await http.get("/things")
    vendor.modes.set("rate_limited_bare")
    untold = await http.get("/things")
    assert (told.status_code, told.headers["retry-after"]) == (429, "7")
    assert (untold.status_code, untold.headers.get("retry-after")) == (429, None)


async def test_a_counted_mode_ends_by_itself(vendor: Vendor, http: httpx.AsyncClient) -> None:
    await http.post("/control/mode", json={"mode": "5xx", "times": 2})
    assert [(await http.get("/things")).status_code >= 500 for _ in range(3)] == [True, True, False]
    assert (await http.get("/control/mode")).json()["mode"] == "up"


async def test_a_mode_may_act_on_one_call_only(vendor: Vendor, http: httpx.AsyncClient) -> None:
    await http.post("/control/mode", json={"mode": "unauthorised", "only": "POST /things"})
    assert (await http.get("/things")).status_code == 200
    assert (await http.post("/things", json="chair")).status_code == 401


@pytest.mark.parametrize(
    "wanted",
    [
        {"mode": "asleep"},
        {"mode": ["down"]},
        {"mode": "down", "times": 0},
        {"mode": "down", "times": 1.5},
        {"mode": "slow", "seconds": -1},
        {"mode": "down", "only": 3},
        {"mode": "late_webhook", "times": 1},
        {"times": 1},
        ["down"],
        7,
    ],
    ids=json.dumps,
)
async def test_a_switch_that_makes_no_sense_is_refused(wanted: object, vendor: Vendor, http: httpx.AsyncClient) -> None:
    assert (await http.post("/control/mode", json=wanted)).status_code == 422
    assert vendor.modes.setting.mode == "up"


async def test_asking_for_an_undeclared_mode_is_a_programming_error(vendor: Vendor) -> None:
    with pytest.raises(ValueError, match="never declared"):
        vendor.modes.take("no_match")


async def test_the_log_tells_deliveries_from_effects(vendor: Vendor, http: httpx.AsyncClient) -> None:
    """P-15: two deliveries under one client reference, one effect."""
    vendor.modes.set("lost_response", times=1)
    with pytest.raises(httpx.TransportError):
        await http.post("/things", json="chair", headers={"X-Request-Id": "ours-1"})
    await http.post("/things", json="chair", headers={"X-Request-Id": "ours-1"})
    log = (await http.get("/control/log")).json()
    assert [(each["client_reference"], each["mode"], each["status"]) for each in log["deliveries"]] == [
        ("ours-1", "lost_response", None),
        ("ours-1", "up", 201),
    ]
    assert log["effects"] == [{"client_reference": "ours-1", "effect": "thing made"}]


async def test_the_log_can_be_emptied(vendor: Vendor, http: httpx.AsyncClient) -> None:
    await http.post("/things", json="chair")
    assert (await http.delete("/control/log")).status_code == 204
    assert (await http.get("/control/log")).json() == {"deliveries": [], "effects": [], "webhooks": []}


async def test_control_works_while_everything_else_is_down(vendor: Vendor, http: httpx.AsyncClient) -> None:
    vendor.modes.set("down")
    assert (await http.post("/control/mode", json={"mode": "up"})).status_code == 200
    assert (await http.get("/things")).status_code == 200


@pytest.mark.parametrize(
    ("path", "content", "named"),
    [
        ("mode", b"", "JSON"),
        ("mode", b"{", "JSON"),
        ("mode", b"\xff", "JSON"),
        ("mode", b"[" * 100_000, "JSON"),
        ("mode", b"[]", "object"),
        ("mode", b"5", "object"),
        ("mode", b'"mode"', "object"),
        ("mode", b"{}", "mode"),
        ("mode", b'{"mode": ["up"]}', "mode"),
        ("mode", b'{"mode": "up", "time": 1}', "unknown: time"),
        ("mode", b'{"mode": "down", "times": true}', "times"),
        ("mode", b'{"mode": "down", "times": "1"}', "times"),
        ("mode", b'{"mode": "down", "seconds": NaN}', "seconds"),
        ("mode", b'{"mode": "down", "seconds": Infinity}', "seconds"),
        ("mode", b'{"mode": "down", "only": 1}', "only"),
        ("webhook", b"", "JSON"),
        ("webhook", b"[]", "object"),
        ("webhook", b"{}", "url"),
        ("webhook", b'{"url": 7}', "url"),
        ("webhook", b'{"url": "/hook"}', "url"),
        ("webhook", b'{"url": "ftp://x/hook"}', "url"),
        ("webhook", b'{"url": "http://x:99999999/"}', "url"),
        ("webhook", b'{"uri": null}', "unknown: uri"),
    ],
)
async def test_a_control_route_names_what_it_does_not_understand(
    path: str, content: bytes, named: str, vendor: Vendor, http: httpx.AsyncClient
) -> None:
    answer = await http.post(f"/control/{path}", content=content)
    assert answer.status_code == 422, answer.text
    assert named in answer.json()["error"]
    assert (vendor.modes.setting.mode, vendor.modes.webhook_url) == ("up", None)


async def test_another_method_or_path_of_the_control_surface_is_refused(http: httpx.AsyncClient) -> None:
    asked = [await http.request(method, path) for method, path in (("PUT", "/control/mode"), ("GET", "/control/x"))]
    assert [answer.status_code for answer in asked] == [405, 404]
