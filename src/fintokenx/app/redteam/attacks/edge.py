"""What a request says about itself: said twice, from elsewhere, in another's role; what a document's process has."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx
import uvicorn

from fintokenx.adapters.documents import worker, workers
from fintokenx.app import serving
from fintokenx.app.redteam.requests import Request, requests
from fintokenx.app.redteam.scene import Scene, leaked
from fintokenx.app.redteam.types import Attack, Broken, attack
from fintokenx.kernel.caller import Role
from fintokenx.web.routes import MEMBER


@attack(
    150, "edge", "What is said twice in a request is not guessed at.",
    tries="Every query parameter of every route twice, every member of every JSON body twice, at the top and inside, "
    "and every field of the buyer's form twice, with two values.",
    holds="422 GIVEN_TWICE before anything else is looked at; the form's own page likewise.",
)  # fmt: skip
async def said_twice(scene: Scene) -> str:
    tried = 0
    headers = scene.here.headers(role=Role.PARTNER_ADMIN)
    for request in requests(scene):
        parameters = scene.openapi["paths"][request.path][request.method].get("parameters", [])
        path = request.path
        for name in request.values:
            path = path.replace("{" + name + "}", "x")
        for name in [each["name"] for each in parameters if each["in"] == "query"]:
            answer = await scene.ask(request.method.upper(), f"{path}?{name}=1&{name}=2", headers=headers)
            _must_be_twice(f"{request.name} query {name}", answer)
            tried += 1
        for name in request.body if isinstance(request.body, dict) else ():
            for body in (f'{{"{name}":1,"{name}":2}}', f'{{"x":[{{"{name}":1,"{name}":1}}]}}'):
                given = {**headers, "Content-Type": "application/json"}
                answer = await scene.ask(request.method.upper(), path, content=body.encode(), headers=given)
                _must_be_twice(f"{request.name} {name}", answer)
                tried += 1
    for form in ("decision=confirm&decision=decline&seal=x", "seal=x&seal=y&decision=confirm"):
        given = {"Content-Type": "application/x-www-form-urlencoded"}
        link = f"fxl_{scene.there.tenant_id}_x"
        answer = await scene.ask("POST", f"/confirm/{link}", content=form.encode(), headers=given)
        if answer.status_code != 422:
            raise Broken(f"a form with a field twice is answered {answer.status_code}")
        tried += 1
    return f"{tried} requests refused"


def _must_be_twice(where: str, answer: httpx.Response) -> None:
    if (answer.status_code, answer.json().get("code")) != (422, "GIVEN_TWICE"):
        raise Broken(f"{where} twice is answered {answer.status_code}")


@attack(
    151, "edge", "Two credentials of one kind are none.",
    tries="Two API keys, two tokens, two idempotency keys: good and good, good and bad, of both tenants, either first.",
    holds="4xx each: which of two would count is not for the platform to guess.",
)  # fmt: skip
async def two_credentials(scene: Scene) -> str:
    here, there = scene.here, scene.there
    keys = (here.api_key, there.api_key, "fxk_x")
    tokens = tuple(f"Bearer {token}" for token in (here.tokens[Role.SELLER], there.tokens[Role.MLRO], "x"))
    tried = 0
    for name, values, other in (
        ("FX-Api-Key", keys, ()),
        ("Authorization", tokens, ()),
        ("FX-Idempotency-Key", (f"{scene.run}-a", f"{scene.run}-b"), (("FX-Api-Key", here.api_key),)),
    ):
        for first in values:
            for second in values:
                method = "POST" if other else "GET"
                path, body = ("/v1/sessions/codes", {"email": here.canary_email}) if other else ("/v1/me", None)
                given = [*other, (name, first), (name, second), ("FX-Request-Id", f"{scene.run}-twice")]
                answer = await scene.http.request(method, path, headers=given, json=body)
                tried += 1
                if not 400 <= answer.status_code < 500 or leaked(there, answer.text) or leaked(here, answer.text):
                    raise Broken(f"{name} twice is answered {answer.status_code}")
    return f"{tried} pairs refused"


FORWARDED: Final = {
    "X-Forwarded-For": "203.0.113.77", "Forwarded": 'for=203.0.113.77;proto=https;by=203.0.113.78',
    "X-Real-IP": "203.0.113.77", "X-Client-IP": "203.0.113.77", "True-Client-IP": "203.0.113.77",
    "CF-Connecting-IP": "203.0.113.77", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "203.0.113.77",
}  # fmt: skip


async def _tells_peer(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers with whom its server says it is talking to."""
    if scope["type"] != "http":
        return
    await receive()
    said = f"{scope['client'][0]} {scope['scheme']}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": said})


