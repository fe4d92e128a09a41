"""Requests made from the OpenAPI document alone: every route, every text field, whatever routes are to come."""

from __future__ import annotations

import copy
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import httpx

from fintokenx.app.redteam.scene import Scene, Side
from fintokenx.kernel.caller import Role

_METHODS: Final = ("get", "post", "put", "patch", "delete")
_LEFT_ALONE: Final = ("/v1/sandbox/",)
"""Controls of the local playground: they stop providers and move clocks, and have no tenant."""

_FOR_EVER: Final = ("/v1/subjects/{subject_id}/erasure",)
"""What cannot be undone is asked of somebody who does not exist: the canary is needed until the end."""
_NOBODY: Final = "sub_" + "0" * 26

Place = tuple[str, tuple[str | int, ...]]
"""Where a text stands: ("path" | "query" | "body" | "form", and the way to it)."""


@dataclass
class Request:
    """One request that would be sensible. ``texts`` are the places in it that hold free text."""

    method: str
    path: str
    values: dict[str, str] = field(default_factory=dict)
    query: dict[str, Any] = field(default_factory=dict)
    body: Any = None
    form: dict[str, Any] | None = None
    texts: list[Place] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Method and route."""
        return f"{self.method.upper()} {self.path}"

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return self.method == "get"

    def with_text(self, place: Place, text: str) -> Request:
        """A copy with ``text`` in that place."""
        made = copy.deepcopy(self)
        kind, way = place
        target: Any = {"path": made.values, "query": made.query, "body": made.body, "form": made.form}[kind]
        for step in way[:-1]:
            target = target[step]
        target[way[-1]] = text
        if isinstance(made.body, dict) and "company_number" in made.body and way != ("company_number",):
            made.body["company_number"] = _company()  # one may be there once only
        return made

    async def send(self, scene: Scene, headers: dict[str, str]) -> httpx.Response:
        """Over HTTP."""
        path = self.path
        for name, value in self.values.items():
            path = path.replace("{" + name + "}", _quoted(value))
        if self.query:
            path += "?" + "&".join(f"{name}={_quoted(str(value))}" for name, value in self.query.items())
        given: dict[str, Any] = {"headers": headers}
        if self.form is not None:
            given["files"] = {"file": ("redteam.pdf", b"%PDF-1.4 redteam", "application/pdf")}
            given["data"] = {name: _field(value) for name, value in self.form.items()}
        elif self.body is not None:
            given["content"] = json.dumps(self.body).encode()
            given["headers"] = {**headers, "Content-Type": "application/json"}
        return await scene.ask(self.method.upper(), path, **given)


def requests(scene: Scene) -> Iterator[Request]:
    """One sensible request for every route of the document."""
    for path, operations in scene.openapi["paths"].items():
        if path.startswith(_LEFT_ALONE):
            continue
        for method in _METHODS:
            if method in operations:
                yield _request(scene, method, path, operations[method])


def _request(scene: Scene, method: str, path: str, operation: dict[str, Any]) -> Request:
    made = Request(method, path)
    for parameter in operation.get("parameters", []):
        schema, name = parameter.get("schema", {}), parameter["name"]
        if parameter["in"] == "path":
            made.values[name] = _NOBODY if path in _FOR_EVER else str(_example(scene, schema, name))
            made.texts.append(("path", (name,)))
        elif parameter["in"] == "query" and (parameter.get("required") or _is_text(scene, schema)):
            made.query[name] = _example(scene, schema, name)
            if _is_text(scene, schema):
                made.texts.append(("query", (name,)))
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" in content:
        made.body = _example(scene, content["application/json"]["schema"], "")
        made.texts += [("body", way) for way in _ways(made.body) if way]
    elif "multipart/form-data" in content:
        made.form = {}
        schema = _resolved(scene, content["multipart/form-data"]["schema"])
        for name, property_ in schema.get("properties", {}).items():
            if name != "file":
                made.form[name] = _example(scene, property_, name)
                made.texts.append(("form", (name,)))
                made.texts += [("form", (name, *way)) for way in _ways(made.form[name]) if way]
    return made


def _field(value: Any) -> bytes:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "surrogatepass")


def _quoted(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


def _company() -> str:
    return f"RX{secrets.randbelow(10**6):06}"


def _resolved(scene: Scene, schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = scene.openapi["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    for name in ("anyOf", "oneOf", "allOf"):
        if name in schema:
            options = [option for option in schema[name] if option.get("type") != "null"]
            return {**_resolved(scene, options[0]), **{k: v for k, v in schema.items() if k != name}}
    return schema


def _is_text(scene: Scene, schema: dict[str, Any]) -> bool:
    found = _resolved(scene, schema)
    return found.get("type") == "string" and "enum" not in found


_EXAMPLES: Final[dict[str, Any]] = {
    "gate": "1",
    "code": "00000000",
    "declared": {  # JSON in a form field, which the document calls a text
        "obligor_id": "sub_00000000000000000000000000",
        "invoice_number": "RT-1",
        "issue_date": "2026-06-01",
        "maturity_date": "2026-08-01",
        "face_value_pence": 100_000,
        "asking_discount_bps": 150,
    },
}


def _example(scene: Scene, schema: dict[str, Any], name: str) -> Any:  # noqa: PLR0911 — one line per kind
    found = _resolved(scene, schema)
    if name == "company_number":
        return _company()
    if name in ("subject_id", "resource"):
        return scene.here.canary_id
    if name == "tenant_id":
        return scene.here.tenant_id
    for key in ("const", "default"):
        if found.get(key) is not None:
            return found[key]
    if found.get("examples"):
        return copy.deepcopy(found["examples"][0])
    if found.get("enum"):
        return found["enum"][0]
    match found.get("type"):
        case "object":
            wanted = found.get("properties", {})
            return {
                key: _example(scene, value, key) for key, value in wanted.items() if key in found.get("required", [])
            }
        case "array":
            return [_example(scene, found.get("items", {}), name)]
        case "integer" | "number":
            return max(1, int(found.get("minimum", 1)))
        case "boolean":
            return True
        case _:
            day = {"date": "2026-06-01", "date-time": "2026-06-01T00:00:00Z"}.get(found.get("format", ""))
            return (
                day or copy.deepcopy(_EXAMPLES.get(name)) or "Red team " + "x" * max(0, found.get("minLength", 0) - 9)
            )


def _ways(value: Any, way: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, str):
        yield way
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _ways(inner, (*way, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _ways(inner, (*way, number))


def credentials(side: Side) -> list[dict[str, str]]:
    """What somebody in this tenant can come with, the most useful first."""
    return [side.headers(), *(side.headers(role=role) for role in side.tokens)]


async def fitting(scene: Scene, side: Side, request: Request) -> dict[str, str]:
    """The first credentials with which the route does not stop at who is asking."""
    for headers in credentials(side):
        answer = await request.send(scene, headers)
        if answer.status_code not in (401, 403):
            return headers
    return side.headers(role=Role.SELLER)
