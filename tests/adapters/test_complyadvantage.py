"""The ComplyAdvantage client against our ComplyAdvantage, over real HTTP: the contract of ``NameScreening``
(KY-10, IX-02, IX-15)."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from fintokenx.adapters.complyadvantage import ComplyAdvantageClient
from fintokenx.adapters.outbound import RetryPolicy
from fintokenx.kernel.clock import FixedClock
from fintokenx.kernel.errors import Unavailable
from fintokenx.parties.kyc.ports import NameScreening, ScreeningName, Verdict
from fintokenx.sandbox.providers import complyadvantage
from fintokenx.sandbox.providers.complyadvantage_requests import Rate
from fintokenx.sandbox.providers.modes import Modes
from tests.support.fakes.credentials import FixedCredential
from tests.support.fakes.outbound import calm
from tests.support.harness.serving import served

pytestmark = pytest.mark.anyio
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
API_KEY = "key-for-tests"
QUICK = RetryPolicy(first_pause_seconds=0.01, pause_seconds_max=0.5, attempt_seconds_max=0.5)
IMPATIENT = httpx.Timeout(0.15, connect=1.0)


def client_for(url: str, http: httpx.AsyncClient, *, api_key: str = API_KEY) -> ComplyAdvantageClient:
    return ComplyAdvantageClient(
        url, FixedCredential(api_key), clock=FixedClock(NOON), guard=calm(), http=http, timeouts=IMPATIENT, policy=QUICK
    )


class Sandbox:
    """The mock and the production client before it."""

    def __init__(self, url: str, modes: Modes, http: httpx.AsyncClient) -> None:
        self.url = url
        self.modes = modes
        self.http = http
        self.port: NameScreening = client_for(url, http)

    def forget(self) -> None:
        self.modes.set("up")
        self.modes.log.clear()

    def requests(self) -> list[str]:
        return [f"{each.method} {each.path.split('/')[1]}" for each in self.modes.log.deliveries]


@asynccontextmanager
async def running_sandbox() -> AsyncIterator[Sandbox]:
    app = complyadvantage.create_app(FixedClock(NOON), api_key=FixedCredential(API_KEY), rate=Rate(10_000))
    async with served(app) as url, httpx.AsyncClient() as http:
        yield Sandbox(url, app.state.modes, http)


@pytest.fixture(scope="module")
async def shared_sandbox() -> AsyncIterator[Sandbox]:
    async with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared_sandbox: Sandbox) -> Sandbox:
    shared_sandbox.forget()
    return shared_sandbox


def person(external_id: str, name: str = "Ada Byron") -> ScreeningName:
    return ScreeningName(external_id, "person", name, birth_year=1990)


@pytest.mark.parametrize(
    ("name", "verdict", "types"),
    [
        ("Ada Byron", Verdict.CLEAR, []),
        ("Pepper and Sanctioned Ltd", Verdict.CLEAR, []),
        ("Ada Sanction", Verdict.REFER, [("sanction",)]),
        ("Ada Pep", Verdict.REFER, [("pep", "pep-class-1")]),
        ("Ada Adverse", Verdict.REFER, [("adverse-media",)]),
        ("Ada Warning Sanction", Verdict.REFER, [("sanction",), ("warning",)]),
        ("Ada Unknown", Verdict.PENDING, [("warning",)]),
    ],
)
async def test_a_name_is_clear_only_without_any_hit(
    name: str, verdict: Verdict, types: list[tuple[str, ...]], sandbox: Sandbox
) -> None:
    answer = await sandbox.port.screen(person(f"lists {name}", name))
    assert (answer.verdict, [hit.hit_types for hit in answer.hits]) == (verdict, types)
    assert json.loads(answer.raw)["content"]["data"]["ref"] == answer.provider_ref


async def test_a_company_is_screened_as_a_company(sandbox: Sandbox) -> None:
    answer = await sandbox.port.screen(ScreeningName("company", "company", "Byron Ltd"))
    filters = json.loads(answer.raw)["content"]["data"]["filters"]
    assert filters["entity_type"] == "company"
    assert {"sanction", "pep", "adverse-media"} <= set(filters["types"])
    assert "birth_year" not in filters


async def test_more_hits_than_fit_into_an_answer_are_referred(sandbox: Sandbox) -> None:
    answer = await sandbox.port.screen(person("many", "Ada Many"))
    assert (answer.verdict, len(answer.hits)) == (Verdict.REFER, 100)


@pytest.mark.parametrize(
    ("mode", "verdict"),
    [("hit", Verdict.REFER), ("unknown_verdict", Verdict.PENDING), ("inconsistent", Verdict.PENDING)],
)
async def test_a_clean_name_is_not_clear_when_the_vendor_says_otherwise(
    mode: str, verdict: Verdict, sandbox: Sandbox
) -> None:
    sandbox.modes.set(mode)
    assert (await sandbox.port.screen(person(mode))).verdict is verdict


BROKEN = [
    "down",
    "timeout",
    "slow",
    "5xx",
    "malformed",
    "html",
    "wrong_shape",
    "rate_limited",
    "rate_limited_bare",
    "unauthorised",
]


@pytest.mark.parametrize("mode", BROKEN)
async def test_a_broken_provider_is_unavailable_and_never_clear(mode: str, sandbox: Sandbox) -> None:
    """P-17, IX-02. Asking again later is safe, and the refusal says so."""
    sandbox.modes.set(mode, seconds=9)
    with pytest.raises(Unavailable) as refusal:
        await sandbox.port.screen(person("broken"))
    assert (refusal.value.system, refusal.value.outcome_unknown) == ("complyadvantage", False)
    assert len(sandbox.modes.log.deliveries) <= 6


@pytest.mark.parametrize("mode", ["slow", "malformed", "wrong_shape", "lost_response"])
async def test_an_answer_that_was_lost_is_looked_up(mode: str, sandbox: Sandbox) -> None:
    """P-15: one search, although the first answer never arrived; a hit is not lost with it."""
    sandbox.modes.set(mode, times=1, seconds=9)
    answer = await sandbox.port.screen(person(f"lost {mode}", "Ada Sanction"))
    assert answer.verdict is Verdict.REFER
    assert sandbox.requests() == ["POST searches", "GET searches", "GET searches"]
    assert [each["effect"] for each in sandbox.modes.log.effects] == ["search created"]


@pytest.mark.parametrize("mode", ["down", "timeout", "5xx", "html", "rate_limited", "rate_limited_bare"])
async def test_a_search_that_was_never_made_is_made_again(mode: str, sandbox: Sandbox) -> None:
    sandbox.modes.set(mode, times=1, seconds=0 if mode == "rate_limited" else 9)
    answer = await sandbox.port.screen(person(f"never made {mode}"))
    assert answer.verdict is Verdict.CLEAR
    assert len({each.client_reference for each in sandbox.modes.log.deliveries if each.method == "POST"}) == 1
    assert [each["effect"] for each in sandbox.modes.log.effects] == ["search created"]


async def test_yesterdays_search_never_stands_in_for_todays() -> None:
    """The name was listed overnight and today's first request fails unprocessed: the look-up must not find
    yesterday's clear search."""
    clock = FixedClock(NOON)
    app = complyadvantage.create_app(clock, api_key=FixedCredential(API_KEY), rate=Rate(10_000))
    modes: Modes = app.state.modes
    async with served(app) as url, httpx.AsyncClient() as http:
        client = ComplyAdvantageClient(
            url, FixedCredential(API_KEY), clock=clock, guard=calm(), http=http, timeouts=IMPATIENT, policy=QUICK
        )
        assert (await client.screen(person("daily"))).verdict is Verdict.CLEAR
        clock.set(NOON.replace(day=3))
        modes.set("5xx", times=1)
        assert (await client.screen(person("daily", "Ada Sanction"))).verdict is Verdict.REFER
    assert len(modes.log.effects) == 2


