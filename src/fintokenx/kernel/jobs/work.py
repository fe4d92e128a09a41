"""Durable jobs (the outbox): at least once, and their completion commits with their effect (decisions §2).

A job's handler gets a :class:`Work`. The shape is always the same: a short transaction to read, the call to the
outside with no transaction open, a short transaction to write. The last one completes the job::

    async def mint(work: Work, payload: Payload) -> None:
        async with work.transaction() as tx:
            ...
        receipt = await chain.receipt(...)
        async with work.completing() as tx:
            ...
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fintokenx.kernel.caller import Caller, system
from fintokenx.kernel.db import Database, Row, Tx
from fintokenx.kernel.jobs.lanes import LIMIT_SECONDS, Lane

Payload = Mapping[str, Any]


class LeaseLost(Exception):
    """Another worker has taken this job over; whatever this one was about to write is rolled back."""


class TryAgain(Exception):
    """Raised by a handler: not done, nothing wrong; look again after ``seconds``. Not counted as a failure."""

    def __init__(self, reason: str, *, seconds: float = 1.0) -> None:
        self.reason = reason
        self.seconds = seconds
        super().__init__(reason)


class Work:
    """One claimed job, handed to its handler."""

    def __init__(self, database: Database, row: Row) -> None:
        self._database = database
        self.id: str = row["id"]
        self.name: str = row["name"]
        self.tenant_id: str = row["tenant_id"]
        self.attempts: int = row["attempts"]
        self.every_seconds: float | None = None
        """Of a periodic job: when it falls due next."""
        self._lease: str = row["lease"]
        self.completed = False
        self.rests = False

    def may_rest(self) -> None:
        """For a periodic job: nothing is open in this tenant, so that looking again rarely is enough until one of its
        other jobs runs."""
        self.rests = True

    @property
    def caller(self) -> Caller:
        """The platform itself, working through this job."""
        return system(self.tenant_id, self.name)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        """A transaction of the job's tenant that leaves the job open. When it ends, all that it read is on disk:
        the outside never hears of something that a crash can still undo."""
        async with self._database.transaction(self.tenant_id, request_id=self.id) as tx:
            tx.wrote = True
            yield tx

    @asynccontextmanager
    async def completing(self) -> AsyncIterator[Tx]:
        """The last transaction: what it writes and the job's completion commit together or not at all.

        :raises LeaseLost: another worker has this job by now
        """
        async with self._database.transaction(self.tenant_id, request_id=self.id) as tx:
            yield tx
            done = await tx.write(
                "update ops.jobs set state = 'DONE', finished_at = $3, leased_until = null, last_error = null"
                " where id = $1 and lease = $2 and state = 'READY'",
                self.id,
                self._lease,
                tx.at,
            )
            if done != "UPDATE 1":
                raise LeaseLost(self.id)
        self.completed = True


Handler = Callable[[Work, Payload], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Job:
    """A job as its module declares it. ``seconds_max`` is machine time, by default its lane's: a handler that is not
    done by then is ended, reported and tried again like one that failed."""

    name: str
    lane: Lane
    seconds_max: float = 0.0

    @property
    def limit_seconds(self) -> float:
        """How long one run may take."""
        return self.seconds_max or LIMIT_SECONDS[self.lane]
