"""Workers on one world, and what the tests of jobs do with them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from threading import Event
from typing import Any

from fintokenx import audit
from fintokenx.kernel.db import Pool, Row
from fintokenx.kernel.jobs import SLOTS, Handler, Job, Lane, Payload, Work, Worker
from fintokenx.kernel.jobs.periodic import OpenTenants, Periodic
from fintokenx.kernel.jobs.queue import Queue
from fintokenx.lifecycle.invoice.ports import DocumentKind, DocumentRefused, Reading
from tests.database.things import A, change, thing
from tests.support import World

SECONDS_MAX = 60.0
"""More than any handler of these tests takes."""


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = 15.0) -> None:
    """Poll; fail when it does not come true."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


async def tell_nobody(_work: Work) -> None:
    """Of a job that is given up."""


class Shop:
    """Workers on one world, and its jobs as the superuser sees them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.workers: list[tuple[Worker, asyncio.Task[None], Any]] = []

    async def start(
        self,
        *,
        periodic: tuple[Periodic, ...] = (),
        concurrency: int = 8,
        open_tenants: OpenTenants | None = None,
        tell_dead: Callable[[Work], Awaitable[None]] = tell_nobody,
        **handlers: Handler,
    ) -> Worker:
        """One more worker with its own pool of claims; all its jobs are in one lane."""
        return await self.serve(
            [Job(name, do, Lane.OUTBOUND, SECONDS_MAX) for name, do in handlers.items()],
            slots={Lane.OUTBOUND: concurrency},
            periodic=periodic,
            open_tenants=open_tenants,
            tell_dead=tell_dead,
        )

    async def serve(
        self,
        jobs: Sequence[Job],
        *,
        slots: Mapping[Lane, int] = SLOTS,
        periodic: tuple[Periodic, ...] = (),
        open_tenants: OpenTenants | None = None,
        tell_dead: Callable[[Work], Awaitable[None]] = tell_nobody,
        grace_seconds: float = 5.0,
    ) -> Worker:
        """One more worker, in these lanes."""
        claims = await self.world.pool("fx_worker", 2)
        worker = Worker(
            claims=claims,
            database=self.world.database,
            jobs=jobs,
            periodic=periodic,
            open_tenants=open_tenants or self.nobody,
            tell_dead=tell_dead,
            clock=self.world.clock,
            ids=self.world.ids,
            slots=slots,
            poll_seconds=0.02,
            grace_seconds=grace_seconds,
        )
        self.workers.append((worker, asyncio.create_task(worker.run()), claims))
        return worker

    def queue(self, claims: Pool) -> Queue:
        """The queue alone."""
        return Queue(claims, clock=self.world.clock, ids=self.world.ids)

    async def nobody(self) -> tuple[str, ...]:
        """No tenant is open."""
        return ()

    async def close(self) -> None:
        """Stop them all."""
        for worker, task, claims in self.workers:
            worker.stop()
            await task
            await claims.close()
        self.workers = []

    async def promise(self, name: str, count: int = 1, tenant: str = A, **payload: Any) -> None:
        """Enqueue jobs."""
        async with self.world.database.transaction(tenant) as tx:
            for number in range(count):
                tx.enqueue(name, {**payload, "n": number}, dedupe_key=f"{number}")

    async def jobs(self) -> list[Row]:
        """All of them."""
        superuser = await self.world.connect("postgres")
        rows: list[Row] = await superuser.fetch("select * from ops.jobs order by id")
        await superuser.close()
        return rows

    async def leases(self) -> dict[str, Any]:
        """Until when each job is leased."""
        return {job["id"]: job["leased_until"] for job in await self.jobs()}

    async def all_in(self, state: str) -> bool:
        """Whether every job is in that state."""
        return {job["state"] for job in await self.jobs()} == {state}

    async def sql(self, statement: str, *arguments: Any) -> None:
        """As superuser."""
        superuser = await self.world.connect("postgres")
        await superuser.execute(statement, *arguments)
        await superuser.close()


TWELVE: Mapping[Lane, int] = {Lane.OUTBOUND: 12}


def idle_worker(
    world: World, claims: Pool, *, slots: Mapping[Lane, int] = TWELVE, periodic: tuple[Periodic, ...] = ()
) -> Worker:
    """One that is not started and knows the periodic jobs alone; by itself it serves the lane of what is undeclared."""
    jobs = [Job(job.name, effect, Lane.OUTBOUND, SECONDS_MAX) for job in periodic]
    return Worker(
        claims=claims, database=world.database, jobs=jobs, periodic=periodic, clock=world.clock, ids=world.ids,
        slots=slots,
    )  # fmt: skip


async def claim(worker: Worker, free: int, lane: Lane = Lane.OUTBOUND) -> list[Row]:
    """What it takes when so many slots are free."""
    return await worker._claim({lane: free})


async def effect(work: Work, payload: Payload) -> None:
    """Make a thing and complete, in one transaction."""
    async with work.completing() as tx:
        await change(tx, "THING_MAKE", audit.insert("things", thing(work.tenant_id, f"t{payload['n']}")))


def declared(handlers: dict[str, Handler], lanes: dict[str, Lane], *, seconds_max: float = 60) -> list[Job]:
    """Jobs of these handlers, each in its lane."""
    return [Job(name, do, lanes.get(name, Lane.OUTBOUND), seconds_max) for name, do in handlers.items()]


class SlowReader:
    """A reader that blocks its thread for so long, unless nobody waits any more."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.given_up = 0

    def inspect(self, content: bytes) -> DocumentKind:
        raise NotImplementedError

    def read(self, content: bytes, given_up: Event | None = None) -> Reading:
        assert given_up is not None
        self.given_up += given_up.wait(self.seconds)
        raise DocumentRefused("read")
