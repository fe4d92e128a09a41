"""Sends odd values to every place of every route that the OpenAPI document names, one odd value at a time."""

from __future__ import annotations

import copy
import json
import re._parser as sre  # the only reader of patterns that there is
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from tests.inputs.document import Route, Schema, resolved, routes

TEXTS = (
    "", "\u00a0\u2003", "a\x00b", "a\x1bb", "\u200b", "\u202eabc", "\ufeff", "a\ufffeb", "\ue000", "a\u2028b",
    "e\u0301" * 40, "x" * 70_000, "٣٤", "'; drop table subjects; --", "../../etc/passwd", "%00", "0001-01-01",
    "9999-12-31T23:59:59+00:00", "<a@x.example>", "sub_" + "0" * 26, "*",
)  # fmt: skip
NUMBERS = (-1, 0, 2**31, 2**63 - 1, 2**63, 10**30, 1.5)
OTHERS = (None, True, [[]], {"a": {"b": 1}}, float("nan"))
LONE_SURROGATE = "\ud800"
"""Only JSON can spell it."""


@dataclass
class Found:
    """What the walk saw."""

    requests: int = 0
    faults: list[str] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    reached: set[str] = field(default_factory=set)
    """Routes that took their plain values for somebody: neither refused by role nor by the schema."""


@dataclass(frozen=True)
class Request:
    """What is sent; ``odd`` names the place with the odd value."""

    path: dict[str, Any]
    query: dict[str, Any]
    body: Any
    odd: str = ""


