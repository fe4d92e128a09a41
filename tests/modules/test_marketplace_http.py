"""The routes of the marketplace: listings in pages, and filters (MK-01 … MK-04)."""

from __future__ import annotations

from typing import Any

import pytest

from fintokenx.kernel.caller import Role, WrongRole
from tests.modules.market_house import Market, market

pytestmark = pytest.mark.anyio
__all__ = ["market"]

# ── routes ──


async def test_an_investor_is_refused_at_the_door(market: Market) -> None:
    investor = await market.house.subject(Role.INVESTOR, "i@ivy.example")
    answer = await market.client.get("/v1/listings/primary", headers=await market.signed_in(investor, "i@ivy.example"))
    assert (answer.status_code, answer.json()["code"]) == (403, "ROLE_FORBIDDEN")


async def test_a_listing_shows_its_price(market: Market) -> None:
    listing = await market.list_one(face_pence=547_680, discount_bps=180)
    headers = await market.signed_in(market.lender, "l@ash.example")
    shown = (await market.client.get(f"/v1/listings/primary/{listing.id}", headers=headers)).json()
    assert (shown["face_pence"], shown["discount_pence"], shown["net_advance_pence"]) == (547_680, 9_859, 537_821)
    assert (shown["state"], shown["asking_discount_bps"]) == ("OPEN", 180)


async def test_walking_the_pages_meets_every_visible_listing_once(market: Market) -> None:
    """More listings than one reading of the store, every third over the cap."""
    visible = set()
    for number in range(210):
        listing = await market.list_one(face_pence=100_000 if number % 3 else 100_001)
        if number % 3:
            visible.add(listing.id)
    await market.limit(cap=100_000)
    headers = await market.signed_in(market.lender, "l@ash.example")
    for limit in (9, 140, 200):
        met: list[str] = []
        after: str | None = ""
        while after is not None:
            page = (
                await market.client.get(
                    "/v1/listings/primary", params={"after": after, "limit": limit}, headers=headers
                )
            ).json()
            assert len(page["items"]) <= limit
            met += [item["id"] for item in page["items"]]
            after = page["next"]
        assert met == sorted(visible), limit


async def test_the_list_can_be_narrowed(market: Market) -> None:
    cheap = await market.list_one(discount_bps=100, days=30)
    dear = await market.list_one(discount_bps=300, days=90)
    headers = await market.signed_in(market.lender, "l@ash.example")
    cases: list[tuple[dict[str, Any], set[str]]] = [
        ({"min_discount_bps": 101}, {dear.id}),
        ({"matures_by": cheap.maturity_date.isoformat()}, {cheap.id}),
        ({"obligor_id": market.paper.buyer.id}, {cheap.id, dear.id}),
        ({"obligor_id": market.lender.id}, set()),
    ]
    for params, expected in cases:
        page = (await market.client.get("/v1/listings/primary", params=params, headers=headers)).json()
        assert {item["id"] for item in page["items"]} == expected, params


async def test_a_filter_is_set_replaced_and_replayed(market: Market) -> None:
    headers = await market.signed_in(market.lender, "l@ash.example")
    path = "/v1/listing-filters/me"
    empty = {"max_tenor_days": None, "min_discount_bps": None, "concentration_cap_pence": None}
    assert (await market.client.get(path, headers=headers)).json() == {"lender_subject_id": market.lender.id, **empty}
    wanted = {"max_tenor_days": 90, "min_discount_bps": 150, "concentration_cap_pence": 5_000_000}
    first = await market.client.put(path, json=wanted, headers={**headers, "fx-idempotency-key": "one"})
    again = await market.client.put(path, json=wanted, headers={**headers, "fx-idempotency-key": "one"})
    assert (first.status_code, first.content) == (200, again.content)
    assert (await market.client.get(path, headers=headers)).json() == {"lender_subject_id": market.lender.id, **wanted}
    await market.client.put(path, json={}, headers={**headers, "fx-idempotency-key": "two"})
    assert (await market.client.get(path, headers=headers)).json() == {"lender_subject_id": market.lender.id, **empty}
    assert (await market.trail(market.lender.id)).count("LISTING_FILTER_SET") == 2


@pytest.mark.parametrize(
    "body",
    [
        {"concentration_cap_pence": -1},
        {"concentration_cap_pence": 12.5},
        {"concentration_cap_pence": "100"},
        {"concentration_cap_pence": True},
        {"concentration_cap_pence": 2**53},
        {"max_tenor_days": 0},
        {"min_discount_bps": 5001},
        {"grade": "A"},
    ],
)
async def test_a_filter_that_makes_no_sense_is_refused(market: Market, body: dict[str, Any]) -> None:
    headers = {**await market.signed_in(market.lender, "l@ash.example"), "fx-idempotency-key": "k"}
    answer = await market.client.put("/v1/listing-filters/me", json=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_REQUEST")


async def test_only_lenders_have_filters(market: Market) -> None:
    headers = await market.signed_in(market.paper.seller, "s@oak.example")
    assert (await market.client.get("/v1/listing-filters/me", headers=headers)).status_code == 403
    with pytest.raises(WrongRole):
        await market.limit(cap=1, lender=market.paper.seller)
