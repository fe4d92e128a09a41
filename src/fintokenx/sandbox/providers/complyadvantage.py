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
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from fintokenx.kernel.clock import Clock
from fintokenx.sandbox.providers.credentials import Credential
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
LONGEST_TERM = 255
MOST_HITS = 100


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


class _Refusal(Exception):
    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.message = message


class _Vendor:
    """The searches made so far, newest last."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.searches: list[_Search] = []
        self.modes: Modes

    def search(self, body: Mapping[str, Any]) -> _Search:
        term, limit, offset = _term(body.get("search_term")), body.get("limit", MOST_HITS), body.get("offset", 0)
        if type(limit) is not int or type(offset) is not int or not 1 <= limit <= MOST_HITS or offset < 0:
            raise _Refusal(400, "limit or offset out of range")
        number, now = len(self.searches) + 1, self._clock.now()
        client_ref = body.get("client_ref")
        hits, match_status = self._find(term)
        search = _Search(
            id=number,
            ref=f"{int(now.timestamp())}-{hashlib.sha256(str(number).encode()).hexdigest()[:8]}",
            client_ref=client_ref if isinstance(client_ref, str) else None,
            term=term,
            filters=dict(body.get("filters") or {}),
            limit=limit,
            offset=offset,
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
        raise _Refusal(404, "Search not found")

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


def _term(given: object) -> str:
    if isinstance(given, dict):
        given = " ".join(filter(None, (given.get(part) for part in ("first_name", "middle_names", "last_name"))))
    if not isinstance(given, str) or not given or len(given) > LONGEST_TERM:
        raise _Refusal(400, "search_term must have 1 to 255 characters")
    return given


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
    except (ValueError, AttributeError):
        return None
    return reference if isinstance(reference, str) else None


def create_app(clock: Clock, *, api_key: Credential) -> FastAPI:
    """The mock as an ASGI application; its switchboard is ``app.state.modes``."""
    vendor = _Vendor(clock)
    modes = vendor.modes = Modes(
        "complyadvantage", clock, own=OWN_MODES, client_reference=_client_reference, error_body=_failure
    )

    async def authenticated(request: Request) -> None:
        given = request.headers.get("Authorization", "").encode()
        good = await api_key.accepted()
        if not any(hmac.compare_digest(given, f"Token {key}".encode()) for key in good):
            raise _Refusal(401, "Authentication failed")

    app = FastAPI(dependencies=[Depends(authenticated)], docs_url=None, redoc_url=None, openapi_url=None)
    app.state.modes = modes
    modes.install(app)

    @app.exception_handler(_Refusal)
    async def refused(_: Request, refusal: _Refusal) -> JSONResponse:
        body = {"code": refusal.status, "status": "failure", "message": refusal.message, "errors": {}}
        return JSONResponse(body, refusal.status)

    @app.post("/searches")
    async def create(request: Request) -> dict[str, Any]:
        try:
            body = json.loads(await request.body())
        except ValueError:
            raise _Refusal(400, "The body is not JSON") from None
        if not isinstance(body, dict):
            raise _Refusal(400, "The body is not an object")
        return _success(_whole(vendor.search(body)))

    @app.get("/searches")
    async def listed(client_ref: str | None = None, page: int = 1, per_page: int = 20) -> dict[str, Any]:
        chosen = [each for each in reversed(vendor.searches) if client_ref in {None, each.client_ref}]
        first = (page - 1) * per_page
        return _success([_summary(each) for each in chosen[first : first + per_page]])

    @app.get("/searches/{id_or_ref}")
    async def one(id_or_ref: str) -> dict[str, Any]:
        return _success(_whole(vendor.find(id_or_ref)))

    return app
