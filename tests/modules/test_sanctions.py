"""The chain's sanctions list is called complete only when it is (CH-14, MO-06)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from fintokenx import audit
from fintokenx.app import sanctions
from fintokenx.kernel.bus import Reactions
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.jobs import TryAgain, Work
from fintokenx.lifecycle.tokenisation import reactions
from fintokenx.lifecycle.tokenisation.ports import FlagWallet, RegisterIdentity
from fintokenx.parties import auth
from fintokenx.parties.kyc.ports import ScreeningAnswer, ScreeningName, Verdict
from tests.fakes.chain import LedgerChain, address_of
from tests.modules.test_recovery import Office
from tests.modules.test_tokenisation import TENANT, House, let_tests_seed, subject_row, tenant_row
from tests.support import World, world_from

pytestmark = pytest.mark.anyio

HOME = "tnt_fintokenx"


@dataclass
class Lists:
    """A provider that answers, or does not yet."""

    verdict: Verdict = Verdict.CLEAR

    async def screen(self, name: ScreeningName) -> ScreeningAnswer:
        return ScreeningAnswer(self.verdict, name.external_id, (), b"{}")


async def open_tenants() -> tuple[str, ...]:
    return HOME, TENANT


@dataclass
class Desk:
    """The house of tokenisation, and the job that confirms the list."""

    house: House
    lists: Lists = field(default_factory=Lists)
    confirmed: int = 0

    async def refresh_sanctions(self) -> str:
        """As the network's client does."""
        self.confirmed += 1
        return "0x"

    async def confirm(self) -> None:
        """One run of the job."""
        world = self.house.world
        job = sanctions.Confirmation(world.database, self.lists, self, open_tenants)
        row: Any = {"id": world.ids.new("job"), "name": sanctions.JOB, "tenant_id": HOME, "attempts": 1, "lease": "x"}
        await job.confirm(Work(world.database, row), {})

    async def move(self, event: auth.SubjectEvent, reason: str = "") -> None:
        """As an officer's command does."""
        mlro = Caller(TENANT, Role.MLRO, "sub_mlro", subject_id="sub_mlro")
        async with self.house.tx() as tx:
            move = await auth.advance(tx, mlro, subject_id=self.house.lender, event=event, reason=reason)
            await audit.change(tx, mlro, action=auth.action_of(event), resource=self.house.lender, move=move)


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
    return Desk(house)


async def test_a_list_that_names_nobody_here_is_confirmed(desk: Desk) -> None:
    await desk.confirm()
    assert desk.confirmed == 1


async def test_without_a_verdict_of_the_provider_nothing_is_confirmed(desk: Desk) -> None:
    desk.lists.verdict = Verdict.PENDING
    with pytest.raises(TryAgain):
        await desk.confirm()
    assert desk.confirmed == 0


async def test_a_hit_reaches_the_chain_within_the_run_and_only_then_is_the_list_complete(desk: Desk) -> None:
    """Even though the freeze's own job was lost."""
    await desk.move(auth.SubjectEvent.FREEZE, auth.SANCTIONS)
    await desk.house.lose_all_jobs()
    with pytest.raises(TryAgain, match="1 sanctioned"):
        await desk.confirm()
    assert desk.confirmed == 0
    await desk.house.until_idle()
    wallet = await desk.house.wallet(desk.house.lender)
    assert desk.house.chain.contracts.flagged == {wallet.address}
    await desk.confirm()
    assert desk.confirmed == 1


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
    assert desk.confirmed == 1


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
    assert desk.confirmed == 1


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
