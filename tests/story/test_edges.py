"""Bad input over real HTTP against the running platform, and what it says when something that it leans on is down."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from fintokenx.adapters.vault import LocalVault
from fintokenx.app import first_keys
from fintokenx.app.api_client import eventually
from fintokenx.app.demo import Story, default_invoice
from fintokenx.app.demo_paper import Paper
from fintokenx.app.http import BODY_BYTES_MAX
from fintokenx.app.local import LocalSystem
from fintokenx.kernel.caller import Role
from fintokenx.kernel.vault import Vault
from fintokenx.parties.auth.service.tokens import Tokens
from fintokenx.web.edge import IDEMPOTENCY_HEADER
from tests.inputs.document import routes
from tests.inputs.walk import Walk
from tests.story.house import cli, running, story_of, the_day_after

pytestmark = pytest.mark.anyio

PROBLEM = "application/problem+json"
MUTATING = {"post", "put", "patch", "delete"}
SOME_LISTING = {"listing_id": "lst_" + "0" * 26}
REQUEST_ID = {"FX-Request-Id": "same-request-id"}


@dataclass(frozen=True, slots=True)
class Scene:
    """A platform with one invoice, its seller signed in, and the key of another tenant."""

    system: LocalSystem
    story: Story
    http: httpx.AsyncClient
    key: dict[str, str]
    session: dict[str, str]
    mercia: dict[str, str]

    @property
    def both(self) -> dict[str, str]:
        """The seller's session and its platform's key."""
        return {**self.key, **self.session}


@pytest.fixture(scope="module")
async def scene() -> AsyncIterator[Scene]:
    """The story until the buyer is asked."""
    paper = Paper.read(default_invoice())
    async with running(the_day_after(paper)) as system, aclosing(story_of(system, paper)) as story:
        await story.tell(until="upload")
        mercia = await first_keys.create_api_key(system, "tnt_mercia", "edges", ["*"])
        async with httpx.AsyncClient(base_url=system.settings().public_url, timeout=30) as http:
            key, session = {"FX-Api-Key": story.api_key}, {"Authorization": f"Bearer {story.seller.token}"}
            yield Scene(system, story, http, key, session, {"FX-Api-Key": mercia})


# ── Who may see what ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("path", "thing", "missing"),
    [
        ("/v1/invoices/{}", "invoice", "FXI-0000000"),
        ("/v1/invoices/{}/documents", "invoice", "FXI-0000000"),
        ("/v1/subjects/{}", "seller", "sub_00000000000000000000000000"),
        ("/v1/subjects/{}/gates", "seller", "sub_00000000000000000000000000"),
        ("/v1/audit/entries/{}/proof", "entry", "aud_00000000000000000000000000"),
    ],
)
async def test_a_foreign_thing_looks_exactly_like_a_missing_one(
    scene: Scene, path: str, thing: str, missing: str
) -> None:
    entries = await scene.story.partner.get("/v1/audit/entries", resource=scene.story.reference)
    ours = {
        "invoice": scene.story.reference,
        "seller": scene.story.subjects["seller"],
        "entry": entries["items"][0]["id"],
    }[thing]
    foreign = await scene.http.get(path.format(ours), headers={**scene.mercia, **REQUEST_ID})
    absent = await scene.http.get(path.format(missing), headers={**scene.mercia, **REQUEST_ID})
    assert foreign.status_code == absent.status_code == 404
    assert foreign.content == absent.content
    assert _without_date(foreign) == _without_date(absent)
    assert (await scene.http.get(path.format(ours), headers=scene.key)).status_code in (200, 409)


async def test_a_session_of_one_tenant_with_the_key_of_another_is_refused(scene: Scene) -> None:
    answer = await scene.http.get("/v1/me", headers={**scene.session, **scene.mercia})
    assert (answer.status_code, answer.json()["code"]) == (403, "TENANT_MISMATCH")


@pytest.mark.parametrize(("credentials", "code"), [("session", "API_KEY_REQUIRED"), ("key", "SESSION_REQUIRED")])
async def test_funding_needs_both_a_session_and_a_key(scene: Scene, credentials: str, code: str) -> None:
    headers = {IDEMPOTENCY_HEADER: f"half-{credentials}", **getattr(scene, credentials)}
    answer = await scene.http.post("/v1/payments", json=SOME_LISTING, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, code)
    assert answer.headers["content-type"] == PROBLEM


async def test_without_any_credentials_nothing_is_told(scene: Scene) -> None:
    answer = await scene.http.get(f"/v1/invoices/{scene.story.reference}")
    assert answer.status_code == 401
    assert answer.headers["content-type"] == PROBLEM


# ── Tokens ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_untouched_token_is_taken(scene: Scene) -> None:
    answer = await scene.http.get("/v1/me", headers=scene.session)
    assert (answer.status_code, answer.json()["subject_id"]) == (200, scene.story.subjects["seller"])


def _as_lender(token: str) -> str:
    header, claims, signature = token.split(".")
    return ".".join((header, _encoded({**_decoded(claims), "role": "lender"}), signature))


def _unsigned(token: str) -> str:
    return ".".join((_encoded({"alg": "none", "typ": "JWT"}), token.split(".")[1], ""))


def _signed_with_the_public_key(token: str) -> str:
    return ".".join((_encoded({"alg": "HS256", "typ": "JWT"}), *token.split(".")[1:]))


def _one_bit_off(token: str) -> str:
    head, _, signature = token.rpartition(".")
    raw = bytearray(base64.urlsafe_b64decode(signature + "=="))
    raw[0] ^= 1
    return f"{head}.{base64.urlsafe_b64encode(raw).rstrip(b'=').decode()}"


@pytest.mark.parametrize("tampered", [_as_lender, _unsigned, _signed_with_the_public_key, _one_bit_off])
async def test_a_tampered_token_is_refused(scene: Scene, tampered: Callable[[str], str]) -> None:
    headers = {"Authorization": f"Bearer {tampered(scene.story.seller.token)}"}
    answer = await scene.http.get("/v1/me", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "TOKEN_INVALID")


async def test_an_expired_token_is_refused(scene: Scene) -> None:
    """Signed by the right key for the right session; only its time is over."""
    end = scene.system.clock().now() - timedelta(seconds=1)
    token = await _token(scene, scene.system.vault(), end)
    answer = await scene.http.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "TOKEN_INVALID")
    alive = await _token(scene, scene.system.vault(), end + timedelta(minutes=5))
    assert (await scene.http.get("/v1/me", headers={"Authorization": f"Bearer {alive}"})).status_code == 200


async def test_a_token_of_another_vault_is_refused(scene: Scene, tmp_path: Path) -> None:
    stranger = LocalVault(tmp_path / "vault", lambda length: b"\x07" * length)
    token = await _token(scene, stranger, scene.system.clock().now() + timedelta(minutes=5))
    answer = await scene.http.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "TOKEN_INVALID")


async def _token(scene: Scene, vault: Vault, end: Any) -> str:
    settings = scene.system.settings()
    claims = _decoded(scene.story.seller.token.split(".")[1])
    tokens = Tokens(vault, scene.system.clock(), environment=settings.environment, issuer=settings.public_url)
    return await tokens.sign(
        tenant_id=claims["tnt"], session_id=claims["sid"], subject_id=claims["sub"], role=Role(claims["role"]),
        aal=claims["aal"], start=end - timedelta(minutes=30), end=end,
    )  # fmt: skip


def _decoded(part: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=="))
    return found


def _encoded(claims: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()


# ── The shape of requests ───────────────────────────────────────────────────────────────────────────────────────────


async def test_every_mutation_of_the_api_document_needs_an_idempotency_key(scene: Scene) -> None:
    """Walks the document, so that a route of tomorrow is walked too. A lookup keeps nothing, and asked again it leaves
    another fingerprint: its answer belongs to another tenant."""
    document = (await scene.http.get("/openapi.json")).json()
    routes = [
        (method.upper(), re.sub(r"{\w+}", "sub_00000000000000000000000000", path))
        for path, operations in document["paths"].items()
        for method in operations
        if method in MUTATING and "/webhooks/" not in path and not path.startswith(("/v1/sandbox", "/v1/admin/lookups"))
    ]
    assert len(routes) >= 12
    for method, path in routes:
        answer = await scene.http.request(method, path, headers=scene.both)
        told = (answer.status_code, answer.json()["code"], answer.headers["content-type"])
        assert told == (400, "IDEMPOTENCY_KEY_REQUIRED", PROBLEM), f"{method} {path}"


@pytest.mark.parametrize(("key", "code"), [("", "REQUIRED"), ("x" * 300, "TOO_LONG"), ("tab\there", "UNREADABLE")])
async def test_an_unusable_idempotency_key_is_refused_and_told_why(scene: Scene, key: str, code: str) -> None:
    answer = await scene.http.post("/v1/subjects", json={}, headers={**scene.key, IDEMPOTENCY_HEADER: key})
    assert (answer.status_code, answer.json()["code"]) == (400, f"IDEMPOTENCY_KEY_{code}")


async def test_one_key_for_two_requests_is_refused(scene: Scene) -> None:
    body = {
        "role": "buyer",
        "legal_name": "Twice Ltd",
        "company_number": "19777001",
        "representative_name": "Tom Twice",
        "email": "tom@twice.example",
    }
    headers = {**scene.key, IDEMPOTENCY_HEADER: "twice"}
    assert (await scene.http.post("/v1/subjects", json=body, headers=headers)).status_code == 201
    again = await scene.http.post("/v1/subjects", json={**body, "role": "seller"}, headers=headers)
    assert (again.status_code, again.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing-here", 404, "NOT_FOUND"),
        ("GET", "/", 404, "NOT_FOUND"),
        ("DELETE", "/v1/invoices", 405, "METHOD_NOT_ALLOWED"),
        ("PATCH", "/v1/payments", 405, "METHOD_NOT_ALLOWED"),
    ],
)
async def test_an_unknown_path_or_method_is_a_problem_too(
    scene: Scene, method: str, path: str, status: int, code: str
) -> None:
    answer = await scene.http.request(method, path, headers=scene.both)
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    assert answer.json()["code"] == code
    assert answer.json()["request_id"] == answer.headers["fx-request-id"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"role": "seller"}', b"\xff\xfe", b'{"amount": NaN}'])
async def test_a_body_that_fits_no_schema_is_a_problem_that_repeats_nothing(scene: Scene, body: bytes) -> None:
    headers = {**scene.key, IDEMPOTENCY_HEADER: "unfit", "Content-Type": "application/json"}
    answer = await scene.http.post("/v1/subjects", content=body, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)
    assert answer.json()["code"] == "INVALID_REQUEST"


async def test_too_large_a_body_is_refused_before_it_is_sent(scene: Scene) -> None:
    """Only its announced length is known by then."""
    head = f"Content-Length: {BODY_BYTES_MAX + 1}\r\n"
    status, headers, body = await _raw(scene, head, b"")
    assert (status, headers["content-type"], json.loads(body)["code"]) == (413, PROBLEM, "BODY_TOO_LARGE")


async def test_too_large_a_body_of_no_announced_length_is_refused(scene: Scene) -> None:
    """By one byte, and nothing after it: what a server leaves unread resets the connection, answer and all."""
    full = b"%x\r\n" % BODY_BYTES_MAX + b"x" * BODY_BYTES_MAX + b"\r\n"
    one_more = b"1\r\nx\r\n"
    status, headers, body = await _raw(scene, "Transfer-Encoding: chunked\r\n", full + one_more)
    assert (status, headers["content-type"], json.loads(body)["code"]) == (413, PROBLEM, "BODY_TOO_LARGE")


async def _raw(scene: Scene, head: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
    """A POST of registration as no client library would send it."""
    address = httpx.URL(scene.system.settings().public_url)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        request = (
            f"POST /v1/subjects HTTP/1.1\r\nHost: {address.netloc.decode()}\r\nContent-Type: application/json\r\n"
            f"FX-Api-Key: {scene.story.api_key}\r\n{IDEMPOTENCY_HEADER}: large\r\nConnection: close\r\n{head}\r\n"
        )
        writer.write(request.encode() + body)
        lines = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        answer = await asyncio.wait_for(reader.readexactly(int(headers["content-length"])), 20)
        return int(lines[0].split()[1]), headers, answer
    finally:
        writer.transport.abort()


# ── The sandbox's controls ──────────────────────────────────────────────────────────────────────────────────────────


async def test_the_clock_goes_forward_and_never_back(scene: Scene) -> None:
    before = scene.system.clock().now()
    to = before + timedelta(seconds=90)
    moved = await scene.http.post("/v1/sandbox/clock", json={"to": to.isoformat()})
    assert moved.status_code == 200
    assert scene.system.clock().now() >= to
    back = await scene.http.post("/v1/sandbox/clock", json={"to": before.isoformat()})
    assert (back.status_code, back.json()["code"]) == (422, "CLOCK_BACKWARDS")
    assert scene.system.clock().now() >= to


@pytest.mark.parametrize("to", ["2026-12-01T09:00:00", "tomorrow", None])
async def test_the_clock_wants_an_instant(scene: Scene, to: str | None) -> None:
    answer = await scene.http.post("/v1/sandbox/clock", json={"to": to})
    assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)


async def test_an_unknown_provider_or_mode_is_refused(scene: Scene) -> None:
    nobody = await scene.http.post("/v1/sandbox/providers/nobody", json={"mode": "down"})
    assert (nobody.status_code, nobody.json()["code"]) == (404, "PROVIDER_UNKNOWN")
    nohow = await scene.http.post("/v1/sandbox/providers/bank", json={"mode": "asleep"})
    assert (nohow.status_code, nohow.json()["code"]) == (422, "PROVIDER_MODE_UNKNOWN")


# ── Readiness ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def _readiness(scene: Scene) -> tuple[int, str, set[str]]:
    """Status, word, and the names of what is down."""
    answer = await scene.http.get("/readyz")
    found = answer.json()
    down = {name for name, component in found["components"].items() if component["state"] == "down"}
    return answer.status_code, found["status"], down


async def _becomes(scene: Scene, wanted: tuple[int, str, set[str]]) -> None:
    async def look() -> bool:
        return await _readiness(scene) == wanted

    await eventually(f"readiness {wanted}", look, seconds=30)


ALL_UP: tuple[int, str, set[str]] = (200, "ready", set())


async def test_a_vault_that_is_down_is_named_and_needed(scene: Scene) -> None:
    await _becomes(scene, ALL_UP)
    switch = scene.system.folder / "vault" / "down"
    switch.touch()
    try:
        await _becomes(scene, (503, "not_ready", {"vault"}))
    finally:
        switch.unlink()
    await _becomes(scene, ALL_UP)


@pytest.mark.parametrize(
    ("provider", "down"),
    [("sumsub", {"sumsub"}), ("complyadvantage", {"complyadvantage"}), ("bank", {"bank", "open_banking"})],
)
async def test_a_provider_that_is_down_is_named_and_the_rest_goes_on(
    scene: Scene, provider: str, down: set[str]
) -> None:
    try:
        await scene.http.post(f"/v1/sandbox/providers/{provider}", json={"mode": "down"})
        await _becomes(scene, (200, "degraded", down))
        assert (await scene.http.get("/v1/invoices", headers=scene.key)).status_code == 200
    finally:
        await scene.http.post(f"/v1/sandbox/providers/{provider}", json={"mode": "up"})
    await _becomes(scene, ALL_UP)


async def test_a_paused_chain_is_up(scene: Scene) -> None:
    """It answers; only its blocks wait."""
    try:
        assert (await scene.http.post("/v1/sandbox/chain", json={"paused": True})).status_code == 200
        assert await _readiness(scene) == ALL_UP
    finally:
        await scene.http.post("/v1/sandbox/chain", json={"paused": False})


async def test_a_chain_that_is_gone_is_named_and_the_rest_goes_on(scene: Scene) -> None:
    anvil = scene.system.anvil()
    await anvil.stop()
    try:
        await _becomes(scene, (200, "degraded", {"chain"}))
        assert (await scene.http.get("/v1/invoices", headers=scene.key)).status_code == 200
        assert (await asyncio.to_thread(_status_of, scene.system)) == 0
    finally:
        await anvil.start(int(scene.system.clock().now().timestamp()))
    await _becomes(scene, ALL_UP)


async def test_a_database_that_is_gone_is_named_and_needed(scene: Scene) -> None:
    """Requests are told to come again; when it is back all goes on."""
    postgres = await scene.system.postgres()
    await asyncio.to_thread(postgres.stop)
    try:
        await _becomes(scene, (503, "not_ready", {"database"}))
        answer = await scene.http.get("/v1/invoices", headers=scene.key)
        assert (answer.status_code, answer.headers["content-type"]) == (503, PROBLEM)
        assert answer.json()["component"] == "database"
        assert (await scene.http.get("/healthz")).status_code == 200
        assert (await asyncio.to_thread(_status_of, scene.system)) == 1
    finally:
        await asyncio.to_thread(postgres.start)
    await _becomes(scene, ALL_UP)
    assert (await scene.http.get("/v1/invoices", headers=scene.key)).status_code == 200


def _status_of(system: LocalSystem) -> int:
    return cli("status", "--system", system.name).returncode


def _without_date(answer: httpx.Response) -> list[tuple[str, str]]:
    return [(name, value) for name, value in answer.headers.multi_items() if name != "date"]


# ── Odd values ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.soak
async def test_no_odd_value_is_a_fault_on_the_running_platform(scene: Scene) -> None:
    """A6: the walk of tests/inputs, over HTTP and against real parts. The sandbox's controls would move everybody, and
    a sign-out would end the scene's session."""
    document = (await scene.http.get("/openapi.json")).json()
    walk = Walk(scene.http, document, [scene.key, scene.both], prefix="odd-")
    for route in routes(document):
        if not route.path.startswith("/v1/sandbox") and route.name != "DELETE /v1/sessions/current":
            await walk.route(route)
    assert walk.found.faults == []
    assert walk.found.requests > 3_000
