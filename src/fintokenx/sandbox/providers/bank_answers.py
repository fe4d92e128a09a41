"""How both surfaces of the mock bank refuse, and whom they admit."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from fintokenx.sandbox.providers.credentials import Credential


class Refusal(Exception):
    """An answer that ends the request."""

    def __init__(self, response: Response) -> None:
        self.response = response
        super().__init__(response.status_code)


async def refuse(_: Request, error: Exception) -> Response:
    """Starlette's handler of :class:`Refusal`."""
    assert isinstance(error, Refusal)  # noqa: S101 - tells the type checker what the registration says
    return error.response


def problem(status: int, title: str, **more: Any) -> JSONResponse:
    """A problem document (RFC 9457)."""
    body = {"type": "about:blank", "title": title, "status": status, **more}
    return JSONResponse(body, status_code=status, media_type="application/problem+json")


async def admit(request: Request, token: Credential, status: int) -> None:
    """:raises Refusal: another token, with the surface's own status and no body"""
    given = request.headers.get("Authorization", "").encode()
    if not any(hmac.compare_digest(given, f"Bearer {good}".encode()) for good in await token.accepted()):
        raise Refusal(Response(status_code=status))


def content_type(headers: Mapping[str, str], name: str) -> str:
    """A media type without its parameters, in lower case."""
    return headers.get(name, "").partition(";")[0].strip().lower()