@contextlib.asynccontextmanager
async def _listening() -> AsyncIterator[int]:
    """A server that listens as the platform does, here on loopback; its port."""
    server = uvicorn.Server(uvicorn.Config(_tells_peer, host="127.0.0.1", port=0, lifespan="off", **serving.OPTIONS))
    running = asyncio.create_task(server.serve())
    try:
        while not server.started:  # noqa: ASYNC110 — uvicorn has no event for it
            await asyncio.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await running


@attack(
    152, "edge", "A caller does not choose the address that the record has of it.",
    tries="Every forwarding header that proxies and their victims know, one by one and together, to a server that "
    "listens with the platform's own options, from loopback, whose word uvicorn takes by default.",
    holds="The address is the peer's, and the scheme the connection's.",
)  # fmt: skip
async def forwarded(_scene: Scene) -> str:
    async with _listening() as port, httpx.AsyncClient(trust_env=False) as client:
        for headers in (*({name: value} for name, value in FORWARDED.items()), FORWARDED):
            answer = await client.get(f"http://127.0.0.1:{port}/", headers=headers)
            if answer.text != "127.0.0.1 http":
                raise Broken(f"{', '.join(headers)}: the caller is {answer.text}")
    return f"{len(FORWARDED)} headers believed by nobody"


@attack(
    153, "edge", "Whoever a route is not for is turned away by it.",
    tries="Every route, as every role that its document does not name and as a key by itself, with a live session and "
    "key of the tenant: line doubts decided by customers, alerts closed by partners, keys made by sellers …",
    holds="401 or 403, whatever else is wrong with the request.",
)  # fmt: skip
async def wrong_callers(scene: Scene) -> str:
    tried = 0
    for request in requests(scene):
        named = scene.openapi["paths"][request.path][request.method].get(MEMBER, [])
        if not set(named) <= {role.value for role in Role}:
            continue  # open, or by a credential of another kind
        for side in (scene.here, scene.there):
            for role in side.tokens:
                if role.value not in named:
                    await _must_turn_away(scene, request, side.headers(role=role), role.value)
                    tried += 1
            if Role.PARTNER_ADMIN.value not in named:
                await _must_turn_away(scene, request, side.headers(), "an API key")
                tried += 1
    if not tried:
        raise Broken("no route says whom it is for; review this attack")
    return f"{tried} callers turned away"


async def _must_turn_away(scene: Scene, request: Request, headers: dict[str, str], who: str) -> None:
    answer = await request.send(scene, headers)
    if answer.status_code not in (401, 403):
        raise Broken(f"{request.name}: {who} is answered {answer.status_code}")


_BARE: Final = {"PYTHONPATH", "LC_CTYPE"}


@attack(
    155, "edge", "The process that reads documents has nothing of the platform's to give away.",
    tries="A marked secret stands in the environment of the process that starts the documents' server; then its "
    "environment is read, and that of every such server on this machine.",
    holds="Nothing but where the packages lie; or it cannot be read at all.",
)  # fmt: skip
async def readers_environment(scene: Scene) -> str:
    if workers.WAY != "fork":
        return f"no server here: on {sys.platform} each document has a fresh interpreter"
    made = workers.ForkedWorkers(worker.__name__)
    os.environ["FX_REDTEAM_SECRET"] = scene.run
    try:
        made.prepare()
        pids = [made.server_pid, *_servers()]
        read = 0
        for pid in pids:
            with contextlib.suppress(PermissionError, FileNotFoundError, ProcessLookupError):
                lines = (Path("/proc") / str(pid) / "environ").read_bytes().split(b"\0")
                names = {line.split(b"=")[0].decode("utf-8", "replace") for line in lines if line}
                if names - _BARE:
                    raise Broken(f"a documents' process has {', '.join(sorted(names - _BARE)[:5])} in its environment")
                read += 1
    finally:
        del os.environ["FX_REDTEAM_SECRET"]
        made.close()
    return f"{len(pids)} servers, {read} could be looked into, nothing in any"


def _servers() -> list[int]:
    """Servers of documents on this machine, by how they were started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if worker.__name__.encode() in words and b"server" in words:
                found.append(int(folder.name))
    return found


ATTACKS: Final[tuple[Attack, ...]] = (
    said_twice, two_credentials, forwarded, wrong_callers, readers_environment
)  # fmt: skip
