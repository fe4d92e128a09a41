"""Becoming somebody else, and switching the guards off."""

from __future__ import annotations

from typing import Final

import asyncpg

from fintokenx.app.redteam.scene import SERVING, Scene, by_design
from fintokenx.app.redteam.sql import must_refuse, must_refuse_all, visible
from fintokenx.app.redteam.types import Attack, Broken, attack
from fintokenx.kernel.db import UnsafeRole, refuse_unsafe_role

_REFUSED: Final = "Each statement is refused."
_EVERYBODY: Final = ("postgres", "fx_owner", "fx_writer", "fx_linker", "fx_bypass", "fx_migrator", *SERVING)
BECOMES: Final = {("fx_platform", "fx_bypass")}
"""What a login may become by design: the bypass shows no row without its grant (RT-61 and after)."""


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
            for other in _EVERYBODY:
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
    tries="CREATE and ALTER ROLE, GRANT of memberships and tables, REASSIGN, new databases.", holds=_REFUSED,
)  # fmt: skip
async def grants(scene: Scene) -> str:
    for role in SERVING:
        await must_refuse_all(
            scene,
            role,
            (
                f"alter role {role} bypassrls",
                f"alter role {role} superuser",
                "create role redteam superuser",
                f"grant fx_owner to {role}",
                f"grant fx_bypass to {role}",
                f"grant pg_read_all_data to {role}",
                f"grant pg_read_server_files to {role}",
                "reassign owned by fx_owner to " + role,
                "drop owned by fx_owner",
                f"alter table app.audit_entries owner to {role}",
                f"alter function fx.tenant() owner to {role}",
            ),
        )
    return f"refused to {len(SERVING)} logins"


@attack(
    16, "roles", "Row security cannot be set aside.",
    tries="row_security = off, then every tenant table as every login.",
    holds="Reading is refused; nothing foreign shows.",
)  # fmt: skip
async def row_security_off(scene: Scene) -> str:
    refusals = 0
    for role in SERVING:
        async with scene.session(role, pin=scene.pin(scene.here)) as connection:
            await connection.execute("set local row_security = off")
            found = await visible(connection)
            foreign = [t for t, who in found.items() if who - {scene.here.tenant_id} and not by_design(role, t)]
            if foreign:
                raise Broken(f"with row_security off {role} reads {', '.join(foreign[:5])}")
            refusals += not found
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        await connection.execute("set local row_security = off")
        await must_refuse(scene, connection, "select * from app.subjects")
    return f"{len(SERVING)} logins, nothing foreign"


@attack(
    17, "roles", "Triggers cannot be silenced by the session.",
    tries="session_replication_role, event_triggers and other powerful settings.", holds=_REFUSED,
)  # fmt: skip
async def session_settings(scene: Scene) -> str:
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
                "alter system set row_security = off",
                "alter database fintokenx set row_security = off",
            ),
            states=("42501", "25001", "3D000", "42704"),
        )
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
    tries="pg_terminate_backend and pg_cancel_backend on sessions of the same login; the chain's advisory lock.",
    holds="Each is refused: sessions share their login, so the database itself would allow it. Who stops in a "
    "transaction that has linked its entry is cut off after a minute; until then the others wait.",
)  # fmt: skip
async def denial(scene: Scene) -> str:
    victim = await scene.connect("fx_app")
    try:
        pid = await victim.fetchval("select pg_backend_pid()")
        for role in SERVING:
            chain = () if role == "fx_sealer" else ("select pg_advisory_xact_lock(4242, 1)",)
            await must_refuse_all(
                scene,
                role,
                (
                    f"select pg_terminate_backend({pid})",
                    f"select pg_cancel_backend({pid})",
                    "select pg_advisory_lock(4242, 1)",
                    "select pg_try_advisory_lock(4242, 1)",
                    "select pg_advisory_lock(1)",
                    "select pg_advisory_lock_shared(4242, 1)",
                    *chain,
                ),
            )
            if role in ("fx_app", "fx_worker", "fx_platform") and await idle_limit(scene, role) not in ("1min", "60s"):
                raise Broken(f"{role} may stop in a transaction for ever")
        if await victim.fetchval("select 1") != 1:
            raise Broken("the other session is gone")
    except (asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.QueryCanceledError) as fault:
        raise Broken("the other session was ended or cancelled") from fault
    finally:
        await victim.close()
    return "the other session lives, the chain's lock is free"


async def idle_limit(scene: Scene, role: str) -> str:
    connection = await scene.connect(role)
    try:
        return str(await connection.fetchval("show idle_in_transaction_session_timeout"))
    finally:
        await connection.close()


ATTACKS: Final[tuple[Attack, ...]] = (
    unsafe_login, set_role, set_session_authorization, grants, row_security_off, session_settings, ddl, outside, denial
)  # fmt: skip
