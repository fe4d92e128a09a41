"""Job lanes: slow work of one kind delays no other, whoever promised it, and every run ends (issue 10, D4).

What counts is what is claimed before what ends; the seconds that are asserted are the promise's own bounds.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from datetime import timedelta

import asyncpg
import pytest
from typer.testing import CliRunner

from fintokenx.app.cli import app as command_line
from fintokenx.kernel.jobs import (
    SLOTS,
    Job,
    Lane,
    Payload,
    UnknownLane,
    Work,
    by_name,
    slots_of,
)
from fintokenx.kernel.jobs.periodic import Periodic
from fintokenx.lifecycle.invoice.ports import DocumentRefused
from fintokenx.lifecycle.invoice.service import reader_threads
from tests.database.things import A, B
from tests.kernel.lanes_shop import SlowReader, declared, shop
from tests.kernel.shop import Shop, effect, idle_worker, until

pytestmark = pytest.mark.anyio
__all__ = ["shop"]

READINGS = 50

PAYMENT_DELAY_SECONDS_MAX = 1.0

TENANT_DELAY_SECONDS_MAX = 2.0


def test_a_name_with_two_owners_and_a_promise_that_is_nobodys_job_are_refused() -> None:
    one, two = (Job(name, effect, Lane.MONEY, 1) for name in ("pay", "collect"))
    assert by_name([one, two], promised=["pay"]) == {"pay": one, "collect": two}
    with pytest.raises(ValueError, match=r"two owners: .'pay'"):
        by_name([one, two, one])
    with pytest.raises(ValueError, match=r"nobody's job: .'walk'"):
        by_name([one, two], promised=["pay", "walk"])
    with pytest.raises(ValueError, match="no time"):
        Job("pay", effect, Lane.MONEY, 0)


def test_a_process_serves_the_lanes_that_are_named_and_all_where_none_is() -> None:
    assert slots_of() == SLOTS == slots_of(list(Lane))
    assert slots_of(["chain", "money"], {"chain": 3}) == {Lane.MONEY: SLOTS[Lane.MONEY], Lane.CHAIN: 3}
    for names, sizes in ((["gold"], {}), ([], {"gold": 1}), ([""], {})):
        with pytest.raises(UnknownLane, match="there are money, chain, documents, outbound, ai"):
            slots_of(names, sizes)
    with pytest.raises(ValueError, match="lane money has no slot"):
        slots_of([], {"money": 0})


@pytest.mark.usefixtures("logs_untouched")
@pytest.mark.parametrize("how", ["option", "environment"])
def test_an_unknown_lane_ends_serve_with_exit_code_2_and_names_those_that_there_are(how: str) -> None:
    arguments = ["serve", "--lanes", "money,gold"] if how == "option" else ["serve"]
    done = CliRunner().invoke(command_line, arguments, env={"FX_LANES": "money,gold"})
    assert done.exit_code == 2
    assert "unknown lane 'gold': there are money, chain, documents, outbound, ai" in done.output


async def lanes_of(shop: Shop) -> dict[str, str]:
    return {f"{job['name']} {job['dedupe_key']}": job["lane"] for job in await shop.jobs()}


# --- the lane of a job


async def test_a_job_gets_the_lane_of_its_name_whoever_inserts_it(shop: Shop) -> None:
    jobs = declared({"pay": effect, "read": effect}, {"pay": Lane.MONEY, "read": Lane.DOCUMENTS})
    await shop.queue(await shop.world.pool("fx_worker", 1)).declare(jobs)
    for name in ("pay", "read", "unheard_of"):
        await shop.promise(name)
    await shop.sql(
        """insert into ops.jobs (id, tenant_id, name, payload, dedupe_key, state, run_at, attempts, created_at)
           values ('job_x', $1, 'pay', '{}', 'by hand', 'READY', now(), 0, now())""",
        A,
    )
    assert await lanes_of(shop) == {
        "pay 0": "money", "pay by hand": "money", "read 0": "documents", "unheard_of 0": "outbound",
    }  # fmt: skip


async def test_a_tenants_sql_chooses_no_lane(shop: Shop) -> None:
    await shop.promise("read", tenant=A)
    for attempt in (
        "update ops.jobs set lane = 'money'",
        "insert into ops.job_lanes values ('read', 'money')",
        "update ops.job_lanes set lane = 'money'",
        """insert into ops.jobs (id, tenant_id, name, payload, dedupe_key, state, run_at, attempts, created_at, lane)
           values ('job_x', fx.tenant(), 'read', '{}', 'x', 'READY', now(), 0, now(), 'money')""",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with shop.world.database.transaction(A) as tx:
                await tx.write(attempt)


async def test_what_waits_moves_to_the_lane_that_a_newer_version_declares(shop: Shop) -> None:
    """Also a job whose name nobody knew: it waited and was not lost."""
    queue = shop.queue(await shop.world.pool("fx_worker", 1))
    for name in ("read", "unheard_of"):
        await shop.promise(name)
    await queue.declare(declared({"read": effect, "unheard_of": effect}, {"read": Lane.AI, "unheard_of": Lane.CHAIN}))
    assert await lanes_of(shop) == {"read 0": "ai", "unheard_of 0": "chain"}
    await queue.declare(declared({"read": effect}, {"read": Lane.DOCUMENTS}))
    assert await lanes_of(shop) == {"read 0": "documents", "unheard_of 0": "chain"}


async def test_a_process_claims_from_its_own_lanes_and_every_lane_in_one_statement(shop: Shop) -> None:
    pools = [await shop.world.pool("fx_worker", 1) for _ in range(2)]
    lanes = dict(zip(("pay", "mint", "read", "mail", "ask"), Lane, strict=True))
    await shop.queue(pools[0]).declare(declared(dict.fromkeys(lanes, effect), lanes))
    for name in lanes:
        await shop.promise(name, 3)
    few = idle_worker(shop.world, pools[0], slots={Lane.MONEY: 3, Lane.CHAIN: 3})
    assert Counter(row["name"] for row in await few._claim(few._free())) == {"pay": 2, "mint": 2}
    all_ = idle_worker(shop.world, pools[1], slots=dict.fromkeys(Lane, 12))
    rest = Counter(row["name"] for row in await all_._claim(all_._free()))
    assert rest == {"pay": 1, "mint": 1, "read": 3, "mail": 3, "ask": 3}


async def test_any_process_promises_what_falls_due_and_one_of_its_lane_runs_it(shop: Shop) -> None:
    ran: list[str] = []

    async def tick(work: Work, _payload: Payload) -> None:
        ran.append(work.id)

    periodic = (Periodic("tick", timedelta(minutes=10), A),)
    jobs = declared({"tick": tick}, {"tick": Lane.CHAIN})
    await shop.serve(jobs, slots={Lane.MONEY: 2}, periodic=periodic)

    async def promised() -> bool:
        return await lanes_of(shop) != {}

    await until(promised)
    await asyncio.sleep(0.2)
    assert ran == []
    assert [(job["state"], job["lane"]) for job in await shop.jobs()] == [("READY", "chain")]
    await shop.serve(jobs, slots={Lane.CHAIN: 2})
    await until(lambda: shop.all_in("DONE"))
    assert len(ran) == 1


# --- must-show 3: what waits for what


class Office:
    """Readings that do not end before they may, and payments that note when they began."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.reading = self.read = 0
        self.began: list[float] = []

    async def read_one(self, _work: Work, _payload: Payload) -> None:
        self.reading += 1
        await self.may_end.wait()
        self.read += 1

    async def pay(self, _work: Work, _payload: Payload) -> None:
        self.began.append(time.monotonic())

    def jobs(self, of_payments: Lane) -> list[Job]:
        return declared({"read": self.read_one, "pay": self.pay}, {"read": Lane.DOCUMENTS, "pay": of_payments})