async def test_wrong_credentials_are_refused_once(sandbox: Sandbox) -> None:
    with pytest.raises(Unavailable, match="401"):
        await client_for(sandbox.url, sandbox.http, api_key="another").screen(person("intruder"))
    assert sandbox.requests() == ["POST searches"]


async def test_a_retry_after_beyond_our_patience_is_not_waited_for(sandbox: Sandbox) -> None:
    sandbox.modes.set("rate_limited", seconds=60)
    with pytest.raises(Unavailable, match="429"):
        await sandbox.port.screen(person("too-long"))
    assert len(sandbox.modes.log.deliveries) == 1


async def test_the_wait_that_the_vendor_asks_for_is_kept(sandbox: Sandbox) -> None:
    sandbox.modes.set("rate_limited", times=1, seconds=1)
    patient = RetryPolicy(first_pause_seconds=0.01, pause_seconds_max=1.0)
    client = ComplyAdvantageClient(
        sandbox.url, FixedCredential(API_KEY), clock=FixedClock(NOON), guard=calm(), http=sandbox.http, policy=patient
    )
    began = time.monotonic()
    assert (await client.screen(person("patient"))).verdict is Verdict.CLEAR
    assert time.monotonic() - began >= 1.0


async def test_nobody_listening_is_unavailable(sandbox: Sandbox) -> None:
    with pytest.raises(Unavailable, match="ConnectError"):
        await client_for("http://127.0.0.1:9", sandbox.http).screen(person("nobody"))


async def test_a_name_too_long_to_be_searched_whole_is_not_cut(sandbox: Sandbox) -> None:
    assert (await sandbox.port.screen(person("longest", "x" * 255))).verdict is Verdict.CLEAR
    with pytest.raises(Unavailable, match="255"):
        await sandbox.port.screen(person("longer", "x" * 256))


