"""Savepoints, rollbacks, prepared plans, cursors and pooled connections."""

from __future__ import annotations

from typing import Any, Final

import asyncpg

from fintokenx.app import base, provision
from fintokenx.app.redteam.scene import Scene
from fintokenx.app.redteam.sql import CHANGE, entry, must_show_nothing, must_show_only, session_row
from fintokenx.app.redteam.types import Attack, Broken, attack
from fintokenx.kernel.bus import Reactions
from fintokenx.kernel.db import Database, clean_session, open_pool

_SEEN: Final = "select tenant_id, id, legal_name from app.subjects"


@attack(
    33, "games", "Savepoints give a pin back and nothing more.",
    tries="The pin is set, unset and swapped inside nested savepoints that are released or rolled back.",
    holds="What shows is always the rows of the pin that holds at that moment.",
)  # fmt: skip
async def savepoints(scene: Scene) -> str:
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        for forged in ("", scene.there.tenant_id, scene.pin(scene.there)[:-1]):
            await connection.execute("savepoint s")
            await connection.fetchval("select set_config('fx.pin', $1, true)", forged)
            await must_show_nothing(connection, "fx_app", "a forged pin in a savepoint")
            await connection.execute("savepoint t; rollback to savepoint t; release savepoint t")
            await must_show_nothing(connection, "fx_app", "after an inner rollback")
            await connection.execute("rollback to savepoint s")
            await must_show_only(connection, scene.here, "after the rollback")
    return "three forged pins, forgotten with their savepoint"


@attack(
    34, "games", "A pin ends with its transaction.",
    tries="COMMIT and ROLLBACK in the middle, chained transactions, then reads on the same connection.",
    holds="Not one row shows afterwards.",
)  # fmt: skip
async def after_commit(scene: Scene) -> str:
    for ending in ("commit", "rollback", "commit and chain", "rollback and chain", "abort"):
        connection = await scene.connect("fx_app")
        try:
            await connection.execute("begin")
            await connection.fetchval("select set_config('fx.pin', $1, true)", scene.pin(scene.here))
            await connection.execute(ending)
            if not connection.is_in_transaction():
                await connection.execute("begin")
            await must_show_nothing(connection, "fx_app", f"after {ending}")
            await connection.execute("rollback")
        finally:
            await connection.close()
    return "five endings, no row"


@attack(
    35, "games", "An entry that is rolled back leaves no change, and a change no missing entry.",
    tries="A recorded change is kept while its entry's savepoint is rolled back; constraints are made immediate.",
    holds="Entry and rows go together; the chain's trigger cannot be put off beyond the commit.",
)  # fmt: skip
async def entry_rolled_back(scene: Scene) -> str:
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        row = session_row(scene, scene.here.tenant_id, scene.here.canary_id)
        await connection.execute("savepoint s")
        await connection.execute(CHANGE, *entry(scene, row))
        await connection.execute("rollback to savepoint s")
        left = await connection.fetchval("select count(*) from app.sessions where id = $1", row["row"]["id"])
        if left:
            raise Broken("the row outlives its entry")
        given = entry(scene, row)
        await connection.execute(CHANGE, *given)
        await connection.execute("set constraints all immediate")
        if not await connection.fetchval("select count(*) from app.audit_entries where id = $1", given[0]):
            raise Broken("the change stands and its entry does not")
    return "entry and rows go together"


@attack(
    36, "games", "A plan prepared under one pin shows nothing under another.",
    tries="PREPARE and generic plans under the attacker's pin; EXECUTE under the victim's, a forged one and none.",
    holds="Each execution shows the rows of its own pin.",
)  # fmt: skip
async def prepared_plans(scene: Scene) -> str:
    connection = await scene.connect("fx_app")
    try:
        await connection.execute("set plan_cache_mode = force_generic_plan")
        await connection.execute(f"prepare p as {_SEEN}")
        statement = await connection.prepare(_SEEN)
        for side in (scene.here, scene.there, scene.here):
            for pin in (scene.pin(side), "", scene.pin(side)[:-1]):
                async with connection.transaction():
                    await connection.fetchval("select set_config('fx.pin', $1, true)", pin)
                    rows = [*await statement.fetch(), *await connection.fetch("execute p")]
                wanted = {side.tenant_id} if pin == scene.pin(side) else set()
                if {row["tenant_id"] for row in rows} - wanted:
                    raise Broken("a prepared plan shows rows of another pin")
        if await statement.fetch() or await connection.fetch("execute p"):
            raise Broken("a prepared plan shows rows without a pin")
    finally:
        await connection.close()
    return "eighteen executions, own rows only"


