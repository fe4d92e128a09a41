"""Who is offered an invoice, and who takes it (MK-01 … MK-04, TK-04)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from fintokenx import audit
from fintokenx.app import catalogue
from fintokenx.app import http as app_http
from fintokenx.kernel.bus import Reactions
from fintokenx.kernel.caller import Role, WrongRole, WrongTenant, system
from fintokenx.kernel.db import Tx
from fintokenx.kernel.errors import Refused
from fintokenx.kernel.machine import NOTHING, IllegalTransition
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle import invoice, marketplace
from fintokenx.lifecycle.marketplace import http as marketplace_http
from fintokenx.lifecycle.marketplace.jobs import JOBS
from fintokenx.lifecycle.marketplace.reactions import AFTERWARDS
from fintokenx.lifecycle.marketplace.transitions import LISTING
from fintokenx.parties import auth
from fintokenx.parties.auth import http as auth_http
from fintokenx.web.edge import Edge
from fintokenx.web.services import Services
from tests.modules.paper import SYSTEM, Paper, caller_of, token_moved, until, wallet, working
from tests.modules.parties_house import HERE, THERE, House, house
from tests.support import World, names, world_from

pytestmark = pytest.mark.anyio


@dataclass
class Market:
    """A seller's paper, lenders, and the routes."""

    house: House
    paper: Paper
    lender: auth.Subject
    client: httpx.AsyncClient
    wallets: dict[str, str] = field(default_factory=dict)

    @property
    def world(self) -> World:
        return self.house.world

    async def list_one(
        self,
        *,
        face_pence: int = 100_000,
        discount_bps: int = 200,
        days: int = 60,
        invited: tuple[str, ...] | None = None,
    ) -> marketplace.Listing:
        """A listing of a fresh invoice."""
        reference, token = await self.paper.invoice(face_pence=face_pence, discount_bps=discount_bps, days=days)
        async with self.world.database.transaction(HERE) as tx:
            await marketplace.open_listing(
                tx, SYSTEM, invoice_reference=reference, token_reference=token, invited=invited
            )
            return await marketplace.listing_of(tx, SYSTEM, invoice_reference=reference)

    async def limit(
        self, *, cap: int | None = None, days: int | None = None, bps: int | None = None, lender: Any = None
    ) -> None:
        """Set a lender's filter."""
        async with self.world.database.transaction(HERE) as tx:
            await marketplace.set_filter(
                tx,
                caller_of(lender or self.lender),
                max_tenor_days=days,
                min_discount_bps=bps,
                concentration_cap=None if cap is None else Pence(cap),
            )

    async def commit(self, listing: marketplace.Listing, lender: auth.Subject | None = None) -> None:
        """Take it, as settlement's command does."""
        who = lender or self.lender
        async with self.world.database.transaction(HERE) as tx:
            caller = caller_of(who)
            move = await marketplace.committed(tx, caller, listing_id=listing.id, lender_subject_id=who.id)
            move += await invoice.committed(tx, caller, reference=listing.invoice_reference)
            await audit.change(tx, caller, action="FUND_COMMIT", resource=listing.invoice_reference, move=move)

    async def fund(self, listing: marketplace.Listing) -> None:
        """The token is the lender's and the money final: one entry."""
        async with self.world.database.transaction(HERE) as tx:
            await self.fund_in(tx, listing)

    async def fund_in(self, tx: Tx, listing: marketplace.Listing) -> None:
        if self.lender.id not in self.wallets:
            self.wallets[self.lender.id] = await wallet(tx, self.lender)
        holder = {"holder_subject_id": self.lender.id, "holder_wallet": self.wallets[self.lender.id]}
        move = await marketplace.closed(tx, SYSTEM, listing_id=listing.id)
        move += await invoice.funded(tx, SYSTEM, reference=listing.invoice_reference)
        move += audit.Move((token_moved(listing.token_reference, "MINTED", "HELD", **holder),))
        await audit.change(tx, SYSTEM, action="FUND_INVOICE", resource=listing.invoice_reference, move=move)

    async def give_back(self, listing: marketplace.Listing, action: str) -> None:
        async with self.world.database.transaction(HERE) as tx:
            move = await marketplace.reopened(tx, SYSTEM, listing_id=listing.id, action=action)
            refunded = action == "FIAT_REFUND"
            move += await invoice.released(tx, SYSTEM, reference=listing.invoice_reference, refunded=refunded)
            await audit.change(tx, SYSTEM, action=action, resource=listing.invoice_reference, move=move)

    async def seen_by(self, viewer: auth.Subject, tenant_id: str = HERE) -> list[str]:
        """The ids in the viewer's list."""
        async with self.world.database.transaction(tenant_id) as tx:
            return [found.id for found in await marketplace.visible_to(tx, caller_of(viewer))]

    async def state_of(self, listing: marketplace.Listing) -> tuple[str, str | None]:
        async with self.world.database.transaction(HERE) as tx:
            now = await marketplace.listing(tx, SYSTEM, listing_id=listing.id)
            return now.state, now.committed_by

    async def signed_in(self, subject: auth.Subject, email: str) -> dict[str, str]:
        """Headers of a session of this subject."""
        return {"authorization": f"Bearer {await self.house.token(subject, email)}", "fx-request-id": "req-the-same"}

    async def trail(self, resource: str) -> list[str]:
        async with self.world.database.transaction(HERE) as tx:
            return names(await audit.entries_of(tx, SYSTEM, resources=[resource]))


@pytest.fixture
async def market(cluster: str, template: str, tmp_path: Path) -> AsyncIterator[Market]:
    async with world_from(cluster, template, reactions=Reactions(afterwards=AFTERWARDS), pool_size=12) as world:
        made = house(world, tmp_path)
        await made.open_tenants()
        seller, buyer = (
            await made.subject(Role.SELLER, "s@oak.example"),
            await made.subject(Role.BUYER, "b@elm.example"),
        )
        lender = await made.subject(Role.LENDER, "l@ash.example")
        app = app_http.create(
            ids=world.ids,
            routers=[marketplace_http.router],
            title="t",
            version="1",
            environment="local",
            swagger_ui=None,
        )
        app.state.services = Services(
            Edge(world.database, world.ids, auth_http.authentication(made.authenticator), b"fingerprint key of tests")
        )
        transport = httpx.ASGITransport(app=app)
        async with made.client, httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield Market(made, Paper(world, seller, buyer), lender, client)


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
            await audit.change(tx, SYSTEM, action="LISTING_OPEN", resource="r", move=audit.Move((change,)))


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
                    await audit.change(tx, caller, action=action, resource="r", move=audit.Move((change,)))
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
