"""Many promises at once: one round drives them all, whatever is refused, lost or killed on the way (TK-05, TK-12)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from fintokenx.adapters.chain import ChainClient, StateClient, deploy
from fintokenx.kernel.jobs import Payload, TryAgain, Work
from fintokenx.lifecycle import chainwork
from fintokenx.lifecycle.chainwork.ports import ChainUnavailable, Receipt, SignedTransaction
from fintokenx.lifecycle.chainwork.service import sending
from fintokenx.lifecycle.tokenisation.ports import Call, MintReceivable, RegisterIdentity
from fintokenx.lifecycle.tokenisation.service import minting
from fintokenx.sandbox.chain_front.besu import PENDING_MAX
from tests.modules.tokens_house import KEY, PLATFORM, House, let_tests_seed, subject_row, tenant_row
from tests.reconciliation.house import RealHouse
from tests.sandbox.front_house import ROOT, network
from tests.support import World
from tests.support.fakes.chain import MINTER_KEY, Contracts, Crash, LedgerChain, Reverted, address_of

pytestmark = pytest.mark.anyio

MINTER = address_of(MINTER_KEY)


async def house_on(world: World, chain: LedgerChain | ChainClient, kind: type[House] = House) -> House:
    await let_tests_seed(world)
    seller, buyer, lender = (world.ids.new("sub") for _ in range(3))
    made = kind(world, chain, seller, buyer, lender)  # type: ignore[arg-type]
    roles = ((seller, "seller"), (buyer, "buyer"), (lender, "lender"))
    await made.seed(tenant_row(world), *(subject_row(world, subject, role) for subject, role in roles))
    return made


@pytest.fixture
async def house(world: World) -> House:
    """Blocks come when a test says so."""
    return await house_on(world, LedgerChain(automine=False))


async def promised(house: House, number: int) -> list[str]:
    """Mints that were promised and whose jobs are lost: whatever happens to them, a round did it. In their order."""
    references = [await house.invoice() for _ in range(number)]
    for reference in references:
        async with house.tx() as tx:
            await minting.request(tx, PLATFORM, invoice_reference=reference, reference_key=KEY)
        house.pass_time(milliseconds=1)
    return references


async def states(house: House, references: Sequence[str]) -> list[str]:
    return [await house.state(reference) for reference in references]


async def mints_on(house: House, references: Sequence[str]) -> list[chainwork.ChainTransaction]:
    return [await house.promise(minting.mint_key(reference)) for reference in references]


async def rounds(house: House, number: int = 1) -> None:
    """So many rounds, with nothing left that a job could do; a second and more lies between them."""
    for _ in range(number):
        await house.walk_alone()
        await house.lose_all_jobs()
        house.pass_time(seconds=2)


async def test_a_round_sends_two_hundred_of_three_hundred_in_order_and_the_next_the_rest(house: House) -> None:
    references = await promised(house, 300)
    house.chain.calls.clear()
    await rounds(house)
    sent = [promise for promise in await mints_on(house, references) if promise.nonce is not None]
    assert [promise.nonce for promise in sent] == list(range(200))
    assert house.chain.broadcasts == [promise.tx_hash for promise in sent]
    assert await states(house, references) == ["MINT_SUBMITTED"] * 200 + ["REQUESTED"] * 100
    asked = {name: house.chain.calls[name] for name in ("send_many", "transaction_count", "head")}
    assert max(asked.values()) <= 3, f"as many requests as for one: {asked}"
    house.chain.mine()
    await rounds(house)
    house.chain.mine()
    await rounds(house)
    assert set(await states(house, references)) == {"MINTED"}
    assert [promise.nonce for promise in await mints_on(house, references)] == list(range(300))
    assert len(house.chain.mined_calls(MintReceivable)) == len(house.chain.mined) == 300


async def test_what_waits_is_not_sent_again_at_every_look(house: House) -> None:
    reference = await house.invoice()
    await house.ask("tokenisation.mint", {"reference": reference})

    async def looked_often() -> bool:
        return house.chain.calls["receipts"] + house.chain.calls["receipt"] > 12

    began = house.world.clock.now()
    await house.work_until(looked_often)
    passed = (house.world.clock.now() - began).total_seconds()
    assert len(house.chain.broadcasts) <= 1 + passed / 5


async def test_a_sender_gets_no_nonce_that_its_nodes_would_refuse(house: House) -> None:
    [first, second] = await promised(house, 2)
    key = minting.mint_key(first)
    await house.world.tell_mined(MINTER, PENDING_MAX)
    async with house.tx() as tx:
        await sending.reserve(tx, PLATFORM, business_key=key, sender=MINTER, mined=PENDING_MAX)
    with pytest.raises(sending.TooManyPending):
        async with house.tx() as tx:
            await sending.reserve(tx, PLATFORM, business_key=minting.mint_key(second), sender=MINTER, mined=1)
    async with house.tx() as tx:
        given = await sending.reserve(tx, PLATFORM, business_key=minting.mint_key(second), sender=MINTER, mined=2)
    assert given.nonce == PENDING_MAX + 1, "the refused one took no number"


async def test_a_refused_transaction_loses_no_other_and_its_gap_is_closed_before_anything_new(house: House) -> None:
    references = await promised(house, 5)
    house.chain.fail_before("broadcast", ChainUnavailable("refused"))

    async def told() -> bool:
        async with house.tx() as tx:
            return await tx.value("select last_error from ops.jobs where name = 'tokenisation.walk'") is not None

    await house.ask("tokenisation.walk", {})
    await house.work_until(told, only="tokenisation.walk")
    await house.lose_all_jobs()
    mints = await mints_on(house, references)
    assert {promise.tx_hash for promise in mints[1:]} <= set(house.chain.broadcasts)
    house.chain.forget_pool()
    house.chain.broadcasts.clear()
    newer = await promised(house, 2)
    await rounds(house)
    in_order = [promise.tx_hash for promise in await mints_on(house, references + newer)]
    assert house.chain.broadcasts == in_order, "the lowest nonce first, what is new last"
    house.chain.mine()
    await rounds(house)
    assert set(await states(house, references + newer)) == {"MINTED"}
    assert len(house.chain.mined) == 7


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("fault", [ChainUnavailable("timed out"), Crash()], ids=["answer lost", "killed"])
@pytest.mark.parametrize("call", ["send_many", "receipts"])
async def test_whatever_happens_around_a_batch_each_of_it_is_mined_once(
    house: House, moment: str, fault: Exception, call: str
) -> None:
    references = await promised(house, 7)
    fail = house.chain.fail_before if moment == "before" else house.chain.fail_after
    fail(call, fault)

    async def struck() -> bool:
        async with house.tx() as tx:
            return bool(await tx.value("select attempts > 1 or last_error is not null from ops.jobs"))

    await house.ask("tokenisation.walk", {})
    await house.work_until(struck, only="tokenisation.walk")
    house.restart()
    await house.lose_all_jobs()
    await rounds(house)
    house.chain.mine()
    await rounds(house)
    assert set(await states(house, references)) == {"MINTED"}
    assert len(house.chain.mined) == 7
    assert len(set(house.chain.broadcasts)) == 7, "the same bytes each time"
    assert (await house.trail(references[0])).count("CHAIN_TX_RESERVE") == 1


@pytest.mark.parametrize("bad", [{1}, {0, 1, 2, 3, 4, 5}], ids=["one", "the first six"])
async def test_answers_that_cannot_be_recorded_keep_back_no_other(house: House, bad: set[int]) -> None:
    references = await promised(house, 8)
    await rounds(house)
    for number in bad:
        await house.move_invoice(references[number], "CONFIRMED", "WITHDRAWN")
    house.chain.mine()
    await rounds(house)
    expected = ["MINT_SUBMITTED" if number in bad else "MINTED" for number in range(8)]
    assert await states(house, references) == expected


class Unregistrable(LedgerChain):
    """The registry answers no question about claims; all else works."""

    async def sign(self, call: Call, nonce: int) -> SignedTransaction:
        if isinstance(call, RegisterIdentity):
            raise ChainUnavailable("what to sign was refused (-32000)", outcome_unknown=False)
        return await super().sign(call, nonce)


async def test_what_cannot_be_signed_keeps_back_no_other_sender_and_is_no_stall(world: World) -> None:
    house = await house_on(world, Unregistrable(automine=False))
    await house.ask("tokenisation.issue_claims", {"subject_id": house.lender}, "claims")

    async def stands_unsigned() -> bool:
        async with house.tx() as tx:
            return bool(await tx.value("select true from app.chain_tx where kind = 'identity' and state = 'RESERVED'"))

    await house.work_until(stands_unsigned)
    reference = await house.invoice()
    await house.ask("tokenisation.mint", {"reference": reference}, "mint")

    async def sent() -> bool:
        return await house.state(reference) == "MINT_SUBMITTED"

    await house.work_until(sent)
    until = house.world.clock.now() + timedelta(seconds=30)

    async def many_looks() -> bool:
        return house.world.clock.now() > until

    await house.work_until(many_looks)
    assert await stands_unsigned()
    assert "TOKEN_PENDING" not in [entry.action for entry in await house.entries(reference)]
    house.chain.mine()

    async def minted() -> bool:
        return await house.state(reference) == "MINTED"

    await house.work_until(minted)


class LateReceipts(LedgerChain):
    """For a moment it counts a transaction and does not show it yet, as anvil does between two of its locks."""

    hidden = 0

    async def receipt(self, tx_hash: str) -> Receipt | None:
        found = await super().receipt(tx_hash)
        if found is not None and self.hidden:
            self.hidden -= 1
            return None
        return found


async def test_a_transaction_that_is_counted_before_it_is_shown_is_not_taken_for_a_lost_one(world: World) -> None:
    """It would be done once more, or looked for in vain and left alone for ten minutes."""
    chain = LateReceipts(automine=False)
    house = await house_on(world, chain)

    async def mined_and_hidden(sent: int) -> None:
        async def is_sent() -> bool:
            return len(set(chain.broadcasts)) == sent

        await house.work_until(is_sent)
        chain.hidden = 2
        chain.mine()
        began = world.clock.now()
        await house.until_idle()
        assert (world.clock.now() - began).total_seconds() < 300

    await house.ask("tokenisation.issue_claims", {"subject_id": house.lender})
    await mined_and_hidden(1)
    assert (await house.wallet(house.lender)).registered
    reference = await house.invoice()
    await house.ask("tokenisation.mint", {"reference": reference})
    await mined_and_hidden(2)
    assert await house.state(reference) == "MINTED"
    assert len(chain.mined) == 2


@pytest.mark.soak
async def test_three_hundred_confirmations_at_once_reach_nodes_that_keep_two_hundred_of_a_sender(world: World) -> None:
    """Real jobs and contracts; seven nodes that refuse a nonce 200 ahead, and one of them loses an answer."""
    async with network() as net:
        rpc = net.rpc()
        now = (await net.anvil.control.head()).timestamp
        artifacts = ROOT / "contracts" / "artifacts"
        deployment = await deploy(rpc, net.vault, chain_id=1981, artifacts=artifacts, now_unix=now)
        house = await house_on(world, ChainClient(rpc, net.vault, deployment), RealHouse)
        references = [await house.invoice() for _ in range(300)]
        for reference in references:
            await house.ask("tokenisation.mint", {"reference": reference})
        net.front.lose_answers(net.front.names[0])

        async def all_minted() -> bool:
            async with house.tx() as tx:
                return bool(await tx.value("select count(*) = 300 from app.tokens where state = 'MINTED'"))

        await house.work_until(all_minted, deadline_seconds=120)
        tokens = {(await house.token(reference)).token_id for reference in references}
        state = StateClient(rpc, deployment)
        logged = await state.logged((await state.head()).number, lambda _what, _done, _total: None)
    assert logged.token_ids == tokens
    assert set(logged.balances.values()) == {1_250_000}, "each minted once"
    assert sorted(promise.nonce or 0 for promise in await mints_on(house, references)) == list(range(300))


class ClosedMint(Contracts):
    """Mints nothing."""

    def execute(self, call: Call, now_unix: int) -> None:
        if isinstance(call, MintReceivable):
            raise Reverted("reverted")
        super().execute(call, now_unix)


async def test_what_the_chain_refused_is_tried_again_by_whoever_leads_when_its_job_asks(house: House) -> None:
    """Its own job may never lead: others lead all the time. It asks, and the next round takes it along."""
    [reference] = await promised(house, 1)
    open_, house.chain.contracts = house.chain.contracts, ClosedMint()
    await rounds(house)
    house.chain.mine()
    await rounds(house)
    house.chain.contracts = open_
    [refused] = await mints_on(house, [reference])
    assert refused.state == "REVERTED"
    await rounds(house, 2)
    assert (await mints_on(house, [reference]))[0].state == "REVERTED", "nobody has asked for it"

    pump = house.jobs.pump

    async def asks_while_another_leads(work: Work, _payload: Payload) -> None:
        leading = pump.memory(work.tenant_id)
        leading.leading += 1
        with pytest.raises(TryAgain, match="another job drives it"):
            await pump.turn(work, refused, house.world.clock.now())
        leading.leading -= 1

    house.also["test.ask"] = asks_while_another_leads
    await house.ask("test.ask", {})
    await house.until_idle()
    await rounds(house)
    house.chain.mine()
    await rounds(house)
    assert await states(house, [reference]) == ["MINTED"]
