"""Who sees which listing, and who commits to it, at once too (MK-02 … MK-04)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from fintokenx.kernel.caller import Role, WrongRole, WrongTenant, system
from fintokenx.kernel.errors import Refused
from fintokenx.lifecycle import marketplace
from tests.modules.market_house import Market, market
from tests.modules.paper import Paper, caller_of, until
from tests.modules.parties_house import HERE, THERE

pytestmark = pytest.mark.anyio
__all__ = ["market"]

# ── who sees what ──

# face of one listing 100; what the lender has already, in listings: held, committed; cap; what becomes of the next one
CAPS: Sequence[tuple[int, int, int | None, bool]] = [
    (0, 0, None, True),
    (1, 1, None, True),
    (0, 0, 0, False),
    (0, 0, 99_999, False),
    (0, 0, 100_000, True),
    (1, 0, 199_999, False),
    (1, 0, 200_000, True),
    (0, 1, 199_999, False),
    (0, 1, 200_000, True),
    (1, 1, 299_999, False),
    (1, 1, 300_000, True),
    (2, 1, 399_999, False),
    (2, 1, 400_000, True),
]


@pytest.mark.parametrize(("held", "committed", "cap", "fits"), CAPS)
async def test_a_listing_hides_itself_from_a_lender_at_its_cap(
    market: Market, held: int, committed: int, cap: int | None, fits: bool
) -> None:
    """MK-03: absent from the list, 404 by id, 409 on commitment — or none of the three, to the penny."""
    for number in range(held + committed):
        listing = await market.list_one()
        await market.commit(listing)
        if number < held:
            await market.fund(listing)
    another = await market.list_one()
    await market.limit(cap=cap)
    assert await market.seen_by(market.lender) == ([another.id] if fits else [])
    if fits:
        async with market.world.database.transaction(HERE) as tx:
            await marketplace.listing(tx, caller_of(market.lender), listing_id=another.id)
        await market.commit(another)
        return
    with pytest.raises(marketplace.UnknownListing):
        async with market.world.database.transaction(HERE) as tx:
            await marketplace.listing(tx, caller_of(market.lender), listing_id=another.id)
    with pytest.raises(marketplace.ConcentrationCapReached):
        await market.commit(another)
    assert await market.state_of(another) == ("OPEN", None)


async def test_a_cap_counts_one_buyer_and_one_lender_at_a_time(market: Market) -> None:
    elsewhere = Paper(market.world, market.paper.seller, await market.house.subject(Role.BUYER, "c@yew.example"))
    elsewhere.numbers = market.paper.numbers
    other = await market.house.subject(Role.LENDER, "o@fir.example")
    await market.commit(await market.list_one())
    same_buyer = await market.list_one()
    market.paper = elsewhere
    other_buyer = await market.list_one()
    await market.limit(cap=100_000)
    await market.limit(cap=100_000, lender=other)
    assert await market.seen_by(market.lender) == [other_buyer.id]
    assert sorted(await market.seen_by(other)) == sorted([same_buyer.id, other_buyer.id])


async def test_a_hidden_listing_answers_byte_for_byte_like_an_unknown_one(market: Market) -> None:
    listing = await market.list_one()
    foreign = await market.house.subject(Role.PARTNER_ADMIN, "p@mercia.example", THERE)
    other_seller = await market.house.subject(Role.SELLER, "t@fir.example")
    await market.limit(cap=99_999)
    unknown = f"/v1/listings/primary/{market.world.ids.new('lst')}"
    viewers = ((market.lender, "l@ash.example"), (foreign, "p@mercia.example"), (other_seller, "t@fir.example"))
    for viewer, email in viewers:
        headers = await market.signed_in(viewer, email)
        hidden = await market.client.get(f"/v1/listings/primary/{listing.id}", headers=headers)
        missing = await market.client.get(unknown, headers=headers)
        assert (hidden.status_code, hidden.content) == (404, missing.content)
        assert hidden.headers == missing.headers
        assert hidden.json()["code"] == "NOT_FOUND"


async def test_a_lender_keeps_seeing_what_it_has_committed_to(market: Market) -> None:
    listing = await market.list_one()
    await market.commit(listing)
    await market.limit(cap=0)
    other = await market.house.subject(Role.LENDER, "o@fir.example")
    async with market.world.database.transaction(HERE) as tx:
        assert (await marketplace.listing(tx, caller_of(market.lender), listing_id=listing.id)).state == "COMMITTED"
        with pytest.raises(marketplace.UnknownListing):
            await marketplace.listing(tx, caller_of(other), listing_id=listing.id)


async def test_who_is_not_invited_learns_nothing(market: Market) -> None:
    """MK-02, TK-04: the excluded lender's list lacks it; its commitment meets a 404."""
    other = await market.house.subject(Role.LENDER, "o@fir.example")
    listing = await market.list_one(invited=(other.id,))
    assert await market.seen_by(market.lender) == []
    assert await market.seen_by(other) == [listing.id]
    with pytest.raises(marketplace.UnknownListing):
        await market.commit(listing)
    await market.commit(listing, other)


