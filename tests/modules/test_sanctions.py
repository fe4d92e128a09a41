"""The chain's sanctions list is called complete only when it is (CH-14, MO-06)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.kernel.bus import Reactions
from fintokenx.kernel.caller import Caller, Role, system
from fintokenx.kernel.jobs import TryAgain
from fintokenx.lifecycle import tokenisation
from fintokenx.lifecycle.chainwork.ports import ChainUnavailable
from fintokenx.lifecycle.chainwork.service import sending
from fintokenx.lifecycle.tokenisation import reactions
from fintokenx.lifecycle.tokenisation.ports import FlagWallet, RegisterIdentity
from fintokenx.lifecycle.tokenisation.service.refreshing import RESOURCE
from fintokenx.parties import auth
from fintokenx.parties.kyc.ports import Verdict
from tests.modules.parties_house import open_tenant
from tests.modules.recovery_office import Office
from tests.modules.sanctions_desk import HOME, Desk
from tests.modules.tokens_house import TENANT, House, let_tests_seed, subject_row, tenant_row
from tests.support import World, world_from
from tests.support.fakes.chain import UPDATER_KEY, Crash, LedgerChain, address_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(cluster: str, template: str) -> AsyncIterator[World]:
    async with world_from(cluster, template, reactions=Reactions(reactions.IN_STEP)) as made:
        yield made


@pytest.fixture
async def desk(world: World) -> Desk:
    await let_tests_seed(world)
    seller, buyer, lender = (world.ids.new("sub") for _ in range(3))
    house = House(world, LedgerChain(), seller, buyer, lender)
    await house.seed(
        tenant_row(world),
        subject_row(world, seller, "seller"),
        subject_row(world, buyer, "buyer"),
        subject_row(world, lender, "lender"),
    )
    await house.registered_lender()
    await open_tenant(world, HOME)
    return Desk(house)


async def test_a_list_that_names_nobody_here_is_confirmed(desk: Desk) -> None:
    await desk.confirm()
    assert len(desk.confirmed) == 1


async def test_without_a_verdict_of_the_provider_nothing_is_confirmed(desk: Desk) -> None:
    desk.lists.verdict = Verdict.PENDING
    with pytest.raises(TryAgain):
        await desk.confirm()
    assert desk.confirmed == []


async def test_a_hit_reaches_the_chain_within_the_run_and_only_then_is_the_list_complete(desk: Desk) -> None:
    """Even though the freeze's own job was lost."""
    await desk.move(auth.SubjectEvent.FREEZE, auth.SANCTIONS)
    await desk.house.lose_all_jobs()
    with pytest.raises(TryAgain, match="1 sanctioned"):
        await desk.confirm()
    assert desk.confirmed == []
    await desk.house.until_idle()
    wallet = await desk.house.wallet(desk.house.lender)
    assert desk.house.chain.contracts.flagged == {wallet.address}
    await desk.confirm()
    assert len(desk.confirmed) == 1


async def test_the_flag_comes_before_the_claims_go_and_goes_after_they_are_back(desk: Desk) -> None:
    await desk.move(auth.SubjectEvent.FREEZE, auth.SANCTIONS)
    await desk.house.walk()
    await desk.move(auth.SubjectEvent.UNFREEZE)
    desk.house.pass_time(hours=1)
    await desk.house.walk()
    said = [
        call.flagged if isinstance(call, FlagWallet) else int(call.claims)
        for _, call, _ in desk.house.chain.mined
        if isinstance(call, FlagWallet | RegisterIdentity)
    ]
    assert said == [7, True, 0, 7, False]
    wallet = await desk.house.wallet(desk.house.lender)
    assert (wallet.state, wallet.flagged_at) == ("REGISTERED", None)


async def test_a_freeze_on_another_ground_flags_nobody(desk: Desk) -> None:
    """It may be about a report that nobody may hear of; the chain's list is about sanctions."""
    await desk.move(auth.SubjectEvent.FREEZE)
    await desk.house.walk()
    assert desk.house.chain.contracts.flagged == set()
    assert (await desk.house.wallet(desk.house.lender)).state == "REVOKED"
    await desk.confirm()
    assert len(desk.confirmed) == 1


