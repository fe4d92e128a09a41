"""Nonces begin where the chain is, go one by one, and no gap stays open (TK-12, issue 9 A22)."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.kernel.db import Tx
from fintokenx.kernel.jobs import Work
from fintokenx.lifecycle.chainwork.jobs import gaps
from fintokenx.lifecycle.chainwork.service import reads, sending
from fintokenx.lifecycle.tokenisation.ports import (
    MintReceivable,
)
from fintokenx.lifecycle.tokenisation.service import minting
from tests.modules.tokens_house import (
    KEY,
    PLATFORM,
    TENANT,
    House,
    apply_rows,
    tokens_house,
)
from tests.support import World
from tests.support.fakes.chain import MINTER_KEY, address_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def house(world: World) -> House:
    return await tokens_house(world)


async def test_a_nonce_cannot_be_used_twice(house: House) -> None:
    first, second = await house.minted(), await house.invoice()
    async with house.tx() as tx:
        await minting.request(tx, PLATFORM, invoice_reference=second, reference_key=KEY)
    used, fresh = await house.promise(f"mint:{first.invoice_reference}"), await house.promise(f"mint:{second}")
    row = audit.update(
        "chain_tx",
        key={"tenant_id": TENANT, "id": fresh.id},
        before={"state": "PROMISED", "sender": None, "nonce": None},
        after={"state": "RESERVED", "sender": used.sender, "nonce": used.nonce},
    )
    with pytest.raises(asyncpg.PostgresError, match="was not given to this promise"):
        await apply_rows(house, "CHAIN_TX_RESERVE", row)


SENDER = address_of("a sender")


async def _reserve(house: House, *, mined: int = 0) -> int:
    """A promise of its own, with the sender's next nonce."""
    reference = await house.invoice()
    async with house.tx() as tx:
        _, promised = await minting.request(tx, PLATFORM, invoice_reference=reference, reference_key=KEY)
    async with house.tx() as tx:
        given = await sending.reserve(tx, PLATFORM, business_key=promised.business_key, sender=SENDER, mined=mined)
    return int(given.nonce or 0)


async def test_nonces_begin_at_the_chains_count_and_go_on_one_by_one(house: House) -> None:
    await house.world.tell_mined(SENDER, 7)
    assert [await _reserve(house) for _ in range(3)] == [7, 8, 9]


async def test_a_counter_behind_the_chain_catches_up_and_never_goes_back(house: House) -> None:
    """The database was restored from a backup that is older than the chain."""
    taken = []
    for count in (7, 900, 0):
        await house.world.tell_mined(SENDER, count)
        taken.append(await _reserve(house, mined=max(count, 800) if taken else count))
    assert taken == [7, 900, 901]


@pytest.mark.parametrize("mined", [10**9, 1008, -1, None])
async def test_a_count_that_no_chain_of_ours_can_have_stops_nobody(house: House, mined: int | None) -> None:
    await house.world.tell_mined(SENDER, 7)
    with pytest.raises(asyncpg.PostgresError) as refused:
        await house.world.tell_mined(SENDER, mined)  # type: ignore[arg-type]
    assert refused.value.sqlstate == "FX023"
    assert await _reserve(house) == 7


# What one tenant's SQL could take from all (issue 9 A22), each tried as fx_app under a valid pin.


async def _burn_a_nonce(tx: Tx) -> None:
    await tx.write("select fx.next_nonce($1)", SENDER)


async def test_a_nonce_that_no_promise_gets_is_not_given(house: House) -> None:
    await house.world.tell_mined(SENDER, 0)
    assert await _reserve(house) == 0
    with pytest.raises(asyncpg.PostgresError) as refused:
        async with house.tx() as tx:
            await _burn_a_nonce(tx)
    assert refused.value.sqlstate == "FX024"
    assert await _reserve(house) == 1, "nothing was burnt"


