"""Recorded answers and signed webhooks of Sumsub, and forged ones (IX-01, IX-15)."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from fintokenx.adapters.sumsub import SumsubClient
from fintokenx.adapters.sumsub.exchange import signature
from fintokenx.adapters.sumsub.webhook import payload_digest
from fintokenx.kernel.clock import FixedClock
from fintokenx.parties.kyc.ports import (
    Verdict,
    VerificationEvent,
    WebhookRefused,
)
from tests.adapters.sumsub_house import (
    APP_SECRET,
    CREDENTIALS,
    NOON,
    WEBHOOK_SECRET,
    Sandbox,
    person,
)
from tests.adapters.sumsub_sandbox import sandbox, shared_sandbox
from tests.support.fakes.outbound import calm
from tests.support.harness.serving import eventually, served

pytestmark = pytest.mark.anyio
__all__ = ["sandbox", "shared_sandbox"]

GREEN = {"reviewAnswer": "GREEN"}

FINAL = {"reviewAnswer": "RED", "reviewRejectType": "FINAL", "rejectLabels": ["FORGERY", "BLOCKLIST"]}

RECORDED: dict[str, tuple[object, Verdict, str]] = {
    "green": ({"reviewStatus": "completed", "reviewResult": GREEN}, Verdict.CLEAR, "GREEN"),
    "final": ({"reviewStatus": "completed", "reviewResult": FINAL}, Verdict.FAIL, "RED/FINAL: FORGERY, BLOCKLIST"),
    "green-but-queued": ({"reviewStatus": "queued", "reviewResult": GREEN}, Verdict.PENDING, "queued"),
    "prechecked": ({"reviewStatus": "prechecked"}, Verdict.PENDING, "prechecked"),
    "awaiting": ({"reviewStatus": "awaitingUser"}, Verdict.PENDING, "awaitingUser"),
    "new-status": (
        {"reviewStatus": "settled", "reviewResult": GREEN},
        Verdict.PENDING,
        "unknown reviewStatus: settled",
    ),
    "no-status": ({"reviewResult": GREEN}, Verdict.PENDING, "unknown reviewStatus: missing"),
    "list-status": ({"reviewStatus": ["completed"]}, Verdict.PENDING, "unknown reviewStatus: not a word"),
    "no-result": ({"reviewStatus": "completed"}, Verdict.PENDING, "completed without a reviewResult"),
    "no-answer": ({"reviewStatus": "completed", "reviewResult": {}}, Verdict.PENDING, "unknown reviewAnswer: missing"),
    "lower-case": (
        {"reviewStatus": "completed", "reviewResult": {"reviewAnswer": "green"}},
        Verdict.PENDING,
        "unknown reviewAnswer: green",
    ),
    "red-without-type": (
        {"reviewStatus": "completed", "reviewResult": {"reviewAnswer": "RED", "rejectLabels": ["FORGERY"]}},
        Verdict.PENDING,
        "unknown reviewRejectType: missing",
    ),
    "green-with-labels": (
        {"reviewStatus": "completed", "reviewResult": {**GREEN, "rejectLabels": ["FORGERY"]}},
        Verdict.PENDING,
        "GREEN with a rejection",
    ),
    "another-level": (
        {"reviewStatus": "completed", "levelName": "email-only", "reviewResult": GREEN},
        Verdict.PENDING,
        "reviewed at another level: email-only",
    ),
    "free-text": (
        {"reviewStatus": "completed", "reviewResult": {"reviewAnswer": "Ada Byron lied"}},
        Verdict.PENDING,
        "unknown reviewAnswer: not a word",
    ),
}


@pytest.fixture(scope="module")
async def recorded() -> AsyncIterator[SumsubClient]:
    async def status(request: Request) -> JSONResponse:
        return JSONResponse(RECORDED[request.path_params["case"]][0])

    app = Starlette(routes=[Route("/resources/applicants/{case}/status", status)])
    async with (
        served(app) as url,
        SumsubClient(url, *CREDENTIALS, clock=FixedClock(NOON), guard=calm()) as client,
    ):
        yield client


@pytest.mark.parametrize("case", sorted(RECORDED))
async def test_only_an_explicit_green_is_clear(case: str, recorded: SumsubClient) -> None:
    answer = await recorded.verdict(case)
    assert (answer.verdict, answer.detail) == RECORDED[case][1:]


def test_the_signature_covers_what_the_documentation_says() -> None:
    """Pinned with ``openssl dgst -sha256 -hmac`` over the documentation's example of a signing string."""
    target = b"/resources/accessTokens?userId=U1&levelName=basic-kyc-level&ttlInSecs=600"
    made = signature("SoMe_SeCrEt_KeY", "1607551635", "POST", target, b"")
    assert made == "38df886287dc502da427ffd99b7ed3d4f99c6d927355f526c01ab4a799d363f7"
    assert signature("SoMe_SeCrEt_KeY", "1607551635", "POST", target, b"{}") != made


def test_the_payload_digest_agrees_with_the_documentation() -> None:
    digest = payload_digest("SoMe_SeCrEt_KeY", b"someText", "sha1")
    assert digest == "f6e92ffe371718694d46e28436f76589312df8db"


EVENT = {
    "applicantId": "5cb56e8e0a975a35f333cb83",
    "correlationId": "req-a260b669-4f14-4bb5-a4c5-ac0218acb9a4",
    "externalUserId": "inv-42",
    "type": "applicantReviewed",
    "reviewStatus": "completed",
    "createdAtMs": "2026-02-21 13:23:19.321",
}


