"""A clearance is as old as its checks: gates 1 and 2 anew, claims on chain, who may buy (issue 9 A11, CH-16)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from fintokenx import audit
from fintokenx.kernel.bus import Reactions
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.clock import Instant
from fintokenx.lifecycle import tokenisation
from fintokenx.lifecycle.tokenisation import reactions as tokenisation_reactions
from fintokenx.lifecycle.tokenisation.jobs import TokenisationJobs
from fintokenx.parties import auth, kyc
from fintokenx.parties.kyc import reactions
from tests.modules.compliance_house import SYSTEM, A
from tests.modules.gates_desk import APPROVE, DECLINE, Desk, open_desk
from tests.modules.tokens_house import KEY, Hashes
from tests.support import world_from
from tests.support.fakes.chain import MINTER_KEY, LedgerChain

pytestmark = pytest.mark.anyio

FOURTEEN_MONTHS = timedelta(days=426)
A_YEAR = timedelta(days=365)


@dataclass
class Lending:
    """A lender who passed the gates in June 2026 and whose wallet the chain vouches for."""

    desk: Desk
    chain: LedgerChain
    lender: auth.Subject
    walks: int = 0

    async def cleared_at(self) -> Instant:
        async with self.desk.world.database.transaction(A) as tx:
            at = (await auth.subject(tx, self.lender.id)).cleared_at
        assert at is not None
        return at

    async def wallet(self) -> tokenisation.Wallet:
        async with self.desk.world.database.transaction(A) as tx:
            return await tokenisation.wallet_of(tx, SYSTEM, subject_id=self.lender.id)

    async def may_buy(self) -> bool:
        async with self.desk.world.database.transaction(A) as tx:
            try:
                await kyc.must_be_active(tx, self.lender.id)
                await kyc.must_be_cleared(tx, self.lender.id)
            except kyc.ClearanceLapsed:
                return False
        return True

    async def chain_lets_it_buy(self) -> bool:
        return await self.chain.is_verified((await self.wallet()).address)

    async def walk(self) -> None:
        """The periodic walk, what it asks for, and what follows."""
        self.walks += 1
        async with self.desk.world.database.transaction(A) as tx:
            tx.enqueue("tokenisation.walk", {}, dedupe_key=f"walk {self.walks}")
        await self.desk.settled(rounds=6)

    def pass_time(self, passed: timedelta) -> None:
        self.desk.wait(passed.total_seconds())
        self.chain.pass_time(passed)

    async def runs(self, gate: int) -> list[str]:
        """The states of a gate's runs, in order."""
        found = await self.desk.admin.fetch("select state from app.gate_runs where gate = $1 order by attempt", gate)
        return [run["state"] for run in found]


@pytest.fixture
async def lending(cluster: str, template: str, tmp_path: Path) -> AsyncIterator[Lending]:
    wired = Reactions(
        (*reactions.IN_STEP, *tokenisation_reactions.IN_STEP),
        (*reactions.AFTERWARDS, *tokenisation_reactions.AFTERWARDS),
    )
    async with world_from(cluster, template, reactions=wired) as world, open_desk(world, tmp_path) as desk:
        chain = LedgerChain()
        jobs = TokenisationJobs(
            chain=chain,
            hashes=Hashes(),
            reference_key=KEY,
            minting_wallet_key=MINTER_KEY,
            stall_seconds=10.0,
            machine_seconds=lambda: 0.0,
            tell_mined=world.tell_mined,
            active_holders=auth.active_holders,
        )
        desk.also = jobs.jobs()
        async with world.database.transaction(A) as tx:
            lender = await auth.create_subject(
                tx, SYSTEM, subject_id=world.ids.new("sub"), role=Role.LENDER, legal_name="Acme Ltd",
                company_number="01234567", person=None,
            )  # fmt: skip
        await desk.submit(lender, caller=Caller(A, Role.LENDER, lender.id, lender.id))
        await desk.settled()
        await desk.decide_all(APPROVE)
        await desk.settled()
        yield Lending(desk, chain, lender)


async def test_the_clearance_and_the_claims_are_as_old_as_the_older_of_the_two_checks(lending: Lending) -> None:
    checks = await lending.desk.admin.fetch("select finished_at from app.gate_runs where gate in (1, 2)")
    cleared_at = await lending.cleared_at()
    assert cleared_at == min(run["finished_at"] for run in checks)
    wallet = await lending.wallet()
    assert wallet.registered
    assert wallet.checked_at == cleared_at
    assert wallet.claims_expire_at is not None
    assert timedelta(0) <= cleared_at + A_YEAR - wallet.claims_expire_at < timedelta(seconds=1)


async def test_before_the_year_is_over_the_providers_are_asked_anew_and_the_claims_renewed(lending: Lending) -> None:
    """Clean again: nobody notices, and the claims live a year from the new check."""
    lending.pass_time(timedelta(days=330))
    await lending.walk()
    assert await lending.runs(1) == ["CLEAR"]
    lending.pass_time(timedelta(days=10))
    asked_at = lending.desk.world.clock.now()
    await lending.walk()
    assert (await lending.runs(1), await lending.runs(2)) == (["CLEAR", "CLEAR"], ["CLEAR", "CLEAR"])
    reviews = [each for each in lending.desk.identity.log.effects if each["effect"] == "check requested"]
    assert len(reviews) == 2 * 3, "the company and both persons, reviewed twice: an old review is no answer"
    assert await lending.cleared_at() >= asked_at
    assert (await lending.wallet()).checked_at == await lending.cleared_at()
    lending.pass_time(timedelta(days=86))
    assert await lending.may_buy()
    assert await lending.chain_lets_it_buy()
    assert await lending.desk.alerts() == []


