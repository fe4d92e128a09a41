"""The functions that run with their owner's power: called by others, with odd arguments, or shadowed."""

from __future__ import annotations

from typing import Any, Final

import asyncpg

from fintokenx.app.redteam.scene import SERVING, Scene, leaked
from fintokenx.app.redteam.sql import CHANGE, entry, must_refuse, must_refuse_all, session_row
from fintokenx.app.redteam.types import Attack, Broken, attack
from fintokenx.kernel.caller import Role
from fintokenx.kernel.db import RawConnection

_REFUSED: Final = "Each call is refused."


@attack(
    21, "definers", "The platform's inner functions cannot be called.",
    tries="fx.apply, fx.protect, fx.admit_readers, fx.link, fx.guard_change, fx.entry_bytes … as every login.",
    holds=_REFUSED,
)  # fmt: skip
async def inner_functions(scene: Scene) -> str:
    calls = (
        # With a row, so that a login that may call it (a replay in a shadow) is still one that may write nothing.
        """select fx.apply('app', '[{"op":"delete","table":"subjects","key":{"id":"x"},"before":{}}]')""",
        """select fx.apply('ops', '[{"op":"insert","table":"jobs","row":{"id":"x"}}]')""",
        "select fx.protect('subjects', 'auth', 'subject')",
        "select fx.admit_readers('subjects')",
        "select fx.link()",
        "select fx.guard_change()",
        "select fx.deny()",
        "select fx.bypass_tenants()",
        "select fx.refuse_misfit('X', '[]')",
        "select fx.own_lxid()",
        "select fx.tenants_asked_for('subject', 'x')",
    )
    spelling = "select fx.entry_bytes(1, '', now(), '', '', '', '', '', '', '', '{}', '', 1)"
    for role in SERVING:
        await must_refuse_all(scene, role, calls, states=("42501", "0A000"))
        if role != "fx_sealer":
            await must_refuse_all(scene, role, ("select fx.take_chain_lock()",))
        if role != "fx_auditor":
            await must_refuse_all(scene, role, (spelling,))
        if role != "fx_app":
            async with scene.session(role, pin=scene.pin(scene.here)) as connection:
                await must_refuse(scene, connection, CHANGE, *entry(scene))
    return f"{len(calls) + 3} functions refused to {len(SERVING)} logins"


@attack(
    22, "definers", "fx.change does nothing without a pin.",
    tries="An entry with a row, with no pin, an empty one, a forged one.", holds=_REFUSED,
)  # fmt: skip
async def change_unpinned(scene: Scene) -> str:
    row = session_row(scene, scene.there.tenant_id, scene.there.canary_id)
    for pin in (None, "", scene.there.tenant_id, scene.pin(scene.there)[:-1]):
        async with scene.session(pin=pin) as connection:
            await must_refuse(scene, connection, CHANGE, *entry(scene, row))
    return "four pins refused"


@attack(
    23, "definers", "fx.change reaches domain tables and nothing else.",
    tries="Rows for the record itself, batches, anchors, actions, and names with quotes, dots and semicolons in them.",
    holds="Refused: no action carries them, or there is no such table.",
)  # fmt: skip
async def change_other_tables(scene: Scene) -> str:
    tables = (
        "audit_entries", "audit_actions", "merkle_batches", "chain_anchors", "pin_keys", "ops.jobs", "fx.pin_keys",
        'subjects"; drop table app.subjects; --', "subjects set", "pg_catalog.pg_authid", "", "SUBJECTS",
    )  # fmt: skip
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        for table in tables:
            # Ids that a number may be, too: what refuses is not to be the spelling.
            row = {"op": "update", "table": table, "key": {"id": "1"}, "before": {"id": "1"}, "after": {"id": "2"}}
            inserted = {"op": "insert", "table": table, "row": {"id": "1", "tenant_id": scene.here.tenant_id}}
            for operation in (row, inserted):
                states = ("FX013", "42501", "42P01", "42602", "42703", "42704", "42601")
                await must_refuse(scene, connection, CHANGE, *entry(scene, operation), states=states)
    return f"{len(tables)} tables refused"


