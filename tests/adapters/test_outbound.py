"""The exchange under every client: what is sent again, how long it waits, and what is known of the outcome (P-15)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fintokenx.adapters.outbound import (
    CallGuard,
    CircuitBreaker,
    CircuitOpen,
    CircuitState,
    Failure,
    HttpExchange,
    Received,
    RetryPolicy,
)
from fintokenx.kernel.clock import FixedClock
from fintokenx.kernel.errors import Unavailable
from tests.adapters.bank_house import NOON
from tests.support.harness.serving import served

pytestmark = pytest.mark.anyio
POLICY = RetryPolicy(
    attempts_max=4, first_pause_seconds=1.0, pause_seconds_max=3.0, attempt_seconds_max=5.0, answer_bytes_max=1000
)
NOWHERE = "http://127.0.0.1:9"
Answering = Callable[[Request], Response]


def judged(received: Received) -> str | Failure:
    """As a client's: 2xx counts, 4xx had no effect, all else is unknown."""
    if received.is_success:
        return received.content.decode()
    known = 400 <= received.status < 500
    return Failure(f"HTTP {received.status}", outcome_unknown=not known, again=not known or received.status == 429)


async def no_headers(_request: httpx.Request) -> Mapping[str, str]:
    return {}


@dataclass
class Line:
    """A vendor that answers ``script`` in turn, the exchange, and what it waited."""

    script: list[Response | float] = field(default_factory=list)
    """A number is a hang for so many seconds."""
    waited: list[float] = field(default_factory=list)
    asked: int = 0
    seconds: float = 0.0
    chance: list[float] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None
    holds: asyncio.Event | None = None
    """The second answer waits for it."""

    async def answer(self, _request: Request) -> Response:
        self.asked += 1
        said = self.script.pop(0) if self.script else Response(b"well")
        if self.holds is not None and self.asked == 2:
            await self.holds.wait()
        if isinstance(said, float):
            await asyncio.sleep(said)
            return Response(b"late")
        return said

    @property
    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", self.answer, methods=["GET", "POST"])])

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.meanwhile()

    def circuit(self, **limits: Any) -> CircuitBreaker:
        return CircuitBreaker("vendor", clock=FixedClock(NOON), machine_seconds=lambda: self.seconds, **limits)

    def exchange(self, url: str, circuit: CircuitBreaker | None = None, policy: RetryPolicy = POLICY) -> HttpExchange:
        jitter = lambda: self.chance.pop(0) if self.chance else 0.0  # noqa: E731
        guard = CallGuard(circuit or self.circuit(failures_max=100), jitter, self.sleep)
        return HttpExchange("vendor", url, guard=guard, policy=policy)


async def ask(exchange: HttpExchange, *, repeatable: bool = True, method: str = "GET") -> str:
    return await exchange.send(method, "/thing", authenticate=no_headers, judge=judged, repeatable=repeatable)


# ── Pauses


def pauses(jitter: float, **more: Any) -> list[float | None]:
    asked = {"asked_for": None, "is_rate_limited": False} | more
    return [POLICY.pause_seconds(attempt, jitter=jitter, **asked) for attempt in range(1, 5)]


def test_pauses_double_within_bounds_and_half_of_each_is_by_chance() -> None:
    assert pauses(0.0) == [0.5, 1.0, 1.5, None]
    assert pauses(1.0) == [1.0, 2.0, 3.0, None]
    assert pauses(0.5) == [0.75, 1.5, 2.25, None]


def test_the_vendor_names_the_pause_and_one_beyond_the_limit_is_not_waited_for() -> None:
    assert [pauses(0.5, asked_for=seconds)[0] for seconds in (0.0, 3.0, 3.1)] == [0.0, 3.0, None]
    assert pauses(0.5, asked_for=1.0)[3] is None


def test_a_window_of_the_vendors_is_waited_out() -> None:
    """A 429 without a time: Sumsub counts requests in windows of 5 s."""
    window = RetryPolicy(attempts_max=4, rate_limited_pause_seconds=5.0)
    paused = [window.pause_seconds(at, asked_for=None, is_rate_limited=True, jitter=0.3) for at in (1, 4)]
    assert paused == [5.0, None]
    assert pauses(0.0, is_rate_limited=True)[0] == 0.5, "without a window it is a failure like others"