def signed(body: bytes, algorithm: str = "sha256", secret: str = WEBHOOK_SECRET) -> dict[str, str]:
    digest = hmac.new(secret.encode(), body, getattr(hashlib, algorithm)).hexdigest()
    return {"x-payload-digest": digest, "X-Payload-Digest-Alg": f"HMAC_{algorithm.upper()}_HEX"}


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_signed_webhook_is_read(algorithm: str, sandbox: Sandbox) -> None:
    body = json.dumps(EVENT).encode()
    event = await sandbox.port.read_webhook(signed(body, algorithm), body)
    assert event == VerificationEvent(
        event_id="5cb56e8e0a975a35f333cb83:applicantReviewed:2026-02-21 13:23:19.321",
        event_type="applicantReviewed",
        applicant_ref="5cb56e8e0a975a35f333cb83",
        external_id="inv-42",
        occurred_at=datetime(2026, 2, 21, 13, 23, 19, 321000, tzinfo=UTC),
    )


BODY = json.dumps(EVENT).encode()

FORGERIES: dict[str, tuple[dict[str, str], bytes]] = {
    "tampered": (signed(BODY), BODY.replace(b"inv-42", b"inv-43")),
    "reformatted": (signed(BODY), BODY + b"\n"),
    "another secret": (signed(BODY, secret=APP_SECRET), BODY),
    "sha1": (signed(BODY, "sha1"), BODY),
    "no algorithm": ({"X-Payload-Digest": signed(BODY)["x-payload-digest"]}, BODY),
    "no digest": ({"X-Payload-Digest-Alg": "HMAC_SHA256_HEX"}, BODY),
    "odd digest": ({"X-Payload-Digest": "é", "X-Payload-Digest-Alg": "HMAC_SHA256_HEX"}, BODY),
    "signed rubbish": (signed(b"{"), b"{"),
    "signed list": (signed(b"[]"), b"[]"),
    "signed latin": (signed(b"\xff"), b"\xff"),
}


@pytest.mark.parametrize("forgery", sorted(FORGERIES))
async def test_anything_but_a_signed_event_is_refused(forgery: str, sandbox: Sandbox) -> None:
    with pytest.raises(WebhookRefused):
        await sandbox.port.read_webhook(*FORGERIES[forgery])


@pytest.mark.parametrize("field", ["applicantId", "type", "externalUserId", "createdAtMs"])
@pytest.mark.parametrize("value", [None, 7, ""])
async def test_a_signed_event_with_a_hole_is_refused(field: str, value: object, sandbox: Sandbox) -> None:
    body = json.dumps({**EVENT, field: value}).encode()
    with pytest.raises(WebhookRefused, match=field):
        await sandbox.port.read_webhook(signed(body), body)


async def test_webhooks_tell_of_every_step(sandbox: Sandbox) -> None:
    await sandbox.reviewed(person("told"), until="GREEN")
    expected = ["applicantCreated", "applicantPending", "applicantReviewed"]
    await eventually(lambda: [event.event_type for event in sandbox.events("told")] == expected)
    assert len({event.event_id for event in sandbox.events("told")}) == 3


async def test_a_duplicate_webhook_has_the_same_event_id(sandbox: Sandbox) -> None:
    """KY-09."""
    sandbox.modes.set("duplicate_webhook", times=1)
    await sandbox.port.open_applicant(person("duplicate"))
    await eventually(lambda: len(sandbox.events("duplicate")) == 2)
    first, second = sandbox.events("duplicate")
    assert first == second


async def test_a_late_webhook_comes_after_the_switch(sandbox: Sandbox) -> None:
    sandbox.modes.set("late_webhook")
    await sandbox.reviewed(person("late-hook"), until="GREEN")
    assert sandbox.events("late-hook") == []
    sandbox.modes.set("up")
    await eventually(lambda: len(sandbox.events("late-hook")) == 3)


async def test_a_webhook_overtaken_by_the_next_still_knows_its_time(sandbox: Sandbox) -> None:
    """KY-09: the receiver can tell the older from the newer."""
    sandbox.modes.set("reordered_webhook", times=1)
    await sandbox.reviewed(person("overtaken", "Ada Wait"), until="pending")
    await eventually(lambda: len(sandbox.events("overtaken")) == 2)
    arrived = sandbox.events("overtaken")
    assert [event.event_type for event in arrived] == ["applicantPending", "applicantCreated"]
    assert arrived[0].occurred_at > arrived[1].occurred_at


async def test_a_forged_webhook_is_refused(sandbox: Sandbox) -> None:
    sandbox.modes.set("forged_webhook", times=1)
    await sandbox.port.open_applicant(person("forged"))
    await eventually(lambda: len(sandbox.inbox.received) == 1)
    with pytest.raises(WebhookRefused, match="digest"):
        await sandbox.port.read_webhook(*sandbox.inbox.received[0])


async def test_a_lost_webhook_leaves_the_verdict_to_be_read(sandbox: Sandbox) -> None:
    sandbox.modes.set("lost_webhook")
    assert (await sandbox.reviewed(person("lost-hook"), until="GREEN")).verdict is Verdict.CLEAR
    assert [each["outcome"] for each in sandbox.modes.log.webhooks] == ["lost"] * 3


async def test_a_refused_webhook_is_delivered_again(sandbox: Sandbox) -> None:
    sandbox.inbox.statuses = [503]
    await sandbox.port.open_applicant(person("redelivered"))
    await eventually(lambda: len(sandbox.events("redelivered")) == 2)
    assert len({event.event_id for event in sandbox.events("redelivered")}) == 1
