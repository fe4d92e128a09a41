"""Twenty lenders want one receivable, and fifty copies of one request arrive at once; each time one thing happens."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pytest

from fintokenx.app.api_client import Api, eventually
from fintokenx.app.demo import FUNDED_WITH, Company, default_invoice, wallet_of
from fintokenx.app.demo_paper import Paper
from fintokenx.web.edge import IDEMPOTENCY_HEADER, REPLAY_HEADER
from tests.story.house import Told, count_of, payments, superuser, told

pytestmark = pytest.mark.anyio

LENDERS = tuple(
    Company(f"lender-{n:02}", "lender", f"Lender {n:02} Ltd", f"197000{n:02}", "990600", f"200001{n:02}", FUNDED_WITH)
    for n in range(20)
)
COPIES = 50


@dataclass(frozen=True, slots=True)
class Race:
    """Twenty lenders at the start, each with its session and the platform's key, and what they race for."""

    tale: Told
    lenders: dict[str, Api]
    listing_id: str


@pytest.fixture(scope="module")
async def race() -> AsyncIterator[Race]:
    """All lenders pass gates 1 to 3 through the public API, at once."""
    async with told(Paper.read(default_invoice()), until="mint_and_list") as tale:
        await tale.story.enrol(*LENDERS)
        sessions = await asyncio.gather(*(tale.story.signed_in(lender.who) for lender in LENDERS))
        lenders = {lender.who: session for lender, session in zip(LENDERS, sessions, strict=True)}
        for who, session in lenders.items():
            listings = await session.get("/v1/listings/primary")
            assert [item["invoice_reference"] for item in listings["items"]] == [tale.story.reference], who
            await eventually(f"the wallet of {who}", partial(wallet_of, session))
        yield Race(tale, lenders, listings["items"][0]["id"])


@pytest.fixture(scope="module")
async def finish(race: Race) -> dict[str, httpx.Response]:
    """Everybody's answer to one and the same wish at one and the same time."""
    answers = await asyncio.gather(*(_pay(race, who) for who in race.lenders))
    return dict(zip(race.lenders, answers, strict=True))


async def _pay(race: Race, who: str) -> httpx.Response:
    return await race.lenders[who].once(
        "POST", "/v1/payments", json={"listing_id": race.listing_id}, headers={IDEMPOTENCY_HEADER: f"race-{who}"}
    )


def _winner(finish: dict[str, httpx.Response]) -> str:
    [winner] = [who for who, answer in finish.items() if answer.status_code == 201]
    return winner


async def test_one_lender_wins_and_nineteen_are_told_so(race: Race, finish: dict[str, httpx.Response]) -> None:
    """Must-show 6."""
    assert Counter(answer.status_code for answer in finish.values()) == {201: 1, 409: 19}
    refused = [answer for answer in finish.values() if answer.status_code == 409]
    assert {answer.headers["content-type"] for answer in refused} == {"application/problem+json"}
    assert {answer.json()["code"] for answer in refused} <= {"ILLEGAL_TRANSITION", "CONCURRENT_CHANGE"}


async def test_the_receivable_is_funded_once(race: Race, finish: dict[str, httpx.Response]) -> None:
    winner = _winner(finish)
    payment = finish[winner].json()

    async def closed() -> Any:
        now = await race.lenders[winner].get(f"/v1/payments/{payment['id']}")
        return now if now["state"] == "CLOSED" else None

    await eventually("the seller's credit", closed, seconds=60)
    assert await count_of(race.tale.system, "FUND_COMMIT") == 1
    assert await count_of(race.tale.system, "FUND_INVOICE") == 1
    assert [row["effects"] for row in await payments(race.tale.system)] == [1, 1]
    token = await race.tale.story.partner.get(f"/v1/tokens/{payment['token_reference']}")
    assert token["holder_subject_id"] == race.tale.story.subjects[winner]


async def test_the_winner_may_ask_fifty_times_at_once(race: Race, finish: dict[str, httpx.Response]) -> None:
    """Each time it is told what it was told first, byte for byte."""
    winner = _winner(finish)
    answers = await asyncio.gather(*(_pay(race, winner) for _ in range(COPIES)))
    assert {answer.status_code for answer in answers} == {201}
    assert {answer.content for answer in answers} == {finish[winner].content}
    assert {answer.headers.get(REPLAY_HEADER) for answer in answers} == {"true"}
    assert await count_of(race.tale.system, "FUND_COMMIT") == 1


async def test_fifty_copies_of_one_new_request_have_one_effect_and_one_answer(race: Race) -> None:
    """A copy may be told that the first is still running; asked again it gets the same answer."""
    body = {
        "role": "seller",
        "legal_name": "Fifty Copies Ltd",
        "company_number": "19750050",
        "representative_name": "Cora Copy",
        "email": "cora@copies.example",
    }

    async def ask() -> httpx.Response:
        async def answer() -> Any:
            found = await race.tale.story.partner.once(
                "POST", "/v1/subjects", json=body, headers={IDEMPOTENCY_HEADER: "fifty-copies"}
            )
            in_flight = found.status_code == 409 and found.json()["code"] == "IDEMPOTENCY_IN_FLIGHT"
            return None if in_flight else found

        found: httpx.Response = await eventually("an answer", answer, seconds=30)
        return found

    answers = await asyncio.gather(*(ask() for _ in range(COPIES)))
    assert Counter(answer.status_code for answer in answers) == {201: COPIES}
    assert len({answer.content for answer in answers}) == 1
    assert Counter(answer.headers.get(REPLAY_HEADER) for answer in answers) == {None: 1, "true": COPIES - 1}
    async with superuser(race.tale.system) as connection:
        entries = await connection.fetchval(
            "select count(*) from app.audit_entries where action = 'SUBJECT_CREATE' and resource = $1",
            answers[0].json()["id"],
        )
        made = await connection.fetchval("select count(*) from app.subjects where company_number = '19750050'")
    assert (entries, made) == (1, 1)
