"""Side ways to other tenants' facts inside the database."""

from __future__ import annotations

import asyncio
import io
from typing import Final

import asyncpg

from fintokenx.app import base, provision
from fintokenx.app.redteam.scene import SERVING, Scene, leaked, tenant_tables
from fintokenx.app.redteam.sql import must_refuse, must_refuse_all
from fintokenx.app.redteam.types import Attack, Broken, attack
from fintokenx.kernel.db import RawConnection, clean_session, open_pool


@attack(
    46, "leaks", "Statistics show no foreign value.",
    tries="pg_stats, pg_stats_ext, pg_statistic and the planner's estimates for the victim's words and missing ones.",
    holds="No word of the victim; equal estimates for what exists and what does not.",
)  # fmt: skip
async def statistics(scene: Scene) -> str:
    for role in SERVING:
        await must_refuse_all(scene, role, ("select * from pg_statistic", "select * from pg_statistic_ext_data"))
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        rows = await connection.fetch(
            "select tablename, attname from pg_stats where schemaname in ('app', 'ops')"
            " and (most_common_vals is not null or histogram_bounds is not null)"
        )
        for extended in ("pg_stats_ext", "pg_stats_ext_exprs"):
            if leaked(scene.there, await connection.fetch(f"select e::text from {extended} e")):
                raise Broken(f"{extended} shows a word of the other tenant")
        tenant = {name.split(".")[1] for name in await tenant_tables(connection)}
        shown = sorted({row["tablename"] for row in rows} & tenant)
        if shown:
            raise Broken(f"pg_stats shows values of {', '.join(shown[:5])}")
        estimates = []
        for word in (scene.there.canary_name, "Nobody At All Ltd"):
            plan = await connection.fetch(f"explain select * from app.subjects where legal_name = '{word}'")
            text = "\n".join(row[0] for row in plan).replace(word, "…")
            if leaked(scene.there, text):
                raise Broken("EXPLAIN shows a word of the other tenant")
            estimates.append(text)
    if estimates[0] != estimates[1]:
        raise Broken("the planner's estimates tell an existing foreign value from a missing one")
    return "no value in any statistic; equal estimates"


@attack(
    47, "leaks", "What others are doing cannot be watched.",
    tries="pg_stat_activity, backend activity, locks, progress views, prepared transactions, replication slots.",
    holds="Refused, or empty.",
)  # fmt: skip
async def watching(scene: Scene) -> str:
    for role in SERVING:
        await must_refuse_all(
            scene,
            role,
            (
                "select * from pg_stat_activity",
                "select pg_stat_get_backend_activity(1)",
                "select * from pg_stat_get_activity(null)",
                "select * from pg_locks",
                "select * from pg_stat_replication",
                "select * from pg_stat_ssl",
                "select pg_log_backend_memory_contexts(1)",
                "select * from pg_get_backend_memory_contexts()",
                *(f"select * from pg_stat_progress_{work}" for work in ("vacuum", "analyze", "copy", "create_index")),
            ),
        )
        async with scene.session(role) as connection:
            for view in ("pg_prepared_xacts", "pg_replication_slots"):
                if await connection.fetch(f"select * from {view}"):
                    raise Broken(f"{view} shows something to {role}")
    return f"refused to {len(SERVING)} logins"


@attack(
    48, "leaks", "Views look with their reader's eyes.",
    tries="Every view and materialised view of the platform's schemas is read under the attacker's pin.",
    holds="There is none without security_invoker, and none shows a foreign row.",
)  # fmt: skip
async def views(scene: Scene) -> str:
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        rows = await connection.fetch(
            """select format('%I.%I', n.nspname, c.relname) as name, c.relkind = 'm' as stored,
                      coalesce('security_invoker=true' = any (c.reloptions), false) as invoker
                 from pg_class c join pg_namespace n on n.oid = c.relnamespace
                where n.nspname in ('app', 'ops', 'fx', 'public', 'migrations') and c.relkind in ('v', 'm')"""
        )
        for row in rows:
            if row["stored"] or not row["invoker"]:
                raise Broken(f"{row['name']} runs with its owner's eyes")
            inner = connection.transaction()
            await inner.start()
            try:
                seen = await connection.fetch(f"select * from {row['name']}")
            except asyncpg.InsufficientPrivilegeError:
                continue
            finally:
                await inner.rollback()
            if leaked(scene.there, *[dict(one) for one in seen]):
                raise Broken(f"{row['name']} shows a word of the other tenant")
    return f"{len(rows)} views"


