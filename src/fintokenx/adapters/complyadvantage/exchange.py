"""One exchange with ComplyAdvantage: the envelope, the pace the vendor asks for, what counts as an answer.

The search term is a person's name: no body is logged or put into an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from fintokenx.adapters.outbound import CallGuard, Failure, HttpExchange, Received, RetryPolicy
from fintokenx.kernel.credentials import Credential

SYSTEM: Final = "complyadvantage"
POLICY: Final = RetryPolicy(first_pause_seconds=2.0, pause_seconds_max=10.0)
"""The vendor wants exponential waits from 2 s up to 60 s after a 429; beyond 10 s the caller's job comes back later."""


@dataclass(frozen=True, slots=True)
class Content:
    """The ``content`` of a successful envelope, and the body it came in."""

    fields: Mapping[str, Any]
    raw: bytes


class Exchange:
    """Sends authenticated requests and opens the envelope."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: Credential,
        guard: CallGuard,
        http: httpx.AsyncClient | None,
        timeouts: httpx.Timeout | None,
        policy: RetryPolicy,
    ) -> None:
        self._api_key = api_key
        self._http = HttpExchange(SYSTEM, base_url, guard=guard, policy=policy, http=http, timeouts=timeouts)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(self, path: str, query: Mapping[str, str | int] | None = None) -> Content:
        """Read, again after any passing failure. :raises Unavailable: no useful answer"""
        return await self._send("GET", path, repeatable=True, params=query)

    async def post(self, path: str, body: Mapping[str, Any]) -> Content:
        """Write, again only after what surely was not processed.

        :raises Unavailable: no useful answer; with ``outcome_unknown`` it may have taken effect
        """
        return await self._send("POST", path, repeatable=False, json=body)

    async def _send(self, method: str, path: str, *, repeatable: bool, **parts: Any) -> Content:
        return await self._http.send(
            method, path, authenticate=self._authorised, judge=_open_envelope, repeatable=repeatable, **parts
        )

    async def _authorised(self, _request: httpx.Request) -> Mapping[str, str]:
        return {"Authorization": f"Token {await self._api_key.value()}"}


def _open_envelope(received: Received) -> Content | Failure:
    status = received.status
    if status == 429:
        return Failure("429", outcome_unknown=False)
    if status >= 500:
        return Failure(str(status))
    if not received.is_success:
        return Failure(str(status), outcome_unknown=False, again=False)
    envelope = received.json_object()
    if envelope is None or not isinstance(envelope.get("content"), dict):
        return Failure(f"{status} without an envelope")
    if envelope.get("status") != "success":
        return Failure(f"{status} whose envelope does not say success", again=False)
    return Content(envelope["content"], received.content)