@attack(
    24, "definers", "Column names in a diff are names, never SQL.",
    tries="Keys such as «id\" = '' or true --» in every part of a row operation.",
    holds="There is no such column.",
)  # fmt: skip
async def change_columns(scene: Scene) -> str:
    names = ('id" = id or true --', "id); drop table app.subjects; --", "id = 'x', role", "ctid", "tableoid", "xmin")
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        for name in names:
            key = {"tenant_id": scene.here.tenant_id, "id": scene.here.canary_id}
            operations = (
                {"op": "update", "table": "subjects", "key": key, "before": {name: 1}, "after": {name: 1}},
                {"op": "delete", "table": "subjects", "key": {name: 1}, "before": {}},
                {"op": "insert", "table": "subjects", "row": {**key, name: 1}},
            )
            for operation in operations:
                states = ("FX009", "FX013", "42703", "0A000", "FX003", "42P10", "23502", "42601")
                await must_refuse(scene, connection, CHANGE, *entry(scene, operation), states=states)
    return f"{len(names)} names refused in three operations"


@attack(
    25, "definers", "An entry says one thing to every reader.",
    tries="Diffs with doubled keys, other keys, no keys, a list, deep nesting, NUL.",
    holds="Refused as malformed.",
)  # fmt: skip
async def odd_diffs(scene: Scene) -> str:
    deep = "[" * 200_000
    diffs = (
        '{"facts":[],"rows":[],"rows":[{"op":"delete"}]}', '{"facts":[]}', "{}", "[]", "null", '"x"', "1", deep,
        '{"facts":[],"rows":[],"more":1}', '{"facts":[],"rows":{"op":"x"}}', '{"facts":[],"rows":[{"op":"truncate"}]}',
        '{"facts":["\\u0000"],"rows":[]}',
    )  # fmt: skip
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        for diff in diffs:
            states = (
                "FX004",
                "FX008",
                "FX009",
                "FX013",
                "FX014",
                "22004",
                "22023",
                "22P02",
                "22P05",
                "54001",
                "42501",
                "22032",
            )
            await must_refuse(scene, connection, CHANGE, *entry(scene, diff=diff), states=states)
    return f"{len(diffs)} diffs refused"


@attack(
    26, "definers", "Nobody records an action of another role.",
    tries="TOKEN_MINT as seller, MLRO_APPROVE as administrator, every staff action as every customer, unknown actions.",
    holds="The database refuses each entry (FX005, FX006, FX007).",
)  # fmt: skip
async def wrong_role(scene: Scene) -> str:
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        rows = await connection.fetch("select action, actor_roles from app.audit_actions order by action")
        allowed = {row["action"]: set(row["actor_roles"]) for row in rows}
        wanted = [("TOKEN_MINT", "seller"), ("MLRO_APPROVE", "platform_admin"), ("NO_SUCH_ACTION", "system")]
        everybody = ("seller", "buyer", "lender", "investor", "broker", "partner_admin", "agent", "", "postgres")
        wanted += [(action, role) for action, roles in allowed.items() for role in everybody if role not in roles]
        for action, role in wanted:
            if role in allowed.get(action, set()):
                raise Broken(f"{role} may record {action}: the catalogue of actions has changed; review this attack")
            states = ("FX005", "FX006")
            await must_refuse(scene, connection, CHANGE, *entry(scene, action=action, role=role), states=states)
    return f"{len(wanted)} pairs of action and role refused"


