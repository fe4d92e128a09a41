"""Reads the OpenAPI document: which places take what, and which of them take anything at all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter

from fintokenx.app import http as app_http
from fintokenx.app import wiring
from fintokenx.kernel.clock import FixedClock
from fintokenx.kernel.ids import Ids
from fintokenx.sandbox import http as sandbox_http
from tests.support import START

METHODS = ("get", "post", "put", "patch", "delete")
BIGINT_MAX = 2**63 - 1
Schema = dict[str, Any]


def document_of(*more: APIRouter) -> Schema:
    """The platform's, with routes of a test."""
    app = app_http.create(
        ids=Ids(FixedClock(START), bytes), routers=[*wiring.routers(), sandbox_http.router, *more], title="test",
        version="0", environment="local",
    )  # fmt: skip
    return app.openapi()


@dataclass(frozen=True)
class Route:
    """One operation of the document."""

    method: str
    path: str
    operation: Schema

    @property
    def name(self) -> str:
        return f"{self.method.upper()} {self.path}"

    @property
    def parameters(self) -> list[Schema]:
        return list(self.operation.get("parameters", []))

    @property
    def body(self) -> tuple[str, Schema] | None:
        """Media type and schema."""
        content = self.operation.get("requestBody", {}).get("content", {})
        return next(((media, each["schema"]) for media, each in content.items()), None)


def routes(document: Schema) -> list[Route]:
    """Every operation."""
    return [
        Route(method, path, operations[method])
        for path, operations in document["paths"].items()
        for method in METHODS
        if method in operations
    ]


def resolved(document: Schema, schema: Schema) -> Schema:
    """The schema behind a reference."""
    while "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


def untyped(document: Schema) -> list[str]:
    """Every place of a request that takes an unbounded number, unruled text, or anything."""
    found = []
    for route in routes(document):
        for parameter in route.parameters:
            found += _faults(document, parameter["schema"], f"{route.name} {parameter['in']}.{parameter['name']}")
        if route.body is not None:
            found += _faults(document, route.body[1], f"{route.name} body")
    return found


def _faults(document: Schema, schema: Schema, place: str) -> Iterator[str]:
    schema = resolved(document, schema)
    if "enum" in schema or "const" in schema:
        return
    for together in ("anyOf", "oneOf", "allOf"):
        if together in schema:
            for each in schema[together]:
                yield from _faults(document, each, place)
            return
    match schema.get("type"):
        case "boolean" | "null":
            return
        case "integer" | "number":
            if not _bounded(schema):
                yield f"{place}: a number without bounds"
        case "string":
            yield from _text_faults(document, schema, place)
        case "array":
            if "maxItems" not in schema:
                yield f"{place}: a list of any length"
            yield from _faults(document, schema.get("items", {}), f"{place}[]")
        case "object":
            open_ended = "properties" not in schema or schema.get("additionalProperties", True)
            if open_ended and not _is_form(schema):  # a form is held to its fields by web.forms.fields_once
                yield f"{place}: an object with members of any name"
            for name, each in schema.get("properties", {}).items():
                yield from _faults(document, each, f"{place}.{name}")
        case other:
            yield f"{place}: anything ({other})"


def _is_form(schema: Schema) -> bool:
    return schema.get("title", "").startswith("Body_")


def _bounded(schema: Schema) -> bool:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    return low is not None and high is not None and -BIGINT_MAX <= low <= high <= BIGINT_MAX


_ENDLESS = re.compile(r"(?<!\\)[*+]|\{\d+,\}")


def _text_faults(document: Schema, schema: Schema, place: str) -> Iterator[str]:
    if schema.get("contentMediaType") == "application/json":
        if "maxLength" not in schema:
            yield f"{place}: JSON text of any length"
        yield from _faults(document, schema["contentSchema"], place)
        return
    if schema.get("format") in ("date", "date-time", "binary") or schema.get("contentMediaType"):
        return
    if schema.get("format") in ("printable-text", "email"):
        if "maxLength" not in schema:
            yield f"{place}: text of any length"
        return
    pattern = schema.get("pattern", "")
    anchored = pattern.startswith("^") and pattern.endswith("$")
    if not anchored or ("maxLength" not in schema and _ENDLESS.search(re.sub(r"\[[^]]*\]", "x", pattern))):
        yield f"{place}: text without a rule"