@attack(
    49, "leaks", "Sequences cannot be read, set or wound back, and references do not count aloud.",
    tries="last_value, the catalogue, setval, RESTART, currval and lastval of another session's number.",
    holds="Refused. (nextval tells injected SQL a count of the platform; references are a keyed permutation.)",
)  # fmt: skip
async def sequences(scene: Scene) -> str:
    async with scene.session() as connection:
        names = await connection.fetch(
            "select format('%I.%I', n.nspname, c.relname) as name from pg_class c"
            " join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'S' and n.nspname in ('app', 'fx', 'ops')"
        )
    for role in SERVING:
        for [name] in names:
            statements = [f"select last_value from {name}", f"select setval('{name}', 1)",
                          f"alter sequence {name} restart"]  # fmt: skip
            await must_refuse_all(scene, role, statements)
            async with scene.session(role) as connection:
                await must_refuse(scene, connection, f"select currval('{name}')", states=("42501", "55000"))
        async with scene.session(role) as connection:
            await must_refuse(scene, connection, "select lastval()", states=("42501", "55000"))
            known = await connection.fetchval(
                """select count(*) from pg_class c
                    where c.relnamespace in (select oid from pg_namespace where nspname in ('app', 'fx', 'ops'))
                      and case when c.relkind = 'S' and not has_sequence_privilege(c.oid, 'usage')
                               then pg_sequence_last_value(c.oid) is not null end"""
            )
            if known:
                raise Broken("the catalogue shows the numbers of the platform")
    return f"{len(names)} sequences refused to {len(SERVING)} logins"


@attack(
    50, "leaks", "Nothing can be left in the database for another tenant to find.",
    tries="Large objects, temporary tables, comments on things of every kind, security labels, settings of the "
    "database and of every other role, as every login; a setting of the login's own.",
    holds="Each is refused. What Postgres lets every login set for itself is gone before the product's next session "
    "serves anybody.",
)  # fmt: skip
async def dead_drops(scene: Scene) -> str:
    async with scene.session() as connection:
        database = await connection.fetchval("select quote_ident(current_database())")
        if await connection.fetchval("select count(*) from pg_seclabels"):
            raise Broken("there are security labels; review this attack")
    things = ("table app.subjects", "column app.subjects.id", "schema app", "function fx.tenant()", "role {role}",
              "sequence fx.invoice_numbers", "policy tenant_only on app.subjects", f"database {database}",
              "trigger a_guard_change on app.subjects")  # fmt: skip
    for role in SERVING:
        await must_refuse_all(
            scene,
            role,
            (
                "select lo_from_bytea(0, 'x')",
                "select lo_create(0)",
                "select lo_creat(-1)",
                "select lo_put(1, 0, 'x')",
                "create temporary table drop_here (a text)",
                *(f"comment on {thing.format(role=role)} is 'x'" for thing in things if role not in thing),
                f"alter database {database} set application_name = 'left by redteam'",
                *(
                    f"alter role {other} set application_name = 'left by redteam'"
                    for other in ("all", *SERVING)
                    if other != role
                ),
            ),
        )
        # Without a provider nobody can label anything, which is what is said (22023).
        await must_refuse_all(scene, role, ["security label on table app.subjects is 'x'"], states=("42501", "22023"))
        await _own_note(scene, role)
    return f"refused to {len(SERVING)} logins, or gone"


async def _own_note(scene: Scene, role: str) -> None:
    attacker = await scene.connect(role)
    try:
        await attacker.execute(f"alter role {role} set application_name = 'left by redteam'")
        pool = await open_pool(
            base.dsn(scene.settings, role), await scene.vault.secret(provision.password_of(role)), size_max=1
        )
        connection = await clean_session(pool)
        note = await connection.fetchval(
            "select current_setting('application_name') = 'left by redteam' or exists (select from pg_db_role_setting"
            " where array_to_string(setconfig, ' ') like '%left by redteam%')"
        )
        await pool.release(connection)
        await pool.close()
    finally:
        await attacker.execute(f"alter role {role} reset application_name")
        await attacker.close()
    if note:
        raise Broken(f"a setting that {role} left for itself is there in the next session that serves")