async def one_connection(scene: Scene) -> tuple[Database, Any]:
    password = await scene.vault.secret(provision.password_of("fx_app"))
    pool = await open_pool(base.dsn(scene.settings, "fx_app"), password, size_max=1)
    return Database(pool, pins=scene.pins, clock=scene.clock, ids=scene.ids, reactions=Reactions()), pool


@attack(
    37, "games", "A pooled connection carries no pin to the next request.",
    tries="Injected SQL sets the pin, row_security, search_path, every timeout, read-only, isolation and the "
    "platform's own settings for the session, not the transaction, one after the other, in the product's own pool of "
    "one connection; then the other tenant comes, then nobody.",
    holds="The next request sees its own rows and its own settings; whoever is not pinned sees none.",
)  # fmt: skip
async def pool_settings(scene: Scene) -> str:
    database, pool = await one_connection(scene)
    bent = {
        "row_security": "off", "search_path": "redteam", "statement_timeout": "1", "lock_timeout": "1",
        "transaction_timeout": "1", "idle_in_transaction_session_timeout": "1", "default_transaction_read_only": "on",
        "transaction_isolation": "serializable", "fx.bypass_rls": "true", "fx.entry": "(0,1)", "fx.note": "left behind",
    }  # fmt: skip
    look = "select " + ", ".join(f"coalesce(current_setting('{name}', true), '')" for name in bent)
    poison = [f"set session fx.pin = '{scene.pin(scene.there)}'"]
    poison += [f"set session {name} = '{value}'" for name, value in bent.items() if name != "transaction_isolation"]
    poison.append("set session characteristics as transaction isolation level serializable, read only")
    try:
        async with database.transaction(scene.here.tenant_id, request_id=scene.run) as tx:
            sound = tuple((await tx.rows(look))[0])
        for statement in poison:
            async with database.transaction(scene.there.tenant_id, request_id=scene.run) as tx:
                await tx.connection.execute(statement)
            async with database.transaction(scene.here.tenant_id, request_id=scene.run) as tx:
                if tuple((await tx.rows(look))[0]) != sound:
                    raise Broken(f"after «{statement[:60]}» the next request has other settings")
        async with database.transaction(scene.here.tenant_id, request_id=scene.run) as tx:
            await must_show_only(tx.connection, scene.here, "after a poisoned connection")  # type: ignore[arg-type]
        async with database.transaction(scene.there.tenant_id, request_id=scene.run) as tx:
            await tx.connection.execute(poison[0])
        connection = await clean_session(pool)
        try:
            async with connection.transaction():
                await must_show_nothing(connection, "fx_app", "not pinned, after a poisoned one")  # type: ignore[arg-type]
        finally:
            await pool.release(connection)
    except asyncpg.PostgresError as fault:
        raise Broken(f"what the request before left behind breaks the next one: {type(fault).__name__}") from fault
    finally:
        await pool.close()
    return f"{len(poison)} settings, all gone"


@attack(
    38, "games", "A pooled connection carries no rows to the next request.",
    tries="Injected SQL holds a cursor open beyond the commit, prepares a statement of its own and listens to a "
    "channel, each in a request of its own, in the product's own pool of one connection; then the other tenant's "
    "session looks for it. (The driver's own statements, replaced: RT-100.)",
    holds="Cursor, statement and channel are gone.",
)  # fmt: skip
async def pool_cursors(scene: Scene) -> str:
    database, pool = await one_connection(scene)
    left = {
        f"declare stolen cursor with hold for {_SEEN}": "select count(*) from pg_cursors where name = 'stolen'",
        f"prepare stolen_plan as {_SEEN}": "select count(*) from pg_prepared_statements where name = 'stolen_plan'",
        "listen stolen_channel": "select count(*) from pg_listening_channels()",
    }
    try:
        for leave, there in left.items():
            async with database.transaction(scene.there.tenant_id, request_id=scene.run) as tx:
                await tx.connection.execute(leave)
            async with database.transaction(scene.here.tenant_id, request_id=scene.run) as tx:
                if await tx.value(there):
                    raise Broken(f"«{leave[:30]}» of the request before is there for the next one")
    finally:
        await pool.close()
    return "no cursor, no statement, no channel"


ATTACKS: Final[tuple[Attack, ...]] = (
    savepoints, after_commit, entry_rolled_back, prepared_plans, pool_settings, pool_cursors
)  # fmt: skip
