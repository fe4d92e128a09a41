"""Every way a vendor fails, switched from outside: one ``Modes`` per mock server, one line to install it.

A mock server writes ``modes = Modes("sumsub", clock, own=WEBHOOK_MODES | {...})`` and ``modes.install(app)``.
From then on the *transport* modes (the connection drops, the answer is late, cut, HTML, 429 …) act on every
request of the vendor's surface without the mock knowing; the *content* modes (an unknown verdict, a duplicate
webhook, whatever the mock declares as its own) act where the mock asks with ``take`` or ``is_on``.
``Courier`` sends a mock's webhooks and obeys the webhook modes.

Control surface, outside the vendor's and never part of it:

- ``GET /control/mode`` → ``{"provider", "mode", "times", "seconds", "only", "modes": {name: meaning}}``
- ``POST /control/mode`` ``{"mode": "5xx", "times": 2 | null, "seconds": 0.5 | null, "only": "POST /payments" | null}``;
  after ``times`` uses the mode falls back to ``up``; ``only`` is a prefix of ``METHOD /path``
- ``GET /control/log`` → ``{"deliveries": [...], "effects": [...], "webhooks": [...]}``; ``DELETE`` empties it
- ``POST /control/webhook`` ``{"url": "http://…" | null}``: where webhooks go

What a control route does not understand it names: 422 ``{"error"}``; another method is 405, another path 404.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import asdict, dataclass, field
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fintokenx.kernel.clock import Clock, to_wire
from fintokenx.sandbox.providers.mode_control import Setting, control_routes
from fintokenx.sandbox.providers.mode_words import LATE_MODES, TRANSPORT_MODES, UP

LOG_LENGTH = 10_000
READS = frozenset({"GET", "HEAD", "OPTIONS"})

ClientReference = Callable[[str, str, Mapping[str, str], bytes], str | None]
"""(method, path, lower-case headers, body) to the reference by which the client would recognise the request."""


@dataclass(slots=True)
class Delivery:
    """One request that reached the vendor's surface. ``status`` None: the client never saw an answer."""

    sequence: int
    at: str
    method: str
    path: str
    client_reference: str | None
    mode: str
    status: int | None = None


@dataclass(slots=True)
class Log:
    """What a test may count (P-15): requests received, effects they had, webhooks sent. No bodies."""

    deliveries: deque[Delivery] = field(default_factory=lambda: deque(maxlen=LOG_LENGTH))
    effects: deque[dict[str, str | None]] = field(default_factory=lambda: deque(maxlen=LOG_LENGTH))
    webhooks: deque[dict[str, str | int | None]] = field(default_factory=lambda: deque(maxlen=LOG_LENGTH))

    def clear(self) -> None:
        for entries in (self.deliveries, self.effects, self.webhooks):
            entries.clear()

    def as_json(self) -> dict[str, Any]:
        return {
            "deliveries": [asdict(delivery) for delivery in self.deliveries],
            "effects": list(self.effects),
            "webhooks": list(self.webhooks),
        }


def _plain_error(status: int) -> dict[str, Any]:
    return {"error": {401: "unauthorised", 429: "too many requests"}.get(status, "server error")}


