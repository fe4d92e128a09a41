"""A lost wallet, a freeze and a sanctions hit on a real chain: what the contracts then say, with nobody of ours beside
them (CH-06, CH-14, CH-16, CH-17)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from eth_utils.crypto import keccak

from fintokenx.adapters.chain.deployment import UPDATER
from fintokenx.adapters.chain.signing import Unsigned, calldata, sign
from fintokenx.kernel.bus import Reactions
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle import tokenisation
from fintokenx.lifecycle.chainwork.ports import Receipt
from fintokenx.lifecycle.tokenisation import reactions
from fintokenx.parties import auth
from tests.modules.parties_house import open_tenant
from tests.modules.sanctions_desk import HOME, Desk
from tests.modules.tokens_house import FACE
from tests.reconciliation.house import CHAIN_ID, GAS, Town, town_in
from tests.reconciliation.recovery_house import Dying, approved, state_of
from tests.reconciliation.split_token import split
from tests.support import World, world_from

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(cluster: str, template: str) -> AsyncIterator[World]:
    async with world_from(cluster, template, reactions=Reactions(reactions.IN_STEP)) as made:
        yield made


@pytest.fixture
async def town(world: World) -> AsyncIterator[Town]:
    async with town_in(world) as made:
        yield made


async def sent_by(town: Town, wallet: tokenisation.Wallet, to: str, token: tokenisation.Token) -> Receipt:
    """Somebody with the key of a wallet sends a penny, and nobody of ours is asked."""
    nonce = await town.chain.transaction_count(wallet.address)
    data = calldata(
        "safeTransferFrom(address,address,uint256,uint256,bytes)", wallet.address, to, token.token_id, 1, b""
    )
    unsigned = Unsigned(CHAIN_ID, nonce, GAS, town.deployment.token, data)
    signed = await sign(town.vault, wallet.key_name, unsigned)
    await town.chain.broadcast(signed.raw)
    return await town.receipt(signed.tx_hash)


async def flagged(town: Town, wallet: tokenisation.Wallet) -> bool:
    asked = calldata("isFlagged(address)", wallet.address)
    answer = await town.rpc.call(
        "eth_call", {"to": town.deployment.sanctions_rule, "data": "0x" + asked.hex()}, "latest"
    )
    return bool(int(answer, 16))


# ── Recovery


async def test_a_recovered_wallet_leaves_no_drift_and_nothing_can_ever_reach_it(town: Town) -> None:
    ann, ben, *_ = town.lenders
    town.house.tokens_a_step = 2
    town.house.restart()
    await town.register(ann, ben)
    tokens = [await town.held(ann) for _ in range(3)]
    lost, other = await town.house.wallet(ann), await town.house.wallet(ben)
    recovery_id = await approved(town, ann)
    await town.house.until_idle()
    new = await town.house.wallet(ann)
    found = await town.reconciled()
    assert (found.drifts, found.in_flight, await state_of(town, recovery_id)) == ((), 0, "COMPLETED")
    assert found.wallets == 4, "the minting wallet, two in use and the lost one"
    for token in tokens:
        assert await town.chain.holding(lost.address, token.token_id) == FACE - FACE
        assert await town.chain.holding(new.address, token.token_id) == FACE
        assert await town.chain.can_transfer(new.address, lost.address, token.token_id, FACE) == (
            False,
            "address frozen",
        )
    assert not await town.chain.is_registered(lost.address)
    assert (await sent_by(town, new, lost.address, tokens[0])).revert_reason == "address frozen"
    assert (await sent_by(town, lost, new.address, tokens[0])).revert_reason == "address frozen"
    assert (await sent_by(town, new, other.address, tokens[0])).succeeded


async def test_not_even_whoever_registers_a_retired_wallet_anew_brings_it_back(town: Town) -> None:
    ann, ben, *_ = town.lenders
    await town.register(ann, ben)
    token = await town.held(ben)
    lost, holder = await town.house.wallet(ann), await town.house.wallet(ben)
    again = await town.identity(ann, 7)
    await approved(town, ann)
    await town.house.until_idle()
    await town.call(again)
    assert await town.chain.is_verified(lost.address)
    assert (await sent_by(town, holder, lost.address, token)).revert_reason == "address frozen"


async def test_the_parts_of_a_split_token_go_over_too(town: Town) -> None:
    """TK-09: no command splits yet, so the split is done by hand."""
    token, lost, ben = await split(town)
    ann = town.lenders[0]
    before = await town.chain.holding(lost, token.token_id)
    recovery_id = await approved(town, ann)
    await town.house.until_idle()
    new = (await town.house.wallet(ann)).address
    assert await state_of(town, recovery_id) == "COMPLETED"
    assert await town.drifts() == []
    assert await town.chain.holding(new, token.token_id) == before
    async with town.house.tx() as tx:
        rows = await tx.rows("select holder_wallet from app.slices order by index")
    assert [row["holder_wallet"] for row in rows] == [new, ben]


async def test_between_a_recoverys_broadcast_and_its_receipt_the_platform_may_die(town: Town) -> None:
    """The chain has moved it, and the database learns it from the chain: once, and meanwhile it is no drift."""
    ann = town.lenders[0]
    await town.register(ann)
    token = await town.held(ann)
    dying = Dying(town.rpc, town.vault, town.deployment)
    town.house.chain = dying  # type: ignore[assignment]
    town.house.restart()
    recovery_id = await approved(town, ann)

    async def died() -> bool:
        return dying.dead

    await town.house.work_until(died)
    lost, new = await _wallets(town, ann)
    assert await town.chain.holding(new, token.token_id) == FACE
    found = await town.reconciled()
    assert (found.drifts, await state_of(town, recovery_id)) == ((), "MOVING")
    assert found.in_flight >= 1
    town.house.chain = town.chain  # type: ignore[assignment]
    town.house.restart()
    await town.house.until_idle()
    assert await state_of(town, recovery_id) == "COMPLETED"
    assert await town.drifts() == []
    assert (await town.house.token(token.invoice_reference)).holder_wallet == new
    logs = await town.rpc.call("eth_getLogs", _recovered(town, lost))
    assert len(logs) == 1


async def _wallets(town: Town, lender: str) -> list[str]:
    async with town.house.tx() as tx:
        rows = await tx.rows("select address from app.wallets where subject_id = $1 order by created_at, id", lender)
    return [row["address"] for row in rows]


def _recovered(town: Town, lost: str) -> dict[str, object]:
    topic = "0x" + keccak(text="RecoverySuccess(address,address,bytes32)").hex()
    return {
        "address": town.deployment.token,
        "fromBlock": "0x0",
        "topics": [topic, "0x" + lost[2:].lower().rjust(64, "0")],
    }


# ── Claims and flags follow people


async def test_after_a_freeze_the_next_transfer_fails_on_chain_without_us(town: Town) -> None:
    """CH-16: the holder's own key, no call of ours, and the contract's word."""
    ann, ben, *_ = town.lenders
    await town.register(ann, ben)
    token = await town.held(ann)
    holder, other = await town.house.wallet(ann), await town.house.wallet(ben)
    assert (await sent_by(town, holder, other.address, token)).succeeded
    await town.freeze(ann, frozen=True)
    await town.house.until_idle()
    assert (await sent_by(town, holder, other.address, token)).revert_reason == "wallet not verified"
    assert (await sent_by(town, other, holder.address, token)).revert_reason == "wallet not verified"
    await town.freeze(ann, frozen=False)
    await town.house.until_idle()
    assert (await sent_by(town, holder, other.address, token)).succeeded


async def test_claims_end_by_themselves_when_nobody_renews_them(town: Town) -> None:
    """CH-16: a year later, and the platform is long gone."""
    ann, ben, *_ = town.lenders
    await town.register(ann, ben)
    token = await town.held(ann)
    holder, other = await town.house.wallet(ann), await town.house.wallet(ben)
    assert await town.chain.is_verified(holder.address)
    await town.anvil.control.call("evm_increaseTime", 366 * 86_400)
    assert (await sent_by(town, holder, other.address, token)).revert_reason == "wallet not verified"


async def test_a_sanctions_hit_reaches_the_chains_list_and_leaves_it_when_it_is_cleared(town: Town) -> None:
    """CH-14, MO-06: the flag before the claims, and it holds by itself when somebody writes claims again."""
    ann, ben, *_ = town.lenders
    await town.register(ann, ben)
    token = await town.held(ann)
    holder, other = await town.house.wallet(ann), await town.house.wallet(ben)
    await town.freeze(ann, frozen=True, ground=auth.SANCTIONS)
    await town.house.until_idle()
    assert await flagged(town, holder)
    assert await town.drifts() == []
    trail = [each for each in await town.house.trail(ann) if each.endswith(("FLAG", "REVOKE"))]
    assert trail == ["SANCTIONS_FLAG", "CLAIMS_REVOKE"]
    await town.call(await town.identity(ann, 7))
    assert (await sent_by(town, holder, other.address, token)).revert_reason == "sanctions"
    assert (await sent_by(town, other, holder.address, token)).revert_reason == "sanctions"
    await town.freeze(ann, frozen=False, ground=auth.SANCTIONS)
    await town.house.until_idle()
    assert not await flagged(town, holder)
    assert (await sent_by(town, holder, other.address, token)).succeeded


async def test_a_flag_whose_job_was_lost_is_found_by_the_walk(town: Town) -> None:
    ann = town.lenders[0]
    await town.register(ann)
    holder = await town.house.wallet(ann)
    await town.freeze(ann, frozen=True, ground=auth.SANCTIONS)
    await town.house.lose_all_jobs()
    assert not await flagged(town, holder)
    await town.house.walk()
    assert await flagged(town, holder)


async def test_a_confirmation_of_the_list_that_comes_too_late_leaves_it_stale_and_the_next_does_not(town: Town) -> None:
    """CH-14, by the job, the outbox and the contract: three days lie between the screening and its block."""
    ann, ben, *_ = town.lenders
    await town.register(ann, ben)
    token = await town.held(ann)
    holder, other = await town.house.wallet(ann), await town.house.wallet(ben)
    await open_tenant(town.world, HOME)
    desk = Desk(town.house)
    screened = (await town.chain.head()).timestamp_unix
    await desk.promise()
    await town.anvil.control.call("evm_increaseTime", 3 * 86_400)
    await town.anvil.control.call("evm_mine")
    await desk.until_home_is_idle()
    assert await desk.states() == ["CONFIRMED"]
    assert screened <= await _listed_at(town) < screened + 60
    penny = (holder.address, other.address, token.token_id, Pence(1))
    assert await town.chain.can_transfer(*penny) == (False, "sanctions")
    await desk.confirm()
    assert await town.chain.can_transfer(*penny) == (True, "ok")
    assert await town.drifts() == []


async def _listed_at(town: Town) -> int:
    asked = {"to": town.deployment.sanctions_rule, "data": "0x" + calldata("updatedAt()").hex()}
    return int(await town.rpc.call("eth_call", asked, "latest"), 16)


async def test_a_flag_that_somebody_else_sets_is_a_drift_with_a_name(town: Town) -> None:
    ann = town.lenders[0]
    await town.register(ann)
    holder = await town.house.wallet(ann)
    data = calldata("setFlagged(address,bool)", holder.address, True)
    await town.send(UPDATER, town.deployment.sanctions_rule, data)
    assert await town.drifts() == [("WALLET_FLAG", f"{ann} {holder.address}", "not flagged", "flagged")]