async def test_every_pause_of_our_own_choice_takes_its_chance_from_what_was_handed_in() -> None:
    line = Line(script=[Response(status_code=503)] * 3, chance=[0.2, 0.9, 0.4])
    async with served(line.app) as url:
        assert await ask(line.exchange(url)) == "well"
    assert line.waited == pytest.approx([0.6, 1.9, 2.1])
    assert line.chance == []


@pytest.mark.parametrize(
    ("text", "waited"),
    [("2", [2.0]), ("0", [0.0]), ("Wed, 21 Oct 2026 07:28:00 GMT", [0.5]), ("-1", [0.5]), ("1.5", [0.5]), ("²", [0.5])],
)
async def test_retry_after_counts_in_whole_seconds_only(text: str, waited: list[float]) -> None:
    line = Line(script=[Response(status_code=503, headers={"Retry-After": text})])
    async with served(line.app) as url:
        await ask(line.exchange(url))
    assert line.waited == waited


async def test_a_retry_after_beyond_the_limit_ends_the_call_and_stands_in_the_error() -> None:
    line = Line(script=[Response(status_code=503, headers={"Retry-After": "4"})])
    async with served(line.app) as url:
        with pytest.raises(Unavailable, match="HTTP 503, retry after 4 s"):
            await ask(line.exchange(url))
    assert (line.asked, line.waited) == (1, [])


# ── What is sent again, and what is known


async def test_what_may_have_taken_effect_is_not_sent_again() -> None:
    line = Line(script=[Response(status_code=503)])
    async with served(line.app) as url:
        with pytest.raises(Unavailable) as lost:
            await ask(line.exchange(url), repeatable=False, method="POST")
    assert (line.asked, lost.value.outcome_unknown) == (1, True)


async def test_what_surely_had_no_effect_is_sent_again_though_it_is_not_repeatable() -> None:
    line = Line(script=[Response(status_code=429)])
    async with served(line.app) as url:
        assert await ask(line.exchange(url), repeatable=False, method="POST") == "well"
    assert line.asked == 2


async def test_a_refusal_is_final() -> None:
    line = Line(script=[Response(status_code=401)])
    async with served(line.app) as url:
        with pytest.raises(Unavailable) as lost:
            await ask(line.exchange(url))
    assert (line.asked, lost.value.outcome_unknown) == (1, False)


async def test_nobody_listening_is_known_to_have_done_nothing() -> None:
    with pytest.raises(Unavailable, match="ConnectError") as lost:
        await ask(Line().exchange(NOWHERE))
    assert not lost.value.outcome_unknown


async def test_one_attempt_that_may_have_taken_effect_leaves_the_call_unknown_whatever_comes_after() -> None:
    """The last attempt's word is about itself: the first one may be done all the same."""
    line = Line(script=[Response(status_code=503), Response(status_code=401)])
    async with served(line.app) as url:
        with pytest.raises(Unavailable, match="401") as lost:
            await ask(line.exchange(url))
    assert (line.asked, lost.value.outcome_unknown) == (2, True)


async def test_an_attempt_has_a_time_limit_as_a_whole() -> None:
    line = Line(script=[5.0])
    async with served(line.app) as url:
        with pytest.raises(Unavailable, match="TimeoutError") as lost:
            await ask(line.exchange(url, policy=RetryPolicy(attempts_max=1, attempt_seconds_max=0.1)))
    assert lost.value.outcome_unknown


@pytest.mark.parametrize(("size", "fits"), [(1000, True), (1001, False)])
async def test_an_answer_has_a_size_limit(size: int, fits: bool) -> None:
    line = Line(script=[Response(b"x" * size)])
    async with served(line.app) as url:
        exchange = line.exchange(url)
        if fits:
            assert len(await ask(exchange)) == size
        else:
            with pytest.raises(Unavailable, match="an answer beyond 1000 bytes") as lost:
                await ask(exchange, repeatable=False)
            assert lost.value.outcome_unknown


async def test_a_small_body_that_unpacks_to_a_large_one_is_too_large() -> None:
    import gzip

    line = Line(script=[Response(gzip.compress(b"x" * 100_000), headers={"Content-Encoding": "gzip"})])
    async with served(line.app) as url:
        with pytest.raises(Unavailable, match="an answer beyond 1000 bytes"):
            await ask(line.exchange(url), repeatable=False)


async def test_a_redirect_is_not_followed() -> None:
    line = Line(script=[Response(status_code=307, headers={"Location": "/elsewhere"})] * 4)
    async with served(line.app) as url:
        with pytest.raises(Unavailable, match="307"):
            await ask(line.exchange(url), repeatable=False)
    assert line.asked == 1


