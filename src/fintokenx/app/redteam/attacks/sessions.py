"""What SQL in one session leaves for the next one, spends twice, or takes from all the others."""

from __future__ import annotations

from typing import Final

import asyncpg

from fintokenx.app import base, provision
from fintokenx.app.redteam.attacks.games import one_connection
from fintokenx.app.redteam.desk import Desk, foreign, look
from fintokenx.app.redteam.scene import SERVING, Scene
from fintokenx.app.redteam.sql import must_refuse, must_refuse_all
from fintokenx.app.redteam.types import Attack, Broken, Finding, attack, fingerprinted
from fintokenx.kernel.db import clean_session, open_pool

_COUNT: Final = "select count(*) from app.subjects where id <> $1"


@attack(
    100, "sessions", "The driver's prepared statements stay the driver's.",
    tries="Under the victim's pin, in the product's own pool of one connection, a statement of the driver's is "
    "deallocated and another prepared under its name, or none; then the attacker's tenant runs it.",
    holds="The next transaction runs what the driver prepared.",
)  # fmt: skip
async def swapped_statement(scene: Scene) -> str:
    database, pool = await one_connection(scene)
    try:
        for instead in ("(text) as select 4711::bigint", ""):
            async with database.transaction(scene.there.tenant_id, request_id=scene.run) as tx:
                await tx.value(_COUNT, "")
                name = await tx.value("select name from pg_prepared_statements where statement = $1", _COUNT)
                await tx.connection.execute(f'deallocate "{name}"')
                if instead:
                    await tx.connection.execute(f'prepare "{name}" {instead}')
            async with database.transaction(scene.here.tenant_id, request_id=scene.run) as tx:
                if await tx.value(_COUNT, "") == 4711:
                    raise Broken("the next transaction runs the attacker's statement")
    except asyncpg.InvalidSQLStatementNameError as fault:
        raise Broken("the next transaction misses its statement") from fault
    finally:
        await pool.close()
    return "replaced and taken away, and neither reached the next transaction"


_REFUSED: Final = ("42501", "0A000")
"""Insufficient privilege; and what is said to a session that would rename itself."""
_LEFT: Final = {
    "a prepared statement": ("prepare left_over as select 1",
                             "select exists (select from pg_prepared_statements where from_sql)"),
    "a cursor": ("declare left_over cursor with hold for select 1",
                 "select exists (select from pg_cursors where name = 'left_over')"),
    "a channel": ("listen left_over", "select exists (select from pg_listening_channels())"),
    "a setting": ("set session fx.note = 'x'", "select coalesce(current_setting('fx.note', true), '') <> ''"),
    "a timeout": ("set session statement_timeout = 1", "select current_setting('statement_timeout') <> '0'"),
}  # fmt: skip


@attack(
    101, "sessions", "Every pool comes clean, of every login.",
    tries="As each login, in the product's own pool of one connection: a statement, a cursor, a channel, a setting and "
    "a timeout are left behind; then the connection is taken again.",
    holds="None of them is there.",
)  # fmt: skip
async def left_overs(scene: Scene) -> str:
    for role in SERVING:
        password = await scene.vault.secret(provision.password_of(role))
        pool = await open_pool(base.dsn(scene.settings, role), password, size_max=1)
        try:
            for name, (leave, there) in _LEFT.items():
                connection = await clean_session(pool)
                await connection.execute(leave)
                await pool.release(connection)
                connection = await clean_session(pool)
                found = await connection.fetchval(there)
                await pool.release(connection)
                if found:
                    raise Broken(f"{name} of the one before is there for {role}")
        except asyncpg.QueryCanceledError as fault:
            raise Broken(f"a timeout of the one before ends the next statement of {role}") from fault
        finally:
            await pool.close()
    return f"{len(_LEFT)} things, {len(SERVING)} logins, nothing left"


