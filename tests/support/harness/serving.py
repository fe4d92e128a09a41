"""An ASGI application on a free port of this machine, and waiting for what must come true."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import ASGIApp


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """Run ``app`` on a free port of this machine; give its base URL."""
    # asyncio switches Nagle's algorithm off only for sockets that name their protocol; with it, every answer
    # in two writes costs 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="critical", lifespan="auto", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve(sockets=[listening]))
        await eventually(lambda: server.started)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await running


async def eventually(holds: Callable[[], bool | Awaitable[bool]], *, within_seconds: float = 5.0) -> None:
    """Poll until ``holds``; fail at the deadline."""
    deadline = time.monotonic() + within_seconds
    while True:
        answer = holds()
        if answer if isinstance(answer, bool) else await answer:
            return
        if time.monotonic() > deadline:
            pytest.fail(f"not within {within_seconds} s")
        await asyncio.sleep(0.005)
