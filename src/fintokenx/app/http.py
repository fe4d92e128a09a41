"""The HTTP application: request ids, problems, limits, headers, and every router on one page."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import structlog
from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fintokenx.kernel.errors import Refused, Unavailable
from fintokenx.kernel.ids import Ids
from fintokenx.parties import auth
from fintokenx.web import assets, edge
from fintokenx.web.forms import said_once
from fintokenx.web.routes import MEMBER

log = structlog.get_logger("fintokenx.http")

BODY_BYTES_MAX: Final = 11 * 1024 * 1024
_REQUEST_ID: Final = re.compile(r"^[A-Za-z0-9_-]{8,64}$")
_API: Final = "/v1/"
_MUTATING: Final = {"post", "put", "patch", "delete"}
_SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"strict-transport-security", b"max-age=31536000"),
)


class BodyLimit:
    """Refuses a body before it is read into memory, whether it announces its length or not. What is no API is a page,
    which reads a form of its own small limit and answers with a page."""

    def __init__(self, app: ASGIApp, bytes_max: int = BODY_BYTES_MAX) -> None:
        self._app = app
        self._bytes_max = bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        too_large = not announced.isdigit() or int(announced) > self._bytes_max
        if too_large and scope["path"].startswith(_API):
            await edge.plain_problem(413, "")(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._bytes_max:
                raise HTTPException(413)
            return message

        await self._app(scope, counted, send)


class Envelope:
    """Gives every request an id, every answer its headers, and logs one line without personal data."""

    def __init__(self, app: ASGIApp, ids: Ids) -> None:
        self._app = app
        self._ids = ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"fx-request-id", b"").decode("latin-1")
        request_id = given if _REQUEST_ID.match(given) else self._ids.new("req")
        scope.setdefault("state", {})["request_id"] = request_id
        started, status, answered = time.monotonic(), 500, False

        async def with_headers(message: Message) -> None:
            nonlocal status, answered
            answered = True
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", []),
                    (b"fx-request-id", request_id.encode()),
                    *_SECURITY_HEADERS,
                ]
            await send(message)

        try:
            await self._app(scope, receive, with_headers)
        except Exception:  # a fault of ours: the log has it, the caller learns its number and nothing else
            log.exception("fault", request_id=request_id)
            if answered:
                raise
            await edge.fault_problem(request_id)(scope, receive, with_headers)
        finally:
            route = getattr(scope.get("route"), "path", "unrouted")
            milliseconds = int((time.monotonic() - started) * 1000)
            log.info(
                "request", request_id=request_id, method=scope["method"], route=route, status=status,
                duration_ms=milliseconds,
            )  # fmt: skip


def create(
    *, ids: Ids, routers: list[Any], title: str, version: str, environment: str, swagger_ui: Path | None = None
) -> FastAPI:
    """The application with its error handling; the wiring fills ``app.state.services``.

    ``swagger_ui`` is the folder of npm's swagger-ui-dist; without it there is no ``/docs`` page, only
    ``/openapi.json``: nothing is fetched from elsewhere.
    """
    app = FastAPI(
        title=title, version=version, redoc_url=None, docs_url=None, openapi_url="/openapi.json",
        dependencies=[Depends(said_once)],
    )  # fmt: skip
    _show_docs(app, swagger_ui)
    for router in (assets.router, *routers):
        app.include_router(router)
    _handle_errors(app)
    _describe(app, environment)
    app.add_middleware(BodyLimit)
    app.add_middleware(Envelope, ids=ids)
    return app


def _show_docs(app: FastAPI, swagger_ui: Path | None) -> None:
    if swagger_ui is None:
        return
    app.mount("/docs/assets", StaticFiles(directory=swagger_ui), name="swagger-ui")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=app.title,
            swagger_js_url="/docs/assets/swagger-ui-bundle.js",
            swagger_css_url="/docs/assets/swagger-ui.css",
            swagger_favicon_url="/docs/assets/favicon-32x32.png",
        )


def _request_id(request: Request) -> str:
    return str(getattr(request.state, "request_id", ""))


def _handle_errors(app: FastAPI) -> None:
    def on(kind: type[Exception], answer: Callable[[Request, Any], Response]) -> None:
        async def handler(request: Request, fault: Exception) -> Response:
            return answer(request, fault)

        app.add_exception_handler(kind, handler)

    on(Refused, lambda request, refusal: edge.problem(refusal, _request_id(request)))
    on(Unavailable, lambda request, fault: edge.unavailable_problem(fault, _request_id(request)))
    on(
        RequestValidationError,
        lambda request, fault: edge.unreadable_problem(fault.errors(), _request_id(request)),
    )
    on(HTTPException, lambda request, fault: edge.plain_problem(fault.status_code, _request_id(request)))


def _describe(app: FastAPI, environment: str) -> None:
    """OpenAPI with what every route has: the problem schema, the credentials, the idempotency header."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema:
            return app.openapi_schema
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=_DESCRIPTION.format(environment=environment),
            routes=app.routes,
        )
        components = document.setdefault("components", {})
        components.setdefault("schemas", {})["Problem"] = edge.Problem.model_json_schema()
        components["securitySchemes"] = {
            "session": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            "apiKey": {"type": "apiKey", "in": "header", "name": "FX-Api-Key"},
        }
        document["security"] = [{"session": []}, {"apiKey": []}, {"session": [], "apiKey": []}]
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                if method in _MUTATING and not _is_keyless(path):
                    _require_key(operation)
                _say_who(operation, auth.scope_needed(method, path))
        app.openapi_schema = document
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _say_who(operation: dict[str, Any], scope: object | None) -> None:
    """For people what ``security`` and our own members say for machines."""
    who = operation.get(MEMBER, [])
    said = f"Who may call: {', '.join(who)}."
    security = operation.get("security", [])
    if scope is not None and any("apiKey" in each for each in security):
        operation["x-api-key-scope"] = str(scope)
        said += f" An API key needs the scope `{scope}`."
    if security and not any(each.keys() == {"apiKey"} for each in security):
        together = all("apiKey" in each for each in security)
        said += " Needs a session and an API key." if together else " Needs a session."
    operation["description"] = f"{operation.get('description', '')}\n\n{said}".strip()


def _is_keyless(path: str) -> bool:
    """Webhooks have their event's id, the sandbox's controls and an administrator's lookups keep nothing."""
    return "/webhooks/" in path or path.startswith(("/v1/sandbox", "/v1/admin/lookups"))


def _require_key(operation: dict[str, Any]) -> None:
    parameters = operation.setdefault("parameters", [])
    if not any(parameter["name"] == edge.IDEMPOTENCY_HEADER for parameter in parameters):
        schema = {"type": "string", "pattern": edge.IDEMPOTENCY_KEY_PATTERN}
        parameters.append({"in": "header", "name": edge.IDEMPOTENCY_HEADER, "required": True, "schema": schema})


_DESCRIPTION = """FinToken X turns confirmed UK invoices into money. This is the **{environment}** environment.

- Amounts are whole pence, as JSON integers.
- Every mutation needs `FX-Idempotency-Key`; the same key with the same request returns the stored answer byte for
  byte with `FX-Idempotent-Replay: true`. Keys are kept with their effect for ever. A refused request stores nothing.
- Refusals are RFC 9457 problems with a stable `code`.
- Sign in with a session (`Authorization: Bearer …`) and/or your tenant's key (`FX-Api-Key: …`)."""
