"""The mock post office: it knows one parcel, and takes one token."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from fintokenx.sandbox.providers.mock import Mock, MockParts
from fintokenx.sandbox.providers.modes import Modes


def _of_a_local_system(parts: MockParts) -> Starlette:
    token = parts.credential("post-office/token")
    modes = Modes("post_office", parts.clock)

    async def parcel(request: Request) -> JSONResponse:
        if request.headers.get("Authorization") not in [f"Bearer {good}" for good in await token.accepted()]:
            return JSONResponse({}, 401)
        return JSONResponse({"id": request.path_params["id"], "place": "Oban"})

    app = Starlette(routes=[Route("/parcels/{id}", parcel)])
    modes.install(app)
    app.state.modes = modes
    return app


MOCK = Mock("post_office", _of_a_local_system)
