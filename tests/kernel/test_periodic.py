"""What falls due by the clock: for each tenant that is open then, once per slot, rarely where nothing is open."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fintokenx.kernel.jobs.periodic as periodic_module
from fintokenx.kernel.jobs import Payload, Work
from fintokenx.kernel.jobs.periodic import Periodic
from tests.database.things import A, B
from tests.kernel.shop import Shop, until
from tests.support import START, World

EACH = Periodic("tick", timedelta(minutes=10), each_tenant=True, resting=timedelta(minutes=40))
instants = st.datetimes(min_value=START.replace(tzinfo=None), max_value=START.replace(tzinfo=None, year=2099))


@given(instants, st.integers(1, 10**12), st.text("abc_", min_size=1, max_size=8), st.booleans())
def test_the_next_turn_comes_within_one_slot_and_all_instants_of_a_slot_have_the_same(
    moment: datetime, microseconds: int, tenant_id: str, each: bool
) -> None:
    after = moment.replace(tzinfo=UTC)
    every = timedelta(microseconds=microseconds)
    job = Periodic("x", every, each_tenant=True) if each else Periodic("x", every, tenant_id)
    turn = job.next_turn(tenant_id, after)
    assert after < turn <= after + every
    assert job.next_turn(tenant_id, turn - timedelta(microseconds=1)) == turn
    assert job.next_turn(tenant_id, turn) == turn + every


def test_the_turns_of_a_thousand_tenants_are_spread_over_the_slot() -> None:
    turns = Counter(EACH.next_turn(f"tnt_{n}", START).minute for n in range(1000))
    assert len(turns) == 10
    assert max(turns.values()) < 200


def test_a_periodic_job_is_for_one_tenant_or_for_each() -> None:
    for both_or_neither in ({"tenant_id": A, "each_tenant": True}, {}):
        with pytest.raises(ValueError, match="for one tenant or for each"):
            Periodic("tick", timedelta(minutes=1), **both_or_neither)  # type: ignore[arg-type]


pytestmark = pytest.mark.anyio


class Town:
    """A shop, whose tenants come and go."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.open = [A]
        self.ran: Counter[str] = Counter()
        self.nothing_open = True

    async def tenants(self) -> list[str]:
        return list(self.open)

    async def tick(self, work: Work, _payload: Payload) -> None:
        self.ran[work.tenant_id] += 1
        if self.nothing_open:
            work.may_rest()

    async def other(self, _work: Work, _payload: Payload) -> None:
        """A job of the tenant's own."""

    async def start(self, workers: int = 1) -> None:
        for _ in range(workers):
            await self.shop.start(periodic=(EACH,), open_tenants=self.tenants, tick=self.tick, other=self.other)

    async def have_run(self, **times: int) -> None:
        """Wait until each tenant's job ran so often, and all that is asked for is done."""

        async def so_often() -> bool:
            jobs = await self.shop.jobs()
            return self.ran == Counter(times) and all(job["state"] == "DONE" for job in jobs)

        await until(so_often)

    async def rests(self, tenant_id: str = A) -> bool:
        """Whether the tenant's job falls due rarely."""
        superuser = await self.shop.world.connect("postgres")
        found = await superuser.fetchval("select resting from ops.periodic_turns where tenant_id = $1", tenant_id)
        await superuser.close()
        return bool(found)

    def pass_time(self, length: timedelta) -> None:
        """Let it be later."""
        self.shop.world.clock.set(self.shop.world.clock.now() + length)


@pytest.fixture
async def town(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    monkeypatch.setattr(periodic_module, "TENANTS_SECONDS", 0.2)
    monkeypatch.setattr(periodic_module, "LOOK_SECONDS", 0.05)
    shop = Shop(world)
    yield Town(shop)
    await shop.close()


async def test_a_tenant_that_opens_while_the_worker_runs_gets_its_jobs(town: Town) -> None:
    await town.start()
    await town.have_run(**{A: 1})
    town.open.append(B)
    await town.have_run(**{A: 1, B: 1})


async def test_a_tenant_that_is_open_no_more_gets_none(town: Town) -> None:
    town.open = [A, B]
    await town.start()
    await town.have_run(**{A: 1, B: 1})
    town.open = [A]
    await asyncio.sleep(0.5)
    town.pass_time(EACH.resting or EACH.every)
    await town.have_run(**{A: 2, B: 1})


async def test_several_workers_promise_each_turn_once(town: Town) -> None:
    town.open = [f"tnt_{n}" for n in range(40)]
    await town.start(workers=3)
    await town.have_run(**dict.fromkeys(town.open, 1))
    town.pass_time(EACH.resting or EACH.every)
    await town.have_run(**dict.fromkeys(town.open, 2))
    await asyncio.sleep(0.3)
    await town.have_run(**dict.fromkeys(town.open, 2))


async def test_a_tenant_where_something_is_open_does_not_rest(town: Town) -> None:
    town.nothing_open = False
    await town.start()
    for times in range(1, 4):
        await town.have_run(**{A: times})
        town.pass_time(EACH.every)
    assert not await town.rests()


async def test_a_tenant_where_nothing_is_open_is_looked_at_rarely_until_a_job_of_its_own_runs(town: Town) -> None:
    await town.start()
    await town.have_run(**{A: 1})
    await until(town.rests)
    town.pass_time(EACH.every)
    await asyncio.sleep(0.3)
    await town.have_run(**{A: 1})
    await town.shop.promise("other")
    await town.have_run(**{A: 2})
    assert not await town.rests(), "its job may still be at it"
    town.pass_time(EACH.every)
    await town.have_run(**{A: 3})


async def test_a_resting_tenant_is_looked_at_all_the_same(town: Town) -> None:
    await town.start()
    await town.have_run(**{A: 1})
    await until(town.rests)
    town.pass_time(EACH.resting or EACH.every)
    await town.have_run(**{A: 2})


async def test_what_is_promised_is_promised_whole_or_not_at_all(town: Town) -> None:
    """Killed between the job and its next turn, nothing is lost and nothing doubled: both are one statement."""
    shop = town.shop
    await town.start()
    await town.have_run(**{A: 1})
    [job] = await shop.jobs()
    superuser = await shop.world.connect("postgres")
    [turn] = await superuser.fetch("select due_at from ops.periodic_turns")
    await superuser.close()
    assert job["dedupe_key"] == job["id"]
    assert turn["due_at"] > shop.world.clock.now()


async def test_the_job_of_a_tenant_that_rests_waits_longer_before_it_is_tried_again(town: Town) -> None:
    """A failure waits for the next turn at most: a provider that is away is not asked by a thousand idle tenants every
    few seconds."""
    await town.start()
    await town.have_run(**{A: 1})
    await until(town.rests)
    town.pass_time(EACH.resting or EACH.every)
    await town.have_run(**{A: 2})
    said = sorted((job["created_at"], job["payload"]) for job in await town.shop.jobs())
    assert [payload for _, payload in said] == ['{"every_seconds": 600}', '{"every_seconds": 2400}']
