"""A Sumsub that we run ourselves: applicants, reviews and signed webhooks in the vendor's wire format.

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

Refused, with the page of docs.sumsub.com that says so:

- another ``X-App-Token`` or ``X-App-Access-Sig`` (over timestamp, method, path with query, body), a timestamp that is
  no number of seconds or over 60 s away from the clock that was handed in: 401 ("Authentication")
- more than 300 GET or 50 POST in 5 s: 429 ("Rate limits"; it names no ``Retry-After``, so there is none)
- more than 500 new applicants in 24 h ("Create applicant", of the sandbox; the status is our guess: 429)
- no ``levelName``, one that there is not (case counts), a person at a level for companies or the other way round: 400
  ("Create applicant"); the levels are ``sumsub_requests.LEVELS``
- an applicant with a member that the reference does not name, of another type, without ``externalUserId``, a date that
  is not yyyy-MM-dd, a country that is not alpha-3, a company without name or country: 400 ("Create applicant"). That an
  unknown member or query parameter is refused and not passed over is stricter than what is documented: so a misspelt
  one is found here
- an ``externalUserId`` a second time: 409, the first one's id in the description
- a check for one that is pending, queued or prechecked: 409 ("Request applicant check")
- an id that there is not: 404; ``-;externalUserId=`` is for ``/one`` only ("Get applicant data (externalUserId)")
- a body of another media type than JSON: 415; another method: 405, in the vendor's shape ("Error codes")
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from fintokenx.kernel.clock import Clock
from fintokenx.sandbox.providers.courier import Courier
from fintokenx.sandbox.providers.credentials import Credential
from fintokenx.sandbox.providers.mock import Mock, MockParts
from fintokenx.sandbox.providers.mode_words import VERDICT_MODES, WEBHOOK_MODES
from fintokenx.sandbox.providers.modes import Modes
from fintokenx.sandbox.providers.sumsub_requests import (
    Rate,
    Refusal,
    check_applicant,
    check_review,
    check_signature,
    json_object,
    level_for,
    must_only_ask,
)
from fintokenx.sandbox.providers.sumsub_vendor import (
    BY_EXTERNAL_ID,
    OUT_OF_VOCABULARY,
    Vendor,
    applicant_json,
    review_json,
)

OWN_MODES: Mapping[str, str] = {
    **VERDICT_MODES,
    **WEBHOOK_MODES,
    "reject": "reviews end RED / FINAL",
    "retry": "reviews end RED / RETRY",
    "hold": "reviews end at onHold",
    "state_race": "requesting a check answers 409 with Retry-After: `seconds` (else 1)",
}
DIGESTS = {"HMAC_SHA1_HEX": hashlib.sha1, "HMAC_SHA256_HEX": hashlib.sha256, "HMAC_SHA512_HEX": hashlib.sha512}


def _client_reference(vendor: Vendor, path: str, body: bytes) -> str | None:
    selector = path.removeprefix("/resources/applicants").strip("/").split("/")[0]
    if selector.startswith(BY_EXTERNAL_ID):
        return selector.removeprefix(BY_EXTERNAL_ID)
    if selector:
        applicant = vendor.applicants.get(selector)
        return applicant.external_id if applicant else None
    try:
        reference = json.loads(body).get("externalUserId")
    except (ValueError, AttributeError, RecursionError):
        return None
    return reference if isinstance(reference, str) else None


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
    rate: Rate | None = None,
) -> FastAPI:
    """The mock as an ASGI application; its switchboard is ``app.state.modes``.

    With ``state_path`` the applicants outlive a restart in that JSON file. ``webhook_algorithm`` is what
    ``X-Payload-Digest-Alg`` says. ``rate`` is the vendor's published one unless given.
    """
    vendor = Vendor(clock, decide_after_seconds=decide_after_seconds, state_path=state_path)
    allowed = rate or Rate()

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
        check_signature(request, await request.body(), clock, app_tokens=tokens, app_secrets=secrets)
        allowed.admit(request.method)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with vendor.courier:
            vendor.resume()
            yield

    app = FastAPI(lifespan=lifespan, dependencies=[Depends(signed)], docs_url=None, redoc_url=None, openapi_url=None)
    app.state.modes = modes
    modes.install(app)
    _answer_refusals(app, vendor)
    _add_routes(app, vendor)
    return app


def _answer_refusals(app: FastAPI, vendor: Vendor) -> None:
    def said(status: int, description: str, headers: Mapping[str, str] | None) -> JSONResponse:
        body = {"description": description, "code": status, "correlationId": vendor.correlation_id()}
        return JSONResponse(body, status, dict(headers or {}))

    @app.exception_handler(Refusal)
    async def refused(_: Request, refusal: Refusal) -> JSONResponse:
        return said(refusal.status, refusal.description, refusal.headers)

    @app.exception_handler(HTTPException)
    async def no_such_route(_: Request, error: HTTPException) -> JSONResponse:
        return said(error.status_code, f"HTTP {error.status_code} {error.detail}", error.headers)


def _add_routes(app: FastAPI, vendor: Vendor) -> None:
    @app.post("/resources/applicants")
    async def create_applicant(request: Request) -> JSONResponse:
        level_name, body = level_for(request), await json_object(request)
        check_applicant(body, level_name)
        return JSONResponse(applicant_json(vendor.create(body, level_name)), 201)

    @app.get("/resources/applicants/-/count")
    async def count() -> dict[str, Any]:
        return {"count": len(vendor.applicants)}

    @app.get("/resources/applicants/{selector}/one")
    async def one(request: Request, selector: str) -> dict[str, Any]:
        must_only_ask(request)
        return applicant_json(vendor.find(selector))

    @app.get("/resources/applicants/{applicant_id}/status")
    async def status(request: Request, applicant_id: str) -> dict[str, Any]:
        must_only_ask(request)
        review = review_json(vendor.by_id(applicant_id))
        if vendor.modes.take("unknown_verdict"):
            review |= {"reviewStatus": "completed", "reviewResult": OUT_OF_VOCABULARY}
        return review

    @app.post("/resources/applicants/{applicant_id}/status/pending")
    async def pending(request: Request, applicant_id: str) -> dict[str, Any]:
        must_only_ask(request, "reason")
        vendor.request_check(vendor.by_id(applicant_id))
        return {"ok": 1}

    @app.post("/resources/applicants/{applicant_id}/status/testCompleted")
    async def test_completed(request: Request, applicant_id: str) -> dict[str, Any]:
        must_only_ask(request)
        result = await json_object(request)
        check_review(result)
        vendor.complete(vendor.by_id(applicant_id), result)
        return {"ok": 1}


def _of_a_local_system(parts: MockParts) -> FastAPI:
    return create_app(
        parts.clock,
        app_token=parts.credential("sumsub/app-token"),
        app_secret=parts.credential("sumsub/app-secret"),
        webhook_secret=parts.credential("sumsub/webhook-secret"),
        webhook_url=f"http://127.0.0.1:{parts.ports['platform']}/v1/webhooks/sumsub",
        state_path=parts.folder / "sumsub.json",
    )


MOCK: Final = Mock("sumsub", _of_a_local_system)
