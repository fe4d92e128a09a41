"""Sumsub's webhooks find whose they are: one address for all tenants, nobody told of another's (KY-09, P-15, A10)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fintokenx.adapters.sumsub.webhook import payload_digest
from fintokenx.app import http as application
from fintokenx.kernel.bus import Reactions
from fintokenx.kernel.caller import Caller
from fintokenx.kernel.errors import Unauthenticated
from fintokenx.parties import auth
from fintokenx.parties.kyc import http, jobs, reactions
from fintokenx.parties.kyc.ports import external_id
from fintokenx.web.edge import Edge
from fintokenx.web.services import Services
from tests.modules.compliance_house import A, B, new_subject
from tests.modules.gates_desk import ADA, WEBHOOK_SECRET, Desk, open_desk
from tests.modules.parties_house import open_tenant
from tests.support import world_from
from tests.support.harness.serving import eventually, served

pytestmark = pytest.mark.anyio

HOOK = "/v1/webhooks/sumsub"


@pytest.fixture
async def desk(cluster: str, template: str, tmp_path: Path) -> AsyncIterator[Desk]:
    wired = Reactions(reactions.IN_STEP, reactions.AFTERWARDS)
    async with world_from(cluster, template, reactions=wired) as world, open_desk(world, tmp_path) as opened:
        yield opened


@pytest.fixture
async def api(desk: Desk) -> AsyncIterator[httpx.AsyncClient]:
    """The routes over real HTTP, told to the provider as its one webhook address; nobody is signed in."""

    async def nobody(_: Any) -> Caller:
        raise Unauthenticated

    ids = desk.world.ids
    app = application.create(ids=ids, routers=[http.router], title="t", version="0", environment="local")
    app.state.services = Services(Edge(desk.world.database, ids, nobody, b"fingerprint key of tests"), desk.services)
    async with served(app) as url, httpx.AsyncClient(base_url=url) as client:
        desk.identity.webhook_url = f"{url}{HOOK}"
        yield client


def signed(applicant: str, known_as: str, at: str = "2026-06-02 09:00:00.001") -> tuple[bytes, dict[str, str]]:
    """A webhook as Sumsub signs it."""
    body = (
        f'{{"applicantId":"{applicant}","externalUserId":"{known_as}","type":"applicantReviewed",'
        f'"createdAtMs":"{at}","reviewResult":{{"reviewAnswer":"GREEN"}}}}'
    ).encode()
    digest = payload_digest(WEBHOOK_SECRET, body, "sha256")
    return body, {"X-Payload-Digest": digest, "X-Payload-Digest-Alg": "HMAC_SHA256_HEX"}


async def under_way(desk: Desk, *, name: str, tenant_id: str = A) -> auth.Subject:
    """A subject whose gate 1 waits for the provider."""
    subject = await new_subject(desk.world, name=name, tenant_id=tenant_id)
    await desk.submit(subject, persons=[ADA])
    await desk.work()
    return subject


async def stored(desk: Desk, what: str) -> dict[str, int]:
    """How many rows of the machinery each tenant has."""
    rows = await desk.admin.fetch(f"select tenant_id, count(*) from ops.{what} group by tenant_id")
    return {row["tenant_id"]: row["count"] for row in rows}


async def both_reviewed(desk: Desk) -> set[str | int | None]:
    """Gates of two tenants, the second opened while everything runs; what the provider's webhooks were answered."""
    desk.identity.set("late_verdict")
    first = await under_way(desk, name="Oak Ltd")
    await open_tenant(desk.world, B)
    second = await under_way(desk, name="Elm Ltd", tenant_id=B)
    desk.identity.set("up")
    sent = desk.identity.log.webhooks
    await eventually(lambda: len({one["event"] for one in sent if "applicantReviewed" in str(one["event"])}) == 4)
    await desk.work()  # and the clock stands still: nobody looks but for a webhook
    assert (await desk.standing(first))[1][0] == "CLEAR"
    assert (await desk.standing(second))[1][0] == "CLEAR"
    return {one["status"] for one in sent}


async def test_a_review_is_heard_of_at_once_in_every_tenant(desk: Desk, api: httpx.AsyncClient) -> None:
    """Also in one that was opened after the provider was told where to send."""
    assert await both_reviewed(desk) == {200}
    assert await stored(desk, "inbox") == {A: 6, B: 6}, "created, pending, reviewed; company and person"


async def test_were_all_applicants_known_under_one_tenant_the_other_would_not_hear(
    desk: Desk, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault as it was, planted."""
    monkeypatch.setattr(jobs, "external_id", lambda _tenant, party: external_id(A, party))
    with pytest.raises(AssertionError, match="RUNNING"):
        await both_reviewed(desk)
    assert await stored(desk, "inbox") == {A: 6}


async def test_a_webhook_makes_us_look_and_decides_nothing_itself(desk: Desk, api: httpx.AsyncClient) -> None:
    """KY-09, P-15: it says GREEN, the provider does not; the second delivery leaves no row and no job."""
    desk.identity.set("lost_webhook")
    subject = await under_way(desk, name="Wait Ltd")
    [party, *_] = await desk.rows("onboarding_parties")
    body, headers = signed(party["applicant_ref"], external_id(A, party["id"]))
    for _ in range(2):
        assert (await api.post(HOOK, content=body, headers=headers)).status_code == 200
    assert await stored(desk, "inbox") == {A: 1}
    assert await desk.admin.fetchval("select count(*) from ops.jobs where name = 'kyc.gate1_look'") == 1
    await desk.work()
    assert await desk.standing(subject) == ("VERIFYING", ["RUNNING", "NOT_STARTED", "NOT_STARTED"])


async def test_a_signed_webhook_about_nobody_of_ours_is_refused_and_leaves_nothing(
    desk: Desk, api: httpx.AsyncClient
) -> None:
    """A17, A28: an unknown tenant, unknown party, another tenant's party, another applicant, an id without a tenant."""
    desk.identity.set("lost_webhook")
    await open_tenant(desk.world, B)
    await under_way(desk, name="Wait Ltd", tenant_id=B)
    [party, *_] = await desk.rows("onboarding_parties")
    applicant, before = party["applicant_ref"], await stored(desk, "jobs")
    answers = []
    for applicant_ref, known_as in (
        (applicant, f"tnt_nobody:{party['id']}"),
        (applicant, f"{B}:onb_unknown-00"),
        (applicant, f"{A}:{party['id']}"),
        ("0" * 24, f"{B}:{party['id']}"),
        (applicant, party["id"]),
        (applicant, f"{B}'; --:{party['id']}"),
    ):
        body, headers = signed(applicant_ref, known_as)
        answer = await api.post(HOOK, content=body, headers=headers)
        answers.append((answer.status_code, answer.json()["code"]))
    assert answers == [(404, "NOT_FOUND")] + [(404, "APPLICANT_UNKNOWN")] * 5
    assert (await stored(desk, "inbox"), await stored(desk, "jobs")) == ({}, before)


async def test_a_webhook_that_is_not_signed_is_refused_and_leaves_nothing(desk: Desk, api: httpx.AsyncClient) -> None:
    body, headers = signed("a" * 24, external_id(A, "onb_x-00"))
    answer = await api.post(HOOK, content=body + b" ", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "WEBHOOK_SIGNATURE_INVALID")
    assert await stored(desk, "inbox") == {}