@attack(
    27, "definers", "An administrator acts for a customer by name or not at all.",
    tries="Every customer-facing action as platform_admin without on_behalf_of; every one that forbids it, with it.",
    holds="The database refuses each entry (FX006, FX007, or FX030 and FX031 for want of an admin session).",
)  # fmt: skip
async def on_behalf(scene: Scene) -> str:
    async with scene.session(pin=scene.pin(scene.there)) as connection:
        rows = await connection.fetch(
            "select action, actor_roles, on_behalf_of_rule, customer_facing from app.audit_actions order by action"
        )
        tried = 0
        for row in rows:
            states = ("FX006", "FX007", "FX030", "FX031", "FX032")
            if row["customer_facing"]:
                given = entry(scene, action=row["action"], role="platform_admin")
                await must_refuse(scene, connection, CHANGE, *given, states=states)
                tried += 1
            if row["on_behalf_of_rule"] == "forbidden":
                given = entry(scene, action=row["action"], role=row["actor_roles"][0], on_behalf_of="sub_x")
                await must_refuse(scene, connection, CHANGE, *given, states=states)
                tried += 1
    if not tried:
        raise Broken("there is no customer-facing action left to try; review this attack")
    return f"{tried} entries refused"


@attack(
    28, "definers", "No state changes but along its machine.",
    tries="The attacker's own canary is made ACTIVE, another state, another role, another id; frozen and then set free "
    "by an action that frees nobody; a session is ended and revived; all recorded.",
    holds="The database refuses each row (FX002, FX010, or FX013 where no action carries it).",
)  # fmt: skip
async def machine(scene: Scene) -> str:
    key = {"tenant_id": scene.here.tenant_id, "id": scene.here.canary_id}
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        for before, after in (
            ({"state": "CREATED"}, {"state": "ACTIVE"}),
            ({"state": "CREATED"}, {"state": "NO_SUCH_STATE"}),
            ({"role": "seller"}, {"role": "platform_admin"}),
            ({"id": scene.here.canary_id}, {"id": scene.ids.new("sub")}),
        ):
            operation = {"op": "update", "table": "subjects", "key": key, "before": before, "after": after}
            # Of the actions that carry a subject's state, so that it is the machine that refuses.
            given = entry(scene, operation, action="SUBJECT_SUSPEND", role="system")
            await must_refuse(scene, connection, CHANGE, *given, states=("FX002", "FX010", "FX013"))
        await _no_way_back(scene, connection)
    return "six moves refused"


async def _no_way_back(scene: Scene, connection: RawConnection) -> None:
    """Out of a state that was entered soundly a moment before, in the same transaction."""
    session = session_row(scene, scene.here.tenant_id, scene.here.canary_id)
    await connection.execute(CHANGE, *entry(scene, session))
    key = {"tenant_id": scene.here.tenant_id, "id": session["row"]["id"]}
    ended: dict[str, Any] = {
        "op": "update", "table": "sessions", "key": key, "before": {"revoked_at": None, "state": "ACTIVE"},
        "after": {"revoked_at": "2026-01-01T00:01:00Z", "state": "REVOKED"},
    }  # fmt: skip
    await connection.execute(CHANGE, *entry(scene, ended, action="SESSION_END"))
    revived = {**ended, "before": ended["after"], "after": ended["before"]}
    given = entry(scene, revived, action="SESSION_END")
    await must_refuse(scene, connection, CHANGE, *given, states=("FX002",))
    frozen: dict[str, Any] = {
        "op": "update", "table": "subjects", "key": {"tenant_id": scene.here.tenant_id, "id": scene.here.canary_id},
        "before": {"frozen_from": None, "state": "CREATED"},
        "after": {"frozen_from": "CREATED", "state": "FROZEN"},
    }  # fmt: skip
    officer = scene.here.subjects[Role.MLRO]
    await connection.execute(CHANGE, *entry(scene, frozen, action="SUBJECT_FREEZE", role="mlro", actor=officer))
    freed = {**frozen, "before": {"state": "FROZEN"}, "after": {"state": "ACTIVE"}}
    given = entry(scene, freed, action="SUBJECT_RESUME", role="mlro", actor=officer)
    await must_refuse(scene, connection, CHANGE, *given, states=("FX002",))