@attack(
    51, "leaks", "Listening hears nothing of others.",
    tries="LISTEN on likely channels while the victim works through the API.", holds="Not one notification.",
)  # fmt: skip
async def listening(scene: Scene) -> str:
    heard: list[str] = []
    connection = await scene.connect("fx_app")
    channels = ("fx", "app", "ops", "jobs", "fx_app", "outbox", scene.there.tenant_id)

    def hear(_connection: object, _pid: int, channel: str, _payload: object) -> None:
        heard.append(channel)

    try:
        for channel in channels:
            await connection.add_listener(channel, hear)
        await scene.ask(
            "POST", "/v1/sessions/codes", json={"email": scene.there.canary_email}, headers=scene.there.headers()
        )
        await asyncio.sleep(0.05)
        await connection.fetchval("select 1")
        for channel in channels:
            await connection.remove_listener(channel, hear)
    finally:
        await connection.close()
    if heard:
        raise Broken(f"heard something on {', '.join(sorted(set(heard)))}")
    return f"{len(channels)} channels silent"


@attack(
    52, "leaks", "Odd ways to read a table end at the same policy.",
    tries="TABLESAMPLE, ctid guesses, ONLY, TABLE, row locks, whole-row and system columns, set operations, lateral "
    "joins, window functions, xml and json exports, COPY TO STDOUT.",
    holds="No foreign row, no foreign word.",
)  # fmt: skip
async def odd_reads(scene: Scene) -> str:
    there = scene.there
    reads = (
        "select * from app.subjects tablesample system (100)",
        "select * from app.subjects tablesample bernoulli (100)",
        """select * from app.subjects where ctid = any (array(select format('(%s,%s)', b, i)::tid
             from generate_series(0, 20) b, generate_series(1, 60) i))""",
        "select * from only app.subjects",
        "table app.subjects",
        "select s, s.ctid, s.xmin, s.tableoid from app.subjects s",
        "select * from app.subjects union all select * from app.subjects",
        f"select * from app.subjects where tenant_id = '{there.tenant_id}' or true",
        "select * from app.subjects a, lateral (select * from app.subjects b where b.id <> a.id) c",
        "select first_value(legal_name) over (order by tenant_id), * from app.subjects",
        "select json_agg(s) from app.subjects s",
        "select row_to_json(e) from app.audit_entries e",
        """with recursive r as (select * from app.subjects union select s.* from app.subjects s join r on true)
           select * from r""",
        f"select * from app.sessions where subject_id = '{there.canary_id}'",
        "select * from app.subjects s full join app.sessions t on true",
        f"select exists (select from app.subjects where id = '{there.canary_id}') as there",
    )
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        for statement in reads:
            rows = [dict(row) for row in await connection.fetch(statement)]
            asked = [mark for mark in there.marks if mark in statement]
            if (word := leaked(there, rows)) is not None and word not in asked:
                raise Broken(f"«{statement[:60]}» shows a word of the other tenant")
            if rows and rows[0].get("there") is True:
                raise Broken("the other tenant's row is found by its id")
        await connection.execute("savepoint xml")
        try:
            if leaked(
                there, await connection.fetchval("select query_to_xml('table app.subjects', true, false, '')::text")
            ):
                raise Broken("query_to_xml shows a word of the other tenant")
        except asyncpg.FeatureNotSupportedError:  # a server without libxml
            await connection.execute("rollback to savepoint xml")
        await _copied(scene, connection)
        for statement in ("select * from app.subjects for update", "select * from app.subjects for key share",
                          "lock table app.subjects in access exclusive mode"):  # fmt: skip
            await must_refuse(scene, connection, statement)
    return f"{len(reads) + 7} ways, no foreign word"


async def _copied(scene: Scene, connection: RawConnection) -> None:
    """Tables and queries through COPY, which goes past the executor where there is no policy."""
    for query in ("select * from app.subjects", "select * from only app.subjects s where s.id is not null"):
        copied = io.BytesIO()
        await connection.copy_from_query(query, output=copied)
        if leaked(scene.there, copied.getvalue().decode()) or not leaked(scene.here, copied.getvalue().decode()):
            raise Broken("COPY TO STDOUT shows a word of the other tenant, or not even the own ones")
    copied = io.BytesIO()
    await connection.copy_from_table("subjects", schema_name="app", columns=["id", "legal_name"], output=copied)
    if leaked(scene.there, copied.getvalue().decode()):
        raise Broken("COPY of the table shows a word of the other tenant")


ATTACKS: Final[tuple[Attack, ...]] = (statistics, watching, views, sequences, dead_drops, listening, odd_reads)