async def test_an_unfreeze_while_the_flag_is_on_its_way_ends_without_a_flag(desk: Desk) -> None:
    desk.house.chain.stall()
    await desk.move(auth.SubjectEvent.FREEZE, auth.SANCTIONS)
    await desk.house.walk_alone()

    async def sent() -> bool:
        return any(kind == "broadcast" and times > 1 for kind, times in desk.house.chain.calls.items())

    await desk.house.work_until(sent)
    await desk.move(auth.SubjectEvent.UNFREEZE)
    desk.house.chain.resume()
    await desk.house.until_idle()
    assert desk.house.chain.contracts.flagged == set()
    assert (await desk.house.wallet(desk.house.lender)).registered


# ── The confirmation is a promise


async def test_a_confirmation_is_as_old_as_its_screening_however_late_its_block_comes(desk: Desk) -> None:
    chain = desk.house.chain
    screened = (await chain.head()).timestamp_unix
    chain.stall()
    await desk.promise()
    chain.pass_time(timedelta(hours=30))
    chain.resume()
    await desk.until_home_is_idle()
    assert desk.confirmed == [screened]
    assert chain.contracts.listed_at == screened, "thirty hours old when it is mined, and says so"


async def test_there_is_no_second_confirmation_while_the_first_has_no_answer(desk: Desk) -> None:
    desk.house.chain.stall()
    await desk.promise()
    with pytest.raises(TryAgain, match="earlier confirmation"):
        await desk.promise()
    assert await desk.states() == ["PROMISED"]
    desk.house.chain.resume()
    await desk.until_home_is_idle()
    await desk.confirm()
    assert await desk.states() == ["CONFIRMED", "CONFIRMED"]


async def _promised_past_the_door(desk: Desk, tenant_id: str) -> None:
    async with desk.house.world.database.transaction(tenant_id) as tx:
        promise = sending.new_promise(
            tx, kind=tokenisation.Kind.REFRESH, business_key="refresh:x", resource=RESOURCE, arguments={"as_of_unix": 1}
        )
        move = audit.Changes((sending.promised_row(promise),))
        action = "SANCTIONS_CONFIRM_REQUEST"
        await audit.change(tx, system(tenant_id, "test"), action=action, resource=RESOURCE, move=move)


async def test_the_database_itself_keeps_to_one_and_to_the_platforms_own_tenant(desk: Desk) -> None:
    with pytest.raises(asyncpg.CheckViolationError, match="chain_tx_refresh_is_the_platforms"):
        await _promised_past_the_door(desk, TENANT)
    await desk.promise()
    with pytest.raises(asyncpg.UniqueViolationError, match="chain_tx_one_refresh_at_a_time"):
        await _promised_past_the_door(desk, HOME)
    await desk.until_home_is_idle()
    await _promised_past_the_door(desk, HOME)


async def test_a_run_that_died_after_its_promise_promises_nothing_more(desk: Desk) -> None:
    await desk.promise("job_1")
    await desk.promise("job_1")
    await desk.until_home_is_idle()
    await desk.promise("job_1")
    assert await desk.states() == ["CONFIRMED"]