class Walk:
    """Over all routes of the document that ``client`` serves; ``callers`` are the headers of those who call."""

    def __init__(
        self, client: httpx.AsyncClient, document: Schema, callers: list[dict[str, str]], *, prefix: str = "walk-"
    ) -> None:
        self._prefix = prefix
        self._client = client
        self._document = document
        self._callers = callers
        self._keys = 0
        self.found = Found()
        self.code = ""

    async def all(self) -> Found:
        """Every route."""
        for route in routes(self._document):
            await self.route(route)
        return self.found

    async def route(self, route: Route) -> None:
        """One route: by whoever may call it, else by the first."""
        plain = self._plain(route)
        headers = self._callers[0]
        for candidate in self._callers:
            status = await self._send(route, plain, candidate)
            if status not in (401, 403):
                headers = candidate
                if status != 422:
                    self.found.reached.add(route.name)
                break
        for request in self._odd(route, plain):
            await self._send(route, request, headers)
        if route.method != "get":
            for key in ("", "k" * 300, "\u00e9"):
                await self._send(route, plain, headers, key=key)

    async def plain_code(self, route: Route) -> str:
        """What the plain values are refused with, by the first of the callers; empty when they are not."""
        await self._send(route, self._plain(route), self._callers[0])
        return self.code

    def _plain(self, route: Route) -> Request:
        path = {p["name"]: self._sample(p["schema"]) for p in route.parameters if p["in"] == "path"}
        query = {
            p["name"]: self._sample(p["schema"]) for p in route.parameters if p["in"] == "query" and p.get("required")
        }
        return Request(path, query, self._sample(route.body[1]) if route.body else None)

    def _odd(self, route: Route, plain: Request) -> Iterator[Request]:
        for parameter in route.parameters:
            name, where = parameter["name"], parameter["in"]
            if where == "path":
                for text in _spelled(parameter["schema"], self._document):
                    yield Request({**plain.path, name: text}, plain.query, plain.body, f"path.{name}={text!r:.40}")
            if where == "query":
                for text in _spelled(parameter["schema"], self._document):
                    yield Request(plain.path, {**plain.query, name: text}, plain.body, f"query.{name}={text!r:.40}")
                yield Request(plain.path, {**plain.query, name: ["1", "2"]}, plain.body, f"query.{name} twice")
        if route.body is None:
            return
        for value in (*OTHERS, "text", LONE_SURROGATE, {LONE_SURROGATE: 1}, _deep(900)):
            yield Request(plain.path, plain.query, value, f"body={value!r:.40}")
        for place in self._places(route.body[1], ()):
            for value in self._values(place, plain.body):
                yield Request(plain.path, plain.query, _with(plain.body, place, value), f"{place}={value!r:.40}")

    def _values(self, place: tuple[Any, ...], body: Any) -> tuple[Any, ...]:
        """Many of the kind that the place is for, and a few of each other kind."""
        plain = body
        for step in place:
            plain = plain[step]
        if isinstance(plain, str):
            return (*TEXTS, LONE_SURROGATE, 2**63, *OTHERS)
        return (*NUMBERS, "", "1", "a\x00b", *OTHERS)

    def _places(self, schema: Schema, at: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        schema = self._chosen(schema)
        if schema.get("type") == "object":
            for name, each in schema.get("properties", {}).items():
                yield from self._places(each, (*at, name))
        elif schema.get("type") == "array":
            yield at
            yield from self._places(schema["items"], (*at, 0))
        elif schema.get("contentSchema"):
            yield at
            yield from self._places(schema["contentSchema"], (*at, "JSON"))
        else:
            yield at

    def _chosen(self, schema: Schema) -> Schema:
        schema = resolved(self._document, schema)
        for together in ("anyOf", "oneOf", "allOf"):
            if together in schema:
                return self._chosen(schema[together][0])
        return schema

    def _sample(self, schema: Schema) -> Any:
        """A value that fits."""
        for known in (schema, self._chosen(schema)):
            if known.get("examples"):
                return known["examples"][0]
            if known.get("default") is not None:
                return known["default"]
        return self._made(self._chosen(schema))

    def _made(self, schema: Schema) -> Any:
        if "enum" in schema or "const" in schema:
            return schema.get("const", schema.get("enum", [None])[0])
        match schema.get("type"):
            case "object":
                return {name: self._sample(each) for name, each in schema.get("properties", {}).items()}
            case "array":
                return [self._sample(schema["items"])]
            case "integer" | "number":
                return schema.get("minimum", 1)
            case "boolean":
                return True
        if "contentSchema" in schema:
            return {"JSON": self._sample(schema["contentSchema"])}
        if schema.get("format") == "binary" or schema.get("contentMediaType"):
            return b"%PDF-1.7 no more"
        return _shortest(schema["pattern"]) if "pattern" in schema else "Some words that are long enough to be taken."

    async def _send(
        self, route: Route, request: Request, headers: dict[str, str], *, key: str | None = None
    ) -> int:  # fmt: skip
        self._keys += 1
        sent = {
            **headers,
            "FX-Idempotency-Key": (key if key is not None else f"{self._prefix}{route.name}-{self._keys}").encode(
                "latin-1"
            ),
        }
        path = route.path
        for name, value in request.path.items():
            path = _filled(path, name, quote(str(value), safe=""))
        content: dict[str, Any] = {}
        if route.body is not None and "multipart" in route.body[0]:
            content = _multipart(request.body)
        elif route.body is not None:
            content = {"content": json.dumps(request.body, default=str).encode()}
            sent["Content-Type"] = b"application/json"
        answer = await self._client.request(route.method, path, params=request.query, headers=sent, **content)  # type: ignore[arg-type]
        self.found.requests += 1
        problem = answer.json() if answer.headers.get("content-type") == "application/problem+json" else {}
        self.code = str(problem.get("code", ""))
        self.found.statuses[answer.status_code] = self.found.statuses.get(answer.status_code, 0) + 1
        if answer.status_code >= 500:
            self.found.faults.append(f"{answer.status_code} {route.name} {request.odd} {answer.text[:200]}")
        return answer.status_code


def _filled(path: str, name: str, value: str) -> str:
    """The path with one of its places filled."""
    return path.replace(f"{{{name}}}", value).replace(f"{{{name}:path}}", value)


def _spelled(schema: Schema, document: Schema) -> Iterator[str]:
    """In an address everything is text."""
    if _is_number(schema, document):
        yield from (*(str(number) for number in NUMBERS), "", "1e5", "٣٤", "a\x00b", "9" * 400)
    else:
        yield from (*(text[:5000] for text in TEXTS), str(2**63))


def _is_number(schema: Schema, document: Schema) -> bool:
    schema = resolved(document, schema)
    return any(each.get("type") == "integer" for each in (schema, *schema.get("anyOf", [])))


def _with(body: Any, place: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(body)
    if not place:
        return value
    inner = changed
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    return changed


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def _multipart(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        return {}
    declared, file = body.get("declared"), body.get("file", b"")
    if isinstance(declared, dict) and "JSON" in declared:
        declared = json.dumps(declared["JSON"], default=str)
    text = declared if isinstance(declared, str) else json.dumps(declared, default=str)
    content = file if isinstance(file, bytes) else json.dumps(file, default=str).encode()
    return {"data": {"declared": text.encode("utf-8", "replace")}, "files": {"file": ("invoice.pdf", content)}}


def _shortest(pattern: str) -> str:
    """The shortest text that a pattern takes."""
    return _spelt(sre.parse(pattern))


def _spelt(parsed: Any) -> str:
    made = ""
    for operation, argument in parsed:
        match str(operation):
            case "LITERAL":
                made += chr(argument)
            case "IN":
                kind, first = argument[0]
                made += chr(first[0] if str(kind) == "RANGE" else first)
            case "MAX_REPEAT":
                made += _spelt(argument[2]) * max(argument[0], 0)
            case "SUBPATTERN":
                made += _spelt(argument[3])
            case "BRANCH":
                made += _spelt(argument[1][0])
            case "ANY":
                made += "x"
    return made
