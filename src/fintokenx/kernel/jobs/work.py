"""One claimed job as its handler sees it: transactions while it is its own, and none after its time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fintokenx.kernel.caller import Caller, system
from fintokenx.kernel.db import Database, Row, Tx

Payload = Mapping[str, Any]


class LeaseLost(Exception):
    """This job is no longer this handler's: another worker has taken it over, or its time was up. Whatever it was
    about to write is rolled back."""


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
        self._revoked = False
        self.completed = False
        self.rests = False

    def may_rest(self) -> None:
        """For a periodic job: nothing is open in this tenant, so that looking again rarely is enough until one of its
        other jobs runs."""
        self.rests = True

    def revoke(self) -> None:
        """Its time is up: no transaction of this run begins or commits from now on, whatever its handler does."""
        self._revoked = True

    def _must_be_ours(self) -> None:
        if self._revoked:
            raise LeaseLost(self.id)

    @property
    def caller(self) -> Caller:
        """The platform itself, working through this job."""
        return system(self.tenant_id, self.name)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        """A transaction of the job's tenant that leaves the job open. When it ends, all that it read is on disk:
        the outside never hears of something that a crash can still undo.

        :raises LeaseLost: the job's time is up
        """
        self._must_be_ours()
        async with self._database.transaction(self.tenant_id, request_id=self.id) as tx:
            tx.wrote = True
            yield tx
            self._must_be_ours()

    @asynccontextmanager
    async def completing(self) -> AsyncIterator[Tx]:
        """The last transaction: what it writes and the job's completion commit together or not at all.

        :raises LeaseLost: another worker has this job by now, or its time is up
        """
        self._must_be_ours()
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
            self._must_be_ours()
        self.completed = True


Handler = Callable[[Work, Payload], Awaitable[None]]
