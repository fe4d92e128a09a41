"""Transactions: pinned to one tenant under row-level security, committed and durable before anybody is told
(decisions §3, §4)."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from fintokenx.kernel import sessions
from fintokenx.kernel.bus import Reactions
from fintokenx.kernel.canonical import plain
from fintokenx.kernel.clock import Clock, Instant
from fintokenx.kernel.errors import Forbidden, Invalid, Refused, Unavailable
from fintokenx.kernel.ids import Ids
from fintokenx.kernel.sessions import NotClean, Session, come_clean, leave_idle

Row = asyncpg.Record
if TYPE_CHECKING:  # asyncpg's classes are generic for type checkers only
    Connection = PoolConnectionProxy[Row]
    RawConnection = asyncpg.Connection[Row]
    Pool = asyncpg.Pool[Row]
else:
    Connection, RawConnection, Pool = PoolConnectionProxy, asyncpg.Connection, asyncpg.Pool

PIN_LIFE_SECONDS: Final = 300
_TENANT: Final = re.compile(r"tnt_[a-z0-9_]{1,40}")
# The flush barrier: WAL is sequential, so when this record is durable every earlier commit is (design/postgres.md §2c).
_BARRIER: Final = "SELECT pg_logical_emit_message(false, 'fx', '', true)"
# The pin goes in this message as text, and never through a prepared statement, which SQL in the session could replace.
# It is letters, digits and dots. (Nobody but administrators sees other sessions' texts: bootstrap.sql.)
_BEGIN: Final = "BEGIN; SET LOCAL synchronous_commit = off; SET LOCAL fx.pin = '{pin}'"
_SESSIONS_TRIED: Final = 40
"""As many as a pool can hold and more: each one that does not come clean is closed, and a new one is clean."""
# COMMIT of an aborted transaction succeeds silently; a SELECT before it in the same message raises instead.
COMMIT_DURABLY: Final = f"SELECT 1; COMMIT; {_BARRIER}"


class UnsafeRole(Exception):
    """The database role of this process could bypass tenant isolation; the process refuses to start (TI-03)."""


class StaleRow(Refused):
    """Somebody else changed this at the same moment; read again and retry."""

    code = "CONCURRENT_CHANGE"
    status = 409


class AdministratorRefused(Forbidden):
    """No open admin session of an active administrator covers this."""

    code = "ADMIN_SESSION_REQUIRED"


class DatabaseUnavailable(Unavailable):
    """The database does not answer."""

    def __init__(self, detail: str) -> None:
        super().__init__("database", detail)


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job to insert with the transaction. ``dedupe_key`` makes a second request of the same promise nothing."""

    name: str
    payload: dict[str, Any]
    dedupe_key: str
    run_at: Instant


@dataclass(slots=True)
class Tx:
    """One transaction of one tenant. Commands get it as their first argument and never commit it themselves.

    ``at`` is the transaction's instant: everything that one command writes carries the same time.
    """

    connection: Connection
    tenant_id: str
    at: Instant
    ids: Ids
    reactions: Reactions
    request_id: str
    jobs: list[JobRequest] = field(default_factory=list)
    wrote: bool = False
    destroyed_keys: list[tuple[str, ...]] = field(default_factory=list)
    """Names of data keys that this transaction destroys (kernel.sealing): whoever remembers them must forget them."""

    async def rows(self, sql: str, *arguments: Any) -> list[Row]:
        """All rows of a query. Only a module's ``store`` calls this."""
        return await self.connection.fetch(sql, *arguments)

    async def row(self, sql: str, *arguments: Any) -> Row | None:
        """The first row, or None."""
        return await self.connection.fetchrow(sql, *arguments)

    async def value(self, sql: str, *arguments: Any) -> Any:
        """The first column of the first row, or None."""
        return await self.connection.fetchval(sql, *arguments)

    async def write(self, sql: str, *arguments: Any) -> str:
        """Run a statement that changes something; the commit will wait for the disk."""
        self.wrote = True
        return await self.connection.execute(sql, *arguments)

    async def lock(self, thing: str, *, shared: bool = False) -> None:
        """Make the commands on one thing of this tenant wait for each other until the transaction ends; ``shared``:
        for those that do not share it."""
        await self.connection.execute("select fx.lock($1, $2)", thing, shared)

    async def next_number(self, sequence: str) -> int:
        """The next number of a reference sequence, used once in the life of the platform."""
        return int(await self.connection.fetchval("select nextval($1::text::regclass)", f"fx.{sequence}"))

    def enqueue(self, name: str, payload: dict[str, Any], *, dedupe_key: str, run_at: Instant | None = None) -> None:
        """Promise a job; it exists if and only if this transaction commits."""
        self.jobs.append(JobRequest(name, plain(payload), dedupe_key, run_at or self.at))
        self.wrote = True

    async def flush_jobs(self) -> None:
        """Insert the promised jobs. Called once, just before the commit."""
        if not self.jobs:
            return
        await self.connection.execute(
            """insert into ops.jobs (id, tenant_id, name, payload, dedupe_key, state, run_at, attempts, created_at)
               select id, $2, name, payload::jsonb, dedupe_key, 'READY', run_at, 0, $1
                 from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[])
                      as wanted (id, name, payload, dedupe_key, run_at)
               on conflict (tenant_id, name, dedupe_key) do nothing""",
            self.at,
            self.tenant_id,
            [self.ids.new("job") for _ in self.jobs],
            [job.name for job in self.jobs],
            [json.dumps(job.payload) for job in self.jobs],
            [job.dedupe_key for job in self.jobs],
            [job.run_at for job in self.jobs],
        )