async def test_of_two_nonces_that_one_transaction_takes_each_needs_its_promise(house: House) -> None:
    await house.world.tell_mined(SENDER, 0)
    reference = await house.invoice()
    async with house.tx() as tx:
        _, promised = await minting.request(tx, PLATFORM, invoice_reference=reference, reference_key=KEY)
    with pytest.raises(asyncpg.PostgresError) as refused:
        async with house.tx() as tx:
            await _burn_a_nonce(tx)
            await sending.reserve(tx, PLATFORM, business_key=promised.business_key, sender=SENDER, mined=0)
    assert refused.value.sqlstate == "FX024"


async def test_a_nonce_of_a_savepoint_that_was_rolled_back_is_not_burnt(house: House) -> None:
    await house.world.tell_mined(SENDER, 0)
    async with house.tx() as tx:
        await tx.write("savepoint s")
        await _burn_a_nonce(tx)
        await tx.write("rollback to savepoint s")
    assert await _reserve(house) == 0


@pytest.mark.parametrize("state", ["RESERVED", "CONFIRMED"])
async def test_a_nonce_that_was_not_given_cannot_be_claimed(house: House, state: str) -> None:
    """Claimed for later it would be missing to whoever is given it, for ever."""
    await house.world.tell_mined(SENDER, 0)
    assert await _reserve(house) == 0
    reference = await house.invoice()
    async with house.tx() as tx:
        _, promised = await minting.request(tx, PLATFORM, invoice_reference=reference, reference_key=KEY)
    mined = {"tx_hash": "0x" + "1" * 64, "raw": b"x", "block_number": 1, "confirmed_at": house.world.clock.now()}
    after = {"state": state, "sender": SENDER, "nonce": 1, **(mined if state == "CONFIRMED" else {})}
    key = {"tenant_id": TENANT, "id": promised.id}
    row = audit.update("chain_tx", key=key, before={n: getattr(promised, n) for n in after}, after=after)
    with pytest.raises(asyncpg.PostgresError) as refused:
        await apply_rows(house, "CHAIN_TX_RESERVE" if state == "RESERVED" else "TOKEN_MINT", row)
    assert refused.value.sqlstate == "FX025"
    assert await _reserve(house) == 1


@pytest.mark.parametrize(
    "trigger", ["a_goes_to_a_promise on ops.chain_senders", "b_nonce_was_given_anew on app.chain_tx"]
)
async def test_without_its_guard_a_nonce_is_burnt_or_claimed(house: House, trigger: str) -> None:
    """The planted holes: what the tests above would see without what they test."""
    await house.world.tell_mined(SENDER, 0)
    superuser = await house.world.connect("postgres")
    await superuser.execute(f"drop trigger {trigger}")
    await superuser.close()
    if "senders" in trigger:
        async with house.tx() as tx:
            await _burn_a_nonce(tx)
        assert await _reserve(house) == 1
    else:
        with pytest.raises(pytest.fail.Exception):
            await test_a_nonce_that_was_not_given_cannot_be_claimed(house, "RESERVED")


async def test_without_a_pinned_tenant_no_nonce_is_given(house: House) -> None:
    connection = await house.world.connect("fx_app")
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="no tenant is pinned"):
            await connection.execute("select fx.next_nonce($1)", SENDER)
    finally:
        await connection.close()


@pytest.mark.parametrize("stranger", [SENDER.upper(), f"{SENDER}0", "", address_of("a stranger")])
async def test_a_nonce_is_given_for_a_sender_of_the_platform_only(house: House, stranger: str) -> None:
    await house.world.tell_mined(SENDER, 0)
    with pytest.raises(asyncpg.PostgresError, match="is no sender of the platform") as refused:
        async with house.tx() as tx:
            await tx.value("select fx.next_nonce($1)", stranger)
    assert refused.value.sqlstate == "FX026"


@pytest.mark.parametrize(
    "statement",
    [
        "update ops.chain_senders set next_nonce = 1000000000",
        "insert into ops.chain_senders values ('0x0000000000000000000000000000000000000000', 1000000000)",
        "delete from ops.chain_senders",
        "select * from ops.chain_senders",
        "select fx.sender_has_mined('0x0000000000000000000000000000000000000000', 900)",
    ],
)
async def test_the_counter_is_out_of_the_applications_reach(house: House, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with house.tx() as tx:
            await tx.write(statement)


# A nonce that nothing is sent with, whoever made it.


@asynccontextmanager
async def watched(house: House) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """One look for gaps after another, 15 seconds and some blocks apart."""
    auditor = await house.world.pool("fx_auditor", 1)
    job = gaps.GapJob(auditor, house.chain, house.world.tell_mined, lambda: house.machine_seconds)
    asked = itertools.count()

    async def look() -> None:
        row = {"id": f"job_{next(asked)}", "name": gaps.JOB, "tenant_id": TENANT, "attempts": 1, "lease": "x"}
        await job.look(Work(house.world.database, row), {})  # type: ignore[arg-type]
        house.machine_seconds += gaps.EVERY.total_seconds()
        for _ in range(gaps.STUCK_BLOCKS):
            house.chain.mine()

    yield look
    await auditor.close()


async def _burn(house: House, nonces: int = 1) -> None:
    """As the owner, past every guard."""
    superuser = await house.world.connect("postgres")
    await superuser.execute("update ops.chain_senders set next_nonce = next_nonce + $1", nonces)
    await superuser.close()


async def _gap_alerts(house: House) -> list[str]:
    superuser = await house.world.connect("postgres")
    rows = await superuser.fetch("select resource from app.alerts where cause = $1", gaps.CAUSE)
    await superuser.close()
    return [row["resource"] for row in rows]


@pytest.mark.parametrize("burnt", [1, 250])
async def test_a_gap_is_told_of_and_closed_and_what_waits_behind_it_goes_on(house: House, burnt: int) -> None:
    await house.minted()
    await _burn(house, burnt)
    behind = await house.invoice()
    await house.ask("tokenisation.mint", {"reference": behind})

    async def signed() -> bool:
        return burnt > reads.PENDING_MAX or await house.state(behind) == "MINT_SUBMITTED"

    await house.work_until(signed)
    assert await house.state(behind) != "MINTED", "nothing passes the gap"
    async with watched(house) as look:
        for _ in range(2 if burnt < reads.PENDING_MAX else 3):
            await look()
    await house.until_idle()
    assert await house.state(behind) == "MINTED"
    assert await _gap_alerts(house) == [address_of(MINTER_KEY)]
    assert len(house.chain.mined_calls(MintReceivable)) == 2


async def test_a_promise_that_was_signed_with_what_no_node_takes_is_a_gap_too(house: House) -> None:
    """Injected SQL may record any bytes as those of a promise of its own tenant."""
    await house.minted()
    reference = await house.invoice()
    async with house.tx() as tx:
        _, promised = await minting.request(tx, PLATFORM, invoice_reference=reference, reference_key=KEY)
    async with house.tx() as tx:
        given = await sending.reserve(
            tx, PLATFORM, business_key=promised.business_key, sender=address_of(MINTER_KEY), mined=1
        )
    after = {"state": "SIGNED", "tx_hash": "0x" + "1" * 64, "raw": b"no transaction"}
    key = {"tenant_id": TENANT, "id": given.id}
    before = {"state": "RESERVED", "tx_hash": None, "raw": None}
    await apply_rows(house, "CHAIN_TX_SIGN", audit.update("chain_tx", key=key, before=before, after=after))
    async with watched(house) as look:
        await look()
        await look()
    assert await house.chain.transaction_count(address_of(MINTER_KEY)) == 2
    assert await _gap_alerts(house) == [address_of(MINTER_KEY)]


async def test_what_waits_for_a_block_is_no_gap_and_a_chain_without_blocks_has_none(house: House) -> None:
    await house.minted()
    house.chain.automine = False
    waiting = await house.invoice()
    await house.ask("tokenisation.mint", {"reference": waiting})

    async def signed() -> bool:
        return await house.state(waiting) == "MINT_SUBMITTED"

    await house.work_until(signed)
    house.chain.stall()
    async with watched(house) as look:
        for _ in range(4):
            await look()
    assert await _gap_alerts(house) == []


def test_a_gap_is_closed_within_a_minute() -> None:
    """Found at the first look after it, closed at the next but one at the latest, mined in the block after."""
    assert gaps.EVERY.total_seconds() > gaps.STUCK_SECONDS
    assert 3 * gaps.EVERY.total_seconds() < 60
