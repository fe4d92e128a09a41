"""The routes of tokenisation, asked by one caller."""

from __future__ import annotations

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.middleware.base import RequestResponseEndpoint

from fintokenx.kernel.caller import Caller
from fintokenx.kernel.errors import Refused
from fintokenx.lifecycle.tokenisation.http import router
from fintokenx.web.edge import Edge, problem
from fintokenx.web.services import Services
from tests.modules.tokens_house import House


def app_of(house: House, caller: Caller) -> httpx.AsyncClient:
    """The routes of tokenisation, for one caller."""
    app = FastAPI()
    app.include_router(router)

    async def authenticate(_request: Request) -> Caller:
        return caller

    @app.middleware("http")
    async def name_the_request(request: Request, following: RequestResponseEndpoint) -> Response:
        request.state.request_id = "req_1"
        return await following(request)

    async def refuse(_request: Request, refusal: Exception) -> Response:
        assert isinstance(refusal, Refused)
        return problem(refusal, "req_1")

    app.add_exception_handler(Refused, refuse)
    app.state.services = Services(
        Edge(house.world.database, house.world.ids, authenticate, b"fingerprint key of tests")
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")
