"""The walk over what lost its job: sent again, promised again, and never heaped up (TK-12, IX-09)."""

from __future__ import annotations

import pytest

from fintokenx.kernel.machine import NOTHING
from fintokenx.lifecycle.chainwork.ports import ChainUnavailable
from fintokenx.lifecycle.tokenisation.ports import (
    MintReceivable,
)
from tests.modules.tokens_house import (
    House,
    tokens_house,
)
from tests.support import World
from tests.support.fakes.chain import MINTER_KEY, address_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def house(world: World) -> House:
    return await tokens_house(world)


async def test_the_walker_sends_what_lost_its_job_and_closes_the_gap(house: House) -> None:
    """A nonce without a job would hold up every later one of its sender."""
    first, second = await house.invoice(), await house.invoice()
    house.chain.automine = False
    for reference in (first, second):
        await house.ask("tokenisation.mint", {"reference": reference})

        async def signed(of: str = reference) -> bool:
            return await house.state(of) == "MINT_SUBMITTED"

        await house.work_until(signed)
    admin = await house.world.connect("postgres")
    await admin.execute("delete from ops.jobs")
    await admin.close()
    house.chain.forget_pool()
    house.chain.broadcasts.clear()
    house.chain.automine = True
    await house.ask("tokenisation.walk", {})

    async def sent() -> bool:
        return len(house.chain.mined) == 2

    await house.work_until(sent, only="tokenisation.walk")
    promises = [await house.promise(f"mint:{reference}") for reference in (first, second)]
    assert house.chain.broadcasts == [promise.tx_hash for promise in promises]
    await house.until_idle()
    assert [await house.state(reference) for reference in (first, second)] == ["MINTED", "MINTED"]


async def _two_signed_mints_without_jobs(house: House) -> tuple[str, str]:
    first, second = await house.invoice(), await house.invoice()
    house.chain.automine = False
    for reference in (first, second):
        await house.ask("tokenisation.mint", {"reference": reference})

        async def signed(of: str = reference) -> bool:
            return await house.state(of) == "MINT_SUBMITTED"

        await house.work_until(signed)
    await house.lose_all_jobs()
    return first, second


async def test_the_walk_goes_on_past_a_transaction_that_the_node_refuses_and_fails_at_the_end(house: House) -> None:
    first, second = await _two_signed_mints_without_jobs(house)
    house.chain.broadcasts.clear()
    house.chain.fail_before("broadcast", ChainUnavailable("the node refused the transaction (-32000)"))
    await house.ask("tokenisation.walk", {}, "refused")

    async def failed() -> bool:
        async with house.tx() as tx:
            error = await tx.value("select last_error from ops.jobs where dedupe_key = 'refused'")
            return bool(error == "chain unavailable")

    await house.work_until(failed, only="tokenisation.walk")
    assert house.chain.broadcasts[0] == (await house.promise(f"mint:{second}")).tx_hash
    async with house.tx() as tx:
        promised = await tx.rows("select payload from ops.jobs where name = 'tokenisation.mint'")
    assert {row["payload"]["reference"] for row in promised} == {first, second}


async def test_when_nobody_answers_the_walk_does_not_try_every_transaction(house: House) -> None:
    house.chain.automine = False
    for _ in range(8):
        reference = await house.invoice()
        await house.ask("tokenisation.mint", {"reference": reference})

    async def all_signed() -> bool:
        return len(set(house.chain.broadcasts)) == 8

    await house.work_until(all_signed)
    await house.lose_all_jobs()
    house.chain.go_away(ChainUnavailable("no node"))
    asked = house.chain.calls["broadcast"]
    await house.ask("tokenisation.walk", {})

    async def failed() -> bool:
        async with house.tx() as tx:
            return await tx.value("select last_error from ops.jobs where name = 'tokenisation.walk'") is not None

    await house.work_until(failed, only="tokenisation.walk")
    assert (house.chain.calls["broadcast"] - asked) % 5 == 0


async def test_a_mint_whose_job_was_lost_before_it_began_is_found_by_the_walk(house: House) -> None:
    confirmed, unconfirmed = await house.invoice(), await house.invoice("AWAITING_BUYER")
    await house.walk()
    assert [await house.state(reference) for reference in (confirmed, unconfirmed)] == ["MINTED", NOTHING]
    await house.walk()
    assert len(house.chain.mined_calls(MintReceivable)) == 1


async def test_a_refused_mint_whose_job_was_lost_is_tried_again_after_two_hours(house: House) -> None:
    minter = house.chain.contracts.identities.pop(address_of(MINTER_KEY))
    reference = await house.invoice()
    await house.ask("tokenisation.mint", {"reference": reference})

    async def pending() -> bool:
        return await house.state(reference) == "PENDING_MINT"

    await house.work_until(pending)
    await house.lose_all_jobs()
    house.chain.contracts.identities[minter.wallet] = minter
    await house.walk()
    assert await house.state(reference) == "PENDING_MINT"
    house.pass_time(hours=2)
    await house.walk()
    assert await house.state(reference) == "MINTED"


async def test_an_outage_does_not_heap_up_jobs(house: House) -> None:
    """In half an hour of walks, one a minute, a waiting mint is promised again five or six times, not thirty."""
    await _two_signed_mints_without_jobs(house)
    for _ in range(30):
        await house.walk_alone()
        house.pass_time(minutes=1)
    async with house.tx() as tx:
        assert 5 <= await tx.value("select count(*) from ops.jobs where name = 'tokenisation.mint'") / 2 <= 6