class Modes:
    """The switchboard of one mock server.

    ``own`` names the content modes that the mock understands; ``error_body`` gives the vendor's JSON for a
    status that the middleware answers by itself (401, 429, 5xx).
    """

    def __init__(
        self,
        provider: str,
        clock: Clock,
        *,
        own: Mapping[str, str] | None = None,
        client_reference: ClientReference | None = None,
        error_body: Callable[[int], dict[str, Any]] = _plain_error,
        webhook_url: str | None = None,
    ) -> None:
        self.provider = provider
        self.meanings: dict[str, str] = {UP: "works", **TRANSPORT_MODES, **(own or {})}
        self.setting = Setting()
        self.log = Log()
        self.webhook_url = webhook_url
        self.error_body = error_body
        self._clock = clock
        self._client_reference = client_reference
        self._sequence = itertools.count(1)
        self._server_errors = itertools.cycle((500, 502, 503))
        self._changed = asyncio.Event()

    def install(self, app: Starlette) -> None:
        """Put the modes and the control surface in front of ``app`` (a FastAPI application is one too)."""
        app.add_middleware(_Faults, modes=self)

    def set(
        self, mode: str, *, times: int | None = None, seconds: float | None = None, only: str | None = None
    ) -> None:
        """Switch; from the mock's own event loop only.

        :raises ValueError: a mode this mock does not know, a count or duration that makes no sense, or a count
            for a mode that waits for the next switch
        """
        if mode not in self.meanings:
            raise ValueError(f"unknown mode {mode!r}; {self.provider} knows {', '.join(sorted(self.meanings))}")
        if times is not None and (type(times) is not int or times < 1):
            raise ValueError("times must be a whole number from 1")
        if seconds is not None and (type(seconds) not in {int, float} or not 0 <= seconds < float("inf")):
            raise ValueError("seconds must be a number from 0")
        if only is not None and not isinstance(only, str):
            raise ValueError("only must be text: METHOD, a space, the beginning of the path")
        if mode in LATE_MODES and times is not None and seconds is None:
            raise ValueError(f"{mode} with times needs seconds: it would end as it begins")
        self._switch(Setting(mode, times, seconds, only))

    def is_on(self, mode: str) -> bool:
        """Whether ``mode`` is switched on; uses nothing of ``times``."""
        if mode not in self.meanings:
            raise ValueError(f"{self.provider} asks for a mode that it never declared: {mode!r}")
        return self.setting.mode == mode

    def take(self, mode: str) -> bool:
        """Whether ``mode`` is switched on; uses one of ``times``."""
        if not self.is_on(mode):
            return False
        self._use()
        return True

    async def until_off(self, mode: str) -> None:
        """Wait for as long as ``mode`` is switched on."""
        while self.is_on(mode):
            await self._changed.wait()

    def effect(self, client_reference: str | None, effect: str) -> None:
        """Log that a request changed something at the vendor, e.g. ``("sub-1", "applicant created")``."""
        self.log.effects.append({"client_reference": client_reference, "effect": effect})

    def take_for_request(self, method: str, path: str) -> str:
        """The transport mode that acts on this request, or ``up``; uses one of ``times``."""
        setting = self.setting
        if setting.mode not in TRANSPORT_MODES:
            return UP
        if setting.only is not None and not f"{method} {path}".startswith(setting.only):
            return UP
        if setting.mode == "lost_response" and method in READS:
            return UP
        self._use()
        return setting.mode

    def receive(self, method: str, path: str, headers: Mapping[str, str], body: bytes, mode: str) -> Delivery:
        """Log a request that reached the vendor; the caller fills in ``status``."""
        reference = self._client_reference(method, path, headers, body) if self._client_reference else None
        delivery = Delivery(next(self._sequence), to_wire(self._clock.now()), method, path, reference, mode)
        self.log.deliveries.append(delivery)
        return delivery

    def next_server_error(self) -> int:
        return next(self._server_errors)

    def _use(self) -> None:
        setting = self.setting
        if setting.times is None:
            return
        left = setting.times - 1
        self._switch(Setting(setting.mode, left, setting.seconds, setting.only) if left else Setting())

    def _switch(self, setting: Setting) -> None:
        self.setting = setting
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


