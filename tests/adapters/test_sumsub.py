"""The Sumsub client against our Sumsub, over real HTTP: the contract of ``IdentityVerification`` (IX-01, IX-15)."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fintokenx.adapters.outbound import RetryPolicy
from fintokenx.adapters.sumsub import SumsubClient
from fintokenx.kernel.clock import FixedClock
from fintokenx.kernel.errors import Unavailable
from fintokenx.parties.kyc.ports import (
    Applicant,
    Verdict,
)
from tests.adapters.sumsub_house import (
    APP_SECRET,
    CREDENTIALS,
    IMPATIENT,
    NOON,
    Sandbox,
    person,
    running_sandbox,
)
from tests.adapters.sumsub_sandbox import sandbox, shared_sandbox
from tests.support.fakes.outbound import calm
from tests.support.harness.serving import eventually, served

pytestmark = pytest.mark.anyio
__all__ = ["sandbox", "shared_sandbox"]


def company(external_id: str, name: str) -> Applicant:
    return Applicant(external_id, "company", name, registration_number="01234567")


@pytest.mark.parametrize(
    ("applicant", "detail", "verdict"),
    [
        (person("green"), "GREEN", Verdict.CLEAR),
        (person("mononym", "Ada"), "GREEN", Verdict.CLEAR),
        (person("reject", "Ada Reject"), "RED/FINAL: FORGERY", Verdict.FAIL),
        (person("retry", "Ada Retry"), "RED/RETRY: UNSATISFACTORY_PHOTOS", Verdict.REFER),
        (person("hold", "Ada Hold"), "onHold", Verdict.PENDING),
        (person("wait", "Ada Wait"), "pending", Verdict.PENDING),
        (person("unknown", "Ada Unknown"), "unknown reviewAnswer: YELLOW", Verdict.PENDING),
        (company("kyb", "Byron Household Goods Ltd"), "GREEN", Verdict.CLEAR),
        (company("kyb-reject", "Reject Trading Ltd"), "RED/FINAL: FORGERY", Verdict.FAIL),
    ],
    ids=lambda value: value.external_id if isinstance(value, Applicant) else "",
)
async def test_a_review_ends_in_its_verdict(
    applicant: Applicant, detail: str, verdict: Verdict, sandbox: Sandbox
) -> None:
    answer = await sandbox.reviewed(applicant, until=detail)
    assert (answer.verdict, answer.detail) == (verdict, detail)
    assert json.loads(answer.raw)["reviewStatus"]


async def test_an_applicant_asked_to_try_again_may_pass(sandbox: Sandbox) -> None:
    await sandbox.reviewed(person("again", "Ada Retry"), until="RED/RETRY")
    assert (await sandbox.reviewed(person("again", "Ada Retry"), until="GREEN")).verdict is Verdict.CLEAR
    assert sandbox.effects("again") == ["applicant created", "check requested", "check requested"]


async def test_opening_twice_gives_one_applicant(sandbox: Sandbox) -> None:
    first = await sandbox.port.open_applicant(person("twice"))
    assert await sandbox.port.open_applicant(person("twice")) == first
    assert sandbox.effects("twice") == ["applicant created"]


async def test_asking_twice_gives_one_check(sandbox: Sandbox) -> None:
    applicant_ref = await sandbox.port.open_applicant(person("asked-twice", "Ada Wait"))
    await sandbox.port.request_check(applicant_ref)
    await sandbox.port.request_check(applicant_ref)
    assert sandbox.effects("asked-twice") == ["applicant created", "check requested"]
    assert sandbox.requests_for_a_check() == 1


async def test_a_failed_applicant_is_not_checked_again(sandbox: Sandbox) -> None:
    answer = await sandbox.reviewed(person("final", "Ada Reject"), until="RED/FINAL")
    await sandbox.port.request_check(answer.provider_ref)
    assert (await sandbox.port.verdict(answer.provider_ref)).verdict is Verdict.FAIL


BROKEN = ["down", "timeout", "slow", "5xx", "malformed", "html", "rate_limited", "rate_limited_bare", "unauthorised"]


@pytest.mark.parametrize("mode", BROKEN)
async def test_a_broken_provider_is_unavailable_and_never_clear(mode: str, sandbox: Sandbox) -> None:
    """P-17: even for an applicant who would be GREEN."""
    clear = await sandbox.reviewed(person("broken"), until="GREEN")
    sandbox.modes.set(mode, seconds=9)
    with pytest.raises(Unavailable) as at_verdict:
        await sandbox.port.verdict(clear.provider_ref)
    with pytest.raises(Unavailable):
        await sandbox.port.request_check(clear.provider_ref)
    with pytest.raises(Unavailable):
        await sandbox.port.open_applicant(person(f"new at {mode}"))
    assert at_verdict.value.system == "sumsub"


@pytest.mark.parametrize(
    ("mode", "detail"),
    [("unknown_verdict", "unknown reviewAnswer: AMBER"), ("wrong_shape", "unknown reviewStatus: missing")],
)
async def test_a_verdict_we_do_not_know_is_pending(mode: str, detail: str, sandbox: Sandbox) -> None:
    clear = await sandbox.reviewed(person("unheard-of"), until="GREEN")
    sandbox.modes.set(mode)
    answer = await sandbox.port.verdict(clear.provider_ref)
    assert (answer.verdict, answer.detail) == (Verdict.PENDING, detail)


async def test_a_late_verdict_stays_pending_until_it_comes(sandbox: Sandbox) -> None:
    """IX-01."""
    sandbox.modes.set("late_verdict")
    pending = await sandbox.reviewed(person("late"), until="pending")
    await eventually(lambda: [event.event_type for event in sandbox.events("late")][-1:] == ["applicantPending"])
    assert (await sandbox.port.verdict(pending.provider_ref)).verdict is Verdict.PENDING
    sandbox.modes.set("up")
    assert (await sandbox.reviewed(person("late"), until="GREEN")).verdict is Verdict.CLEAR


PASSING = ["down", "timeout", "slow", "5xx", "malformed", "html", "lost_response", "rate_limited", "rate_limited_bare"]


@pytest.mark.parametrize("mode", PASSING)
async def test_a_passing_failure_leaves_one_applicant_and_one_check(mode: str, sandbox: Sandbox) -> None:
    """P-15: the second delivery carries the same reference and has no second effect."""
    external_id = f"passing {mode}"
    seconds = 0 if mode == "rate_limited" else 9
    sandbox.modes.set(mode, times=1, seconds=seconds, only="POST")
    applicant_ref = await sandbox.port.open_applicant(person(external_id, "Ada Wait"))
    opened = [each for each in sandbox.modes.log.deliveries if each.client_reference == external_id]
    sandbox.modes.set(mode, times=1, seconds=seconds, only="POST")
    try:
        await sandbox.port.request_check(applicant_ref)
    except Unavailable:
        await sandbox.port.request_check(applicant_ref)
    assert len(opened) >= 2
    if mode in {"slow", "malformed", "lost_response"}:
        assert sandbox.requests_for_a_check() == 1
    assert sandbox.effects(external_id) == ["applicant created", "check requested"]


async def test_a_race_of_states_is_waited_out(sandbox: Sandbox) -> None:
    applicant_ref = await sandbox.port.open_applicant(person("race", "Ada Wait"))
    sandbox.modes.set("state_race", times=1, seconds=0)
    await sandbox.port.request_check(applicant_ref)
    assert sandbox.effects("race") == ["applicant created", "check requested"]


async def test_a_retry_after_beyond_our_patience_is_not_waited_for(sandbox: Sandbox) -> None:
    sandbox.modes.set("rate_limited", seconds=60)
    with pytest.raises(Unavailable) as refusal:
        await sandbox.port.open_applicant(person("too-long"))
    assert len(sandbox.modes.log.deliveries) == 1
    assert not refusal.value.outcome_unknown


async def test_nobody_listening_is_known_to_have_done_nothing(sandbox: Sandbox) -> None:
    client = sandbox.another_client(base_url="http://127.0.0.1:9")
    with pytest.raises(Unavailable) as refusal:
        await client.open_applicant(person("nobody"))
    assert not refusal.value.outcome_unknown


async def test_a_dropped_connection_leaves_the_outcome_unknown(sandbox: Sandbox) -> None:
    sandbox.modes.set("down")
    with pytest.raises(Unavailable) as refusal:
        await sandbox.port.open_applicant(person("dropped"))
    assert refusal.value.outcome_unknown


async def test_an_answer_that_trickles_is_cut_off(sandbox: Sandbox) -> None:
    """Every read is within its timeout; the attempt as a whole is not."""

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n")
        try:
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            pass

    async with await asyncio.start_server(trickle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = SumsubClient(
            f"http://127.0.0.1:{port}",
            *CREDENTIALS,
            clock=FixedClock(NOON),
            guard=calm(),
            http=sandbox.http,
            timeouts=IMPATIENT,
            policy=RetryPolicy(attempts_max=1, attempt_seconds_max=0.3),
        )
        with pytest.raises(Unavailable, match="TimeoutError"):
            await client.verdict("any")


@pytest.mark.parametrize("changed", [{"app_secret": "another"}, {"app_token": "sbx:another"}], ids=str)
async def test_wrong_credentials_are_refused_once(changed: dict[str, Any], sandbox: Sandbox) -> None:
    with pytest.raises(Unavailable, match="401"):
        await sandbox.another_client(**changed).open_applicant(person("intruder"))
    assert [each.status for each in sandbox.modes.log.deliveries] == [401]


@pytest.mark.parametrize(("seconds_off", "accepted"), [(-61, False), (-60, True), (60, True), (61, False)])
async def test_the_clocks_may_differ_by_a_minute(seconds_off: int, accepted: bool, sandbox: Sandbox) -> None:
    client = sandbox.another_client(FixedClock(NOON + timedelta(seconds=seconds_off)))
    if accepted:
        assert await client.open_applicant(person("clocks"))
    else:
        with pytest.raises(Unavailable, match="401"):
            await client.open_applicant(person("clocks"))


async def test_an_external_id_with_odd_characters_is_found_again(sandbox: Sandbox) -> None:
    """The matrix parameter is signed as it is sent."""
    odd = person("tenant:7;é=1 +%?&")
    assert await sandbox.port.open_applicant(odd) == await sandbox.port.open_applicant(odd)


@pytest.mark.parametrize(
    ("applicant", "fault"),
    [({"id": "abc", "externalUserId": "other"}, "another applicant"), ({"externalUserId": "ours"}, "without an id")],
)
async def test_an_applicant_that_is_not_the_one_we_opened_is_refused(
    applicant: dict[str, str], fault: str, sandbox: Sandbox
) -> None:
    async def create(_: Request) -> JSONResponse:
        return JSONResponse(applicant, 201)

    async with served(Starlette(routes=[Route("/resources/applicants", create, methods=["POST"])])) as url:
        with pytest.raises(Unavailable, match=fault):
            await sandbox.another_client(base_url=url).open_applicant(person("ours"))


async def test_a_redirect_is_not_followed_with_our_signature(sandbox: Sandbox) -> None:
    """Even where the connections that were handed in would follow it."""
    reached = []

    async def elsewhere(request: Request) -> Response:
        reached.append(request.url.path)
        return Response(status_code=307, headers={"location": "/elsewhere"})

    app = Starlette(routes=[Route("/{path:path}", elsewhere)])
    async with served(app) as url, httpx.AsyncClient(follow_redirects=True) as http:
        client = SumsubClient(url, *CREDENTIALS, clock=FixedClock(NOON), guard=calm(), http=http)
        with pytest.raises(Unavailable, match="307"):
            await client.verdict("any")
    assert len(reached) == 1


async def test_an_unknown_applicant_is_no_verdict(sandbox: Sandbox) -> None:
    with pytest.raises(Unavailable, match="404"):
        await sandbox.port.verdict("0" * 24)


async def test_applicants_outlive_a_restart_of_the_mock(tmp_path: Path) -> None:
    state = tmp_path / "sumsub.json"
    async with running_sandbox(state) as before:
        applicant_ref = await before.port.open_applicant(company("kept", "Byron Ltd"))
        before.modes.set("late_verdict")
        await before.port.request_check(applicant_ref)
    fixed_info = json.loads(state.read_text())["applicants"][0]["fixed_info"]
    assert fixed_info == {
        "country": "GBR",
        "companyInfo": {"companyName": "Byron Ltd", "country": "GBR", "registrationNumber": "01234567"},
    }
    async with running_sandbox(state) as after:
        answer = await after.reviewed(company("kept", "Byron Ltd"), until="GREEN")
    assert answer.provider_ref == applicant_ref


async def test_neither_errors_nor_logs_carry_personal_data_or_secrets(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said = []
    for mode in [*BROKEN, "wrong_shape"]:
        sandbox.modes.set(mode, seconds=9)
        with pytest.raises(Unavailable) as refusal:
            await sandbox.port.open_applicant(person(f"quiet {mode}", "Zebedee Quixote"))
        said.append(str(refusal.value))
    everything = " ".join([*said, caplog.text])
    assert not [word for word in ("Zebedee", "Quixote", "1990-01-31", APP_SECRET, "sbx:token") if word in everything]
