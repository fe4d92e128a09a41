"""One signed exchange with Sumsub: what is sent again, how long we wait, and what counts as an answer.

Bodies and headers are personal data and secrets: neither is logged nor put into an error.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from fintokenx.kernel.clock import Clock
from fintokenx.kernel.credentials import Credential
from fintokenx.kernel.errors import Unavailable

SYSTEM = "sumsub"
ANSWERS_WITHOUT_A_BODY = frozenset({404, 409})
_CORRELATION = re.compile(r"[A-Za-z0-9-]{1,80}")


@dataclass(frozen=True, slots=True)
class Answer:
    """A status we can act on (2xx, 404, 409). ``fields`` is the JSON object, empty for 404 and 409."""

    status: int
    fields: Mapping[str, Any]
    raw: bytes


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why there is no answer. ``not_processed`` and ``final`` False: nobody knows whether it took effect."""

    detail: str
    not_processed: bool = False
    final: bool = False
    retry_after_seconds: float | None = None
    too_many: bool = False


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how often. Seconds of wall time; ``jitter`` gives numbers from 0 up to 1."""

    attempts: int = 3
    first_pause_seconds: float = 0.3
    longest_pause_seconds: float = 5.0
    """A ``Retry-After`` beyond this is not waited for: the caller's job comes back later. A 429 without one is waited
    for so long: the vendor counts requests in windows of 5 s (its reference, "Rate limits")."""
    attempt_limit_seconds: float = 20.0
    """For one attempt as a whole; the read timeout alone does not stop an answer that trickles."""
    jitter: Callable[[], float] = lambda: 1.0

    def pause_seconds(self, attempt: int, asked_for: float | None, *, too_many: bool = False) -> float | None:
        """How long after ``attempt`` (from 0) until the next; None when there shall be none. ``too_many``: the vendor's
        window is full."""
        if attempt + 1 >= self.attempts:
            return None
        if asked_for is not None:
            return asked_for if asked_for <= self.longest_pause_seconds else None
        if too_many:
            return self.longest_pause_seconds
        doubled: float = min(self.first_pause_seconds * 2**attempt, self.longest_pause_seconds)
        return doubled * (0.5 + self.jitter() / 2)


def signature(app_secret: str, timestamp: str, method: str, target: bytes, body: bytes) -> str:
    """``X-App-Access-Sig``: lower-case hex HMAC-SHA256 over timestamp, method, path with query as sent, body."""
    signed = timestamp.encode() + method.encode() + target + body
    return hmac.new(app_secret.encode(), signed, hashlib.sha256).hexdigest()


class Exchange:
    """Sends signed requests. ``clock`` must agree with the vendor's within 60 s."""

    def __init__(
        self,
        base_url: str,
        *,
        app_token: Credential,
        app_secret: Credential,
        clock: Clock,
        http: httpx.AsyncClient,
        timeouts: httpx.Timeout,
        patience: Patience,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._app_token = app_token
        self._app_secret = app_secret
        self._clock = clock
        self._http = http
        self._timeouts = timeouts
        self._patience = patience

    async def send(self, method: str, target: str, body: bytes = b"", *, repeatable: bool) -> Answer:
        """Send, and again where safe: always if surely not processed, else only if ``repeatable``.

        :raises Unavailable: no useful answer
        """
        attempt = 0
        while True:
            outcome = await self._attempt(method, target, body)
            if isinstance(outcome, Answer):
                return outcome
            asked_for, too_many = outcome.retry_after_seconds, outcome.too_many
            pause_seconds = self._patience.pause_seconds(attempt, asked_for, too_many=too_many)
            may_repeat = outcome.not_processed or (repeatable and not outcome.final)
            if pause_seconds is None or not may_repeat:
                known = outcome.not_processed or outcome.final
                raise Unavailable(SYSTEM, outcome.detail, outcome_unknown=not known)
            await asyncio.sleep(pause_seconds)
            attempt += 1

    async def _attempt(self, method: str, target: str, body: bytes) -> Answer | _Failure:
        request = await self._signed(method, target, body)
        try:
            async with asyncio.timeout(self._patience.attempt_limit_seconds):
                response = await self._http.send(request, follow_redirects=False)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return _Failure(type(error).__name__, not_processed=True)
        except (httpx.HTTPError, TimeoutError) as error:
            return _Failure(type(error).__name__)
        return _understood(response)

    async def _signed(self, method: str, target: str, body: bytes) -> httpx.Request:
        request = self._http.build_request(
            method, self._base_url + target, content=body or None, timeout=self._timeouts
        )
        timestamp = str(int(self._clock.now().timestamp()))
        request.headers["X-App-Token"] = await self._app_token.value()
        request.headers["X-App-Access-Ts"] = timestamp
        # Signed as httpx will send it, not as we wrote it: the vendor compares the encoded form.
        sent_target = request.url.raw_path
        app_secret = await self._app_secret.value()
        request.headers["X-App-Access-Sig"] = signature(app_secret, timestamp, method, sent_target, body)
        if body:
            request.headers["Content-Type"] = "application/json"
        return request


def _understood(response: httpx.Response) -> Answer | _Failure:
    status = response.status_code
    if status == 429 or (status == 409 and "Retry-After" in response.headers):
        return _Failure(
            _named(response),
            not_processed=True,
            retry_after_seconds=_retry_after_seconds(response),
            too_many=status == 429,
        )
    if status in ANSWERS_WITHOUT_A_BODY:
        return Answer(status, {}, response.content)
    if status >= 500:
        return _Failure(_named(response), retry_after_seconds=_retry_after_seconds(response))
    if not response.is_success:
        return _Failure(_named(response), final=True)
    fields = _json_object(response)
    return _Failure(f"{status} without a JSON object") if fields is None else Answer(status, fields, response.content)


def _json_object(response: httpx.Response) -> Mapping[str, Any] | None:
    if response.headers.get("Content-Type", "").split(";")[0].strip().lower() != "application/json":
        return None
    try:
        fields = json.loads(response.content)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _named(response: httpx.Response) -> str:
    """The status, and the vendor's correlation id so that their support can find the request."""
    correlation = (_json_object(response) or {}).get("correlationId")
    if isinstance(correlation, str) and _CORRELATION.fullmatch(correlation):
        return f"{response.status_code} ({correlation})"
    return str(response.status_code)


def _retry_after_seconds(response: httpx.Response) -> float | None:
    """Whole seconds as the vendor sends them; the date form counts as absent (our clock may not be theirs)."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else None
