"""Pooled sessions: whatever one transaction left behind in one is gone, or the session is, before the next begins.

Injected SQL can leave in a session all that ``DISCARD ALL`` takes away. That command itself would take the driver's own
prepared statements too, and every plan, at each transaction: twice the processor time (docs/adr/0017). So each part is
taken away by itself, and prepared statements are judged: the server knows which came by the statement PREPARE and which
by the protocol, and SQL cannot speak the protocol. A session with one of the former, or with another number of the
latter than the driver holds, is thrown away.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

import asyncpg
from asyncpg.pool import PoolConnectionProxy

log = logging.getLogger(__name__)

PLANS_LIVE_SECONDS: Final = 60.0
"""A plan that was made under strange cost settings is never wrong, and slow for no longer than this."""

SESSION_SETTINGS: Final = {
    "idle_in_transaction_session_timeout": "60s",
    "default_transaction_read_only": "off",
    "statement_timeout": "0",
    "transaction_timeout": "0",
    "idle_session_timeout": "0",
}
"""Given at connection, so that they hold above what is set for the role: the last four could keep a session from
finding out that it is bent."""
_WORKER_SETTINGS: Final = dict.fromkeys(
    ("enable_seqscan", "enable_bitmapscan", "enable_sort", "enable_incremental_sort"), "off"
)
"""The worker's statements are probes of an index: not to be planned anew by how empty the queue was a moment ago."""
ROLE_DEFAULTS: Final = ("idle_in_transaction_session_timeout",)
"""What bootstrap.sql sets for logins; anything else somebody else has set."""


def settings_of(login: str) -> dict[str, str]:
    """What a session of this login begins with, and returns to at each wipe."""
    return SESSION_SETTINGS | (_WORKER_SETTINGS if login == "fx_worker" else {})


# Settings first: a timeout of a millisecond would end the rest. By simple protocol, in one message: no prepared
# statement takes part in it, and it costs one round trip. Names are found in pg_catalog alone: nobody who logs in can
# make an object. Advisory locks of a session and temporary objects are refused to all logins in the first place.
_WIPE: Final = (
    "BEGIN; RESET ALL; RESET SESSION AUTHORIZATION; RESET ROLE; CLOSE ALL; UNLISTEN *; DISCARD TEMP; "
    "DISCARD SEQUENCES; {plans}SELECT pg_catalog.pg_advisory_unlock_all(), "
    # Division by zero is the one error that plain SQL can raise.
    "1 / (pg_catalog.count(*) = {held} AND NOT coalesce(pg_catalog.bool_or(s.from_sql), false))::pg_catalog.int4 "
    "FROM pg_catalog.pg_prepared_statement() AS s; COMMIT"
)

if TYPE_CHECKING:  # asyncpg's classes are generic for type checkers only
    _Connection = asyncpg.Connection[asyncpg.Record]
    _Proxy = PoolConnectionProxy[asyncpg.Record]
else:
    _Connection, _Proxy = asyncpg.Connection, PoolConnectionProxy


class NotClean(asyncpg.InterfaceError):
    """The session could not be brought into the state of a new one, and was closed. Nothing had been done in it."""


class Session(_Connection):
    """A connection that knows how many statements it has prepared, and when its plans were last made anew."""

    __slots__ = ("_planned_at",)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._planned_at = time.monotonic()

    def wipe(self) -> str:
        """The message that takes away what may be left, and fails if there is what should not be."""
        now = time.monotonic()
        plans = ""
        if now >= self._planned_at + PLANS_LIVE_SECONDS:
            self._planned_at, plans = now, "DISCARD PLANS; "
        return _WIPE.format(plans=plans, held=self.statements_held())

    def statements_held(self) -> int:
        """How many prepared statements the driver has on the server now: those of its cache, and those that it has
        dropped from there and will close at its next occasion. (asyncpg tells neither in public; that they are these
        is what tests/kernel/test_sessions.py shows.)"""
        driver: Any = self
        return len(tuple(driver._stmt_cache.iter_statements())) + len(driver._stmts_to_close)


async def come_clean(connection: _Proxy) -> None:
    """Before a pooled connection is handed out. :raises NotClean: it was not, and is closed; take another"""
    try:
        session: Any = connection  # a Session behind the pool's proxy
        await connection.execute(session.wipe())
    except Exception as fault:  # whatever it is: asyncpg has a class of its own for a server that dies in a message
        if isinstance(fault, asyncpg.DivisionByZeroError):
            log.warning("a pooled session held prepared statements that are not the driver's; it is closed")
        # The pool closes a connection whose setup raises.
        raise NotClean(f"a pooled session could not be wiped ({type(fault).__name__})") from fault


async def take_back_defaults(connection: _Connection) -> None:
    """When a connection is new: Postgres lets every login set its own defaults, whatever is revoked, so SQL that was
    injected once could bend every session that comes after it. What is set of that kind is unset, by the very right.

    :raises NotClean: there was some; this session has it, the next one will not
    """
    rows = await connection.fetch(
        "select quote_ident(split_part(line, '=', 1)) as name, quote_ident(d.datname) as database"
        "  from pg_catalog.pg_db_role_setting s join pg_catalog.pg_roles r on r.oid = s.setrole"
        "  left join pg_catalog.pg_database d on d.oid = s.setdatabase, unnest(s.setconfig) as line"
        " where r.rolname = session_user and (s.setdatabase = 0 or d.datname = current_database())"
    )
    bent = [row for row in rows if row["database"] is not None or row["name"] not in ROLE_DEFAULTS]
    if bent:
        await connection.execute("SET ROLE NONE")  # a role can be among the defaults
        for row in bent:
            where = f" IN DATABASE {row['database']}" if row["database"] else ""
            await connection.execute(f"ALTER ROLE SESSION_USER{where} RESET {row['name']}")
        names = ", ".join(sorted({row["name"] for row in bent}))
        log.error("a login had set defaults of its own (%s); they are taken back, somebody has run SQL as it", names)
        raise NotClean("the login's defaults were not those of the platform")


async def leave_idle(connection: _Connection) -> None:
    """When a connection comes back: an open transaction ends now, since it holds locks. The rest goes when it is
    handed out again, in one message with what happened meanwhile."""
    if connection.is_in_transaction():
        await connection.execute("ROLLBACK")
