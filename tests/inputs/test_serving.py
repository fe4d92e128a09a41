"""The caller's address is the peer's, whatever headers say (issue 9, A6)."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from fintokenx.app import serving

pytestmark = pytest.mark.anyio
FORWARDED = {"X-Forwarded-For": "198.51.100.9", "X-Forwarded-Proto": "https", "Forwarded": "for=198.51.100.9"}


async def who(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the caller's address as the application sees it."""
    request = Request(scope)
    await PlainTextResponse(f"{request.client.host if request.client else None} {request.url.scheme}")(
        scope, receive, send
    )


async def seen_by(**options: Any) -> str:
    """The address that a served application sees of a caller on loopback that names another one."""
    server = uvicorn.Server(uvicorn.Config(who, host="127.0.0.1", port=0, lifespan="off", **options))
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"http://127.0.0.1:{port}/", headers=FORWARDED)
    server.should_exit = True
    await running
    return answer.text


@pytest.mark.parametrize("allowed", [None, "*"])
async def test_a_caller_cannot_name_its_own_address(monkeypatch: pytest.MonkeyPatch, allowed: str | None) -> None:
    if allowed:
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", allowed)
    assert await seen_by(**serving.OPTIONS) == "127.0.0.1 http"


async def test_with_uvicorns_own_settings_it_could() -> None:
    """The twin: what `serve` did before."""
    assert await seen_by(log_level="warning") == "198.51.100.9 https"
