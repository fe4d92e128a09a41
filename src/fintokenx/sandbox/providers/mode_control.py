"""The control surface of every mock server: what is switched, and what was received (:mod:`modes`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from fintokenx.sandbox.providers.mode_words import UP


@dataclass(frozen=True, slots=True)
class Setting:
    """What is switched on. ``times`` is what is left of it; None means until changed."""

    mode: str = UP
    times: int | None = None
    seconds: float | None = None
    only: str | None = None


class Records(Protocol):
    """What was received and sent."""

    def clear(self) -> None:
        """Forget it."""

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        ...


class Switchboard(Protocol):
    """What the control surface acts on."""

    provider: str
    meanings: dict[str, str]
    setting: Setting
    webhook_url: str | None

    @property
    def log(self) -> Records:
        """What was received and sent."""
        ...

    def set(
        self, mode: str, *, times: int | None = None, seconds: float | None = None, only: str | None = None
    ) -> None:
        """Switch. :raises ValueError: it makes no sense, and why"""


def control_routes(modes: Switchboard) -> Router:
    """The control surface: see :mod:`modes`."""

    def current() -> JSONResponse:
        return JSONResponse({"provider": modes.provider, **asdict(modes.setting), "modes": modes.meanings})

    async def get_mode(_: Request) -> Response:
        return current()

    async def set_mode(request: Request) -> Response:
        try:
            wanted = await _members(request, "mode", "times", "seconds", "only")
            mode = wanted.pop("mode", None)
            if not isinstance(mode, str):
                raise ValueError("mode must be text")
            modes.set(mode, **wanted)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, status_code=422)
        return current()

    async def get_log(_: Request) -> Response:
        return JSONResponse(modes.log.as_json())

    async def clear_log(_: Request) -> Response:
        modes.log.clear()
        return Response(status_code=204)

    async def set_webhook(request: Request) -> Response:
        try:
            modes.webhook_url = _webhook_url(await _members(request, "url"))
        except ValueError as error:
            return JSONResponse({"error": str(error)}, status_code=422)
        return JSONResponse({"url": modes.webhook_url})

    return Router(
        [
            Route("/control/mode", get_mode, methods=["GET"]),
            Route("/control/mode", set_mode, methods=["POST"]),
            Route("/control/log", get_log, methods=["GET"]),
            Route("/control/log", clear_log, methods=["DELETE"]),
            Route("/control/webhook", set_webhook, methods=["POST"]),
        ]
    )


async def _members(request: Request, *known: str) -> dict[str, Any]:
    """The body of a control route. :raises ValueError: not a JSON object, or with a member that the route lacks"""
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise ValueError("the body must be JSON") from None
    if not isinstance(body, dict):
        raise ValueError("the body must be an object")
    if unknown := body.keys() - set(known):
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}; there is {', '.join(known)}")
    return body


def _webhook_url(wanted: Mapping[str, Any]) -> str | None:
    """:raises ValueError: neither an address nor null"""
    url = wanted.get("url", "")
    if url is None:
        return None
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        raise ValueError("url must be an http address, or null") from None
    if parsed.scheme not in ("http", "https") or not parsed.host or not 0 < (parsed.port or 80) < 65_536:
        raise ValueError("url must be an http address, or null")
    return str(url)
