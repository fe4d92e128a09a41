"""Reading across tenants in two transactions of one connection: the fingerprint first (TI-07, TI-08).

A grant is for the very next transaction and for the tenants that its entries name; each reading has its own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import asyncpg

from fintokenx.kernel.clock import Clock
from fintokenx.kernel.db import Connection, DatabaseUnavailable, PinSigner, Pool, clean_session
from fintokenx.kernel.errors import Forbidden
from fintokenx.kernel.ids import Ids

# In one message: the transaction that reads is the one right after that of the fingerprint, or it sees nothing. COMMIT
# waits for the disk by itself; in an aborted transaction the SELECT before it raises.
_READ: Final = (
    "SELECT 1; COMMIT; BEGIN READ ONLY; SET LOCAL statement_timeout = '10s'; SET LOCAL fx.bypass_rls = TRUE;"
    " SET LOCAL ROLE fx_bypass"
)
_REFUSALS: Final = ("FX030", "FX031", "FX032")
"""What fx.open_bypass says: no administrator, no open admin session, not its connection or question."""


class BypassRefused(Forbidden):
    """No open admin session allows you to read across tenants."""

    code = "BYPASS_REFUSED"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, by whom it may be: every part of it stands in the entry."""

    tenant_id: str
    """The tenant of the admin session, whose trail the entry belongs to."""
    admin_session_id: str
    asked: str
    reference: str
    request_id: str


class Bypass:
    """The pool of fx_platform, and the only way to read on it."""

    def __init__(self, pool: Pool, *, pins: PinSigner, clock: Clock, ids: Ids) -> None:
        self._pool = pool
        self._pins = pins
        self._clock = clock
        self._ids = ids

    @asynccontextmanager
    async def reading(self, question: Question) -> AsyncIterator[Connection]:
        """A read-only transaction that sees the tenants that have what is asked for, after entries RBAC_BYPASS of its
        own are on disk: one in the trail of the admin session's tenant, which names them, and one in each of theirs.

        When the block ends, however it ends, the connection sees nothing any more.

        :raises BypassRefused: no open admin session of two active administrators
        :raises DatabaseUnavailable: no connection, or it broke
        """
        connection = await clean_session(self._pool)
        try:
            await self._leave_fingerprint(connection, question)
            await connection.execute(_READ)
            if await connection.fetchval("select fx.bypass_tenants() is null"):
                # The process had another transaction in between (it catches up by itself now and then).
                raise DatabaseUnavailable("the grant was spent")  # never taken for "nobody has it"
            yield connection
            await connection.execute("COMMIT")
        except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, ConnectionError, TimeoutError) as fault:
            raise DatabaseUnavailable(type(fault).__name__) from fault
        finally:
            await _leave_nothing(connection)
            await self._pool.release(connection)

    async def _leave_fingerprint(self, connection: Connection, question: Question) -> None:
        try:
            await connection.execute(f"BEGIN; SET LOCAL fx.pin = '{self._pins.pin(question.tenant_id)}'")
            await connection.execute(
                "select fx.open_bypass($1, $2, $3, $4, $5, $6)",
                self._ids.new("aud"),
                self._clock.now(),
                question.admin_session_id,
                question.asked,
                question.reference,
                question.request_id,
            )
        except asyncpg.PostgresError as fault:
            if fault.sqlstate in _REFUSALS:
                raise BypassRefused from fault
            raise


async def _leave_nothing(connection: Connection) -> None:
    """Back to nobody, and the grant ended. A connection of which that is not certain is thrown away."""
    try:
        if connection.is_in_transaction():
            await connection.execute("ROLLBACK")
        await connection.execute("RESET ROLE; CLOSE ALL; RESET ALL; SELECT fx.close_bypass()", timeout=5)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        with contextlib.suppress(asyncpg.InterfaceError):
            connection.terminate()
