"""Who is offered an invoice, and who takes it (MK-01 … MK-04, TK-04)."""

from __future__ import annotations

from functools import partial
from itertools import product

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.app import catalogue
from fintokenx.kernel.caller import Role
from fintokenx.kernel.machine import NOTHING, IllegalTransition
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle import invoice, marketplace
from fintokenx.lifecycle.marketplace.jobs import JOBS
from fintokenx.lifecycle.marketplace.transitions import LISTING
from tests.modules.market_house import Market, market
from tests.modules.paper import SYSTEM, caller_of, until, working
from tests.modules.parties_house import HERE

pytestmark = pytest.mark.anyio
__all__ = ["market"]

# ── opening ──


async def test_a_minted_token_opens_a_listing_once(market: Market) -> None:
    """TK-04: the fact becomes a job; told again, nothing happens."""
    reference, token = await market.paper.invoice()

    async def count(what: str) -> int:
        async with market.world.database.transaction(HERE) as tx:
            return int(await tx.value(f"select count(*) from app.{what}"))

    async def opened_it() -> bool:
        return await count("primary_listings") == 1

    async with working(market.world, JOBS):
        await until(opened_it)
    async with market.world.database.transaction(HERE) as tx:
        await marketplace.open_listing(tx, SYSTEM, invoice_reference=reference, token_reference=token)
    async with market.world.database.transaction(HERE) as tx:
        opened = await marketplace.listing_of(tx, SYSTEM, invoice_reference=reference)
        assert (await invoice.get(tx, SYSTEM, reference=reference)).state == "LISTED"
    assert (opened.state, opened.token_reference, opened.face) == ("OPEN", token, Pence(100_000))
    assert await count("primary_listings") == 1
    assert await count("audit_entries where action = 'LISTING_OPEN'") == 1
    assert (await market.trail(reference))[-1] == "LISTING_OPEN"


async def test_a_listing_whose_job_was_lost_is_opened_by_the_walk(market: Market) -> None:
    references = [(await market.paper.invoice())[0] for _ in range(2)]
    confirmed, _ = await market.paper.invoice("CONFIRMED")
    admin = await market.world.connect("postgres")
    await admin.execute("delete from ops.jobs")
    await admin.close()

    async def walked(times: int) -> bool:
        async with market.world.database.transaction(HERE) as tx:
            done = await tx.value("select count(*) from ops.jobs where name = 'marketplace.walk' and state = 'DONE'")
            return bool(done == times)

    for number in (1, 2):
        async with market.world.database.transaction(HERE) as tx:
            tx.enqueue("marketplace.walk", {}, dedupe_key=f"{number}")
        async with working(market.world, JOBS):
            await until(partial(walked, number))
    for reference in references:
        assert (await market.trail(reference)).count("LISTING_OPEN") == 1
    assert "LISTING_OPEN" not in await market.trail(confirmed)


async def test_only_a_tokenised_invoice_is_listed(market: Market) -> None:
    reference, token = await market.paper.invoice("CONFIRMED")
    with pytest.raises(IllegalTransition):
        async with market.world.database.transaction(HERE) as tx:
            await marketplace.open_listing(tx, SYSTEM, invoice_reference=reference, token_reference=token)


async def test_the_price_is_the_flat_discount_rounded_up_to_a_penny(market: Market) -> None:
    listing = await market.list_one(face_pence=100_001, discount_bps=333)
    assert (listing.discount, listing.net_advance) == (Pence(3331), Pence(96_670))


@pytest.mark.parametrize("bps", [0, 5001])
async def test_the_database_refuses_a_discount_outside_its_bounds(market: Market, bps: int) -> None:
    """MK-02, below the code: a forged row."""
    listing = await market.list_one()
    key = {"tenant_id": HERE, "id": listing.id}
    change = audit.update(
        "primary_listings", key=key, before={"asking_discount_bps": 200}, after={"asking_discount_bps": bps}
    )
    with pytest.raises(asyncpg.CheckViolationError):
        async with market.world.database.transaction(HERE) as tx:
            await audit.change(tx, SYSTEM, action="LISTING_OPEN", resource="r", move=audit.Changes((change,)))


# ── the machine ──


@pytest.mark.parametrize(("state", "event"), [*product((NOTHING, *LISTING.states), LISTING.events)])
def test_every_state_and_event_that_the_table_does_not_list_is_illegal(state: str, event: str) -> None:
    listed = [line for line in LISTING.transitions if (line.source, line.event) == (state, event)]
    if listed:
        assert LISTING.next(state, event) == listed[0]
    else:
        with pytest.raises(IllegalTransition):
            LISTING.next(state, event)


async def test_the_database_refuses_every_state_change_that_the_table_does_not_list(market: Market) -> None:
    """Both ways of committing to a listing that is not open, closing one that is, and any move under a wrong action."""
    listing = await market.list_one()
    table = catalogue.machine("listing").transitions
    actions = {line.action for line in table if line.source}
    legal = {(line.source, line.target, line.action) for line in table}
    tried = 0
    for state in LISTING.states:
        if state == "COMMITTED":
            await market.commit(listing)
        elif state == "CLOSED_FUNDED":
            await market.fund(listing)
        for target, action in product(LISTING.states, actions):
            if target == state or (state, target, action) in legal:
                continue
            change = audit.update(
                "primary_listings",
                key={"tenant_id": HERE, "id": listing.id},
                before={"state": state},
                after={"state": target},
            )
            caller = caller_of(market.lender) if action == "FUND_COMMIT" else SYSTEM
            with pytest.raises(asyncpg.PostgresError, match="may not go from"):
                async with market.world.database.transaction(HERE) as tx:
                    await audit.change(tx, caller, action=action, resource="r", move=audit.Changes((change,)))
            tried += 1
    assert tried == 3 * 2 * 4 - 4


async def test_a_listing_given_back_is_on_sale_again(market: Market) -> None:
    other = await market.house.subject(Role.LENDER, "o@fir.example")
    listing = await market.list_one()
    for action in ("FUND_CANCEL", "FIAT_REFUND"):
        await market.commit(listing)
        assert await market.state_of(listing) == ("COMMITTED", market.lender.id)
        assert await market.seen_by(other) == []
        await market.give_back(listing, action)
        assert await market.seen_by(other) == [listing.id]
    assert (await market.trail(listing.invoice_reference))[-4:] == [
        "FUND_COMMIT",
        "FUND_CANCEL",
        "FUND_COMMIT",
        "FIAT_REFUND",
    ]


async def test_a_listing_is_given_back_under_no_other_action(market: Market) -> None:
    listing = await market.list_one()
    await market.commit(listing)
    with pytest.raises(IllegalTransition):
        await market.give_back(listing, "LISTING_OPEN")


async def test_a_funded_listing_is_closed_for_ever(market: Market) -> None:
    listing = await market.list_one()
    await market.commit(listing)
    await market.fund(listing)
    assert await market.state_of(listing) == ("CLOSED_FUNDED", market.lender.id)
    for attempt in (market.commit(listing), market.fund(listing), market.give_back(listing, "FUND_CANCEL")):
        with pytest.raises(IllegalTransition):
            await attempt