async def test_fourteen_months_later_a_clean_check_lets_the_lender_buy_again(lending: Lending) -> None:
    """The clock is moved in one step, past the end of the claims."""
    lending.pass_time(FOURTEEN_MONTHS)
    assert not await lending.may_buy()
    assert not await lending.chain_lets_it_buy()
    await lending.walk()
    assert await lending.may_buy()
    assert await lending.chain_lets_it_buy()
    assert (await lending.wallet()).checked_at == await lending.cleared_at()


async def test_hits_at_a_renewal_go_to_the_mlro_and_the_clearance_lapses_until_decided(lending: Lending) -> None:
    lending.pass_time(timedelta(days=340))
    before = await lending.cleared_at()
    lending.desk.screening.set("hit")
    await lending.walk()
    lending.desk.screening.set("up")
    assert (await lending.runs(1), await lending.runs(2)) == (["CLEAR", "CLEAR"], ["CLEAR", "REFER"])
    assert [case.reason for case in await lending.desk.cases()] == ["RENEWAL_GATE2_REFER"]
    assert await lending.cleared_at() == before
    assert await lending.may_buy(), "the last check still counts"
    referred_at = lending.desk.world.clock.now()
    lending.pass_time(timedelta(days=30))
    await lending.walk()
    assert not await lending.may_buy()
    assert not await lending.chain_lets_it_buy()
    assert (await lending.wallet()).state == "REVOKED"
    assert await lending.runs(2) == ["CLEAR", "REFER"], "nobody asks until the hits are gone"

    await lending.desk.decide_all(APPROVE)
    await lending.desk.settled()
    assert await lending.runs(2) == ["CLEAR", "REFER", "CLEAR"]
    assert await lending.may_buy()
    assert await lending.chain_lets_it_buy()
    assert before < await lending.cleared_at() < referred_at, "as old as the answers, not as the decision"


async def test_an_mlro_who_does_not_discount_the_hits_declines_nobody_and_renews_nothing(lending: Lending) -> None:
    lending.pass_time(timedelta(days=340))
    before = await lending.cleared_at()
    lending.desk.screening.set("hit")
    await lending.walk()
    lending.desk.screening.set("up")
    await lending.desk.decide_all(DECLINE)
    await lending.walk()
    assert (await lending.desk.standing(lending.lender))[0] == "ACTIVE"
    assert await lending.cleared_at() == before
    lending.pass_time(timedelta(days=30))
    await lending.walk()
    assert not await lending.may_buy()
    assert not await lending.chain_lets_it_buy()
    await lending.desk.rerun(lending.lender, kyc.Gate.SCREENING)
    assert await lending.may_buy(), "an officer may ask once more, and the answer counts"


async def test_a_rejection_at_a_renewal_is_a_case_and_the_claims_lapse(lending: Lending) -> None:
    lending.pass_time(timedelta(days=340))
    lending.desk.identity.set("reject")
    await lending.walk()
    assert await lending.runs(1) == ["CLEAR", "FAIL"]
    assert [case.reason for case in await lending.desk.cases()] == ["RENEWAL_GATE1_FAIL"]
    assert await lending.may_buy()
    lending.pass_time(timedelta(days=30))
    await lending.walk()
    assert not await lending.may_buy()
    assert not await lending.chain_lets_it_buy()


async def test_with_a_provider_down_nothing_is_renewed_and_somebody_is_told_long_before(lending: Lending) -> None:
    lending.pass_time(timedelta(days=340))
    before = await lending.cleared_at()
    lending.desk.screening.set("down")
    await lending.walk()
    assert await lending.runs(2) == ["CLEAR", "HELD"]
    assert await lending.desk.alerts() == ["GATE2_HELD"]
    assert await lending.cleared_at() == before
    assert await lending.chain_lets_it_buy()
    await lending.desk.admin.execute("update ops.jobs set state = 'DEAD' where name = 'kyc.gate2' and state = 'READY'")
    lending.pass_time(timedelta(days=30))
    await lending.walk()
    assert not await lending.may_buy()
    assert not await lending.chain_lets_it_buy()
    assert await lending.desk.alerts() == ["GATE2_HELD"], "held all the time, told once"
    lending.desk.screening.set("up")
    lending.pass_time(timedelta(days=2))
    await lending.walk()
    assert await lending.runs(2) == ["CLEAR", "CLEAR"], "the walk gives the held run another job"
    assert await lending.may_buy()
    assert await lending.chain_lets_it_buy()


async def test_nobody_is_checked_anew_whom_nobody_vouches_for(lending: Lending) -> None:
    officer = Caller(A, Role.COMPLIANCE, "sub_officer", subject_id="sub_officer")
    async with lending.desk.world.database.transaction(A) as tx:
        move = await auth.advance(tx, officer, subject_id=lending.lender.id, event=auth.SubjectEvent.FREEZE)
        await audit.change(tx, officer, action="SUBJECT_FREEZE", resource=lending.lender.id, move=move)
    lending.pass_time(FOURTEEN_MONTHS)
    await lending.walk()
    assert (await lending.runs(1), await lending.runs(2)) == (["CLEAR"], ["CLEAR"])
