"""A migrated database per test, on one cluster per session, and the small things that module tests need."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import asyncpg

from fintokenx import audit
from fintokenx.app import catalogue
from fintokenx.app.migrate import Plan, bootstrap, load_carries, migrate
from fintokenx.kernel.bus import Reactions
from fintokenx.kernel.clock import FixedClock
from fintokenx.kernel.db import Database, PinSigner, Pool, open_pool
from fintokenx.kernel.ids import Ids

ROOT = Path(__file__).parent.parent.parent.parent
ROLES = ("fx_migrator", "fx_app", "fx_worker", "fx_sealer", "fx_auditor", "fx_platform")
PASSWORD = "test-only"
START = datetime(2026, 6, 2, 9, 0, tzinfo=UTC)


@dataclass
class World:
    """One database and what runs on it. ``clock`` stands still until a test moves it."""

    admin_dsn: str
    name: str
    clock: FixedClock
    ids: Ids
    database: Database
    app: Pool
    pins: PinSigner

    def dsn(self, role: str) -> str:
        """Log in as ``role`` (password included)."""
        host = self.admin_dsn.rsplit("@", 1)[1].rsplit("/", 1)[0]
        password = PASSWORD if role in ROLES else self.admin_dsn.split(":", 2)[2].split("@")[0]
        return f"postgresql://{role}:{password}@{host}/{self.name}"

    async def connect(self, role: str) -> asyncpg.Connection:
        """A raw connection as ``role`` (``postgres`` is the superuser)."""
        return await asyncpg.connect(self.dsn(role))

    async def tell_mined(self, sender: str, count: int) -> None:
        """Tell the database how far the chain has counted a sender, as the worker's login does."""
        worker = await self.connect("fx_worker")
        await worker.execute("select fx.sender_has_mined($1, $2)", sender, count)
        await worker.close()

    async def pool(self, role: str, size_max: int = 4) -> Pool:
        """A pool as ``role``, with the product's codecs and checks."""
        host = self.admin_dsn.rsplit("@", 1)[1].rsplit("/", 1)[0]
        return await open_pool(f"postgresql://{role}@{host}/{self.name}", PASSWORD, size_max=size_max)


async def may_carry_anything(connection: asyncpg.Connection, *actions: str) -> None:
    """Let a test's own actions carry any row of any domain table; ``connection`` is the owner's."""
    await connection.execute(
        """insert into fx.action_carries
           select a, t.table_name, o, array(select attname from pg_attribute
             where attrelid = format('app.%I', t.table_name)::regclass and attnum > 0), 'may'
             from unnest($1::text[]) a, fx.tables t, unnest('{insert,update,delete}'::text[]) o
            where t.kind = 'tenant' and t.table_name <> 'audit_entries'
           on conflict do nothing""",
        list(actions),
    )


async def hold_to_declared_rows(world: World) -> None:
    """As in the product: every entry is held to the rows that its action declares."""
    migrator = await world.connect("fx_migrator")
    async with migrator.transaction():
        await migrator.execute("set local role fx_owner")
        await load_carries(migrator, catalogue.CARRIES)
    await migrator.close()


async def make_template(admin_dsn: str) -> str:
    """A migrated database that tests copy; returns its name."""
    name = f"fx_template_{secrets.token_hex(4)}"
    admin = await asyncpg.connect(admin_dsn)
    await admin.execute(f"create database {name}")
    await admin.close()
    base = admin_dsn.rsplit("/", 1)[0]
    superuser = await asyncpg.connect(f"{base}/{name}")
    await bootstrap(superuser, ROOT / "migrations", dict.fromkeys(ROLES, PASSWORD))
    await superuser.close()
    host = admin_dsn.rsplit("@", 1)[1].rsplit("/", 1)[0]
    migrator = await asyncpg.connect(f"postgresql://fx_migrator:{PASSWORD}@{host}/{name}")
    await migrate(migrator, Plan(ROOT / "migrations", catalogue.MACHINES, catalogue.ACTIONS, PinSigner(b"p" * 32), {}))
    async with migrator.transaction():
        # Tests of one module record its part of an entry alone, and guards are tried with entries that carry anything.
        # That entries fit their declared rows is held by test_carries, the red team's tests and the stories.
        await migrator.execute("set local role fx_owner")
        await may_carry_anything(migrator, *(action.name for action in catalogue.ACTIONS))
    await migrator.close()
    return name


async def drop_database(admin_dsn: str, name: str) -> None:
    """Remove a database, whoever is connected."""
    admin = await asyncpg.connect(admin_dsn)
    await admin.execute(f"drop database {name} with (force)")
    await admin.close()


@asynccontextmanager
async def world_from(
    admin_dsn: str, template: str, *, reactions: Reactions | None = None, pool_size: int = 8
) -> AsyncIterator[World]:
    """A fresh copy of the template, dropped afterwards."""
    name = f"fx_test_{secrets.token_hex(6)}"
    admin = await asyncpg.connect(admin_dsn)
    await admin.execute(f"create database {name} template {template}")
    # CREATE DATABASE copies neither grants on the database nor its settings (bootstrap.sql makes them).
    await admin.execute(
        f"revoke all on database {name} from public; grant create, temporary on database {name} to fx_owner;"
        f"grant connect on database {name} to {', '.join(ROLES)};"
        f"alter database {name} set search_path = app, fx; alter database {name} set timezone = 'UTC'"
    )
    host = admin_dsn.rsplit("@", 1)[1].rsplit("/", 1)[0]
    clock = FixedClock(START)
    ids = Ids(clock, os.urandom)
    pins = PinSigner(b"p" * 32)
    pool = await open_pool(f"postgresql://fx_app@{host}/{name}", PASSWORD, size_max=pool_size)
    database = Database(pool, pins=pins, clock=clock, ids=ids, reactions=reactions or Reactions())
    try:
        yield World(admin_dsn, name, clock, ids, database, pool, pins)
    finally:
        await pool.close()
        await admin.execute(f"drop database {name} with (force)")
        await admin.close()


def names(rows: Sequence[audit.Entry]) -> list[str]:
    """The actions of entries, for comparing a trail."""
    return [entry.action for entry in rows]
