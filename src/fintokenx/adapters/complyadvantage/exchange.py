"""One exchange with ComplyAdvantage: the envelope, the pace the vendor asks for, what counts as an answer.

The search term is a person's name: no body is logged or put into an error.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from fintokenx.kernel.credentials import Credential
from fintokenx.kernel.errors import Unavailable

SYSTEM = "complyadvantage"


@dataclass(frozen=True, slots=True)
class Pace:
    """The vendor wants exponential waits from 2 s up to 60 s after a 429. Seconds of wall time.

    ``jitter`` gives numbers from 0 up to 1. A wait longer than ``longest_pause_seconds`` is not waited for.
    """

    attempts: int = 3
    first_pause_seconds: float = 2.0
    longest_pause_seconds: float = 10.0
    attempt_limit_seconds: float = 20.0
    jitter: Callable[[], float] = lambda: 1.0


@dataclass(frozen=True, slots=True)
class Content:
    """The ``content`` of a successful envelope, and the body it came in."""

    fields: Mapping[str, Any]
    raw: bytes


class _Lost(Exception):
    """No answer. ``processed`` False: surely not; None: nobody knows. ``wait``: what the vendor asked for."""

    def __init__(self, detail: str, *, processed: bool | None, again: bool, wait: float | None = None) -> None:
        self.detail = detail
        self.processed = processed
        self.again = again
        self.wait = wait


class Exchange:
    """Sends authenticated requests and opens the envelope."""

    def __init__(
        self, base_url: str, *, api_key: Credential, http: httpx.AsyncClient, timeouts: httpx.Timeout, pace: Pace
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._api_key = api_key
        self._http = http
        self._timeouts = timeouts
        self._pace = pace

    async def get(self, path: str, query: Mapping[str, str | int] | None = None) -> Content:
        """Read, again after any passing failure. :raises Unavailable: no useful answer"""
        return await self._send("GET", path, repeat_unknown=True, params=query)

    async def post(self, path: str, body: Mapping[str, Any]) -> Content:
        """Write, again only after what surely was not processed.

        :raises Unavailable: no useful answer; with ``outcome_unknown`` it may have taken effect
        """
        return await self._send("POST", path, repeat_unknown=False, json=body)

    async def _send(self, method: str, path: str, *, repeat_unknown: bool, **parts: Any) -> Content:
        for pause_seconds in self._pauses():
            try:
                return await self._attempt(method, path, parts)
            except _Lost as lost:
                wait = pause_seconds if lost.wait is None else lost.wait
                may_repeat = lost.again and (lost.processed is False or repeat_unknown)
                if not may_repeat or wait > self._pace.longest_pause_seconds:
                    raise _unavailable(lost) from lost
            await asyncio.sleep(wait)
        try:
            return await self._attempt(method, path, parts)
        except _Lost as lost:
            raise _unavailable(lost) from lost

    def _pauses(self) -> list[float]:
        """One pause between every two attempts."""
        return [
            min(self._pace.first_pause_seconds * 2**attempt, self._pace.longest_pause_seconds)
            * (0.5 + self._pace.jitter() / 2)
            for attempt in range(self._pace.attempts - 1)
        ]

    async def _attempt(self, method: str, path: str, parts: Mapping[str, Any]) -> Content:
        headers = {"Authorization": f"Token {await self._api_key.value()}"}
        request = self._http.build_request(
            method, self._base_url + path, headers=headers, timeout=self._timeouts, **parts
        )
        try:
            async with asyncio.timeout(self._pace.attempt_limit_seconds):
                response = await self._http.send(request, follow_redirects=False)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise _Lost(type(error).__name__, processed=False, again=True) from error
        except (httpx.HTTPError, TimeoutError) as error:
            raise _Lost(type(error).__name__, processed=None, again=True) from error
        return _open_envelope(response)


def _open_envelope(response: httpx.Response) -> Content:
    status = response.status_code
    if status == 429:
        raise _Lost("429", processed=False, again=True, wait=_retry_after_seconds(response))
    if status >= 500:
        raise _Lost(str(status), processed=None, again=True, wait=_retry_after_seconds(response))
    if not response.is_success:
        raise _Lost(str(status), processed=False, again=False)
    media_type = response.headers.get("Content-Type", "").split(";")[0].strip().lower()
    try:
        envelope = json.loads(response.content) if media_type == "application/json" else None
    except (ValueError, RecursionError):
        envelope = None
    if not isinstance(envelope, dict) or not isinstance(envelope.get("content"), dict):
        raise _Lost(f"{status} without an envelope", processed=None, again=True)
    if envelope.get("status") != "success":
        raise _Lost(f"{status} whose envelope does not say success", processed=None, again=False)
    return Content(envelope["content"], response.content)


def _retry_after_seconds(response: httpx.Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else None


def _unavailable(lost: _Lost) -> Unavailable:
    return Unavailable(SYSTEM, lost.detail, outcome_unknown=lost.processed is None)