@attack(
    102, "sessions", "A grant of the bypass is good for one transaction.",
    tries="One grant, then six reading transactions, the first one rolled back.",
    holds="Fingerprinted: the first one shows rows of the tenant that the entry names; the others show none.",
)  # fmt: skip
async def spent_grant(scene: Scene) -> Finding:
    desk = Desk(scene)
    async with desk.opened() as session_id:
        connection = await scene.connect("fx_platform")
        try:
            async with connection.transaction():
                entry_id = await desk.step_one(connection, session_id)
            await connection.execute("begin read only")
            seen = await foreign(connection, scene)
            await connection.execute("rollback")
            if not seen or not await desk.entries(entry_id):
                raise Broken("the honest way shows nothing, or has no entry; this proves nothing")
            if any([await look(connection, scene) for _ in range(5)]):
                raise Broken("a second transaction reads under one entry")
        finally:
            await connection.close()
    return fingerprinted("one entry, one transaction")


@attack(
    103, "sessions", "A login cannot change what it is, and what it sets for itself reaches no session.",
    tries="Each login alters its attributes and name; then its own defaults, for all databases and for this one, and a "
    "new connection of the product's own is opened.",
    holds="The former are refused. Postgres allows the latter to everybody: the product takes them back, and no "
    "session that serves has them.",
)  # fmt: skip
async def own_role(scene: Scene) -> str:
    for role in SERVING:
        changes = ("bypassrls", "superuser", "createrole", "connection limit 0", "valid until '2000-01-01'",
                   "rename to redteam")  # fmt: skip
        await must_refuse_all(scene, role, [f"alter role {role} {change}" for change in changes], states=_REFUSED)
        attacker = await scene.connect(role)
        try:
            database = await attacker.fetchval("select quote_ident(current_database())")
            await attacker.execute(f"alter role {role} set search_path = redteam")
            await attacker.execute(f"alter role {role} in database {database} set row_security = off")
            password = await scene.vault.secret(provision.password_of(role))
            pool = await open_pool(base.dsn(scene.settings, role), password, size_max=1)
            connection = await clean_session(pool)
            found = await connection.fetchval(
                "select current_setting('search_path') = 'redteam' or current_setting('row_security') = 'off'"
            )
            await pool.release(connection)
            await pool.close()
        finally:
            await attacker.execute(f"alter role {role} reset search_path")
            await attacker.execute(f"alter role {role} in database {database} reset row_security")
            await attacker.close()
        if found:
            raise Broken(f"defaults that {role} gave itself hold in a session that serves")
    return f"{len(SERVING)} logins: refused, or taken back"


@attack(
    104, "sessions", "No tenant's SQL locks a table against the others.",
    tries="LOCK TABLE in every mode that stops others, on every table, as fx_app under a sound pin.",
    holds="Each is refused.",
)  # fmt: skip
async def table_locks(scene: Scene) -> str:
    tried = 0
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        tables = await connection.fetch(
            "select format('%I.%I', n.nspname, c.relname) as name from pg_class c"
            " join pg_namespace n on n.oid = c.relnamespace"
            " where n.nspname in ('app', 'ops', 'fx', 'migrations') and c.relkind in ('r', 'p')"
        )
        for row in tables:
            for mode in ("share update exclusive", "share", "share row exclusive", "exclusive", "access exclusive"):
                await must_refuse(scene, connection, f"lock table {row['name']} in {mode} mode nowait")
                tried += 1
    return f"{tried} locks refused"


@attack(
    105, "sessions", "Counters and sizes of what all tenants have together are told to nobody.",
    tries="Statistics of tables, indexes, the database, the log and the transaction, and sizes, as every login.",
    holds="Each is refused. (What EXPLAIN and pg_class still tell stands in docs/redteam.md.)",
)  # fmt: skip
async def counters(scene: Scene) -> str:
    statements = [f"select * from pg_{view}" for view in (
        "stat_user_tables", "stat_xact_user_tables", "statio_user_tables", "stat_user_indexes", "stat_database",
        "stat_wal", "stat_io", "stat_bgwriter", "stat_archiver",
    )]  # fmt: skip
    sizes = [f"select pg_{size}('app.subjects')" for size in ("relation_size", "table_size", "total_relation_size")]
    for role in SERVING:
        await must_refuse_all(scene, role, [*statements, *sizes, "select pg_database_size(current_database())"])
    return f"{len(statements) + len(sizes) + 1} looks refused to {len(SERVING)} logins"


ATTACKS: Final[tuple[Attack, ...]] = (swapped_statement, left_overs, spent_grant, own_role, table_locks, counters)
