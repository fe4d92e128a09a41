"""Every run of a job ends: at its limit, whatever its handler does (issue 10, D4)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from fintokenx import audit
from fintokenx.kernel.jobs import (
    OVERRAN,
    Job,
    Lane,
    LeaseLost,
    Payload,
    Work,
)
from fintokenx.kernel.jobs.queue import Queue
from fintokenx.lifecycle.invoice.service import reader_threads
from tests.database.things import all_entries, change, thing
from tests.kernel.lanes_shop import SlowReader, declared, shop
from tests.kernel.shop import Shop, claim, effect, idle_worker, until

pytestmark = pytest.mark.anyio
__all__ = ["shop"]

# --- a run's time


async def test_a_job_past_its_limit_is_ended_reported_and_retried(shop: Shop) -> None:
    runs: list[int] = []
    rolled_back: list[bool] = []

    async def too_slow_once(work: Work, payload: Payload) -> None:
        runs.append(work.attempts)
        if len(runs) > 1:
            await effect(work, payload)
            return
        try:
            async with work.completing() as tx:
                await change(tx, "THING_MAKE", audit.insert("things", thing(work.tenant_id, "half done")))
                await asyncio.sleep(3600)
        finally:
            rolled_back.append(True)

    await shop.promise("make")
    with capture_logs() as logged:
        await shop.serve(declared({"make": too_slow_once}, {}, seconds_max=0.3))

        async def ended() -> bool:
            return (await shop.jobs())[0]["last_error"] == OVERRAN

        await until(ended)
    [job] = await shop.jobs()
    assert (job["state"], job["attempts"], job["lease"], job["leased_until"]) == ("READY", 1, None, None)
    assert job["run_at"] - shop.world.clock.now() == timedelta(seconds=1), "the first step of the backoff"
    assert rolled_back == [True]
    told = [(line["event"], line["log_level"]) for line in logged if line.get("job_id") == job["id"]]
    assert ("job_overran", "error") in told
    assert await all_entries(shop.world) == []
    shop.world.clock.set(job["run_at"])
    await until(lambda: shop.all_in("DONE"))
    assert runs == [1, 2]
    assert len(await all_entries(shop.world)) == 1


@pytest.mark.parametrize("only_the_lease", [False, True])
async def test_a_handler_that_ignores_its_end_holds_no_slot_and_completes_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, only_the_lease: bool
) -> None:
    """Refused twice over: its work is revoked in this process, and its lease is void in the database."""
    if only_the_lease:
        monkeypatch.setattr(Work, "revoke", lambda _work: None)
    go_on = asyncio.Event()
    came_of_it: list[BaseException] = []
    others: list[str] = []

    async def deaf(work: Work, payload: Payload) -> None:
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue
        try:
            await effect(work, payload)
        except LeaseLost as lost:
            came_of_it.append(lost)

    async def other(work: Work, _payload: Payload) -> None:
        others.append(work.id)

    await shop.promise("deaf")
    jobs = [Job("deaf", deaf, Lane.OUTBOUND, 0.2), Job("other", other, Lane.OUTBOUND, 60)]
    with capture_logs() as logged:
        await shop.serve(jobs, slots={Lane.OUTBOUND: 1}, grace_seconds=0.2)
        await shop.promise("other")

        async def served() -> bool:
            return len(others) == 1

        await until(served)
    assert [line["log_level"] for line in logged if line["event"] == "job_abandoned"] == ["error"]
    go_on.set()

    async def refused() -> bool:
        return len(came_of_it) == 1

    await until(refused)
    assert await all_entries(shop.world) == []
    assert {job["name"]: job["state"] for job in await shop.jobs()} == {"deaf": "READY", "other": "DONE"}


async def test_with_neither_of_the_two_it_would_complete_what_was_taken_from_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted fault: put back with its lease, and its work not revoked, a late handler writes."""
    monkeypatch.setattr(Work, "revoke", lambda _work: None)
    put_back = Queue._settle

    async def keeps_the_lease(queue: Queue, change: str, *arguments: object) -> None:
        await put_back(queue, change.replace("lease = null, ", ""), *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Queue, "_settle", keeps_the_lease)
    late = asyncio.Event()

    async def deaf(work: Work, payload: Payload) -> None:
        while not late.is_set():
            try:
                await late.wait()
            except asyncio.CancelledError:
                continue
        await effect(work, payload)

    await shop.promise("deaf")
    await shop.serve([Job("deaf", deaf, Lane.OUTBOUND, 0.2)], grace_seconds=0.1)

    async def ended() -> bool:
        return (await shop.jobs())[0]["last_error"] == OVERRAN

    await until(ended)
    late.set()
    await until(lambda: shop.all_in("DONE"))
    assert len(await all_entries(shop.world)) == 1


async def test_the_lease_of_a_run_whose_time_is_up_is_renewed_no_more(shop: Shop) -> None:
    claims = await shop.world.pool("fx_worker", 1)
    worker = idle_worker(shop.world, claims)
    await shop.promise("make", 2)
    rows = await claim(worker, 6)
    worker._running = {asyncio.create_task(asyncio.sleep(0)): row for row in rows}
    worker._timed.overran.add(rows[0]["id"])
    before = await shop.leases()
    await worker._renew()
    after = await shop.leases()
    assert after[rows[0]["id"]] == before[rows[0]["id"]]
    assert after[rows[1]["id"]] > before[rows[1]["id"]]
    await claims.close()


async def test_a_job_that_overruns_for_a_day_is_given_up_and_told_of(shop: Shop) -> None:
    """People are told through a work of its own: the run's is revoked."""
    told: list[str] = []

    async def tell(work: Work) -> None:
        async with work.transaction():
            told.append(work.id)

    async def for_ever(_work: Work, _payload: Payload) -> None:
        await asyncio.sleep(3600)

    await shop.promise("make")
    await shop.sql(
        "update ops.jobs set attempts = 100, first_run_at = $1", shop.world.clock.now() - timedelta(hours=25)
    )
    await shop.serve(declared({"make": for_ever}, {}, seconds_max=0.1), tell_dead=tell)
    await until(lambda: shop.all_in("DEAD"))
    [job] = await shop.jobs()
    assert told == [job["id"]]
    assert job["last_error"] == OVERRAN


async def test_a_reading_whose_job_is_ended_is_given_up_in_its_thread(shop: Shop) -> None:
    reader = SlowReader(30)

    async def read_one(_work: Work, _payload: Payload) -> None:
        await reader_threads.read(reader, b"")

    await shop.promise("read")
    await shop.serve(declared({"read": read_one}, {"read": Lane.DOCUMENTS}, seconds_max=0.2))

    async def given_up() -> bool:
        return reader.given_up == 1

    await until(given_up)