@attack(
    29, "definers", "fx.entry set by hand explains no change.",
    tries="fx.entry is set to an old entry's id and to one of this transaction, then rows are written directly.",
    holds="Refused: the login writes no domain table, and an old entry is not of this transaction.",
)  # fmt: skip
async def forged_entry(scene: Scene) -> str:
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        known = await connection.fetchval("select id from app.audit_entries order by seq desc limit 1")
        given = entry(scene, session_row(scene, scene.here.tenant_id, scene.here.canary_id))
        await connection.execute(CHANGE, *given)
        for entry_id in (known, given[0]):
            await connection.fetchval("select set_config('fx.entry', $1, true)", entry_id)
            for statement in (
                "update app.subjects set state = 'ACTIVE'",
                "delete from app.sessions",
                "insert into app.sessions (tenant_id) values ('x')",
            ):
                await must_refuse(scene, connection, statement)
    return "two entries, three statements each, refused"


@attack(
    30, "definers", "Nothing can be put in front of the platform's own names.",
    tries="Same-named tables, views, functions, operators, casts and types in pg_temp, public, app, fx, ops.",
    holds="Each is refused: no login may create anything, not even a temporary table.",
)  # fmt: skip
async def shadows(scene: Scene) -> str:
    statements = [
        "create temporary table subjects (tenant_id text)",
        "create temporary view subjects as select 1",
        "create temporary sequence invoice_numbers",
        "create function pg_temp.tenant() returns text language sql as $$ select 'x' $$",
        "create type pg_temp.text as (a int)",
        "create operator pg_temp.= (leftarg = text, rightarg = text, function = pg_catalog.texteq)",
        "create schema redteam",
        "create function pg_catalog.lower2(text) returns text language sql as $$ select $1 $$",
        "select * into temp x from app.subjects",
        "prepare p as create temporary table t (a int)",
    ]
    for schema in ("public", "app", "fx", "ops"):
        statements += [
            f"create table {schema}.subjects (a int)",
            f"create view {schema}.subjects as select * from app.subjects",
            f"create function {schema}.current_setting(text, boolean) returns text language sql as $$ select 'x' $$",
            f"create or replace function {schema}.tenant() returns text language sql as $$ select 'tnt_fintokenx' $$",
            f"create operator {schema}.= (leftarg = text, rightarg = text, function = pg_catalog.texteq)",
            f"create domain {schema}.text as pg_catalog.text",
            f"create type {schema}.int4 as (a int)",
            f"create aggregate {schema}.count (int) (sfunc = pg_catalog.int4pl, stype = int)",
        ]
    statements += [
        "create cast (text as int) with inout as implicit",
        "create function fx.cheap(text) returns bool cost 0.0001 language sql as $$ select $1::int = 1 $$",
    ]
    for role in SERVING:
        await must_refuse_all(scene, role, statements, states=("42501", "42601", "42P13"))
    return f"{len(statements)} objects refused to {len(SERVING)} logins"


@attack(
    31, "definers", "The search path of a session changes nothing inside the guards.",
    tries="search_path = '', pg_temp and odd schemas before each guarded read and write.",
    holds="Own rows under the own pin, none without, and refusals as before.",
)  # fmt: skip
async def search_path(scene: Scene) -> str:
    for path in ("''", "pg_temp, public", "ops, app", '"$user"', "redteam"):
        async with scene.session(pin=scene.pin(scene.here)) as connection:
            await connection.execute(f"set local search_path = {path}")
            rows = await connection.fetch("select distinct tenant_id from app.subjects")
            if [row["tenant_id"] for row in rows] != [scene.here.tenant_id]:
                raise Broken(f"with search_path {path} other rows show")
            row = session_row(scene, scene.there.tenant_id, scene.there.canary_id)
            await must_refuse(scene, connection, CHANGE, *entry(scene, row))
            await connection.execute("set local fx.pin = ''")
            if await connection.fetchval("select count(*) from app.subjects"):
                raise Broken(f"with search_path {path} rows show without a pin")
    return "five search paths, same answers"


