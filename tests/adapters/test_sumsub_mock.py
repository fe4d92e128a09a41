"""The mock Sumsub refuses what the vendor refuses, in the vendor's shape, over real HTTP (A5)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from fintokenx.adapters.sumsub.exchange import signature
from fintokenx.sandbox.providers import sumsub_vendor
from fintokenx.sandbox.providers.sumsub_requests import Rate
from tests.adapters.sumsub_house import APP_SECRET, NOON, Sandbox, person, running_sandbox

pytestmark = pytest.mark.anyio

CREATE = "/resources/applicants?levelName=basic-kyc-level"
CREATE_COMPANY = "/resources/applicants?levelName=basic-kyb-level"
FIXED_INFO = {"firstName": "Ada", "lastName": "Byron", "dob": "1990-01-31", "country": "GBR"}
PERSON = {"externalUserId": "strict", "type": "individual", "fixedInfo": FIXED_INFO}
COMPANY = {"companyName": "Oak Ltd", "registrationNumber": "01234567", "country": "GBR"}
FIRM = {"externalUserId": "firm", "type": "company", "fixedInfo": {"companyInfo": COMPANY}}
FINAL = {"reviewAnswer": "RED", "rejectLabels": ["FORGERY"], "reviewRejectType": "FINAL"}


@pytest.fixture(scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    async with running_sandbox() as running:
        yield running


async def ask(
    sandbox: Sandbox, method: str, target: str, body: Any = None, *, at: str | None = None, **headers: str
) -> httpx.Response:
    """Signed as the vendor wants it; ``body`` as JSON unless it is bytes."""
    content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = sandbox.http.build_request(method, sandbox.url + target, content=content or None)
    timestamp = str(int(NOON.timestamp())) if at is None else at
    signed = signature(APP_SECRET, timestamp, method, request.url.raw_path, content)
    request.headers.update({"X-App-Token": "sbx:token", "X-App-Access-Ts": timestamp, "X-App-Access-Sig": signed})
    if content:
        request.headers["Content-Type"] = "application/json"
    request.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return await sandbox.http.send(request)


def person_with(**changed: Any) -> dict[str, Any]:
    return {**PERSON, "fixedInfo": {**FIXED_INFO, **changed}}


def firm_with(**changed: Any) -> dict[str, Any]:
    return {**FIRM, "fixedInfo": {"companyInfo": {**COMPANY, **changed}}}


@pytest.mark.parametrize(
    ("target", "body", "named"),
    [
        ("/resources/applicants", PERSON, "levelName"),
        ("/resources/applicants?levelName=Basic-KYC-level", PERSON, "is not found"),
        (f"{CREATE}&levelName=basic-kyc-level", PERSON, "levelName"),
        (f"{CREATE}&sourceKey=x", PERSON, "sourceKey"),
        (CREATE_COMPANY, PERSON, "type individual"),
        (CREATE, FIRM, "type company"),
        (CREATE, b"{", "not JSON"),
        (CREATE, b'{"externalUserId": NaN}', "not JSON"),
        (CREATE, b"[" * 100_000, "not JSON"),
        (CREATE, b"[]", "not an object"),
        (CREATE, {**PERSON, "externalUserID": "x"}, "externalUserID"),
        (CREATE, {"type": "individual"}, "externalUserId"),
        (CREATE, {**PERSON, "externalUserId": 7}, "externalUserId"),
        (CREATE, {**PERSON, "externalUserId": " "}, "externalUserId"),
        (CREATE, {**PERSON, "type": "person"}, "type"),
        (CREATE, {**PERSON, "type": ["individual"]}, "type"),
        (CREATE, {**PERSON, "fixedInfo": []}, "fixedInfo"),
        (CREATE, person_with(first_name="Ada"), "fixedInfo.first_name"),
        (CREATE, person_with(firstName=""), "fixedInfo.firstName"),
        (CREATE, person_with(dob="31.01.1990"), "dob"),
        (CREATE, person_with(dob="1990-02-30"), "dob"),
        (CREATE, person_with(dob="19900131"), "dob"),
        (CREATE, person_with(country="GB"), "alpha-3"),
        (CREATE, person_with(nationality="gbr"), "alpha-3"),
        (CREATE, person_with(companyInfo=COMPANY), "companyInfo"),
        (CREATE_COMPANY, {**FIRM, "fixedInfo": {}}, "companyName is required"),
        (CREATE_COMPANY, firm_with(companyName=None), "companyName"),
        (CREATE_COMPANY, firm_with(country="GB"), "alpha-3"),
        (CREATE_COMPANY, firm_with(company_number="1"), "company_number"),
    ],
)
async def test_what_is_no_applicant_is_refused_and_named(sandbox: Sandbox, target: str, body: Any, named: str) -> None:
    answer = await ask(sandbox, "POST", target, body)
    assert (answer.status_code, answer.json()["code"]) == (400, 400), answer.text
    assert named in answer.json()["description"]
    assert (await ask(sandbox, "GET", "/resources/applicants/-/count")).json() == {"count": 0}


@pytest.mark.parametrize("at", ["", "now", "1772452800.0", "²", "-1772452800", "9" * 400])
async def test_a_timestamp_is_a_number_of_seconds(sandbox: Sandbox, at: str) -> None:
    answer = await ask(sandbox, "GET", "/resources/applicants/-/count", at=at) if at.isascii() else await odd(sandbox)
    assert answer.status_code == 401


async def odd(sandbox: Sandbox) -> httpx.Response:
    """A timestamp of Latin-1 that Python takes for a digit."""
    headers = {b"X-App-Token": b"sbx:token", b"X-App-Access-Ts": b"\xb2", b"X-App-Access-Sig": b"00"}
    return await sandbox.http.get(f"{sandbox.url}/resources/applicants/-/count", headers=list(headers.items()))


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("PUT", "/resources/applicants", 405),
        ("GET", "/resources/applicants", 405),
        ("DELETE", "/resources/applicants/-/count", 405),
        ("GET", "/resources/applicants/5cb56e8e0a975a35f333cb83/status/pending", 405),
        ("GET", "/resources/applicant", 404),
        ("GET", "/resources/applicants/5cb56e8e0a975a35f333cb83/one", 404),
        ("GET", "/resources/applicants/-;externalUserId=nobody/one", 404),
        ("POST", "/resources/applicants/5cb56e8e0a975a35f333cb83/status/pending", 404),
    ],
)
async def test_another_method_or_an_unknown_thing_is_refused_in_the_vendors_shape(
    sandbox: Sandbox, method: str, target: str, status: int
) -> None:
    answer = await ask(sandbox, method, target)
    assert (answer.status_code, set(answer.json())) == (status, {"description", "code", "correlationId"})


async def test_a_body_of_another_media_type_is_refused(sandbox: Sandbox) -> None:
    answer = await ask(sandbox, "POST", CREATE, PERSON, Content_Type="text/plain")
    assert answer.status_code == 415


async def test_a_check_is_refused_while_one_runs_and_an_external_id_selects_for_reading_only() -> None:
    async with running_sandbox() as sandbox:
        made = await ask(sandbox, "POST", CREATE, person_with(firstName="Wait"))
        path = f"/resources/applicants/{made.json()['id']}"
        assert (made.status_code, (await ask(sandbox, "POST", CREATE, PERSON)).status_code) == (201, 409)
        assert (await ask(sandbox, "POST", f"{path}/status/pending?reason=now")).json() == {"ok": 1}
        assert (await ask(sandbox, "POST", f"{path}/status/pending")).status_code == 409
        by_ours = "/resources/applicants/-;externalUserId=strict"
        assert (await ask(sandbox, "GET", f"{by_ours}/one")).status_code == 200
        assert (await ask(sandbox, "GET", f"{by_ours}/status")).status_code == 404


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"reviewAnswer": "YELLOW"}, "reviewAnswer"),
        ({"rejectLabels": None}, "rejectLabels"),
        ({"rejectLabels": []}, "rejectLabels"),
        ({"rejectLabels": [1]}, "rejectLabels"),
        ({"reviewRejectType": "EXTERNAL"}, "reviewRejectType"),
        ({"reviewAnswer": "GREEN"}, "go with RED"),
        ({"moderationComment": 1}, "moderationComment"),
        ({"verdict": "GREEN"}, "verdict"),
    ],
)
async def test_a_sandbox_verdict_is_one_that_the_vendor_could_give(
    sandbox: Sandbox, changed: dict[str, Any], named: str
) -> None:
    target = f"/resources/applicants/{'0' * 24}/status/testCompleted"
    answer = await ask(sandbox, "POST", target, {**FINAL, **changed})
    assert answer.status_code == 400
    assert named in answer.json()["description"]


async def test_more_than_the_rate_in_a_window_is_refused() -> None:
    async with running_sandbox(rate=Rate(reads=2, writes=1, window_seconds=600)) as sandbox:
        reads = [(await ask(sandbox, "GET", "/resources/applicants/-/count")).status_code for _ in range(3)]
        writes = [
            (await ask(sandbox, "POST", CREATE, {**PERSON, "externalUserId": f"n{n}"})).status_code for n in (1, 2)
        ]
    assert (reads, writes) == ([200, 200, 429], [201, 429])
    assert (Rate().reads, Rate().writes, Rate().window_seconds) == (300, 50, 5.0)


async def test_a_day_has_room_for_so_many_new_applicants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sumsub_vendor, "APPLICANTS_PER_DAY_MAX", 1)
    async with running_sandbox() as sandbox:
        await sandbox.port.open_applicant(person("first"))
        assert (await ask(sandbox, "POST", CREATE, PERSON)).status_code == 429
        assert await sandbox.port.open_applicant(person("first")), "who is there already is found"
