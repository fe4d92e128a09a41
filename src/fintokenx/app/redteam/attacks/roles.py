"""Becoming somebody else, and switching the guards off."""

from __future__ import annotations

from typing import Final

import asyncpg

from fintokenx.app.redteam.scene import SERVING, Scene
from fintokenx.app.redteam.sql import must_refuse, must_refuse_all, must_refuse_alone, visible
from fintokenx.app.redteam.types import Attack, Broken, attack
from fintokenx.kernel.db import RawConnection, UnsafeRole, refuse_unsafe_role

_REFUSED: Final = "Each statement is refused."
BECOMES: Final = {("fx_platform", "fx_bypass")}
"""What a login may become by design: the bypass shows no row without its grant (RT-67 and after)."""


@attack(
    12, "roles", "No login of the platform could bypass isolation by what it is.",
    tries="The attributes and memberships of every login that serves.",
    holds="None is superuser, BYPASSRLS or (a member of) an owner; boot refuses such a one (TI-03).",
)  # fmt: skip
async def unsafe_login(scene: Scene) -> str:
    for role in SERVING:
        async with scene.session(role) as connection:
            try:
                await refuse_unsafe_role(connection)  # type: ignore[arg-type]
            except UnsafeRole as fault:
                raise Broken(str(fault)) from fault
    return f"{len(SERVING)} logins are safe"


async def _become(scene: Scene, verb: str) -> str:
    tried = 0
    for role in SERVING:
        async with scene.session(role, pin=scene.pin(scene.here)) as connection:
            for [other] in await connection.fetch("select quote_ident(rolname) from pg_roles order by 1"):
                if other == role or (verb == "set role" and (role, other) in BECOMES):
                    continue
                await must_refuse(scene, connection, f"{verb} {other}")
                tried += 1
    return f"{tried} tries refused"


@attack(
    13, "roles", "No session can take another role.", tries="SET ROLE from every login to every role.", holds=_REFUSED
)
async def set_role(scene: Scene) -> str:
    return await _become(scene, "set role")


@attack(
    14, "roles", "No session can become another login.",
    tries="SET SESSION AUTHORIZATION from every login to every role.", holds=_REFUSED,
)  # fmt: skip
async def set_session_authorization(scene: Scene) -> str:
    return await _become(scene, "set session authorization")


@attack(
    15, "roles", "No session can give itself power.",
    tries="CREATE and ALTER ROLE of every kind, GRANT of memberships, tables, schemas and functions, REASSIGN and DROP "
    "OWNED, new owners, new databases.",
    holds="Each statement is refused; a GRANT that Postgres lets pass with a warning gives nothing.",
)  # fmt: skip
async def grants(scene: Scene) -> str:
    powers = ("superuser", "bypassrls", "createrole", "createdb", "replication")
    for role in SERVING:
        async with scene.session(role) as connection:
            owners = [name for [name] in await connection.fetch("select quote_ident(rolname) from pg_roles")]
            for owner in owners:
                if owner != role:
                    states = ("42501", "0A000") if owner == "pg_database_owner" else ("42501",)  # has no members
                    await must_refuse(scene, connection, f"grant {owner} to {role}", states=states)
                    await must_refuse(scene, connection, f"reassign owned by {owner} to {role}")
                    await must_refuse(scene, connection, f"drop owned by {owner}")
            for statement in (
                *(f"alter role {role} {power}" for power in powers),
                *(f"create role redteam {power}" for power in ("", "login", f"in role {role}", *powers)),
                "create user redteam", "create group redteam", "drop role fx_owner",
                f"alter table app.audit_entries owner to {role}", f"alter function fx.tenant() owner to {role}",
                f"alter schema app owner to {role}",
            ):  # fmt: skip
                await must_refuse(scene, connection, statement)
            await _given_nothing(connection, role)
        await must_refuse_alone(scene, role, "create database redteam", "create database redteam template fintokenx")
    return f"refused to {len(SERVING)} logins, of {len(owners)} roles"


async def _given_nothing(connection: RawConnection, role: str) -> None:
    """Postgres refuses a GRANT, or warns and gives nothing to one who has something on the object already."""
    for grant, kind, name, privilege in (
        ("grant update on app.subjects", "table", "app.subjects", "update"),
        ("grant all on ops.bypass_grants", "table", "ops.bypass_grants", "select"),
        ("grant all on schema app", "schema", "app", "create"),
        ("grant all on function fx.link()", "function", "fx.link()", "execute"),
    ):
        await connection.execute("savepoint granted")
        try:
            await connection.execute(f"{grant} to {role}, public")
            if await connection.fetchval(f"select has_{kind}_privilege($1, $2, $3)", role, name, privilege):
                raise Broken(f"{role} gives itself {privilege} on {name}")
        except asyncpg.InsufficientPrivilegeError:
            pass
        finally:
            await connection.execute("rollback to savepoint granted")


@attack(
    16, "roles", "Row security cannot be set aside.",
    tries="row_security = off, then every tenant table as every login.",
    holds="Every read is refused: there is no table that a login would see whole.",
)  # fmt: skip
async def row_security_off(scene: Scene) -> str:
    for role in SERVING:
        async with scene.session(role, pin=scene.pin(scene.here)) as connection:
            await connection.execute("set local row_security = off")
            if found := await visible(connection):
                raise Broken(f"with row_security off {role} reads {', '.join(sorted(found)[:5])}")
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        await connection.execute("set local row_security = off")
        await must_refuse(scene, connection, "select * from app.subjects")
    return f"{len(SERVING)} logins, no table"


