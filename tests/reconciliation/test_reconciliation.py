"""On a real chain and a real database: nothing differs after many operations, and each lie is named (TK-14, CH-16)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import asyncpg
import pytest

from fintokenx.adapters.chain import Rpc, StateClient
from fintokenx.kernel.jobs import Work
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle import chainwork, tokenisation
from fintokenx.lifecycle.chainwork.jobs.outage import Away
from fintokenx.lifecycle.chainwork.ports import ChainUnavailable, StateNotKept
from fintokenx.lifecycle.tokenisation.jobs.reconciling import ReconciliationJob
from fintokenx.lifecycle.tokenisation.ports import (
    Claims,
    Holding,
    MintReceivable,
    RegisterIdentity,
    Standing,
)
from fintokenx.lifecycle.tokenisation.service.chain_audit.reconciliation import TRIES_MAX
from fintokenx.sandbox.processes import free_port
from tests.modules.tokens_house import FACE, TENANT
from tests.reconciliation.house import Town, Walk, town_in
from tests.reconciliation.split_token import split
from tests.support import World

pytestmark = pytest.mark.anyio

SEED = 20260602


@pytest.fixture
async def town(world: World) -> AsyncIterator[Town]:
    async with town_in(world) as made:
        yield made


async def test_an_empty_house_agrees_with_an_empty_chain(town: Town) -> None:
    found = await town.reconciled()
    assert (found.drifts, found.tokens, found.holdings, found.wallets) == ((), 0, 0, 1)
    assert found.events == 1, "the minting wallet was registered"


async def test_nothing_differs_after_sixty_random_operations(town: Town) -> None:
    await _walk(town, 60)


@pytest.mark.slow
async def test_nothing_differs_after_five_hundred_random_operations(town: Town) -> None:
    """Issue 4, must-show: 0 drift, and then each lie by its name."""
    walk = await _walk(town, 500)
    while not (walk.held and walk.burned):  # chance may have left none to lie about
        await walk.run(5)
    assert {"mint", "transfer", "hold", "burn", "claims", "freeze"} <= walk.done.keys()
    moved, faked = await town.house.token(walk.held[0]), await town.house.token(walk.burned[0])
    minting = await town.chain.minting_wallet()
    move = "forcedTransfer(address,address,uint256,uint256)"
    await town.agent(move, moved.holder_wallet, minting, moved.token_id, 1)
    unburned = "update app.tokens set state = 'HELD', burned_at = null, burn_tx = null where reference ="
    await town.tamper("tokens", f"{unburned} '{faked.reference}'")
    assert sorted((kind, resource) for kind, resource, *_ in await town.drifts()) == sorted([
        ("HOLDING", f"{moved.reference} {moved.holder_wallet}"),
        ("HOLDING", f"{moved.reference} {minting}"),
        ("HOLDING", f"{faked.reference} {faked.holder_wallet}"),
        ("TOKEN_BURN", faked.reference),
        ("TOKEN_SUPPLY", faked.reference),
    ])  # fmt: skip


async def _walk(town: Town, operations: int) -> Walk:
    await town.register(*town.lenders)
    walk = Walk(town, random.Random(SEED))
    await walk.run(operations)
    found = await town.reconciled()
    assert found.drifts == ()
    assert sum(walk.done.values()) == operations
    assert found.tokens == walk.done["mint"]
    assert found.wallets == len(town.lenders) + 1
    return walk


# ── Lies


def registration_of(wallet: str) -> RegisterIdentity:
    """Of a wallet that the platform never heard of."""
    return RegisterIdentity(wallet, b"s" * 32, Claims(7), False, 2_000_000_000)


async def test_a_tampered_slice_row_is_named(town: Town) -> None:
    """TK-14."""
    token, _ann, ben = await split(town)
    await town.tamper("slices", "update app.slices set face_pence = face_pence - 1 where id = 'slc_1'")
    assert await town.drifts() == [("HOLDING", f"{token.reference} {ben}", "£4,999.99 (slc_1)", "£5,000.00")]


async def test_a_slice_that_is_given_to_somebody_else_is_named_at_both_ends(town: Town) -> None:
    token, ann, ben = await split(town)
    await town.tamper("slices", f"update app.slices set holder_wallet = '{ann}' where id = 'slc_1'")
    assert sorted(await town.drifts()) == sorted([
        ("HOLDING", f"{token.reference} {ann}", "£12,500.00 (slc_0, slc_1)", "£7,500.00"),
        ("HOLDING", f"{token.reference} {ben}", "£0.00", "£5,000.00"),
    ])  # fmt: skip


async def test_a_balance_that_the_agent_moved_behind_our_back_is_named(town: Town) -> None:
    ann, ben, *_ = town.lenders
    await town.register(ann, ben)
    token = await town.held(ann)
    to = (await town.house.wallet(ben)).address
    await town.agent("forcedTransfer(address,address,uint256,uint256)", token.holder_wallet, to, token.token_id, 1)
    assert sorted(await town.drifts()) == sorted([
        ("HOLDING", f"{token.reference} {token.holder_wallet}", "£12,500.00", "£12,499.99"),
        ("HOLDING", f"{token.reference} {to}", "£0.00", "£0.01"),
    ])  # fmt: skip


async def test_a_claim_that_was_revoked_behind_our_back_is_named(town: Town) -> None:
    ann = town.lenders[0]
    await town.register(ann)
    assert (await town.reconciled()).equal
    await town.call(await town.identity(ann, 0))
    assert [(kind, database, chain) for kind, _, database, chain in await town.drifts()][:2] == [
        ("WALLET_VERIFIED", "verified", "not verified"),
        ("WALLET_CLAIMS", "KYC_VERIFIED, AML_CLEARED, JURISDICTION_UK", "none"),
    ]
    assert {resource for _, resource, *_ in await town.drifts()} == {
        f"{ann} {(await town.house.wallet(ann)).address}"
    }  # fmt: skip


async def test_a_claim_that_the_database_made_up_is_named(town: Town) -> None:
    ann = town.lenders[0]
    await town.register(ann)
    await town.tamper("wallets", "update app.wallets set claims = 15")
    assert [(kind, database) for kind, _, database, _ in await town.drifts()] == [
        ("WALLET_CLAIMS", "KYC_VERIFIED, AML_CLEARED, JURISDICTION_UK, MIFID_PROFESSIONAL")
    ]


async def test_a_burn_behind_our_back_is_named(town: Town) -> None:
    ann = town.lenders[0]
    await town.register(ann)
    token = await town.held(ann)
    await town.agent("burnReceivable(uint256,address[],bytes32)", token.token_id, [token.holder_wallet], b"X" * 32)
    assert [kind for kind, *_ in await town.drifts()] == ["TOKEN_BURN", "TOKEN_SUPPLY", "HOLDING"]


async def test_a_token_and_a_wallet_that_we_never_made_are_named(town: Town) -> None:
    stranger = await town.chain.create_wallet("wallet/stranger")
    await town.call(registration_of(stranger))
    await town.call(MintReceivable(7, Pence(100), 2_000_000_000, b"d" * 32, stranger))
    assert await town.drifts() == [
        ("UNKNOWN_TOKEN", f"0x{7:064x}", "no such token", f"face £1.00, held by {stranger} £1.00"),
        ("UNKNOWN_WALLET", stranger, "no such wallet",
         "registered with KYC_VERIFIED, AML_CLEARED, JURISDICTION_UK"),
    ]  # fmt: skip


# ── In flight


async def _mint(town: Town) -> str:
    reference = await town.house.invoice()
    await town.ask("tokenisation.mint", {"reference": reference})
    return f"mint:{reference}"


async def _transfer(town: Town) -> str:
    return await town.promise_transfer(await town.house.minted(), town.lenders[0])


async def _burn(town: Town) -> str:
    token = await town.held(town.lenders[0])
    await town.request_burn(token)
    return f"burn:{token.reference}"


async def _revoke(town: Town) -> str:
    await town.freeze(town.lenders[0], frozen=True)
    return f"identity:{(await town.house.wallet(town.lenders[0])).id}:2"


@pytest.mark.parametrize("begin", [_mint, _transfer, _burn, _revoke])
async def test_what_is_in_flight_is_no_drift_at_any_step(town: Town, begin: Callable[[Town], Awaitable[str]]) -> None:
    """Promised; signed and sent; in a block, and the database has not heard of it; settled."""
    await town.register(town.lenders[0])
    key = await begin(town)
    assert (await town.reconciled()).equal
    await town.anvil.control.call("evm_setAutomine", False)

    async def sent() -> bool:
        try:
            return (await town.house.promise(key)).state == "SIGNED"
        except chainwork.UnknownChainTransaction:
            return False

    await town.house.work_until(sent)
    waiting = await town.reconciled()
    assert (waiting.drifts, waiting.in_flight) == ((), 1)
    await town.anvil.control.call("evm_mine")
    mined = await town.reconciled()
    assert mined.block_number == waiting.block_number + 1
    assert (mined.drifts, mined.in_flight) == ((), 1)
    await town.anvil.control.call("evm_setAutomine", True)
    await town.house.until_idle()
    settled = await town.reconciled()
    assert settled.drifts == ()
    assert settled.in_flight == (1 if begin is _transfer else 0), "a transfer waits to be taken up by the module above"


async def test_what_is_in_flight_is_no_excuse(town: Town) -> None:
    ann, ben, *_ = town.lenders
    await town.register(ann, ben)
    token = await town.house.minted()
    await town.promise_transfer(token, ann)
    wallet = (await town.house.wallet(ben)).address
    await town.agent(
        "forcedTransfer(address,address,uint256,uint256)", token.holder_wallet, wallet, token.token_id, FACE.value
    )
    assert {(kind, chain) for kind, _, _, chain in await town.drifts()} == {
        ("HOLDING", "£0.00"), ("HOLDING", "£12,500.00")
    }  # fmt: skip


async def test_nothing_is_called_drift_while_the_platform_works(town: Town) -> None:
    """The reader and the jobs side by side, with blocks that come by themselves."""
    await town.register(*town.lenders)
    await town.anvil.control.resume()
    for lender in town.lenders:
        await town.freeze(lender, frozen=True)
    for _ in range(8):
        await _mint(town)
    working = asyncio.create_task(town.house.until_idle())
    looks = []
    while not working.done():
        looks.append(await town.reconciled())
        await asyncio.sleep(0.1)
    await working
    assert [look.drifts for look in looks if not look.equal] == []
    assert max(look.in_flight for look in looks) > 0
    assert (await town.reconciled()).in_flight == 0


# ── The job


async def test_each_drift_is_one_alert_in_its_own_tenant_while_it_is_open(town: Town) -> None:
    ann = town.lenders[0]
    await town.register(ann)
    job = ReconciliationJob(town.auditor, town.world.database, town.state, _tenants)
    row: Any = {"id": "job_x", "name": "tokenisation.reconcile", "tenant_id": TENANT, "attempts": 1, "lease": "l"}
    work = Work(town.world.database, row)
    await job.look(work, {})
    assert await _alerts(town) == []
    await town.tamper("wallets", "update app.wallets set claims = 15")
    await town.call(registration_of(stranger := await town.chain.create_wallet("wallet/stranger")))
    for _ in range(2):
        await job.look(work, {})
    wallet = (await town.house.wallet(ann)).address
    assert sorted(tuple(row)[:5] for row in await _alerts(town)) == [
        (TENANT, "CHAIN_DRIFT", f"UNKNOWN_WALLET {stranger}", "CRITICAL", 2),
        (TENANT, "CHAIN_DRIFT", f"WALLET_CLAIMS {ann} {wallet}", "CRITICAL", 2),
    ]


async def test_a_drift_that_is_gone_clears_its_alert_and_no_other(town: Town) -> None:
    """Unless somebody has taken it up, and never by a look that could not see."""
    ann = town.lenders[0]
    await town.register(ann)
    job = ReconciliationJob(town.auditor, town.world.database, town.state, _tenants)
    row: Any = {"id": "job_x", "name": "tokenisation.reconcile", "tenant_id": TENANT, "attempts": 1, "lease": "l"}
    work = Work(town.world.database, row)
    before = (await town.house.wallet(ann)).claims
    await town.tamper("wallets", "update app.wallets set claims = 15")
    await town.call(registration_of(await town.chain.create_wallet("wallet/stranger")))
    await job.look(work, {})
    await town.tamper("wallets", f"update app.wallets set claims = {before}")
    await job.look(work, {})
    states = {row["resource"].split()[0]: row["state"] for row in await _alerts(town)}
    assert states == {"WALLET_CLAIMS": "AUTO_CLEARED", "UNKNOWN_WALLET": "RAISED"}


async def _tenants() -> tuple[str, ...]:
    return (TENANT,)


async def _alerts(town: Town) -> Sequence[asyncpg.Record]:
    superuser = await town.world.connect("postgres")
    try:
        return await superuser.fetch("select tenant_id, cause, resource, severity, occurrences, state from app.alerts")
    finally:
        await superuser.close()


async def test_the_job_waits_while_the_chain_is_away(town: Town) -> None:
    rpc = Rpc([f"http://127.0.0.1:{free_port()}"])
    job = ReconciliationJob(town.auditor, town.world.database, StateClient(rpc, town.deployment), _tenants)
    row: Any = {"id": "job_x", "name": "tokenisation.reconcile", "tenant_id": TENANT, "attempts": 1, "lease": "l"}
    with pytest.raises(Away):
        await job.look(Work(town.world.database, row), {})
    await rpc.aclose()


# ── The block


class Forgetful(StateClient):
    """A node that drops the state of so many blocks before it can be read."""

    forgets = 0

    async def standing(
        self, block_number: int, *, token_ids: Sequence[int], holdings: Sequence[Holding], wallets: Sequence[str]
    ) -> Standing:
        if self.forgets:
            self.forgets -= 1
            raise StateNotKept(block_number)
        return await super().standing(block_number, token_ids=token_ids, holdings=holdings, wallets=wallets)


async def test_a_block_whose_state_is_gone_gives_way_to_a_newer_one(town: Town) -> None:
    node = Forgetful(town.rpc, town.deployment)
    node.forgets = TRIES_MAX - 1
    assert (await tokenisation.reconcile(town.auditor, node)).equal
    node.forgets = TRIES_MAX
    with pytest.raises(ChainUnavailable):
        await tokenisation.reconcile(town.auditor, node)


async def test_progress_is_told(town: Town) -> None:
    told: list[tuple[str, int, int]] = []
    await tokenisation.reconcile(town.auditor, town.state, progress=lambda *step: told.append(step))
    assert {what for what, _, _ in told} == {"blocks", "things on chain"}
    assert all(0 <= done <= total for _, done, total in told)
    assert told[-1][1] == told[-1][2]