async def test_neither_errors_nor_logs_carry_personal_data_or_secrets(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said = []
    for mode in BROKEN:
        sandbox.modes.set(mode, seconds=9)
        with pytest.raises(Unavailable) as refusal:
            await sandbox.port.screen(person("quiet", "Zebedee Quixote"))
        said.append(str(refusal.value))
    everything = " ".join([*said, caplog.text])
    assert not [word for word in ("Zebedee", "Quixote", API_KEY) if word in everything]


HIT = {"doc": {"id": "AAAA", "types": ["sanction"]}, "match_status": "potential_match"}
CLEAN: dict[str, Any] = {"ref": "1-a", "match_status": "no_match", "total_hits": 0, "total_matches": 0, "hits": []}
LISTED: dict[str, Any] = {"ref": "1-b", "match_status": "potential_match", "total_hits": 1, "hits": [HIT]}
RECORDED: dict[str, tuple[dict[str, Any], Verdict]] = {
    "clean": (CLEAN, Verdict.CLEAR),
    "listed": (LISTED, Verdict.REFER),
    "decided elsewhere to be false": ({**LISTED, "match_status": "false_positive"}, Verdict.REFER),
    "decided elsewhere to be approved": ({**LISTED, "match_status": "true_positive_approve"}, Verdict.REFER),
    "no hits, status unknown": ({**CLEAN, "match_status": "unknown"}, Verdict.PENDING),
    "no hits, potential match": ({**CLEAN, "match_status": "potential_match"}, Verdict.PENDING),
    "no hits, status absent": ({**CLEAN, "match_status": None}, Verdict.PENDING),
    "status is a list": ({**LISTED, "match_status": ["no_match"]}, Verdict.PENDING),
    "hits, no match": ({**LISTED, "match_status": "no_match"}, Verdict.PENDING),
    "hits, new status": ({**LISTED, "match_status": "escalated"}, Verdict.PENDING),
    "counted but not listed": ({**CLEAN, "total_hits": 1, "total_matches": 1}, Verdict.PENDING),
    "listed but not counted": ({**CLEAN, "hits": [HIT]}, Verdict.PENDING),
    "two counts": ({**CLEAN, "total_matches": 1}, Verdict.PENDING),
    "count absent": ({**CLEAN, "total_hits": None}, Verdict.PENDING),
    "count is false": ({**CLEAN, "total_hits": False}, Verdict.PENDING),
    "count is text": ({**CLEAN, "total_hits": "0"}, Verdict.PENDING),
    "hits absent": ({**CLEAN, "hits": None}, Verdict.PENDING),
    "ref absent": ({**CLEAN, "ref": None}, Verdict.PENDING),
    "a hit without an id": ({**LISTED, "hits": [{"doc": {}, "match_status": "unknown"}]}, Verdict.PENDING),
    "a hit that is text": ({**LISTED, "hits": ["AAAA"]}, Verdict.PENDING),
}
UNREADABLE: dict[str, Any] = {
    "failure with status 200": {"code": 400, "status": "failure", "content": {"data": CLEAN}},
    "no content": {"code": 200, "status": "success"},
    "data is a list": {"code": 200, "status": "success", "content": {"data": [CLEAN]}},
    "another search": {"code": 200, "status": "success", "content": {"data": {**CLEAN, "client_ref": "other"}}},
}


@pytest.fixture(scope="module")
async def recorded() -> AsyncIterator[ComplyAdvantageClient]:
    """A vendor that answers the term it is asked for with the recording of that name."""

    async def search(request: Request) -> JSONResponse:
        asked = await request.json()
        if asked["search_term"] in UNREADABLE:
            envelope = UNREADABLE[asked["search_term"]]
            match envelope:
                case {"content": {"data": dict(data)}}:
                    # Right in every other way, so that only the fault of the recording can be the reason.
                    envelope = {**envelope, "content": {"data": {"client_ref": asked["client_ref"], **data}}}
            return JSONResponse(envelope)
        data = {**RECORDED[asked["search_term"]][0], "client_ref": asked["client_ref"]}
        return JSONResponse({"code": 200, "status": "success", "content": {"data": data}})

    app = Starlette(routes=[Route("/searches", search, methods=["POST"])])
    async with served(app) as url, httpx.AsyncClient() as http:
        yield client_for(url, http)


@pytest.mark.parametrize("case", sorted(RECORDED))
async def test_an_answer_that_contradicts_itself_is_pending(case: str, recorded: ComplyAdvantageClient) -> None:
    assert (await recorded.screen(person("recorded", case))).verdict is RECORDED[case][1]


@pytest.mark.parametrize("case", sorted(UNREADABLE))
async def test_an_envelope_that_cannot_be_trusted_is_no_answer(case: str, recorded: ComplyAdvantageClient) -> None:
    with pytest.raises(Unavailable):
        await recorded.screen(person("unreadable", case))
