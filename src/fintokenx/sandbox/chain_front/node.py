"""One node: a TLS port that can be closed, lose an answer or be slow."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from fintokenx.kernel.errors import Unavailable
from fintokenx.sandbox.chain_front import besu
from fintokenx.sandbox.chain_front.certificates import LOOPBACK
from fintokenx.sandbox.chain_front.consortium import Member
from fintokenx.sandbox.chain_front.relay import SENDS, Relay


class Node:
    """One member's RPC port on this machine, the same over its whole life. ``peers`` counts the others that are up."""

    def __init__(self, member: Member, relay: Relay, tls: ssl.SSLContext, peers: Callable[[], int]) -> None:
        self.member = member
        self.losing = 0
        """How many answers to a sent transaction will be lost yet."""
        self.slow_seconds = 0.0
        self._relay = relay
        self._tls = tls
        self._peers = peers
        self._server: uvicorn.Server | None = None
        # Bound for life and never listening: while the node is down its port refuses, and nobody else can take it.
        self._reservation = _bound(0)
        self.port: int = self._reservation.getsockname()[1]

    @property
    def is_up(self) -> bool:
        """Whether its port takes connections."""
        return self._server is not None

    @property
    def url(self) -> str:
        """Where it speaks JSON-RPC."""
        return f"https://{LOOPBACK}:{self.port}"

    async def open(self) -> None:
        """Take connections. Does nothing when it does already."""
        if self._server is not None:
            return
        tls = self._tls
        config = uvicorn.Config(
            self._serve, log_config=None, access_log=False, lifespan="off", interface="asgi3",
            ssl_context_factory=lambda _config, _default: tls,
        )  # fmt: skip
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        # Not ``serve``: it takes over the process's signals, and seven of them would not give them back in order.
        await server.startup(sockets=[_bound(self.port)])
        self._server = server

    async def close(self) -> None:
        """Refuse connections from now on, and drop those that there are."""
        server, self._server = self._server, None
        if server is None:
            return
        for listener in server.servers:
            listener.close()
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # the event loop closes what was aborted

    async def end(self) -> None:
        """Close it for good."""
        await self.close()
        self._reservation.close()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if request.url.path != "/" or request.method != "POST":
            await Response(status_code=404 if request.url.path != "/" else 405)(scope, receive, send)
            return
        try:
            body = await request.json()
        except (ValueError, RecursionError):
            await JSONResponse(besu.refused(None, besu.PARSE_ERROR), 400)(scope, receive, send)
            return
        try:
            answer, status = await self._relay.answer(body, peers=self._peers()), 200
        except Unavailable:
            answer, status = besu.refused(None, besu.INTERNAL_ERROR), 500
        await asyncio.sleep(self.slow_seconds)
        if self.losing and _sends(body):
            self.losing -= 1
            await _drop(receive)
            return
        if isinstance(answer, dict) and answer.get("error", {}).get("code") == besu.INVALID_REQUEST.code:
            status = 400
        # Nobody waits for the answer to a notification: 200 without a body.
        await (Response() if answer is None else JSONResponse(answer, status))(scope, receive, send)


def _bound(port: int) -> socket.socket:
    # Named TCP, or asyncio would leave Nagle's algorithm on.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((LOOPBACK, port))
    return bound


def _sends(body: Any) -> bool:
    requests = body if isinstance(body, list) else [body]
    return any(isinstance(request, dict) and request.get("method") == SENDS for request in requests)


async def _drop(receive: Receive) -> None:
    """Reset the connection without a byte of an answer; ASGI has no word for it, so by uvicorn's transport."""
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is None:
        raise ConnectionResetError("the node dropped the connection")
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass
