"""Magic links: opened often, used once, for one invoice and one buyer (AU-06, AU-07)."""

from __future__ import annotations

import asyncio

import pytest

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.jobs import Worker
from fintokenx.kernel.machine import IllegalTransition
from fintokenx.parties import auth
from fintokenx.parties.auth.jobs import JOBS
from tests.modules.auth_house import ADA, INVOICE, OTHER_INVOICE, SEED, WEEK, E, at_home, moved, trail
from tests.modules.parties_house import HERE, THERE, House
from tests.support import World

pytestmark = pytest.mark.anyio
__all__ = ["at_home"]

# --- magic links


async def link_for(at_home: House, buyer: auth.Subject, reference: str = INVOICE) -> str:
    async with at_home.world.database.transaction(HERE) as tx:
        return await auth.issue_magic_link(tx, SEED, invoice_reference=reference, subject_id=buyer.id, life=WEEK)


async def opened(at_home: House, raw: str) -> Caller:
    async with at_home.world.database.transaction(auth.tenant_of_magic_link(raw)) as tx:
        return await auth.open_magic_link(tx, raw)


async def confirmed(at_home: House, caller: Caller, raw: str) -> None:
    async with at_home.world.database.transaction(HERE) as tx:
        move = await auth.consume_magic_link(tx, caller, raw=raw)
        await audit.change(tx, caller, action="CONFIRM_INVOICE", resource=caller.scope or "", move=move)


async def test_a_link_is_opened_often_and_used_once(at_home: House) -> None:
    """AU-07: a mail scanner's GET uses nothing up."""
    buyer = await at_home.subject(Role.BUYER, ADA)
    raw = await link_for(at_home, buyer)
    for _ in range(3):
        caller = await opened(at_home, raw)
    assert (caller.role, caller.subject_id, caller.scope) == (Role.BUYER, buyer.id, INVOICE)
    await confirmed(at_home, caller, raw)
    assert await trail(at_home.world, INVOICE) == ["MAGIC_LINK_ISSUE", "MAGIC_LINK_OPEN", "CONFIRM_INVOICE"]
    with pytest.raises(auth.MagicLinkUsed):
        await confirmed(at_home, caller, raw)
    with pytest.raises(auth.MagicLinkUsed):
        await opened(at_home, raw)


async def test_a_link_confirms_nothing_before_its_page_was_seen(at_home: House) -> None:
    raw = await link_for(at_home, buyer := await at_home.subject(Role.BUYER, ADA))
    unseen = Caller(HERE, Role.BUYER, buyer.id, subject_id=buyer.id, scope=INVOICE)
    with pytest.raises(IllegalTransition):
        await confirmed(at_home, unseen, raw)


async def test_a_new_link_revokes_the_one_before(at_home: House) -> None:
    buyer = await at_home.subject(Role.BUYER, ADA)
    first, second = await link_for(at_home, buyer), await link_for(at_home, buyer)
    with pytest.raises(auth.MagicLinkRevoked):
        await opened(at_home, first)
    assert (await opened(at_home, second)).scope == INVOICE


async def test_a_link_runs_out_and_the_job_records_it(at_home: House) -> None:
    world = at_home.world
    raw = await link_for(at_home, await at_home.subject(Role.BUYER, ADA))
    world.clock.set(world.clock.now() + WEEK)
    with pytest.raises(auth.MagicLinkExpired):
        await opened(at_home, raw)
    claims = await world.pool("fx_worker")
    worker = Worker(
        claims=claims,
        database=world.database,
        jobs=JOBS,
        periodic=(),
        clock=world.clock,
        ids=world.ids,
        poll_seconds=0.02,
    )
    await until_recorded(world, worker, INVOICE, "MAGIC_LINK_EXPIRE")
    await claims.close()
    with pytest.raises(auth.MagicLinkExpired):
        await opened(at_home, raw)


async def until_recorded(world: World, worker: Worker, resource: str, action: str) -> None:
    """Run the worker until the action stands in the record, at most ten seconds."""
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(10):
        while action not in await trail(world, resource):
            await asyncio.sleep(0.02)
    worker.stop()
    await running


async def test_a_link_of_one_invoice_confirms_no_other(at_home: House) -> None:
    buyer = await at_home.subject(Role.BUYER, ADA)
    raw, other = await link_for(at_home, buyer), await link_for(at_home, buyer, OTHER_INVOICE)
    caller = await opened(at_home, raw)
    await opened(at_home, other)
    with pytest.raises(auth.MagicLinkOutOfScope):
        await confirmed(at_home, caller, other)
    signed_in = Caller(HERE, Role.BUYER, buyer.id, subject_id=buyer.id, session_id="ses_x")
    with pytest.raises(auth.MagicLinkOutOfScope):
        await confirmed(at_home, signed_in, raw)


async def test_a_link_is_kept_as_a_hash_only_and_opens_no_route(at_home: House) -> None:
    raw = await link_for(at_home, await at_home.subject(Role.BUYER, ADA))
    superuser = await at_home.world.connect("postgres")
    for table in ("app.magic_link_tokens", "app.audit_entries", "ops.jobs"):
        assert await superuser.fetchval(f"select count(*) from {table} t where t::text like $1", f"%{raw[-64:]}%") == 0
    await superuser.close()
    for headers in ({"Authorization": f"Bearer {raw}"}, {"FX-Api-Key": raw}):
        assert (await at_home.client.get("/v1/me", headers=headers)).status_code == 403


@pytest.mark.parametrize("raw", ["", "tnt_fintokenx", f"{HERE}." + "0" * 64, f"{THERE}." + "0" * 64, "x." + "0" * 64])
async def test_a_link_that_was_never_issued_is_not_found(at_home: House, raw: str) -> None:
    with pytest.raises(auth.UnknownMagicLink):
        await opened(at_home, raw)


async def test_a_freeze_revokes_the_buyers_links(at_home: House) -> None:
    buyer = await at_home.subject(Role.BUYER, ADA)
    raw = await link_for(at_home, buyer)
    await moved(at_home.world, buyer.id, E.FREEZE)
    with pytest.raises(auth.MagicLinkRevoked):
        await opened(at_home, raw)
    with pytest.raises(auth.SubjectFrozen):
        await link_for(at_home, buyer)


async def test_a_withdrawn_invoice_takes_its_link_along(at_home: House) -> None:
    raw = await link_for(at_home, await at_home.subject(Role.BUYER, ADA))
    seller = Caller(HERE, Role.SELLER, "sub_seller", subject_id="sub_seller")
    async with at_home.world.database.transaction(HERE) as tx:
        move = await auth.withdraw_magic_links(tx, seller, invoice_reference=INVOICE)
        await audit.change(tx, seller, action="INVOICE_WITHDRAW", resource=INVOICE, move=move)
    with pytest.raises(auth.MagicLinkRevoked):
        await opened(at_home, raw)