async def test_a_lender_commits_for_itself_only(market: Market) -> None:
    listing = await market.list_one()
    other = await market.house.subject(Role.LENDER, "o@fir.example")
    with pytest.raises(marketplace.UnknownListing):
        async with market.world.database.transaction(HERE) as tx:
            await marketplace.committed(tx, caller_of(market.lender), listing_id=listing.id, lender_subject_id=other.id)


async def test_appetite_narrows_the_list_and_binds_the_commitment(market: Market) -> None:
    """MK-04."""
    short = await market.list_one(days=30, discount_bps=100)
    rich = await market.list_one(days=90, discount_bps=400)
    cases: list[tuple[dict[str, int], list[str]]] = [
        ({}, [short.id, rich.id]),
        ({"days": 89}, [short.id]),
        ({"days": 90}, [short.id, rich.id]),
        ({"bps": 101}, [rich.id]),
        ({"bps": 101, "days": 89}, []),
    ]
    for limits, expected in cases:
        await market.limit(**limits)
        assert sorted(await market.seen_by(market.lender)) == sorted(expected), limits
    for listing in (short, rich):
        with pytest.raises(marketplace.OutsideAppetite):
            await market.commit(listing)


async def test_paper_that_has_fallen_due_leaves_the_market_at_midnight(market: Market) -> None:
    listing = await market.list_one(days=3)
    midnight = market.world.clock.now().replace(hour=0) + timedelta(days=3)
    market.world.clock.set(midnight - timedelta(microseconds=1))
    assert await market.seen_by(market.lender) == [listing.id]
    market.world.clock.set(midnight)
    assert await market.seen_by(market.lender) == []
    with pytest.raises(marketplace.ListingMatured):
        await market.commit(listing)


async def test_sellers_see_their_own_and_staff_see_all(market: Market) -> None:
    listing = await market.list_one()
    await market.commit(listing)
    assert await market.seen_by(market.paper.seller) == [listing.id]
    assert await market.seen_by(await market.house.subject(Role.SELLER, "t@fir.example")) == []
    assert await market.seen_by(await market.house.subject(Role.MLRO, "m@fintokenx.example")) == [listing.id]
    foreign = await market.house.subject(Role.PARTNER_ADMIN, "p@mercia.example", THERE)
    assert await market.seen_by(foreign, THERE) == []


@pytest.mark.parametrize("role", [Role.INVESTOR, Role.BUYER, Role.BROKER])
async def test_other_roles_have_no_business_in_the_primary_market(market: Market, role: Role) -> None:
    """MK-01."""
    with pytest.raises(WrongRole):
        await market.seen_by(await market.house.subject(role, "x@ivy.example"))


async def test_a_caller_of_another_tenant_is_refused_before_any_row(market: Market) -> None:
    with pytest.raises(WrongTenant):
        async with market.world.database.transaction(HERE) as tx:
            await marketplace.visible_to(tx, system(THERE, "test"))


# ── races ──


async def outcomes(attempts: Sequence[Any]) -> list[str]:
    found = await asyncio.gather(*attempts, return_exceptions=True)
    for fault in found:
        if isinstance(fault, BaseException) and not isinstance(fault, Refused):
            raise fault
    return sorted("done" if done is None else type(done).__name__ for done in found)


async def test_ten_commitments_at_once_do_not_pass_a_cap_of_three(market: Market) -> None:
    listings = [await market.list_one() for _ in range(10)]
    await market.limit(cap=300_000)
    got = await outcomes([market.commit(listing) for listing in listings])
    assert got == ["ConcentrationCapReached"] * 7 + ["done"] * 3
    assert [state for state, _ in [await market.state_of(one) for one in listings]].count("COMMITTED") == 3


async def test_ten_lenders_at_once_one_gets_the_listing(market: Market) -> None:
    lenders = [await market.house.subject(Role.LENDER, f"l{n}@ash.example") for n in range(10)]
    listing = await market.list_one()
    assert await outcomes([market.commit(listing, lender) for lender in lenders]) == ["IllegalTransition"] * 9 + [
        "done"
    ]
    assert (await market.trail(listing.invoice_reference)).count("FUND_COMMIT") == 1


async def test_a_commitment_waits_while_paper_of_the_same_buyer_turns_from_committed_to_held(market: Market) -> None:
    """Between two reads of its exposure nothing may move from the one to the other unseen."""
    first, second = await market.list_one(), await market.list_one()
    await market.commit(first)
    await market.limit(cap=100_000)
    admin = await market.world.connect("postgres")

    async def somebody_waits() -> bool:
        waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted and database ="
        return bool(await admin.fetchval(f"{waiting} (select oid from pg_database where datname = current_database())"))

    async with market.world.database.transaction(HERE) as tx:
        await market.fund_in(tx, first)
        attempt = asyncio.create_task(outcomes([market.commit(second)]))
        await until(somebody_waits)
    assert await attempt == ["ConcentrationCapReached"]
    await admin.close()
