"""A ComplyAdvantage that we run ourselves: the classic ``/searches`` in the vendor's wire format.

``POST /searches``, ``GET /searches?client_ref=``, ``GET /searches/{id or ref}``; ``Authorization: Token <key>``.

What a search finds is decided by the term, by whole words in any case, so that Pepper Ltd is no politician:

============ ===============================================================
``SANCTION`` one hit of type ``sanction``
``PEP``      one hit of types ``pep`` and ``pep-class-1``
``ADVERSE``  one hit of type ``adverse-media``
``WARNING``  one hit of type ``warning``
``MANY``     120 hits of type ``adverse-media``, of which 100 fit into an answer
``UNKNOWN``  one hit under a ``match_status`` that no documentation names
others       nothing
============ ===============================================================

Words add up. Modes of its own: see ``OWN_MODES``.

Refused, as docs.complyadvantage.com/api-docs has it (``../shared/design/providers.md`` 2a), in its envelope; ``errors``
names the member at fault, which is our spelling:

- another key, or the key as a query parameter (old, and leaks into logs): 401
- more than 300 requests a minute, an account of the sandbox: 429 (no ``Retry-After``: wait 2 s, doubling)
- a search without a term, with one of more than 255 characters, with a name in parts but no ``last_name``;
  ``fuzziness`` beyond 0 to 1, ``limit`` beyond 1 to 100, a negative ``offset``, ``share_url`` other than 0 and 1;
  ``types``, ``entity_type``, ``country_codes`` (alpha-2), ``birth_year``, ``remove_deceased`` outside of their
  vocabulary: 400
- a member or query parameter that is not named there, or stands twice: 400; stricter than what is documented, so that a
  misspelt filter is found here
- a list of more than 100 rows a page, or beyond row 10,000: 400
- a body of another media type than JSON: 415; a search that there is not: 404; another method: 405
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from fintokenx.kernel.clock import Clock
from fintokenx.sandbox.providers.complyadvantage_requests import (
    MOST_HITS,
    Rate,
    Refusal,
    must_only_ask,
    page_of,
    question,
    term_of,
)
from fintokenx.sandbox.providers.credentials import Credential
from fintokenx.sandbox.providers.mock import Mock
from fintokenx.sandbox.providers.modes import Modes

OWN_MODES: Mapping[str, str] = {
    "unknown_verdict": "searches carry a match_status that no documentation names",
    "hit": "every search has a sanction hit",
    "inconsistent": "searches say potential_match and list no hit",
}
TYPES_BY_WORD: Mapping[str, tuple[str, ...]] = {
    "SANCTION": ("sanction",),
    "PEP": ("pep", "pep-class-1"),
    "ADVERSE": ("adverse-media",),
    "WARNING": ("warning",),
    "UNKNOWN": ("warning",),
}


@dataclass(frozen=True, slots=True)
class _Search:
    id: int
    ref: str
    client_ref: str | None
    term: str
    filters: dict[str, Any]
    limit: int
    offset: int
    created_at: str
    hits: tuple[dict[str, Any], ...]
    match_status: str


class _Vendor:
    """The searches made so far, newest last."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.searches: list[_Search] = []
        self.modes: Modes

    def search(self, body: Mapping[str, Any]) -> _Search:
        """From a body that was checked."""
        term = term_of(body)
        number, now = len(self.searches) + 1, self._clock.now()
        hits, match_status = self._find(term)
        search = _Search(
            id=number,
            ref=f"{int(now.timestamp())}-{hashlib.sha256(str(number).encode()).hexdigest()[:8]}",
            client_ref=body.get("client_ref"),
            term=term,
            filters=dict(body.get("filters") or {}),
            limit=body.get("limit", MOST_HITS),
            offset=body.get("offset", 0),
            created_at=now.strftime("%Y-%m-%d %H:%M:%S"),
            hits=hits,
            match_status=match_status,
        )
        self.searches.append(search)
        self.modes.effect(search.client_ref, "search created")
        return search

    def find(self, id_or_ref: str) -> _Search:
        for search in self.searches:
            if id_or_ref in {str(search.id), search.ref}:
                return search
        raise Refusal(404, "Search not found")

    def _find(self, term: str) -> tuple[tuple[dict[str, Any], ...], str]:
        if self.modes.take("inconsistent"):
            return (), "potential_match"
        words = {word.upper() for word in re.findall(r"\w+", term)}
        found = [types for word, types in TYPES_BY_WORD.items() if word in words]
        if "MANY" in words:
            found += [("adverse-media",)] * 120
        if self.modes.take("hit"):
            found.append(("sanction",))
        hits = tuple(_hit(number, term, types) for number, types in enumerate(found, 1))
        if "UNKNOWN" in words or self.modes.take("unknown_verdict"):
            return hits, "under_contemplation"
        return hits, "potential_match" if hits else "no_match"