# ── The circuit


async def test_an_open_circuit_refuses_before_anything_is_sent() -> None:
    line = Line(script=[Response(status_code=503)] * 2)
    circuit = line.circuit(failures_max=2, rest_seconds=5.0)
    async with served(line.app) as url:
        exchange = line.exchange(url, circuit)
        for _ in range(2):
            with pytest.raises(Unavailable):
                await ask(exchange, repeatable=False, method="POST")
        with pytest.raises(CircuitOpen) as refused:
            await ask(exchange, repeatable=False, method="POST")
        assert (line.asked, refused.value.outcome_unknown, refused.value.system) == (2, False, "vendor")
        line.seconds = 5.0
        assert await ask(exchange) == "well"
    assert circuit.state is CircuitState.CLOSED


async def test_a_circuit_that_opens_between_two_attempts_hides_no_unknown_outcome() -> None:
    """The call is refused, and its first attempt may have taken effect: that is not known to have failed."""
    line = Line(script=[Response(status_code=503)])
    circuit = line.circuit(failures_max=2)

    def another_call_fails() -> None:
        with circuit.attempt() as attempt:
            attempt.failed()

    line.meanwhile = another_call_fails
    async with served(line.app) as url:
        with pytest.raises(CircuitOpen) as refused:
            await ask(line.exchange(url, circuit))
    assert (line.asked, refused.value.outcome_unknown) == (1, True)


async def test_an_answer_that_says_no_is_no_outage_and_stands_in_the_row() -> None:
    line = Line(script=[Response(status_code=401)] * 9)
    circuit = line.circuit(failures_max=2)
    async with served(line.app) as url:
        for _ in range(9):
            with pytest.raises(Unavailable):
                await ask(line.exchange(url, circuit))
    row = circuit.health()
    assert (row.circuit, row.consecutive_failures, row.last_failure_at) == (CircuitState.CLOSED, 9, NOON)
    assert row.last_success_at is None


async def half_open(line: Line, exchange: HttpExchange) -> asyncio.Task[str]:
    """One call is on trial, and hangs."""
    with pytest.raises(Unavailable):
        await ask(exchange, repeatable=False)
    line.seconds = 5.0
    trial = asyncio.create_task(ask(exchange))
    while line.asked < 2:
        await asyncio.sleep(0.01)
    return trial


async def waiting(exchange: HttpExchange, calls: int) -> list[asyncio.Task[str]]:
    others = [asyncio.create_task(ask(exchange, repeatable=False)) for _ in range(calls)]
    await asyncio.sleep(0.1)
    assert not [one for one in others if one.done()]
    return others


@pytest.mark.parametrize("works", [True, False])
async def test_who_comes_during_a_trial_waits_for_its_end(works: bool) -> None:
    """After an outage many jobs are due at once; but for this all of them but one would go back for minutes."""
    trial_answer = 0.3 if works else Response(status_code=503)
    line = Line(script=[Response(status_code=503), trial_answer])
    circuit = line.circuit(failures_max=1, rest_seconds=5.0)
    gate = asyncio.Event()
    async with served(line.app) as url:
        exchange = line.exchange(url, circuit, RetryPolicy(attempts_max=1, attempt_seconds_max=2.0))
        if not works:
            line.holds = gate
        trial = await half_open(line, exchange)
        others = await waiting(exchange, 5)
        gate.set()
        ended = await asyncio.gather(trial, *others, return_exceptions=True)
    if works:
        assert ended == ["late", *["well"] * 5]
        assert (line.asked, circuit.state) == (7, CircuitState.CLOSED)
    else:
        assert [type(one) for one in ended] == [Unavailable, *[CircuitOpen] * 5]
        assert line.asked == 2, "nobody asks when the trial has failed"


async def test_a_call_that_is_cancelled_says_nothing_of_the_vendor_and_hands_its_trial_on() -> None:
    line = Line(script=[Response(status_code=503), 5.0])
    circuit = line.circuit(failures_max=1, rest_seconds=5.0)
    async with served(line.app) as url:
        exchange = line.exchange(url, circuit)
        trial = await half_open(line, exchange)
        others = await waiting(exchange, 3)
        trial.cancel()
        assert await asyncio.gather(*others) == ["well"] * 3
    assert circuit.state is CircuitState.CLOSED
    assert circuit.health().consecutive_failures == 0
