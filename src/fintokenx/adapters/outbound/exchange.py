"""One HTTP request to an outside system, tried as often as is safe.

Bodies and headers are personal data and secrets: neither is logged nor put into an error.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import httpx
from tenacity import AsyncRetrying, RetryCallState, stop_after_attempt

from fintokenx.adapters.outbound.circuit import Attempt, CircuitBreaker, CircuitOpen
from fintokenx.adapters.outbound.retries import RetryPolicy, retry_after_seconds
from fintokenx.kernel.errors import Unavailable

Answer = TypeVar("Answer")

_NEVER_LEFT_US: Final = (httpx.ConnectError, httpx.ConnectTimeout)


@dataclass(frozen=True, slots=True)
class CallGuard:
    """What every call to one provider is made with: its circuit, chance for the pauses, and a way to wait.

    ``jitter`` gives numbers from 0 up to 1.
    """

    circuit: CircuitBreaker
    jitter: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(frozen=True, slots=True)
class Received:
    """What came back, read whole."""

    status: int
    headers: httpx.Headers
    content: bytes

    @property
    def is_success(self) -> bool:
        """2xx."""
        return 200 <= self.status < 300

    @property
    def retry_after_seconds(self) -> float | None:
        """What the vendor asks to wait."""
        return retry_after_seconds(self.headers)

    def json_object(self) -> Mapping[str, Any] | None:
        """The body as a JSON object; None where it is not one, or does not say that it is JSON."""
        if self.headers.get("Content-Type", "").split(";")[0].strip().lower() != "application/json":
            return None
        try:
            fields = json.loads(self.content)
        except (ValueError, RecursionError):
            return None
        return fields if isinstance(fields, dict) else None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why what came back is no answer, as the client judges it.

    ``outcome_unknown``: the request may have taken effect. ``again``: asking again may help.
    """

    detail: str
    outcome_unknown: bool = True
    again: bool = True


class _Lost(Exception):
    """An attempt without an answer."""

    def __init__(self, failure: Failure, received: Received | None = None) -> None:
        self.failure = failure
        self.retry_after_seconds = received.retry_after_seconds if received else None
        self.is_rate_limited = received is not None and received.status == 429
        asked = self.retry_after_seconds
        self.detail = failure.detail if asked is None else f"{failure.detail}, retry after {asked:g} s"
        super().__init__(self.detail)


class HttpExchange:
    """Requests to one system. ``http`` stays the caller's to close; without it the exchange opens its own."""

    def __init__(
        self,
        system: str,
        base_url: str,
        *,
        guard: CallGuard,
        policy: RetryPolicy,
        http: httpx.AsyncClient | None = None,
        timeouts: httpx.Timeout | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.system = system
        self._base_url = base_url.rstrip("/")
        self._guard = guard
        self._policy = policy
        self._owns_http = http is None
        self._http = http or httpx.AsyncClient(trust_env=False, verify=tls or True)
        self._timeouts = timeouts or httpx.Timeout(10.0, connect=3.0)

    async def aclose(self) -> None:
        """Close the connections that this exchange opened itself."""
        if self._owns_http:
            await self._http.aclose()

    async def send(
        self,
        method: str,
        target: str | httpx.URL,
        *,
        authenticate: Callable[[httpx.Request], Awaitable[Mapping[str, str]]],
        judge: Callable[[Received], Answer | Failure],
        repeatable: bool,
        **parts: Any,
    ) -> Answer:
        """Send, and again where safe: always after what surely had no effect, else only if ``repeatable``.

        ``target`` is a path below the base URL, or a whole URL. ``authenticate`` gives each attempt's headers, once the
        request is as it will be sent. ``parts`` are httpx's (``params``, ``content``, ``json``, ``headers``).

        :raises Unavailable: no useful answer; ``outcome_unknown`` where any attempt may have taken effect
        :raises CircuitOpen: the same, because nothing is sent to this system for now
        """
        url = target if isinstance(target, httpx.URL) else self._base_url + target
        maybe_done = False

        async def attempt() -> Answer:
            nonlocal maybe_done
            request = self._http.build_request(method, url, timeout=self._timeouts, **parts)
            request.headers.update(await authenticate(request))
            try:
                with await self._guard.circuit.admit() as admitted:
                    return await self._attempt(request, judge, admitted)
            except _Lost as lost:
                maybe_done = maybe_done or lost.failure.outcome_unknown
                raise

        try:
            return await self._retrying(repeatable)(attempt)
        except CircuitOpen as refusal:
            raise CircuitOpen(self.system, refusal.detail, outcome_unknown=maybe_done) from refusal
        except _Lost as lost:
            raise Unavailable(self.system, lost.detail, outcome_unknown=maybe_done) from lost

    async def _attempt(
        self, request: httpx.Request, judge: Callable[[Received], Answer | Failure], admitted: Attempt
    ) -> Answer:
        try:
            async with asyncio.timeout(self._policy.attempt_seconds_max):
                received = await self._received(request)
        except httpx.PoolTimeout as error:  # our own connections are all busy: no word about the system
            raise _Lost(Failure("PoolTimeout", outcome_unknown=False)) from error
        except (httpx.HTTPError, TimeoutError) as error:
            admitted.failed()
            sent = not isinstance(error, _NEVER_LEFT_US)
            raise _Lost(Failure(type(error).__name__, outcome_unknown=sent)) from error
        if received is None:
            admitted.failed()
            raise _Lost(Failure(f"an answer beyond {self._policy.answer_bytes_max} bytes"))
        verdict = judge(received)
        if not isinstance(verdict, Failure):
            admitted.answered()
            return verdict
        if verdict.outcome_unknown:
            admitted.failed()
        else:
            admitted.refused()
        raise _Lost(verdict, received)

    async def _received(self, request: httpx.Request) -> Received | None:
        """The answer; None where it is too large. Redirects are not followed: our credentials go nowhere else."""
        response = await self._http.send(request, stream=True, follow_redirects=False)
        try:
            content = bytearray()
            async for piece in response.aiter_bytes():
                content += piece
                if len(content) > self._policy.answer_bytes_max:
                    return None
            return Received(response.status_code, response.headers, bytes(content))
        finally:
            await response.aclose()

    def _retrying(self, repeatable: bool) -> AsyncRetrying:
        def pause(state: RetryCallState, jitter: float) -> float | None:
            """How long to wait before the next attempt; None when there shall be none."""
            lost = state.outcome.exception() if state.outcome else None
            if not isinstance(lost, _Lost) or not lost.failure.again:
                return None
            if lost.failure.outcome_unknown and not repeatable:
                return None
            return self._policy.pause_seconds(
                state.attempt_number,
                asked_for=lost.retry_after_seconds,
                is_rate_limited=lost.is_rate_limited,
                jitter=jitter,
            )

        return AsyncRetrying(
            stop=stop_after_attempt(self._policy.attempts_max),
            retry=lambda state: pause(state, 0.0) is not None,
            wait=lambda state: pause(state, self._guard.jitter()) or 0.0,
            sleep=self._guard.sleep,
            reraise=True,
        )
