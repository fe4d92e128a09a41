"""What the mock Sumsub takes and what it refuses; where each rule is from stands in :mod:`sumsub`'s docstring."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from starlette.requests import Request

from fintokenx.kernel.clock import Clock

CLOCK_TOLERANCE_SECONDS: Final = 60
LEVELS: Final[Mapping[str, str]] = {"basic-kyc-level": "individual", "basic-kyb-level": "company"}
"""The verification levels of this account, and whom each is for."""

_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_COUNTRY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
_APPLICANT: Final = {
    "externalUserId", "sourceKey", "email", "phone", "lang", "type", "metadata", "fixedInfo", "info", "questionnaires",
}  # fmt: skip
_FIXED_INFO: Final = {
    "firstName", "lastName", "middleName", "legalName", "gender", "dob", "placeOfBirth", "countryOfBirth",
    "stateOfBirth", "country", "nationality", "addresses", "tin", "taxResidenceCountry", "companyInfo",
}  # fmt: skip
_COMPANY_INFO: Final = {
    "companyName", "registrationNumber", "country", "legalAddress", "incorporatedOn", "type", "email", "phone", "taxId",
    "registrationLocation", "website", "postalAddress", "address", "noUBOs", "noShareholders",
}  # fmt: skip
_NOT_TEXT: Final = {"addresses", "companyInfo", "address", "noUBOs", "noShareholders"}
_COUNTRIES: Final = {"country", "nationality", "countryOfBirth", "taxResidenceCountry"}
_REVIEW: Final = {
    "reviewAnswer", "rejectLabels", "reviewRejectType", "clientComment", "moderationComment", "buttonIds",
}  # fmt: skip


class Refusal(Exception):
    """An answer that ends the request, in the vendor's words."""

    def __init__(self, status: int, description: str, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.description = description
        self.headers = dict(headers or {})
        super().__init__(description)


@dataclass(slots=True)
class Rate:
    """How often the vendor lets itself be asked, by wall time: so many reads and so many writes in a window."""

    reads: int = 300
    writes: int = 50
    window_seconds: float = 5.0
    _seen: dict[bool, deque[float]] = field(default_factory=lambda: {True: deque(), False: deque()})

    def admit(self, method: str) -> None:
        """:raises Refusal: 429, too many in the window"""
        now, is_read = time.monotonic(), method == "GET"
        seen = self._seen[is_read]
        while seen and now - seen[0] >= self.window_seconds:
            seen.popleft()
        if len(seen) >= (self.reads if is_read else self.writes):
            raise Refusal(429, "Too many requests")
        seen.append(now)


def check_signature(
    request: Request, body: bytes, clock: Clock, *, app_tokens: Iterable[str], app_secrets: Iterable[str]
) -> None:
    """:raises Refusal: 401, another token, another signature, or a timestamp that is a minute off"""
    token = request.headers.get("X-App-Token", "")
    timestamp = request.headers.get("X-App-Access-Ts", "")
    signature = request.headers.get("X-App-Access-Sig", "")
    target = request.scope["raw_path"]
    if request.scope["query_string"]:
        target += b"?" + request.scope["query_string"]
    signed = timestamp.encode() + request.method.encode() + target + body
    expected = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in app_secrets]
    if not any(hmac.compare_digest(token.encode(), good.encode()) for good in app_tokens):
        raise Refusal(401, "Invalid app token")
    if not any(hmac.compare_digest(signature.encode(), good.encode()) for good in expected):
        raise Refusal(401, "Invalid signature")
    if not _TIMESTAMP.fullmatch(timestamp) or abs(clock.now().timestamp() - int(timestamp)) > CLOCK_TOLERANCE_SECONDS:
        raise Refusal(401, "Request timestamp is out of the allowed window")


