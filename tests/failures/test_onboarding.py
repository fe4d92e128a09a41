"""Onboarding while Sumsub or ComplyAdvantage fails: nobody passes a gate, nothing is done twice (P-17)."""

from __future__ import annotations

from collections import Counter

import pytest

from fintokenx.app.api_client import eventually
from tests.failures.house import Company, House, in_short
from tests.failures.matrix import COMPLYADVANTAGE, SUMSUB, Row

pytestmark = pytest.mark.anyio

PARTIES = 2
"""A company and its only person."""
EFFECT = {"sumsub": "applicant created", "complyadvantage": "search created"}


@pytest.mark.parametrize("row", in_short(SUMSUB + COMPLYADVANTAGE, {"down", "malformed", "unknown_verdict"}))
async def test_a_gate_opens_only_when_its_provider_says_so(house: House, row: Row) -> None:
    gate = 1 if row.provider == "sumsub" else 2
    await house.http.delete(f"{house.controls[row.provider]}/control/log")
    async with house.failing(row.provider, row.mode, **row.how):
        company = await house.apply("lender")
        await house.gate_is(company, gate, *row.states, seconds=50)
        if row.states == ("RUNNING",):
            await _told_after_a_minute(house, company, row)
        if row.states != ("CLEAR",):
            assert await house.gate(company, 3) == "NOT_STARTED"
            assert await house.subject_state(company) in ("VERIFYING", "SCREENING")
        if "webhook" not in row.mode:
            await _met(house, row)
        if row.alert:
            assert row.alert in await house.alerts(company.subject_id)
    await house.gate_is(company, gate, "CLEAR", seconds=60)
    await house.gate_is(company, 3, "RUNNING")
    if "webhook" in row.mode:
        await _webhooks(house, row)
    await _done_once(house, row.provider)
    await house.provider_is(row.provider, "working")
    assert await house.subject_state(company) == "IN_REVIEW", "only a person activates"


async def _told_after_a_minute(house: House, company: Company, row: Row) -> None:
    """KY-08: a provider that answers without a verdict for more than sixty seconds is somebody's business, once."""
    place = "/status" if row.provider == "sumsub" else "/searches"

    async def asked() -> bool:
        deliveries = (await house.log(row.provider))["deliveries"]
        return sum(place in delivery["path"] for delivery in deliveries) >= PARTIES

    await eventually("a verdict was asked for", asked, seconds=30)
    await house.pass_time(seconds=61)

    async def told() -> bool:
        return row.alert in await house.alerts(company.subject_id)

    await eventually(f"{row.alert} about {company.name}", told, seconds=30)
    await house.pass_time(seconds=61)
    assert await house.gate(company, 1 if row.provider == "sumsub" else 2) == "RUNNING"
    assert (await house.alerts(company.subject_id)).count(row.alert) == 1


async def _met(house: House, row: Row) -> None:
    """The fault was met: without this a row would pass on a provider that works."""
    if row.mode in ("unknown_verdict", "late_verdict"):
        return  # content, not transport: the gate would have cleared
    if row.states == ("HELD",):
        await house.provider_is(row.provider, "failing")
    deliveries = (await house.log(row.provider))["deliveries"]
    assert row.mode in {delivery["mode"] for delivery in deliveries}


async def _webhooks(house: House, row: Row) -> None:
    """Every event was taken in the end, twice where it was sent twice."""

    async def taken() -> bool:
        sent = (await house.log("sumsub"))["webhooks"]
        reviewed = [one["status"] for one in sent if str(one["event"]).startswith("applicantReviewed")]
        return reviewed == [200] * PARTIES * (2 if row.mode == "duplicate_webhook" else 1)

    await eventually("the webhooks", taken, seconds=30)


async def _done_once(house: House, provider: str) -> None:
    """Every party stands at the vendor, and no request took effect twice. A search is of a party at an instant, and
    each look is a search of its own; an applicant is there once whatever happens."""
    done = [entry for entry in (await house.log(provider))["effects"] if entry["effect"] == EFFECT[provider]]
    by_reference = Counter(str(entry["client_reference"]) for entry in done)
    assert set(by_reference.values()) == {1}
    assert len({reference.partition("@")[0] for reference in by_reference}) == PARTIES
    assert provider == "complyadvantage" or len(by_reference) == PARTIES