class PinSigner:
    """Makes the signed tenant pin ``tenant.expires_unix.hmac``; fx.tenant() verifies it inside every policy."""

    def __init__(self, key: bytes, *, machine_seconds: Callable[[], float] = time.time) -> None:
        self._key = key
        self._machine_seconds = machine_seconds

    def pin(self, tenant_id: str) -> str:
        """A pin that holds for five minutes of machine time. :raises ValueError: not a tenant id"""
        if not _TENANT.fullmatch(tenant_id):
            raise ValueError("not a tenant id")
        body = f"{tenant_id}.{int(self._machine_seconds()) + PIN_LIFE_SECONDS}"
        return f"{body}.{hmac.new(self._key, body.encode(), hashlib.sha256).hexdigest()}"

    def pads(self) -> tuple[bytes, bytes]:
        """The key's HMAC pads (RFC 2104), as the database keeps them."""
        key = hashlib.sha256(self._key).digest() if len(self._key) > 64 else self._key
        padded = key.ljust(64, b"\0")
        return bytes(b ^ 0x36 for b in padded), bytes(b ^ 0x5C for b in padded)


class Database:
    """The pool of fx_app connections and the way to open a transaction on it."""

    def __init__(self, pool: Pool, *, pins: PinSigner, clock: Clock, ids: Ids, reactions: Reactions) -> None:
        self._pool = pool
        self._pins = pins
        self._clock = clock
        self._ids = ids
        self._reactions = reactions
        self._committed: list[Callable[[], None]] = []
        self._remembering: list[Callable[..., None]] = []

    def on_commit(self, wake: Callable[[], None]) -> None:
        """Call ``wake()`` after each commit that inserted jobs: an in-process nudge, never relied upon."""
        self._committed.append(wake)

    def on_keys_destroyed(self, forget: Callable[..., None]) -> None:
        """Call ``forget(*name)`` for each key that a transaction has destroyed, once it has ended, well or not."""
        self._remembering.append(forget)

    @asynccontextmanager
    async def transaction(self, tenant_id: str, *, request_id: str = "") -> AsyncIterator[Tx]:
        """A transaction pinned to ``tenant_id``. When the block ends well it is committed *and on disk*;
        when it raises, nothing of it remains.

        :raises StaleRow: a row was not as the command had read it
        :raises DatabaseUnavailable: no connection, or it broke (then the outcome is unknown: retry with the same key)
        """
        pin = self._pins.pin(tenant_id)
        destroyed: list[tuple[str, ...]] = []
        connection = await clean_session(self._pool)
        try:
            await connection.execute(_BEGIN.format(pin=pin))
            tx = Tx(connection, tenant_id, self._clock.now(), self._ids, self._reactions, request_id)
            tx.destroyed_keys = destroyed
            yield tx
            await tx.flush_jobs()
            await connection.execute(COMMIT_DURABLY if tx.wrote else "COMMIT")
        except BaseException as fault:
            await _roll_back(connection)
            named = _translated(fault)
            if named is fault:
                raise
            raise named from fault
        finally:
            # In any case: the outcome of a broken commit is unknown, and a key forgotten in vain is read anew.
            for name in destroyed:
                for forget in self._remembering:
                    forget(*name)
            await self._pool.release(connection)
        if tx.jobs:
            for wake in self._committed:
                wake()

    async def healthy(self) -> bool:
        """Whether the database answers now."""
        try:
            async with self._pool.acquire(timeout=2) as connection:
                await connection.fetchval("select 1", timeout=2)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True

    async def close(self) -> None:
        """Let running transactions end, then close."""
        await self._pool.close()