@pytest.mark.parametrize("call", ["sign", "send_many", "receipts"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_wherever_the_process_dies_there_is_one_confirmation_and_no_gap(desk: Desk, call: str, when: str) -> None:
    chain = desk.house.chain
    (chain.fail_before if when == "before" else chain.fail_after)(call, Crash())
    await desk.confirm()
    assert not chain.still_to_fail(call)
    assert len(desk.confirmed) == 1
    assert await desk.states() == ["CONFIRMED"]
    sender = address_of(UPDATER_KEY)
    following = await desk.at_home("select max(nonce) + 1 from app.chain_tx where kind = 'refresh'")
    assert await chain.transaction_count(sender) == following


async def test_a_confirmation_whose_job_was_lost_is_found_by_the_walk(desk: Desk) -> None:
    desk.house.chain.stall()
    await desk.promise()
    await desk.house.lose_all_jobs()
    async with desk.house.world.database.transaction(HOME) as tx:
        tx.enqueue("tokenisation.walk", {}, dedupe_key="walk at home")

    async def found() -> bool:
        return bool(await desk.at_home("select count(*) from ops.jobs where name = 'tokenisation.confirm_list'"))

    await desk.house.work_until(found)
    desk.house.chain.resume()
    await desk.until_home_is_idle()
    assert await desk.states() == ["CONFIRMED"]


async def test_one_that_the_chain_refuses_is_told_and_gives_way_to_the_next(desk: Desk) -> None:
    chain = desk.house.chain
    ahead = (await chain.head()).timestamp_unix + 10**6
    async with desk.house.world.database.transaction(HOME) as tx:
        await tokenisation.refresh(tx, system(HOME, "test"), business_key="refresh:odd", as_of_unix=ahead)

    async def refused() -> bool:
        return await desk.states() == ["REVERTED"]

    await desk.house.work_until(refused)
    assert await desk.at_home("select count(*) from app.alerts where cause = 'CHAIN_REFUSED_REFRESH'") == 1
    await desk.promise()

    async def answered() -> bool:
        return await desk.states() == ["SUPERSEDED", "CONFIRMED"]

    await desk.house.work_until(answered)
    desk.house.pass_time(hours=1)
    await desk.until_home_is_idle()
    assert await answered(), "the refused one's own job leaves it at that"


async def test_while_the_chain_is_away_the_run_waits_and_screens_nobody(desk: Desk) -> None:
    desk.house.chain.go_away(ChainUnavailable("no node"))
    desk.lists.verdict = Verdict.PENDING
    with pytest.raises(TryAgain, match="chain is not available"):
        await desk.promise()
    assert await desk.states() == []


# ── With a wallet that is lost


@pytest.fixture
async def office(desk: Desk) -> Office:
    """Officers who give the lender's wallet up."""
    officers = []
    for role in (Role.MLRO, Role.MLRO, Role.COMPLIANCE):
        subject_id = desk.house.world.ids.new("sub")
        await desk.house.seed(subject_row(desk.house.world, subject_id, role.value))
        officers.append(Caller(TENANT, role, subject_id, subject_id=subject_id, aal=2))
    return Office(desk.house, *officers)


async def _is_flagged(desk: Desk, wallet: str) -> None:
    """The list is called incomplete, and from that run on the chain names the wallet; then it is complete."""
    with pytest.raises(TryAgain, match="1 sanctioned"):
        await desk.confirm()

    async def flagged() -> bool:
        return wallet in desk.house.chain.contracts.flagged

    await desk.house.work_until(flagged, only="tokenisation.issue_claims")
    await desk.house.work_until(lambda: _all_flagged(desk), only="tokenisation.issue_claims")
    await desk.confirm()
    assert len(desk.confirmed) == 1


async def _all_flagged(desk: Desk) -> bool:
    async with desk.house.tx() as tx:
        return not await tx.value("select count(*) from app.wallets where state <> 'RETIRED' and flagged_at is null")


async def test_a_lost_wallet_of_somebody_without_a_next_one_is_flagged(desk: Desk, office: Office) -> None:
    """Frozen before there was a next wallet: what it holds lies in the lost one."""
    await desk.move(auth.SubjectEvent.FREEZE, auth.SANCTIONS)
    await office.approved()
    await desk.house.lose_all_jobs()
    await _is_flagged(desk, address_of(office.key(1)))


async def test_a_lost_wallet_whose_holdings_move_is_flagged_as_is_the_next(desk: Desk, office: Office) -> None:
    """Its subject was found on a list between two steps."""
    await desk.house.held()
    known = await office.approved()
    await office.until(known, "MOVING")
    desk.house.chain.forget_pool()
    await desk.move(auth.SubjectEvent.FREEZE, auth.SANCTIONS)
    await desk.house.lose_all_jobs()
    await _is_flagged(desk, address_of(office.key(1)))
    assert desk.house.chain.contracts.flagged == {address_of(office.key(1)), address_of(office.key(2))}


async def test_the_recovery_itself_flags_a_lost_wallet_that_still_holds(desk: Desk, office: Office) -> None:
    await desk.house.held()
    known = await office.approved()
    await office.until(known, "MOVING")
    desk.house.chain.forget_pool()
    await desk.move(auth.SubjectEvent.FREEZE, auth.SANCTIONS)

    async def flagged() -> bool:
        return address_of(office.key(1)) in desk.house.chain.contracts.flagged

    await desk.house.work_until(flagged, only="tokenisation.recover")


async def test_the_walk_flags_a_lost_wallet_whose_jobs_were_lost(desk: Desk, office: Office) -> None:
    await desk.move(auth.SubjectEvent.FREEZE, auth.SANCTIONS)
    await office.approved()
    await desk.house.lose_all_jobs()
    await desk.house.walk_alone()
    async with desk.house.tx() as tx:
        asked = await tx.value(
            "select count(*) from ops.jobs where name = 'tokenisation.issue_claims' and state = 'READY'"
        )
    assert asked == 1
    await desk.house.work_until(lambda: _all_flagged(desk), only="tokenisation.issue_claims")
    assert desk.house.chain.contracts.flagged == {address_of(office.key(1))}