@dataclass(slots=True)
class _Call:
    """One request on its way through the middleware, its body already read."""

    app: ASGIApp
    scope: Scope
    receive: Receive
    send: Send
    body: bytes
    delivery: Delivery
    seconds: float | None

    async def pass_on(self, send: Send) -> None:
        handed_over = False

        async def replay() -> Message:
            nonlocal handed_over
            if handed_over:
                return await self.receive()
            handed_over = True
            return {"type": "http.request", "body": self.body, "more_body": False}

        await self.app(self.scope, replay, send)

    async def process(self) -> _Answer:
        """Let the mock do its work and keep the answer back."""
        answer = _Answer()

        async def keep(message: Message) -> None:
            answer.take(message)

        await self.pass_on(keep)
        return answer

    async def answer(self, answer: _Answer) -> None:
        self.delivery.status = answer.status
        headers = {**answer.headers, b"content-length": str(len(answer.body)).encode()}
        await self.send({"type": "http.response.start", "status": answer.status, "headers": list(headers.items())})
        await self.send({"type": "http.response.body", "body": answer.body})

    async def drop(self) -> None:
        """Reset the connection without a byte of an answer.

        ASGI has no word for it, so this reaches for the transport that uvicorn keeps beside ``receive``; under
        another server the exception is the nearest thing.
        """
        transport = getattr(getattr(self.receive, "__self__", None), "transport", None)
        if transport is None:
            raise ConnectionResetError("the mock dropped the connection")
        transport.abort()
        await self.wait_for_disconnect()

    async def wait_for_disconnect(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass


@dataclass(slots=True)
class _Answer:
    """A response kept back by the middleware, or made by it."""

    status: int = 500
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""

    def take(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {bytes(name).lower(): bytes(value) for name, value in message["headers"]}
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")


def _json_answer(status: int, body: Mapping[str, Any], headers: Mapping[bytes, bytes] | None = None) -> _Answer:
    return _Answer(status, {b"content-type": b"application/json", **(headers or {})}, json.dumps(body).encode())


class _Faults:
    """ASGI middleware: serves ``/control``, logs deliveries, applies the transport modes."""

    def __init__(self, app: ASGIApp, modes: Modes) -> None:
        self._app = app
        self._modes = modes
        self._control = control_routes(modes)
        self._acts: dict[str, Callable[[_Call], Awaitable[None]]] = {
            UP: self._up,
            "down": self._down,
            "timeout": self._timeout,
            "slow": self._slow,
            "5xx": self._server_error,
            "malformed": self._malformed,
            "html": self._html,
            "wrong_shape": self._wrong_shape,
            "lost_response": self._lost_response,
            "rate_limited": self._rate_limited,
            "rate_limited_bare": self._rate_limited_bare,
            "unauthorised": self._unauthorised,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path.startswith("/control/"):
            await self._answer_control(scope, receive, send)
            return
        body = await _read(receive)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        seconds = self._modes.setting.seconds
        mode = self._modes.take_for_request(scope["method"], path)
        delivery = self._modes.receive(scope["method"], path, headers, body, mode)
        await self._acts[mode](_Call(self._app, scope, receive, send, body, delivery, seconds))

    async def _answer_control(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._control(scope, receive, send)
        except HTTPException as error:  # of the router: no such path, no such method
            await JSONResponse({"error": error.detail}, error.status_code, error.headers)(scope, receive, send)

    async def _up(self, call: _Call) -> None:
        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                call.delivery.status = message["status"]
            await call.send(message)

        await call.pass_on(noting)

    async def _down(self, call: _Call) -> None:
        await call.drop()

    async def _timeout(self, call: _Call) -> None:
        with anyio.move_on_after(60 if call.seconds is None else call.seconds):
            await call.wait_for_disconnect()
            return
        await call.drop()

    async def _slow(self, call: _Call) -> None:
        answer = await call.process()
        with anyio.move_on_after(1 if call.seconds is None else call.seconds):
            await call.wait_for_disconnect()
            return
        await call.answer(answer)

    async def _server_error(self, call: _Call) -> None:
        status = self._modes.next_server_error()
        await call.answer(_json_answer(status, self._modes.error_body(status)))

    async def _malformed(self, call: _Call) -> None:
        answer = await call.process()
        answer.body = answer.body[: len(answer.body) // 2] or b"{"
        await call.answer(answer)

    async def _html(self, call: _Call) -> None:
        page = b"<!doctype html><title>Bad gateway</title><h1>Please try again later</h1>"
        await call.answer(_Answer(200, {b"content-type": b"text/html; charset=utf-8"}, page))

    async def _wrong_shape(self, call: _Call) -> None:
        answer = await call.process()
        await call.answer(_json_answer(answer.status, {"unexpected": [True, None]}))

    async def _lost_response(self, call: _Call) -> None:
        await call.process()
        await call.drop()

    async def _rate_limited(self, call: _Call) -> None:
        wait = f"{1 if call.seconds is None else call.seconds:g}".encode()
        await call.answer(_json_answer(429, self._modes.error_body(429), {b"retry-after": wait}))

    async def _rate_limited_bare(self, call: _Call) -> None:
        await call.answer(_json_answer(429, self._modes.error_body(429)))

    async def _unauthorised(self, call: _Call) -> None:
        await call.answer(_json_answer(401, self._modes.error_body(401)))


async def _read(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body", False):
            return body