async def test_fifty_readings_under_way_do_not_delay_a_payment(shop: Shop) -> None:
    office, busy = Office(), SLOTS[Lane.DOCUMENTS]
    for tenant_id in (A, B, "tnt_c", "tnt_d"):
        await shop.promise("read", READINGS // 4 + 1, tenant=tenant_id)
    await shop.serve(office.jobs(Lane.MONEY))

    async def no_slot_left() -> bool:
        return office.reading == busy

    await until(no_slot_left)
    promised_at = time.monotonic()
    await shop.promise("pay", tenant=A)

    async def paid() -> bool:
        return bool(office.began)

    await until(paid)
    delay = office.began[0] - promised_at
    print(f"a payment behind {READINGS} readings began after {delay:.3f} s")
    assert office.read == 0, "no reading had ended"
    assert delay <= PAYMENT_DELAY_SECONDS_MAX
    office.may_end.set()


async def test_in_the_readings_own_lane_the_payment_would_wait_for_them(shop: Shop) -> None:
    """The planted fault: without a lane of its own it is not begun while they run."""
    office = Office()
    for tenant_id in (A, B, "tnt_c", "tnt_d"):
        await shop.promise("read", READINGS // 4 + 1, tenant=tenant_id)
    await shop.serve(office.jobs(Lane.DOCUMENTS))

    async def no_slot_left() -> bool:
        return office.reading == SLOTS[Lane.DOCUMENTS]

    await until(no_slot_left)
    await shop.promise("pay", tenant=A)
    await asyncio.sleep(0.3)
    assert office.began == []
    office.may_end.set()
    await shop.sql("delete from ops.jobs where lease is null")


@pytest.mark.soak
async def test_fifty_readings_of_ten_seconds_delay_none_of_a_hundred_payments(shop: Shop) -> None:
    """As the promise says it: real seconds, in threads that block."""
    office, reader = Office(), SlowReader(10)
    read: list[str] = []

    async def read_one(work: Work, _payload: Payload) -> None:
        with pytest.raises(DocumentRefused):
            await reader_threads.read(reader, b"")
        read.append(work.id)

    for tenant_id in (A, B, "tnt_c", "tnt_d", "tnt_e"):
        await shop.promise("read", READINGS // 5, tenant=tenant_id)
    jobs = declared({"read": read_one, "pay": office.pay}, {"read": Lane.DOCUMENTS, "pay": Lane.MONEY})
    await shop.serve(jobs)
    delays = []
    for number in range(1, 101):
        await asyncio.sleep(1)
        promised_at = time.monotonic()
        async with shop.world.database.transaction(A) as tx:
            tx.enqueue("pay", {}, dedupe_key=f"{number}")

        async def paid(number: int = number) -> bool:
            return len(office.began) == number

        await until(paid, 30)
        delays.append(office.began[-1] - promised_at)
    print(f"payments began after {max(delays):.3f} s at most, while {len(read)} readings ended")
    assert max(delays) <= PAYMENT_DELAY_SECONDS_MAX

    async def all_read() -> bool:
        return len(read) == READINGS

    await until(all_read, 120)


async def test_ten_thousand_waiting_jobs_of_a_tenant_delay_anothers_by_no_more_than_its_turn(shop: Shop) -> None:
    order: list[str] = []
    began: list[float] = []

    async def brief(work: Work, _payload: Payload) -> None:
        order.append(work.tenant_id)
        if work.tenant_id == B:
            began.append(time.monotonic())
        await asyncio.sleep(0.01)

    await shop.sql(
        """insert into ops.jobs (id, tenant_id, name, payload, dedupe_key, state, run_at, attempts, created_at)
           select 'job_' || n, $1, 'make', '{}', n::text, 'READY', $2, 0, $2 from generate_series(1, 10000) n""",
        A,
        shop.world.clock.now() - timedelta(hours=1),
    )
    worker = await shop.serve(declared({"make": brief}, {"make": Lane.MONEY}))

    async def under_way() -> bool:
        return len(order) > 20

    await until(under_way)
    before, promised_at = len(order), time.monotonic()
    await shop.promise("make", tenant=B)

    async def begun() -> bool:
        return bool(began)

    await until(begun)
    ahead = order[before:].index(B)
    delay = began[0] - promised_at
    print(f"behind 10,000 jobs of another tenant one began after {delay:.3f} s and {ahead} of theirs")
    worker.stop()
    assert ahead <= 5 * SLOTS[Lane.MONEY], "its turn comes with the next claims"
    assert delay <= TENANT_DELAY_SECONDS_MAX
    assert [job["state"] for job in await shop.jobs()].count("READY") > 1000, "they were waiting meanwhile"
