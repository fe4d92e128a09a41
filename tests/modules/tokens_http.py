"""The routes of tokenisation, asked by one caller."""

from __future__ import annotations

import httpx
from fastapi import Request

from fintokenx.app import http as application
from fintokenx.kernel.caller import Caller
from fintokenx.lifecycle.tokenisation.http import router
from fintokenx.web.edge import Edge
from fintokenx.web.services import Services
from tests.modules.tokens_house import House


def app_of(house: House, caller: Caller) -> httpx.AsyncClient:
    """The routes of tokenisation, for one caller."""

    async def authenticate(_request: Request) -> Caller:
        return caller

    ids = house.world.ids
    app = application.create(ids=ids, routers=[router], title="tests", version="1", environment="local")
    app.state.services = Services(
        Edge(house.world.database, house.world.ids, authenticate, b"fingerprint key of tests")
    )
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test", headers={"fx-request-id": "req_test"}
    )
