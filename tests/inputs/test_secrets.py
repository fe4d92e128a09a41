"""A secret of an answer is declared as one, so that no store holds it and a replay says so (issue 9, A14)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import APIRouter
from pydantic import BaseModel, Field

from fintokenx.web.edge import Secret, ShownOnce, secrets_of, without_secrets
from tests.inputs.document import Schema, document_of, resolved, routes

NAMED_LIKE_ONE = re.compile(r"(^|_)(secret|token|key|password|code|otp|otpauth|credential|pin|url|uri|link|salt)(_|$)")
NO_SECRETS = {
    "token_type": "the word Bearer",
    "token_reference": "the reference of a receivable",
    "token_id": "the number of a receivable on chain",
    "has_api_key": "yes or no",
    "secret_shown_once": "yes or no",
    "link_id": "an id",
    "LogView.key": "the public key of the log",
    "Problem.code": "the name of a refusal",
    "FindingView.code": "the name of a finding",
    "ReasonView.code": "the name of a reason",
    "AccountView.code": "the name of an account",
    "DisclosedView.salt": "what a disclosure is for; found again, never stored",
}


def undeclared(document: Schema) -> list[str]:
    """Fields of answers that are named like a secret, are none of :data:`NO_SECRETS`, and are not declared as one."""
    found = set()
    for route in routes(document):
        for answer in route.operation["responses"].values():
            for media in answer.get("content", {}).values():
                found |= set(_fields(document, media.get("schema", {}), "", set()))
    return sorted(found)


def _fields(document: Schema, schema: Schema, name: str, seen: set[str]) -> Iterator[str]:
    reference = schema.get("$ref", "")
    if reference in seen:
        return
    schema = resolved(document, schema)
    view = reference.rpartition("/")[2].rpartition("__")[2] or name
    for field, each in schema.get("properties", {}).items():
        known = field in NO_SECRETS or f"{view}.{field}" in NO_SECRETS
        if NAMED_LIKE_ONE.search(field) and not known and not each.get("x-secret"):
            yield f"{view}.{field}"
        yield from _fields(document, each, f"{view}.{field}", seen | {reference})
    for inner in (schema.get("items"), *schema.get("anyOf", []), *schema.get("allOf", [])):
        if inner:
            yield from _fields(document, inner, view, seen | {reference})


def test_every_field_that_is_named_like_a_secret_is_declared_as_one() -> None:
    document = document_of()
    assert undeclared(document) == []
    declared = {
        f"{name}.{field}"
        for name, schema in document["components"]["schemas"].items()
        for field, each in schema.get("properties", {}).items()
        if each.get("x-secret")
    }
    assert declared == {
        "NewApiKeyView.key", "NewSessionView.access_token", "OpenedView.access_token", "NewFactorView.otpauth_uri",
        "NewLinkView.url",
    }  # fmt: skip


class Leaky(BaseModel):
    """Has a secret and does not say so."""

    refresh_token: str


def test_an_undeclared_secret_is_named() -> None:
    """The twin."""
    router = APIRouter()

    @router.get("/v1/leaky")
    async def leaky() -> list[Leaky]:
        return []

    assert undeclared(document_of(router)) == ["Leaky.refresh_token"]


class Shown(ShownOnce):
    """Has one and says so."""

    id: str
    word: Secret = Field(default=None, description="x")


class Silent(BaseModel):
    """Has one and could not say that it was shown."""

    word: Secret = None


def test_what_is_kept_holds_no_secret_and_says_that_it_was_shown() -> None:
    shown: Any = Shown(id="a", word="xyzzy")
    assert secrets_of(Shown) == ("word",)
    assert without_secrets(shown).model_dump() == {"id": "a", "word": None, "secret_shown_once": True}
    assert shown.secret_shown_once is False
    with pytest.raises(TypeError, match="Silent has secrets"):
        without_secrets(Silent(word="xyzzy"))