def _hit(number: int, term: str, types: tuple[str, ...]) -> dict[str, Any]:
    entity = hashlib.sha256(f"{term}/{number}".encode()).hexdigest()[:15].upper()
    return {
        "doc": {
            "id": entity,
            "last_updated_utc": "2026-01-05T09:00:00Z",
            "name": term,
            "entity_type": "person",
            "types": list(types),
            "sources": ["fintokenx-sandbox-list"],
            "aka": [{"name": term}],
            "associates": [],
            "fields": [],
            "media": [],
        },
        "match_types": ["name_exact"],
        "match_types_details": [],
        "score": 1.7,
        "is_whitelisted": False,
        "match_status": "potential_match",
    }


def _summary(search: _Search) -> dict[str, Any]:
    return {
        "id": search.id,
        "ref": search.ref,
        "searcher_id": 1,
        "assignee_id": 1,
        "filters": search.filters,
        "match_status": search.match_status,
        "risk_level": "unknown",
        "search_term": search.term,
        "submitted_term": search.term,
        "client_ref": search.client_ref,
        "total_hits": len(search.hits),
        "total_matches": len(search.hits),
        "created_at": search.created_at,
        "updated_at": search.created_at,
        "tags": [],
        "labels": [],
        "limit": search.limit,
        "offset": search.offset,
    }


def _whole(search: _Search) -> dict[str, Any]:
    return {**_summary(search), "hits": list(search.hits[search.offset : search.offset + search.limit])}


def _success(data: Any) -> dict[str, Any]:
    return {"code": 200, "status": "success", "content": {"data": data}}


def _failure(status: int) -> dict[str, Any]:
    message = {401: "Authentication failed", 429: "Too many requests"}.get(status, "Internal error")
    return {"code": status, "status": "failure", "message": message}


def _client_reference(_method: str, _path: str, _headers: Mapping[str, str], body: bytes) -> str | None:
    try:
        reference = json.loads(body).get("client_ref")
    except (ValueError, AttributeError, RecursionError):
        return None
    return reference if isinstance(reference, str) else None


def create_app(clock: Clock, *, api_key: Credential, rate: Rate | None = None) -> FastAPI:
    """The mock as an ASGI application; its switchboard is ``app.state.modes``.

    ``rate`` is the vendor's published one unless given.
    """
    vendor, allowed = _Vendor(clock), rate or Rate()
    modes = vendor.modes = Modes(
        "complyadvantage", clock, own=OWN_MODES, client_reference=_client_reference, error_body=_failure
    )

    async def authenticated(request: Request) -> None:
        given = request.headers.get("Authorization", "").encode()
        good = await api_key.accepted()
        if not any(hmac.compare_digest(given, f"Token {key}".encode()) for key in good):
            raise Refusal(401, "Authentication failed")
        allowed.admit()

    app = FastAPI(dependencies=[Depends(authenticated)], docs_url=None, redoc_url=None, openapi_url=None)
    app.state.modes = modes
    modes.install(app)

    def said(status: int, message: str, errors: Mapping[str, str], headers: Mapping[str, str]) -> JSONResponse:
        body = {"code": status, "status": "failure", "message": message, "errors": errors}
        return JSONResponse(body, status, dict(headers))

    @app.exception_handler(Refusal)
    async def refused(_: Request, refusal: Refusal) -> JSONResponse:
        return said(refusal.status, refusal.message, refusal.errors, {})

    @app.exception_handler(HTTPException)
    async def no_such_route(_: Request, error: HTTPException) -> JSONResponse:
        return said(error.status_code, str(error.detail), {}, error.headers or {})

    @app.post("/searches")
    async def create(request: Request) -> dict[str, Any]:
        must_only_ask(request)
        return _success(_whole(vendor.search(await question(request))))

    @app.get("/searches")
    async def listed(request: Request) -> dict[str, Any]:
        page, per_page = page_of(request)
        asked = request.query_params
        if asked.get("monitored", "0") != "0":
            raise Refusal(400, "Invalid parameters", {"monitored": "no search is monitored here"})
        chosen = [
            each
            for each in reversed(vendor.searches)
            if asked.get("client_ref") in {None, each.client_ref} and asked.get("search_term") in {None, each.term}
        ]
        first = (page - 1) * per_page
        return _success([_summary(each) for each in chosen[first : first + per_page]])

    @app.get("/searches/{id_or_ref}")
    async def one(request: Request, id_or_ref: str) -> dict[str, Any]:
        must_only_ask(request)
        return _success(_whole(vendor.find(id_or_ref)))

    return app


MOCK: Final = Mock(
    "complyadvantage", lambda parts: create_app(parts.clock, api_key=parts.credential("complyadvantage/api-key"))
)
