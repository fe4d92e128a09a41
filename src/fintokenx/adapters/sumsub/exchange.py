"""A signed exchange with Sumsub: the signature, and which answers count.

Bodies and headers are personal data and secrets: neither is logged nor put into an error.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from fintokenx.adapters.outbound import CallGuard, Failure, HttpExchange, Received, RetryPolicy
from fintokenx.kernel.clock import Clock
from fintokenx.kernel.credentials import Credential

SYSTEM: Final = "sumsub"
POLICY: Final = RetryPolicy(rate_limited_pause_seconds=5.0)
"""The vendor counts requests in windows of 5 s (its reference, "Rate limits")."""
ANSWERS_WITHOUT_A_BODY: Final = frozenset({404, 409})
_CORRELATION: Final = re.compile(r"[A-Za-z0-9-]{1,80}")


@dataclass(frozen=True, slots=True)
class Answer:
    """A status we can act on (2xx, 404, 409). ``fields`` is the JSON object, empty for 404 and 409."""

    status: int
    fields: Mapping[str, Any]
    raw: bytes


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
        guard: CallGuard,
        http: httpx.AsyncClient | None,
        timeouts: httpx.Timeout | None,
        policy: RetryPolicy,
    ) -> None:
        self._app_token = app_token
        self._app_secret = app_secret
        self._clock = clock
        self._http = HttpExchange(SYSTEM, base_url, guard=guard, policy=policy, http=http, timeouts=timeouts)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def send(self, method: str, target: str, body: bytes = b"", *, repeatable: bool) -> Answer:
        """Send, and again where safe: always if surely not processed, else only if ``repeatable``.

        :raises Unavailable: no useful answer
        """
        return await self._http.send(
            method, target, authenticate=self._signed, judge=_understood, repeatable=repeatable, content=body or None
        )

    async def _signed(self, request: httpx.Request) -> Mapping[str, str]:
        timestamp = str(int(self._clock.now().timestamp()))
        headers = {"X-App-Token": await self._app_token.value(), "X-App-Access-Ts": timestamp}
        # Signed as httpx will send it, not as we wrote it: the vendor compares the encoded form.
        sent_target = request.url.raw_path
        app_secret = await self._app_secret.value()
        headers["X-App-Access-Sig"] = signature(app_secret, timestamp, request.method, sent_target, request.content)
        if request.content:
            headers["Content-Type"] = "application/json"
        return headers


def _understood(received: Received) -> Answer | Failure:
    status = received.status
    if status == 429 or (status == 409 and "Retry-After" in received.headers):
        return Failure(_named(received), outcome_unknown=False)
    if status in ANSWERS_WITHOUT_A_BODY:
        return Answer(status, {}, received.content)
    if status >= 500:
        return Failure(_named(received))
    if not received.is_success:
        return Failure(_named(received), outcome_unknown=False, again=False)
    fields = received.json_object()
    return Failure(f"{status} without a JSON object") if fields is None else Answer(status, fields, received.content)


def _named(received: Received) -> str:
    """The status, and the vendor's correlation id so that their support can find the request."""
    correlation = (received.json_object() or {}).get("correlationId")
    if isinstance(correlation, str) and _CORRELATION.fullmatch(correlation):
        return f"{received.status} ({correlation})"
    return str(received.status)
