"""Durable jobs: at least once, never twice at once, and their completion commits with their effect (decisions §2)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.kernel.db import StaleRow
from fintokenx.kernel.errors import Refused, Unavailable
from fintokenx.kernel.jobs import BACKOFF_SECONDS, LeaseLost, Payload, TryAgain, Work
from fintokenx.kernel.jobs.periodic import Periodic
from tests.database.things import A, B, all_entries, change, noted, thing
from tests.kernel.shop import Shop, claim, effect, idle_worker, until
from tests.support import World

pytestmark = pytest.mark.anyio


@pytest.fixture
async def shop(world: World) -> Any:
    opened = Shop(world)
    yield opened
    await opened.close()


async def test_three_workers_do_every_job_once_and_no_job_twice_at_once(shop: Shop) -> None:
    running: set[str] = set()
    began: list[str] = []

    async def careful(work: Work, payload: Payload) -> None:
        assert work.id not in running, "two workers run one job"
        running.add(work.id)
        began.append(work.id)
        await asyncio.sleep(0)
        await effect(work, payload)
        running.discard(work.id)

    await shop.promise("make", 120)
    for _ in range(3):
        await shop.start(make=careful)
    await until(lambda: shop.all_in("DONE"), 60)
    assert len(began) == 120
    assert len(await all_entries(shop.world)) == 120


async def test_claims_of_many_at_once_never_overlap_nor_exceed_their_limit(shop: Shop) -> None:
    await shop.promise("x", 200)
    pools = [await shop.world.pool("fx_worker", 1) for _ in range(6)]
    workers = [idle_worker(shop.world, pool) for pool in pools]
    try:
        claimed: list[str] = []
        while rounds := await asyncio.gather(*(claim(worker, 7) for worker in workers)):
            assert all(len(rows) <= 7 for rows in rounds)
            claimed += [row["id"] for rows in rounds for row in rows]
            if not any(rounds):
                break
        assert len(claimed) == len(set(claimed)) == 200
    finally:
        for pool in pools:
            await pool.close()


async def test_an_effect_and_its_completion_are_one_transaction(shop: Shop) -> None:
    """Killed between the two: the effect is not there, and the next run makes it exactly once."""
    runs = 0

    async def killed_before_the_commit(work: Work, payload: Payload) -> None:
        nonlocal runs
        runs += 1
        async with work.completing() as tx:
            await change(tx, "THING_MAKE", audit.insert("things", thing(A, "t0")))
            if runs == 1:
                superuser = await shop.world.connect("postgres")
                pid = await tx.value("select pg_backend_pid()")
                await superuser.execute("select pg_terminate_backend($1, 5000)", pid)
                await superuser.close()

    await shop.promise("make")
    await shop.start(make=killed_before_the_commit)

    async def failed_once() -> bool:
        return (await shop.jobs())[0]["last_error"] is not None

    await until(failed_once)
    assert await all_entries(shop.world) == []
    shop.world.clock.set(shop.world.clock.now() + timedelta(seconds=5))
    await until(lambda: shop.all_in("DONE"))
    assert runs == 2
    assert len(await all_entries(shop.world)) == 1


async def test_a_worker_that_died_after_the_commit_leaves_nothing_to_do_again(shop: Shop) -> None:
    """The other side of the same window: once committed, the job is done, whatever becomes of the worker."""

    async def dies_after(work: Work, payload: Payload) -> None:
        await effect(work, payload)
        raise RuntimeError("killed here")

    await shop.promise("make")
    worker = await shop.start(make=dies_after)
    await until(lambda: shop.all_in("DONE"))
    worker.stop()
    await shop.close()
    await shop.start(make=effect)
    await asyncio.sleep(0.1)
    assert len(await all_entries(shop.world)) == 1


async def test_a_lost_lease_rolls_the_effect_back(shop: Shop) -> None:
    lost: list[bool] = []

    async def overtaken(work: Work, payload: Payload) -> None:
        if not lost:
            await shop.sql("update ops.jobs set lease = 'ls_somebody_else', leased_until = clock_timestamp()")
            lost.append(True)
            with pytest.raises(LeaseLost):
                await effect(work, payload)
            raise LeaseLost(work.id)
        await effect(work, payload)

    await shop.promise("make")
    await shop.start(make=overtaken)
    await until(lambda: shop.all_in("DONE"))
    assert len(await all_entries(shop.world)) == 1


async def test_a_job_whose_worker_vanished_is_claimed_again_when_the_lease_ends(shop: Shop) -> None:
    await shop.promise("make")
    claims = await shop.world.pool("fx_worker", 1)
    vanishing = idle_worker(shop.world, claims)
    assert len(await claim(vanishing, 5)) == 1
    assert await claim(vanishing, 5) == [], "a leased job is nobody else's"
    shop.world.clock.set(shop.world.clock.now() + timedelta(days=2))
    assert await claim(vanishing, 5) == [], "moving the business clock expires no lease"
    await shop.sql("update ops.jobs set leased_until = clock_timestamp() - interval '1 second'")
    assert [row["attempts"] for row in await claim(vanishing, 5)] == [2]
    await claims.close()


@pytest.mark.parametrize(
    ("fault", "named"),
    [(Refused("no"), "REFUSED"), (Unavailable("bank", "down"), "bank unavailable"), (KeyError("ours"), "KeyError")],
)
async def test_failures_back_off_along_the_table_and_are_named_without_their_text(
    shop: Shop, fault: Exception, named: str
) -> None:
    async def failing(_work: Work, _payload: Payload) -> None:
        raise fault

    await shop.promise("fail")
    await shop.start(fail=failing)
    for attempt in range(1, 5):

        async def tried(attempt: int = attempt) -> bool:
            [job] = await shop.jobs()
            return bool(job["attempts"] == attempt and job["leased_until"] is None)

        await until(tried)
        [job] = await shop.jobs()
        assert job["run_at"] - shop.world.clock.now() == timedelta(seconds=BACKOFF_SECONDS[attempt - 1])
        assert job["last_error"] == named
        shop.world.clock.set(job["run_at"])


async def test_try_again_is_no_failure(shop: Shop) -> None:
    tries = 0

    async def waiting(_work: Work, _payload: Payload) -> None:
        nonlocal tries
        tries += 1
        if tries < 6:
            raise TryAgain("no block yet", seconds=0)

    await shop.promise("wait")
    await shop.start(wait=waiting)
    await until(lambda: shop.all_in("DONE"))
    [job] = await shop.jobs()
    assert (tries, job["attempts"], job["last_error"]) == (6, 1, None)


async def test_try_again_waits_as_long_as_it_says(shop: Shop) -> None:
    async def waiting(_work: Work, _payload: Payload) -> None:
        raise TryAgain("later", seconds=90)

    await shop.promise("wait")
    await shop.start(wait=waiting)

    async def put_back() -> bool:
        return bool((await shop.jobs())[0]["last_error"] == "later")

    await until(put_back)
    [job] = await shop.jobs()
    assert job["run_at"] == shop.world.clock.now() + timedelta(seconds=90)
    assert job["attempts"] == 0


async def test_a_job_that_fails_for_a_day_is_dead_and_stays_on_the_list(shop: Shop) -> None:
    async def failing(_work: Work, _payload: Payload) -> None:
        raise Unavailable("bank", "down")

    await shop.promise("fail")
    begun = shop.world.clock.now()
    await shop.start(fail=failing)
    seen: set[int] = set()

    async def dead() -> bool:
        [job] = await shop.jobs()
        failed = job["state"] == "READY" and job["leased_until"] is None and job["last_error"]
        if failed and job["attempts"] not in seen:
            seen.add(job["attempts"])
            shop.world.clock.set(job["run_at"])
        return bool(job["state"] == "DEAD")

    await until(dead, 30)
    [job] = await shop.jobs()
    assert timedelta(hours=24) < job["finished_at"] - begun < timedelta(hours=36)
    assert len(seen) >= len(BACKOFF_SECONDS)


async def test_a_job_is_given_up_only_when_somebody_has_been_told(shop: Shop) -> None:
    told: list[str] = []

    async def tell(work: Work) -> None:
        told.append(work.id)
        if len(told) == 1:
            raise Unavailable("database", "down")

    worker = await shop.start(tell_dead=tell)
    worker.stop()
    states = []
    await shop.promise("make")
    for _ in range(2):
        [row] = await claim(worker, 6)
        await worker._give_up(row, "down")
        states += [(job["state"], job["last_error"]) for job in await shop.jobs()]
        shop.world.clock.set(shop.world.clock.now() + timedelta(hours=9))
    assert states == [("READY", "down"), ("DEAD", "down")]
    assert told == [row["id"]] * 2


async def test_a_leap_of_the_business_clock_alone_kills_no_job(shop: Shop) -> None:
    """Sandbox: somebody moves the clock by a month while a provider is down."""

    async def failing(_work: Work, _payload: Payload) -> None:
        shop.world.clock.set(shop.world.clock.now() + timedelta(days=30))
        raise Unavailable("bank", "down")

    await shop.promise("fail")
    await shop.start(fail=failing)

    async def failed() -> bool:
        return (await shop.jobs())[0]["last_error"] is not None

    await until(failed)
    assert [job["state"] for job in await shop.jobs()] == ["READY"]


async def test_a_periodic_job_falls_due_once_per_slot_however_many_workers_there_are(shop: Shop) -> None:
    ran: list[str] = []

    async def tick(work: Work, _payload: Payload) -> None:
        ran.append(work.id)

    every = Periodic("tick", timedelta(minutes=10), A)
    for _ in range(3):
        await shop.start(periodic=(every,), tick=tick)
    for slot in range(1, 5):

        async def done(slot: int = slot) -> bool:
            jobs = await shop.jobs()
            return len(jobs) == slot and all(job["state"] == "DONE" for job in jobs)

        await until(done)
        shop.world.clock.set(shop.world.clock.now() + timedelta(minutes=10))
    await shop.close()
    finished = [job["id"] for job in await shop.jobs() if job["state"] == "DONE"]
    assert len(ran) == len(set(ran)) == len(finished)
    assert len(finished) in (4, 5), "the fifth slot has begun; whether it was served is the closing's luck"


async def test_a_slot_that_begins_during_the_last_job_is_served_when_that_ends(shop: Shop) -> None:
    """Not a whole slot later: entries would wait so long for their seal."""
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def tick(_work: Work, _payload: Payload) -> None:
        begun.set()
        await goes_on.wait()

    await shop.start(periodic=(Periodic("tick", timedelta(minutes=10), A),), tick=tick)
    await begun.wait()
    shop.world.clock.set(shop.world.clock.now() + timedelta(minutes=10))
    await asyncio.sleep(1)  # several looks at the new slot
    assert len(await shop.jobs()) == 1
    goes_on.set()

    async def both_done() -> bool:
        return [job["state"] for job in await shop.jobs()] == ["DONE", "DONE"]

    await until(both_done)


async def test_a_job_without_a_handler_is_kept_for_a_version_that_knows_it(shop: Shop) -> None:
    await shop.promise("unheard_of")
    await shop.start()

    async def failed() -> bool:
        return bool((await shop.jobs())[0]["last_error"] == "KeyError")

    await until(failed)
    assert (await shop.jobs())[0]["state"] == "READY"


async def test_a_handler_sees_its_own_tenant_only(shop: Shop) -> None:
    await shop.promise("make", tenant=A)
    await shop.promise("make", tenant=B)
    await shop.start(make=effect)
    await until(lambda: shop.all_in("DONE"))
    assert sorted(entry["tenant_id"] for entry in await all_entries(shop.world)) == [A, B]
    assert {entry["actor"] for entry in await all_entries(shop.world)} == {"system:test"}


async def test_a_stopped_worker_lets_running_jobs_end_and_claims_no_more(shop: Shop) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow(_work: Work, _payload: Payload) -> None:
        begun.set()
        await may_end.wait()

    await shop.promise("slow", 3)
    worker = await shop.start(slow=slow, concurrency=1)
    await begun.wait()
    worker.stop()
    may_end.set()
    await shop.close()
    assert sorted(job["state"] for job in await shop.jobs()) == ["DONE", "READY", "READY"]


async def test_a_worker_outlives_a_database_that_goes_away_for_a_while(shop: Shop) -> None:
    await shop.start(make=effect)
    await shop.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'fx_worker' and datname = $1",
        shop.world.name,
    )
    await shop.promise("make")
    await until(lambda: shop.all_in("DONE"))


async def test_a_worker_sees_jobs_and_nothing_else(shop: Shop) -> None:
    connection = await shop.world.connect("fx_worker")
    for table in ("app.things", "app.audit_entries", "ops.idempotency_keys", "ops.audit_pending", "fx.pin_keys"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch(f"select * from {table}")
    await connection.close()


async def test_a_change_that_lost_a_race_is_tried_again(shop: Shop) -> None:
    """A concurrent change in a job is a failure like others: counted, backed off, done the next time."""
    async with shop.world.database.transaction(A) as tx:
        await change(tx, "THING_MAKE", audit.insert("things", thing(A, "t1")))
    tries = 0

    async def noting(work: Work, _payload: Payload) -> None:
        nonlocal tries
        tries += 1
        before = "what was never there" if tries == 1 else None
        async with work.completing() as tx:
            await change(tx, "THING_NOTE", noted(A, "t1", before, "done"))

    await shop.promise("note")
    await shop.start(note=noting)

    async def stale() -> bool:
        return bool((await shop.jobs())[0]["last_error"] == StaleRow.code)

    await until(stale)
    shop.world.clock.set(shop.world.clock.now() + timedelta(seconds=5))
    await until(lambda: shop.all_in("DONE"))
    assert tries == 2
