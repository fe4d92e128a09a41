"""What the mock ComplyAdvantage takes and what it refuses; the sources stand in :mod:`complyadvantage`'s docstring."""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.requests import Request

LONGEST_TERM: Final = 255
MOST_HITS: Final = 100
DEEPEST_ROW: Final = 10_000
_TYPES: Final = re.compile(
    r"sanction|warning|fitness-probity|pep|pep-class-[1-4]|adverse-media|adverse-media-[a-z0-9-]+"
)
_ENTITIES: Final = ("person", "company", "organisation", "vessel", "aircraft")
_COUNTRY: Final = re.compile(r"[A-Z]{2}", re.ASCII)
_SLUG: Final = re.compile(r"[A-Za-z0-9_-]{1,255}", re.ASCII)
_NAME_PARTS: Final = ("first_name", "middle_names", "last_name")
_WHOLE: Final = re.compile(r"[0-9]{1,9}", re.ASCII)


class Refusal(Exception):
    """An answer that ends the request. ``errors`` says which member is at fault."""

    def __init__(self, status: int, message: str, errors: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.message = message
        self.errors = dict(errors or {})
        super().__init__(message)


@dataclass(slots=True)
class Rate:
    """How often the vendor lets itself be asked, by wall time."""

    requests: int = 300
    window_seconds: float = 60.0
    _seen: deque[float] = field(default_factory=deque)

    def admit(self) -> None:
        """:raises Refusal: 429, too many in the window"""
        now = time.monotonic()
        while self._seen and now - self._seen[0] >= self.window_seconds:
            self._seen.popleft()
        if len(self._seen) >= self.requests:
            raise Refusal(429, "Too many requests")
        self._seen.append(now)


async def question(request: Request) -> dict[str, Any]:
    """The body of a search. :raises Refusal: 415 or 400, not one as the reference has it"""
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415, "The body must be application/json")
    try:
        body = json.loads(await request.body(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Refusal(400, "The body is not JSON") from None
    if not isinstance(body, dict):
        raise Refusal(400, "The body is not an object")
    _hold(body, _SEARCH, "")
    if "search_term" not in body:
        raise _at_fault("search_term", "is required")
    return body


def term_of(body: Mapping[str, Any]) -> str:
    """The name searched for, from a body that was checked."""
    given = body["search_term"]
    return " ".join(given[part] for part in _NAME_PARTS if given.get(part)) if isinstance(given, dict) else str(given)


def page_of(request: Request) -> tuple[int, int]:
    """Page and rows of a page. :raises Refusal: 400, out of range, or a parameter that the list does not have"""
    must_only_ask(request, "search_term", "client_ref", "monitored", "page", "per_page")
    texts = {"page": request.query_params.get("page", "1"), "per_page": request.query_params.get("per_page", "20")}
    for name, text in texts.items():
        if not _WHOLE.fullmatch(text) or int(text) < 1:
            raise _at_fault(name, "must be a whole number from 1")
    page, per_page = int(texts["page"]), int(texts["per_page"])
    if per_page > MOST_HITS:
        raise _at_fault("per_page", f"must be {MOST_HITS} at most")
    if page * per_page > DEEPEST_ROW:
        raise _at_fault("page", f"ends beyond row {DEEPEST_ROW}")
    return page, per_page


def must_only_ask(request: Request, *names: str) -> None:
    """:raises Refusal: 400, a query parameter that the call does not have, or has twice"""
    for name in request.query_params:
        if name not in names or len(request.query_params.getlist(name)) > 1:
            raise _at_fault(name, "is not a parameter of this call, or stands twice")


def _at_fault(name: str, fault: str) -> Refusal:
    return Refusal(400, "Invalid parameters", {name: fault})


def _hold(given: Mapping[str, Any], rules: Mapping[str, Callable[[Any], bool]], where: str) -> None:
    for name, value in given.items():
        rule = rules.get(name)
        if rule is None:
            raise _at_fault(where + name, "is unknown")
        if not rule(value):
            raise _at_fault(where + name, "is invalid")
        if name == "filters":
            _hold(value, _FILTERS, "filters.")


def _is_term(value: Any) -> bool:
    if not isinstance(value, dict):
        return _is_text(value)
    parts = [value.get(part, "") for part in _NAME_PARTS]
    if value.keys() - set(_NAME_PARTS) or not all(isinstance(part, str) for part in parts):
        return False
    return bool(parts[-1].strip()) and len(" ".join(filter(None, parts))) <= LONGEST_TERM


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= LONGEST_TERM


def _is_number(value: Any, low: float, high: float) -> bool:
    return type(value) in (int, float) and low <= value <= high


def _is_whole(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _is_year(value: Any) -> bool:
    return _is_whole(int(value) if isinstance(value, str) and _WHOLE.fullmatch(value) else value, 1000, 9999)


def _are_all(value: Any, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) and pattern.fullmatch(one) for one in value)


def _are_tags(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_text(tag) for tag in value.values())


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


_SEARCH: Final[Mapping[str, Callable[[Any], bool]]] = {
    "search_term": _is_term,
    "client_ref": _is_text,
    "search_profile": lambda value: isinstance(value, str) and bool(_SLUG.fullmatch(value)),
    "fuzziness": lambda value: _is_number(value, 0, 1),
    "exact_match": lambda value: type(value) is bool,
    "offset": lambda value: _is_whole(value, 0, DEEPEST_ROW),
    "limit": lambda value: _is_whole(value, 1, MOST_HITS),
    "share_url": lambda value: _is_whole(value, 0, 1),
    "tags": _are_tags,
    "filters": lambda value: isinstance(value, dict),
}
_FILTERS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "types": lambda value: _are_all(value, _TYPES),
    "birth_year": _is_year,
    "remove_deceased": lambda value: value in ("0", "1"),
    "country_codes": lambda value: _are_all(value, _COUNTRY),
    "entity_type": lambda value: isinstance(value, str) and value in _ENTITIES,
}
