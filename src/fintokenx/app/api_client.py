"""A client of the public API as a careful partner would write one: it retries with the same key until it knows."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import httpx

PATIENCE_SECONDS: Final = 180.0
_RETRY: Final = frozenset({500, 502, 503, 504})


class ApiRefused(Exception):
    """The platform said no; ``problem`` is its RFC 9457 document."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status = status
        self.problem = problem
        self.code = str(problem.get("code", ""))
        super().__init__(f"{status} {self.code}: {problem.get('title', '')} {problem.get('detail', '')}".strip())


class GaveUp(Exception):
    """It did not happen within the patience."""


class Api:
    """Calls with one caller's credentials. A mutation is repeated under its key while the platform is away."""

    def __init__(
        self, base_url: str, *, api_key: str = "", token: str = "", patience: float = PATIENCE_SECONDS
    ) -> None:
        self.base_url = base_url
        self.token = token
        self._patience = patience
        headers = {}
        if api_key:
            headers["FX-Api-Key"] = api_key
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx.AsyncClient(base_url=base_url, headers=headers, timeout=30.0, trust_env=False)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(self, path: str, **parameters: Any) -> Any:
        """The JSON of a read."""
        return (await self._send("GET", path, params=parameters)).json()

    async def post(self, path: str, body: Any, *, key: str) -> Any:
        """The JSON of a mutation, done once for this key."""
        return (await self._send("POST", path, json=body, headers={"FX-Idempotency-Key": key})).json()

    async def put(self, path: str, body: Any, *, key: str) -> Any:
        """The JSON of a mutation, done once for this key."""
        return (await self._send("PUT", path, json=body, headers={"FX-Idempotency-Key": key})).json()

    async def upload(self, path: str, *, name: str, content: bytes, declared: dict[str, Any], key: str) -> Any:
        """Upload a document with what it declares."""
        answer = await self._send(
            "POST", path, files={"file": (name, content)}, data={"declared": json.dumps(declared)},
            headers={"FX-Idempotency-Key": key},
        )  # fmt: skip
        return answer.json()

    async def once(self, method: str, path: str, **request: Any) -> httpx.Response:
        """One try, and the answer as it is. :raises httpx.TransportError: none came"""
        return await self._http.request(method, path, **request)

    async def page(self, url: str, form: dict[str, str] | None = None) -> httpx.Response:
        """A page for people: GET, or POST with a form. A form is not repeated blindly: its answer may be lost."""
        if form is None:
            return await self._send("GET", url)
        return await self._http.post(url, data=form)

    async def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                answer = await self._http.request(method, path, **request)
            except httpx.TransportError as fault:
                if time.monotonic() > deadline:
                    raise GaveUp(f"{method} {path}: {type(fault).__name__}") from fault
            else:
                problem = _problem(answer)
                in_flight = problem.get("code") == "IDEMPOTENCY_IN_FLIGHT"
                if answer.status_code not in _RETRY and not in_flight:
                    if answer.status_code >= 400:
                        raise ApiRefused(answer.status_code, problem)
                    return answer
                if time.monotonic() > deadline:
                    raise ApiRefused(answer.status_code, problem)
            await asyncio.sleep(0.3)


def _problem(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


async def eventually(
    what: str, look: Callable[[], Awaitable[Any]], *, seconds: float = PATIENCE_SECONDS, every: float = 0.25
) -> Any:
    """Look until there is something. :raises GaveUp: not within ``seconds``"""
    deadline = time.monotonic() + seconds
    while True:
        found = await look()
        if found is not None and found is not False:
            return found
        if time.monotonic() > deadline:
            raise GaveUp(what)
        await asyncio.sleep(every)