@attack(
    17, "roles", "Triggers cannot be silenced by the session.",
    tries="session_replication_role, event_triggers and other powerful settings; the same for the server and for this "
    "database.",
    holds=_REFUSED,
)  # fmt: skip
async def session_settings(scene: Scene) -> str:
    async with scene.session() as connection:
        database = await connection.fetchval("select quote_ident(current_database())")
    for role in SERVING:
        await must_refuse_all(
            scene,
            role,
            (
                "set session_replication_role = replica",
                "set event_triggers = off",
                "set log_statement = 'none'",
                "set session_preload_libraries = 'x'",
                "set dynamic_library_path = '/'",
                *(f"alter database {database} set {name} = off" for name in ("row_security", "event_triggers")),
                f"alter database {database} reset all",
            ),
        )
        await must_refuse_alone(scene, role, "alter system set row_security = off", "alter system reset all")
    return f"refused to {len(SERVING)} logins"


@attack(
    18, "roles", "Guards, policies and tables cannot be altered or dropped.",
    tries="ALTER, DISABLE, DROP, CREATE RULE / TRIGGER / POLICY and RENAME as every login.", holds=_REFUSED,
)  # fmt: skip
async def ddl(scene: Scene) -> str:
    statements = (
        "alter table app.subjects disable row level security",
        "alter table app.subjects no force row level security",
        "alter table app.subjects disable trigger all",
        "alter table app.audit_entries disable trigger a_append_only_rows",
        "alter table app.audit_entries rename to old_entries",
        "drop policy tenant_only on app.subjects",
        "create policy sly on app.subjects using (true)",
        "alter policy tenant_only on app.subjects using (true)",
        "create rule sly as on update to app.audit_entries do instead nothing",
        "create trigger sly before insert on app.subjects for each row execute function fx.deny()",
        "drop trigger a_guard_change on app.subjects",
        "drop table app.subjects cascade",
        "drop function fx.tenant() cascade",
        "drop schema app cascade",
        "drop event trigger fx_guard_ddl",
        "alter event trigger fx_guard_ddl disable",
        "create index sly on app.subjects (legal_name)",
        "create publication sly for all tables",
        "create extension if not exists dblink",
        "create foreign data wrapper sly",
        "create language sly handler x",
    )
    for role in SERVING:
        await must_refuse_all(scene, role, statements, states=("42501", "42704", "42883"))
    return f"{len(statements)} statements refused to {len(SERVING)} logins"


@attack(
    19, "roles", "Files, programs and other servers are out of reach.",
    tries="COPY … TO / FROM PROGRAM and files, pg_read_file, directory listings, lo_import, dblink, configuration.",
    holds="Each is refused, or is not there at all.",
)  # fmt: skip
async def outside(scene: Scene) -> str:
    statements = (
        "copy app.subjects to program 'cat'",
        "copy (select 1) to program 'id'",
        "copy (select 1) to '/tmp/redteam'",
        "copy app.subjects from program 'id'",
        "copy app.subjects from '/etc/passwd'",
        "select pg_read_file('postgresql.conf')",
        "select pg_read_binary_file('global/pg_control')",
        "select pg_ls_dir('.')",
        "select pg_stat_file('postgresql.conf')",
        "select lo_import('/etc/passwd')",
        "select lo_export(1, '/tmp/redteam')",
        "select * from pg_hba_file_rules",
        "select * from pg_authid",
        "select * from pg_shadow",
        "select * from pg_user_mapping",
        "select pg_reload_conf()",
        "select pg_rotate_logfile()",
        "select pg_switch_wal()",
        "select * from dblink('x', 'select 1') as t (a int)",
        "load 'auto_explain'",
    )
    for role in SERVING:
        await must_refuse_all(scene, role, statements, states=("42501", "42883", "58P01"))
    return f"{len(statements)} ways refused to {len(SERVING)} logins"


@attack(
    20, "roles", "One session cannot end or cancel the others, or take the chain's lock for itself.",
    tries="pg_terminate_backend and pg_cancel_backend, from every login on a session of its own and of every other; "
    "the chain's advisory lock.",
    holds="Each is refused: sessions share their login, so the database itself would allow it. Who stops in a "
    "transaction that has linked its entry is cut off after a minute; until then the others wait.",
)  # fmt: skip
async def denial(scene: Scene) -> str:
    for role in SERVING:
        victim = await scene.connect(role)
        try:
            pid = await victim.fetchval("select pg_backend_pid()")
            ending = [f"select pg_{verb}_backend({pid})" for verb in ("terminate", "cancel")]
            for attacker in SERVING:
                await must_refuse_all(scene, attacker, ending)
            if await victim.fetchval("select 1") != 1:
                raise Broken("the other session is gone")
        except (asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.QueryCanceledError) as fault:
            raise Broken("the other session was ended or cancelled") from fault
        finally:
            await victim.close()
        locks = ["advisory_lock(4242, 1)", "try_advisory_lock(4242, 1)", "advisory_lock(1)",
                 "advisory_lock_shared(4242, 1)"]  # fmt: skip
        if role != "fx_sealer":
            locks.append("advisory_xact_lock(4242, 1)")
        await must_refuse_all(scene, role, [f"select pg_{lock}" for lock in locks])
        if role in ("fx_app", "fx_worker", "fx_platform") and await idle_limit(scene, role) not in ("1min", "60s"):
            raise Broken(f"{role} may stop in a transaction for ever")
    return f"{len(SERVING)} sessions live, the chain's lock is free"


async def idle_limit(scene: Scene, role: str) -> str:
    connection = await scene.connect(role)
    try:
        return str(await connection.fetchval("show idle_in_transaction_session_timeout"))
    finally:
        await connection.close()


ATTACKS: Final[tuple[Attack, ...]] = (
    unsafe_login, set_role, set_session_authorization, grants, row_security_off, session_settings, ddl, outside, denial
)  # fmt: skip