@attack(
    32, "definers", "A leaky expression sees no row that its session may not.",
    tries="Casts that fail with the value in the message, in WHERE and in ORDER BY, on every text column, under the "
    "attacker's pin and none; on the subjects also with parallel, join and scan methods forced.",
    holds="No message holds a word of the other tenant; without a pin nothing is evaluated at all.",
)  # fmt: skip
async def leaky(scene: Scene) -> str:
    word = scene.there.canary_name
    statements = [
        "select count(*) from app.subjects where (legal_name || id)::int = 1",
        "select count(*) from app.subjects where legal_name like 'Red Team%' and legal_name::int > 0",
        "select * from app.subjects order by legal_name::int",
        "select 1 / (case when legal_name = $$" + word + "$$ then 0 else 1 end) from app.subjects",
        "select count(*) from app.subjects s join app.sessions t on t.subject_id = s.id and s.legal_name::int = 1",
        "select xmlparse(document legal_name) from app.subjects",
        "select legal_name::jsonb from app.subjects",
    ]
    settings = ("", "enable_seqscan = off", "enable_indexscan = off", "enable_hashjoin = off", "jit = on",
                "debug_parallel_query = on")  # fmt: skip
    for setting in settings:
        async with scene.session() as connection:
            if setting:
                await connection.execute(f"set local {setting}")
            for statement in statements:
                await connection.fetch(statement)  # no pin: no row, so nothing can fail
        async with scene.session(pin=scene.pin(scene.here)) as connection:
            if setting:
                await connection.execute(f"set local {setting}")
            for statement in statements[:3] + statements[4:]:
                await must_refuse(scene, connection, statement, states=("22P02", "2200M", "2200S", "0A000"))
            await connection.fetch(statements[3])  # divides by zero only if the other tenant's row were looked at
    columns = await _leaky_columns(scene)
    return f"{len(statements)} expressions, {len(settings)} plans, {columns} columns, no foreign word"


async def _leaky_columns(scene: Scene) -> int:
    """Each text column of each table that fx_app may read, cast in WHERE and in ORDER BY; how many."""
    async with scene.session() as blind, scene.session(pin=scene.pin(scene.here)) as pinned:
        columns = await blind.fetch(
            """select format('%I.%I', n.nspname, c.relname) as relation, quote_ident(a.attname) as name
                 from pg_class c join pg_namespace n on n.oid = c.relnamespace
                 join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                where c.relkind in ('r', 'p') and n.nspname in ('app', 'ops') and a.atttypid = 'text'::regtype
                  and exists (select from pg_attribute t where t.attrelid = c.oid and t.attname = 'tenant_id')
                  and has_column_privilege(c.oid, a.attnum, 'select')"""
        )
        for column in columns:
            for clause in ("where {0}::int = 1", "order by {0}::int"):
                statement = f"select 1 from {column['relation']} {clause.format(column['name'])}"
                await blind.fetch(statement)  # no pin: no row, so nothing can fail
                await pinned.execute("savepoint leaky")
                try:
                    await pinned.fetch(statement)
                except asyncpg.DataError as fault:
                    if leaked(scene.there, fault, fault.detail):
                        raise Broken(f"{column['name']}: the message shows a word of the other tenant") from fault
                finally:
                    await pinned.execute("rollback to savepoint leaky")
    return len(columns)


ATTACKS: Final[tuple[Attack, ...]] = (
    inner_functions, change_unpinned, change_other_tables, change_columns, odd_diffs, wrong_role, on_behalf, machine,
    forged_entry, shadows, search_path, leaky,
)  # fmt: skip
