"""A Sumsub that we run ourselves: applicants, reviews and signed webhooks in the vendor's wire format.

Requests are checked as the vendor checks them: ``X-App-Token``, and ``X-App-Access-Sig`` over timestamp, method,
path with query, and body, at most 60 s away from the clock that was handed in.

What a review ends in is decided by the applicant's name, by whole words in any case, so that a household goods
shop is not put on hold:

=========== ==========================================================================================
``REJECT``  RED / FINAL, label FORGERY
``RETRY``   RED / RETRY, label UNSATISFACTORY_PHOTOS; GREEN when a check is requested again
``HOLD``    stays at ``onHold``
``WAIT``    stays ``pending``
``UNKNOWN`` completed with the answer YELLOW, which is no verdict on an applicant
others      GREEN
=========== ==========================================================================================

The verdict comes ``decide_after_seconds`` of wall time after the check was requested, or by
``…/status/testCompleted`` as in the vendor's sandbox. Modes of its own: see ``OWN_MODES``.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from fintokenx.kernel.clock import Clock
from fintokenx.sandbox.providers.credentials import Credential
from fintokenx.sandbox.providers.modes import VERDICT_MODES, WEBHOOK_MODES, Courier, Modes

OWN_MODES: Mapping[str, str] = {
    **VERDICT_MODES,
    **WEBHOOK_MODES,
    "reject": "reviews end RED / FINAL",
    "retry": "reviews end RED / RETRY",
    "hold": "reviews end at onHold",
    "state_race": "requesting a check answers 409 with Retry-After: `seconds` (else 1)",
}
CLOCK_TOLERANCE_SECONDS = 60
BY_EXTERNAL_ID = "-;externalUserId="
DIGESTS = {"HMAC_SHA1_HEX": hashlib.sha1, "HMAC_SHA256_HEX": hashlib.sha256, "HMAC_SHA512_HEX": hashlib.sha512}

GREEN: dict[str, Any] = {"reviewAnswer": "GREEN", "rejectLabels": []}
REJECTED: dict[str, Any] = {"reviewAnswer": "RED", "reviewRejectType": "FINAL", "rejectLabels": ["FORGERY"]}
ASKED_AGAIN: dict[str, Any] = {
    "reviewAnswer": "RED",
    "reviewRejectType": "RETRY",
    "rejectLabels": ["UNSATISFACTORY_PHOTOS"],
    "moderationComment": "Please take the photograph again.",
}
YELLOW: dict[str, Any] = {"reviewAnswer": "YELLOW", "rejectLabels": []}
OUT_OF_VOCABULARY: dict[str, Any] = {"reviewAnswer": "AMBER", "rejectLabels": []}


@dataclass(slots=True)
class _Applicant:
    """One applicant; fields as the vendor spells them are made in :func:`_applicant_json` and :func:`_review_json`."""

    id: str
    external_id: str
    kind: str
    level_name: str
    fixed_info: dict[str, Any]
    created_at: str
    review_status: str = "init"
    review_result: dict[str, Any] | None = None
    reviewed_at: str | None = None
    attempts: int = 0

    def words(self) -> set[str]:
        company = self.fixed_info.get("companyInfo", {})
        names = (self.fixed_info.get("firstName"), self.fixed_info.get("lastName"), company.get("companyName"))
        return {word.upper() for name in names if isinstance(name, str) for word in re.findall(r"\w+", name)}


class _Refusal(Exception):
    def __init__(self, status: int, description: str, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.description = description
        self.headers = dict(headers or {})


class _Vendor:
    """The vendor's state and what happens to it; the routes only translate."""

    def __init__(self, clock: Clock, *, decide_after_seconds: float, state_path: Path | None) -> None:
        self._clock = clock
        self._decide_after_seconds = decide_after_seconds
        self._state_path = state_path
        self._serial = 0
        self._last_event_at = datetime(1970, 1, 1, tzinfo=UTC)
        self.applicants: dict[str, _Applicant] = {}
        self.modes: Modes
        self.courier: Courier
        self._load()

    def correlation_id(self) -> str:
        self._serial += 1
        return f"req-{hashlib.sha256(str(self._serial).encode()).hexdigest()[:32]}"

    def by_external_id(self, external_id: str) -> _Applicant | None:
        return next((each for each in self.applicants.values() if each.external_id == external_id), None)

    def find(self, selector: str) -> _Applicant:
        if selector.startswith(BY_EXTERNAL_ID):
            applicant = self.by_external_id(selector.removeprefix(BY_EXTERNAL_ID))
        else:
            applicant = self.applicants.get(selector)
        if applicant is None:
            raise _Refusal(404, "Applicant not found")
        return applicant

    def create(self, body: Mapping[str, Any], level_name: str) -> _Applicant:
        external_id = body.get("externalUserId")
        if not isinstance(external_id, str) or not external_id:
            raise _Refusal(400, "externalUserId is required")
        if (existing := self.by_external_id(external_id)) is not None:
            raise _Refusal(409, f"Applicant with external user id '{external_id}' already exists: {existing.id}")
        applicant = _Applicant(
            id=hashlib.sha256(external_id.encode()).hexdigest()[:24],
            external_id=external_id,
            kind=str(body.get("type", "individual")),
            level_name=level_name,
            fixed_info=dict(body.get("fixedInfo") or {}),
            created_at=_second(self._clock.now()),
        )
        self.applicants[applicant.id] = applicant
        self.modes.effect(external_id, "applicant created")
        self._save()
        self._notify(applicant, "applicantCreated")
        return applicant

    def request_check(self, applicant: _Applicant) -> None:
        wait = self.modes.setting.seconds
        if self.modes.take("state_race"):
            raise _Refusal(409, "State is changing", {"Retry-After": f"{1 if wait is None else wait:g}"})
        if applicant.review_status not in ("init", "completed"):
            return
        applicant.review_status, applicant.review_result = "pending", None
        applicant.attempts += 1
        self.modes.effect(applicant.external_id, "check requested")
        self._save()
        self._notify(applicant, "applicantPending")
        self.courier.soon(self._decide(applicant))

    def complete(self, applicant: _Applicant, result: dict[str, Any]) -> None:
        applicant.review_status, applicant.review_result = "completed", result
        applicant.reviewed_at = _second(self._clock.now())
        self._save()
        self._notify(applicant, "applicantReviewed")

    def resume(self) -> None:
        """Take up the reviews that a restart interrupted."""
        for applicant in self.applicants.values():
            if applicant.review_status == "pending":
                self.courier.soon(self._decide(applicant))

    async def _decide(self, applicant: _Applicant) -> None:
        attempt = applicant.attempts
        await anyio.sleep(self._decide_after_seconds)
        if (extra_seconds := self.modes.setting.seconds) is None:
            await self.modes.until_off("late_verdict")
        elif self.modes.take("late_verdict"):
            await anyio.sleep(extra_seconds)
        if applicant.review_status != "pending" or applicant.attempts != attempt:
            return
        words = applicant.words()
        if "WAIT" in words:
            return
        if "HOLD" in words or self.modes.take("hold"):
            applicant.review_status = "onHold"
            self._save()
            self._notify(applicant, "applicantOnHold")
            return
        self.complete(applicant, self._result(words, attempt))

    def _result(self, words: set[str], attempt: int) -> dict[str, Any]:
        if "REJECT" in words or self.modes.take("reject"):
            return REJECTED
        if ("RETRY" in words and attempt == 1) or self.modes.take("retry"):
            return ASKED_AGAIN
        return YELLOW if "UNKNOWN" in words else GREEN

    def _notify(self, applicant: _Applicant, event_type: str) -> None:
        # Two events of one applicant never share a millisecond at the vendor; under a clock that stands still
        # they would, and the receiver would take the second for a duplicate.
        at = max(self._clock.now(), self._last_event_at + timedelta(milliseconds=1))
        self._last_event_at = at
        payload = {
            "applicantId": applicant.id,
            "inspectionId": _derived(applicant.id, "inspection"),
            "applicantType": applicant.kind,
            "correlationId": self.correlation_id(),
            "levelName": applicant.level_name,
            "sandboxMode": True,
            "externalUserId": applicant.external_id,
            "type": event_type,
            "reviewStatus": applicant.review_status,
            "createdAt": _second(at),
            "createdAtMs": at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.") + f"{at.microsecond // 1000:03d}",
            "clientId": "fintokenx",
        }
        if applicant.review_result is not None:
            payload["reviewResult"] = applicant.review_result
        self.courier.post(f"{event_type} {applicant.external_id}", json.dumps(payload).encode())

    def _load(self) -> None:
        if self._state_path is None or not self._state_path.exists():
            return
        state = json.loads(self._state_path.read_text("utf-8"))
        self._serial = state["serial"]
        self.applicants = {fields["id"]: _Applicant(**fields) for fields in state["applicants"]}

    def _save(self) -> None:
        if self._state_path is None:
            return
        state = {"serial": self._serial, "applicants": [asdict(each) for each in self.applicants.values()]}
        unfinished = self._state_path.with_suffix(".tmp")
        unfinished.write_text(json.dumps(state), "utf-8")
        unfinished.replace(self._state_path)


def _second(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S+0000")


def _derived(applicant_id: str, what: str) -> str:
    return hashlib.sha256(f"{applicant_id}/{what}".encode()).hexdigest()[:24]


def _applicant_json(applicant: _Applicant) -> dict[str, Any]:
    return {
        "id": applicant.id,
        "createdAt": applicant.created_at.removesuffix("+0000"),
        "clientId": "fintokenx",
        "inspectionId": _derived(applicant.id, "inspection"),
        "externalUserId": applicant.external_id,
        "fixedInfo": applicant.fixed_info,
        "info": {},
        "review": _review_json(applicant),
        "lang": "en",
        "type": applicant.kind,
    }


def _review_json(applicant: _Applicant) -> dict[str, Any]:
    review: dict[str, Any] = {
        "reviewId": _derived(applicant.id, "review")[:5],
        "attemptId": _derived(applicant.id, f"attempt {applicant.attempts}")[:5],
        "attemptCnt": applicant.attempts,
        "reprocessing": False,
        "levelName": applicant.level_name,
        "levelAutoCheckMode": None,
        "createDate": applicant.created_at,
        "reviewStatus": applicant.review_status,
        "priority": 0,
    }
    if applicant.review_result is not None:
        review |= {"reviewDate": applicant.reviewed_at, "reviewResult": applicant.review_result}
    return review


def _client_reference(vendor: _Vendor, path: str, body: bytes) -> str | None:
    selector = path.removeprefix("/resources/applicants").strip("/").split("/")[0]
    if selector.startswith(BY_EXTERNAL_ID):
        return selector.removeprefix(BY_EXTERNAL_ID)
    if selector:
        applicant = vendor.applicants.get(selector)
        return applicant.external_id if applicant else None
    try:
        reference = json.loads(body).get("externalUserId")
    except (ValueError, AttributeError):
        return None
    return reference if isinstance(reference, str) else None


async def _json_object(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except ValueError:
        raise _Refusal(400, "Request body is not JSON") from None
    if not isinstance(body, dict):
        raise _Refusal(400, "Request body is not an object")
    return body


def create_app(
    clock: Clock,
    *,
    app_token: Credential,
    app_secret: Credential,
    webhook_secret: Credential,
    webhook_url: str | None = None,
    webhook_algorithm: str = "HMAC_SHA256_HEX",
    decide_after_seconds: float = 0.3,
    state_path: Path | None = None,
) -> FastAPI:
    """The mock as an ASGI application; its switchboard is ``app.state.modes``.

    With ``state_path`` the applicants outlive a restart in that JSON file. ``webhook_algorithm`` is what
    ``X-Payload-Digest-Alg`` says.
    """
    vendor = _Vendor(clock, decide_after_seconds=decide_after_seconds, state_path=state_path)

    def error_body(status: int) -> dict[str, Any]:
        description = {401: "Invalid signature", 429: "Too many requests"}.get(status, "Internal error")
        return {"description": description, "code": status, "correlationId": vendor.correlation_id()}

    async def sign(body: bytes) -> dict[str, str]:
        digest = hmac.new((await webhook_secret.value()).encode(), body, DIGESTS[webhook_algorithm]).hexdigest()
        return {"X-Payload-Digest": digest, "X-Payload-Digest-Alg": webhook_algorithm}

    modes = vendor.modes = Modes(
        "sumsub",
        clock,
        own=OWN_MODES,
        client_reference=lambda _method, path, _headers, body: _client_reference(vendor, path, body),
        error_body=error_body,
        webhook_url=webhook_url,
    )
    vendor.courier = Courier(modes, sign)

    async def signed(request: Request) -> None:
        tokens, secrets = await app_token.accepted(), await app_secret.accepted()
        _check_signature(request, await request.body(), clock, app_tokens=tokens, app_secrets=secrets)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with vendor.courier:
            vendor.resume()
            yield

    app = FastAPI(lifespan=lifespan, dependencies=[Depends(signed)], docs_url=None, redoc_url=None, openapi_url=None)
    app.state.modes = modes
    modes.install(app)
    app.add_exception_handler(_Refusal, _refusal_answer(vendor))
    _add_routes(app, vendor)
    return app


def _refusal_answer(vendor: _Vendor) -> Any:
    async def answer(_: Request, refusal: _Refusal) -> JSONResponse:
        body = {
            "description": refusal.description,
            "code": refusal.status,
            "correlationId": vendor.correlation_id(),
        }
        return JSONResponse(body, refusal.status, refusal.headers)

    return answer


def _check_signature(
    request: Request, body: bytes, clock: Clock, *, app_tokens: Iterable[str], app_secrets: Iterable[str]
) -> None:
    token = request.headers.get("X-App-Token", "")
    timestamp = request.headers.get("X-App-Access-Ts", "")
    signature = request.headers.get("X-App-Access-Sig", "")
    target = request.scope["raw_path"]
    if request.scope["query_string"]:
        target += b"?" + request.scope["query_string"]
    signed = timestamp.encode() + request.method.encode() + target + body
    expected = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in app_secrets]
    if not any(hmac.compare_digest(token.encode(), good.encode()) for good in app_tokens):
        raise _Refusal(401, "Invalid app token")
    if not any(hmac.compare_digest(signature.encode(), good.encode()) for good in expected):
        raise _Refusal(401, "Invalid signature")
    if not timestamp.isdigit() or abs(clock.now().timestamp() - int(timestamp)) > CLOCK_TOLERANCE_SECONDS:
        raise _Refusal(401, "Request timestamp is out of the allowed window")


def _add_routes(app: FastAPI, vendor: _Vendor) -> None:
    @app.post("/resources/applicants")
    async def create_applicant(request: Request, levelName: str = "") -> JSONResponse:  # noqa: N803 the vendor's word
        if not levelName:
            raise _Refusal(400, "levelName is required")
        return JSONResponse(_applicant_json(vendor.create(await _json_object(request), levelName)), 201)

    @app.get("/resources/applicants/-/count")
    async def count() -> dict[str, Any]:
        return {"count": len(vendor.applicants)}

    @app.get("/resources/applicants/{selector}/one")
    async def one(selector: str) -> dict[str, Any]:
        return _applicant_json(vendor.find(selector))

    @app.get("/resources/applicants/{applicant_id}/status")
    async def status(applicant_id: str) -> dict[str, Any]:
        review = _review_json(vendor.find(applicant_id))
        if vendor.modes.take("unknown_verdict"):
            review |= {"reviewStatus": "completed", "reviewResult": OUT_OF_VOCABULARY}
        return review

    @app.post("/resources/applicants/{applicant_id}/status/pending")
    async def pending(applicant_id: str) -> dict[str, Any]:
        vendor.request_check(vendor.find(applicant_id))
        return {"ok": 1}

    @app.post("/resources/applicants/{applicant_id}/status/testCompleted")
    async def test_completed(applicant_id: str, request: Request) -> dict[str, Any]:
        result = await _json_object(request)
        if result.get("reviewAnswer") not in {"GREEN", "RED"}:
            raise _Refusal(400, "reviewAnswer must be GREEN or RED")
        vendor.complete(vendor.find(applicant_id), result)
        return {"ok": 1}