async def json_object(request: Request) -> dict[str, Any]:
    """:raises Refusal: 415 another media type, 400 no JSON object"""
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415, "HTTP 415 Unsupported Media Type")
    try:
        body = json.loads(await request.body(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Refusal(400, "Request body is not JSON") from None
    if not isinstance(body, dict):
        raise Refusal(400, "Request body is not an object")
    return body


def must_only_ask(request: Request, *names: str) -> None:
    """:raises Refusal: 400, a query parameter that the call does not have, or has twice"""
    for name in request.query_params:
        if name not in names or len(request.query_params.getlist(name)) > 1:
            raise Refusal(400, f"Unknown or repeated query parameter '{name}'")


def level_for(request: Request) -> str:
    """The level asked for. :raises Refusal: 400, none or one that there is not"""
    must_only_ask(request, "levelName")
    level_name = request.query_params.get("levelName", "")
    if not level_name:
        raise Refusal(400, "levelName is required")
    if level_name not in LEVELS:
        raise Refusal(400, f"Level '{level_name}' is not found")
    return level_name


def check_applicant(body: Mapping[str, Any], level_name: str) -> None:
    """:raises Refusal: 400, not an applicant as the reference has it, or of another kind than the level"""
    _only(body, _APPLICANT, "")
    for name in ("externalUserId", "sourceKey", "email", "phone", "lang"):
        _text(body, name, "")
    if "externalUserId" not in body:
        raise Refusal(400, "externalUserId is required")
    kind = body.get("type", "individual")
    if kind not in ("individual", "company"):
        raise Refusal(400, "type must be individual or company")
    if kind != LEVELS[level_name]:
        raise Refusal(400, f"Level '{level_name}' is not for applicants of type {kind}")
    fixed_info = _object(body, "fixedInfo", "")
    _only(fixed_info, _FIXED_INFO, "fixedInfo.")
    for name in fixed_info.keys() - _NOT_TEXT:
        _text(fixed_info, name, "fixedInfo.")
    for name in fixed_info.keys() & _COUNTRIES:
        _country(fixed_info[name], f"fixedInfo.{name}")
    if "dob" in fixed_info:
        _check_date(fixed_info["dob"])
    if kind == "company":
        _check_company(_object(fixed_info, "companyInfo", "fixedInfo."))
    elif "companyInfo" in fixed_info:
        raise Refusal(400, "fixedInfo.companyInfo is of companies only")


def check_review(body: Mapping[str, Any]) -> None:
    """:raises Refusal: 400, not a review as the sandbox takes it"""
    _only(body, _REVIEW, "")
    answer, reject_type = body.get("reviewAnswer"), body.get("reviewRejectType")
    if answer not in ("GREEN", "RED"):
        raise Refusal(400, "reviewAnswer must be GREEN or RED")
    labels = body.get("rejectLabels")
    if not isinstance(labels, list) or not all(isinstance(label, str) and label for label in labels):
        raise Refusal(400, "rejectLabels must be a list of labels")
    if (answer == "GREEN" and (labels or reject_type is not None)) or (
        answer == "RED" and (not labels or reject_type not in ("FINAL", "RETRY"))
    ):
        raise Refusal(400, "rejectLabels and reviewRejectType (FINAL or RETRY) go with RED")
    for name in ("clientComment", "moderationComment"):
        _text(body, name, "")


def _check_company(company: Mapping[str, Any]) -> None:
    _only(company, _COMPANY_INFO, "fixedInfo.companyInfo.")
    for name in company.keys() - _NOT_TEXT:
        _text(company, name, "fixedInfo.companyInfo.")
    for name in ("companyName", "country"):
        if name not in company:
            raise Refusal(400, f"fixedInfo.companyInfo.{name} is required")
    _country(company["country"], "fixedInfo.companyInfo.country")


def _only(given: Mapping[str, Any], known: set[str], where: str) -> None:
    for name in given:
        if name not in known:
            raise Refusal(400, f"Unrecognized field '{where}{name}'")


def _object(given: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    found = given.get(name, {})
    if not isinstance(found, dict):
        raise Refusal(400, f"{where}{name} must be an object")
    return found


def _text(given: Mapping[str, Any], name: str, where: str) -> None:
    if name in given and (not isinstance(given[name], str) or not given[name].strip()):
        raise Refusal(400, f"{where}{name} must be text")


def _country(value: str, where: str) -> None:
    if not _COUNTRY.fullmatch(value):
        raise Refusal(400, f"{where} must be ISO 3166-1 alpha-3")


def _check_date(value: str) -> None:
    try:
        if not _DATE.fullmatch(value):
            raise ValueError(value)
        date.fromisoformat(value)
    except ValueError:
        raise Refusal(400, "fixedInfo.dob must be yyyy-MM-dd") from None


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")