async def _roll_back(connection: Connection) -> None:
    """Best effort, so that the fault that led here is the one that is told: what broke has nothing left to undo."""
    with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        if connection.is_in_transaction():
            await connection.execute("ROLLBACK")


_CLASSES_OF_OUTAGE: Final = ("08", "53", "57")
"""SQLSTATE classes: connection, resources, operator intervention. The outcome is unknown; the same key may retry."""


def _translated(fault: BaseException) -> BaseException:
    named: BaseException = fault
    match fault:
        case asyncpg.PostgresError() if fault.sqlstate in ("FX003", "40001", "40P01"):
            named = StaleRow()
        case asyncpg.PostgresError() if fault.sqlstate in ("FX030", "FX031"):
            named = AdministratorRefused()
        case asyncpg.PostgresError() if fault.sqlstate in ("22021", "22P05"):
            named = Invalid("text may not hold the character U+0000")
        case asyncpg.PostgresError() if fault.sqlstate == "FX009":
            named = Invalid("what is recorded must be plain text and whole numbers to 2^53 - 1")
        case asyncpg.PostgresError() if str(fault.sqlstate)[:2] in _CLASSES_OF_OUTAGE:
            named = DatabaseUnavailable(type(fault).__name__)
        case asyncpg.InternalClientError():  # what the driver says when the server dies in the middle of a message
            named = DatabaseUnavailable(type(fault).__name__)
        case asyncpg.PostgresConnectionError() | asyncpg.InterfaceError() | ConnectionError() | TimeoutError():
            named = DatabaseUnavailable(type(fault).__name__)
    return named


@contextlib.contextmanager
def database_answers() -> Iterator[None]:
    """Around reads outside of a transaction: the driver's faults get their names. :raises DatabaseUnavailable: it
    does not answer"""
    try:
        yield
    except Exception as fault:
        named = _translated(fault)
        if named is fault:
            raise
        raise named from fault


async def clean_session(pool: Pool) -> Connection:
    """A connection in which nothing is left of what was done in it before. Whoever takes it releases it.

    :raises DatabaseUnavailable: there is none
    """
    for _ in range(_SESSIONS_TRIED):
        try:
            return await pool.acquire(timeout=10)
        except NotClean:
            continue
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as fault:
            raise DatabaseUnavailable(type(fault).__name__) from fault
    raise DatabaseUnavailable(NotClean.__name__)


async def open_pool(dsn: str, password: str, *, size_max: int) -> Pool:
    """A pool on ``dsn`` (which holds no password), whose sessions come clean (kernel.sessions).

    :raises UnsafeRole: superuser, BYPASSRLS or an owner (TI-03)
    """
    login = urlsplit(dsn).username or ""
    pool = await asyncpg.create_pool(
        dsn, password=password, min_size=0, max_size=size_max, command_timeout=60, connection_class=Session,
        init=_prepare, setup=come_clean, reset=leave_idle, server_settings=sessions.settings_of(login),
    )  # fmt: skip
    connection = await clean_session(pool)
    try:
        await refuse_unsafe_role(connection)
    finally:
        await pool.release(connection)
    return pool


async def _prepare(connection: RawConnection) -> None:
    await sessions.take_back_defaults(connection)
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
    await connection.set_type_codec("json", schema="pg_catalog", encoder=str, decoder=str)


async def refuse_unsafe_role(connection: Connection) -> None:
    """:raises UnsafeRole: this role is superuser, BYPASSRLS, or (a member of) the owner of a table"""
    role = await connection.fetchrow(
        """select current_user as name, r.rolsuper, r.rolbypassrls,
                  exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
                           where n.nspname in ('app', 'ops', 'fx') and c.relkind = 'r'
                             and pg_has_role(current_user, c.relowner, 'member')) as owns
             from pg_roles r where r.rolname = current_user"""
    )
    if role is None or role["rolsuper"] or role["rolbypassrls"] or role["owns"]:
        raise UnsafeRole(f"role {role['name'] if role else '?'} could bypass row-level security; refusing to start")
