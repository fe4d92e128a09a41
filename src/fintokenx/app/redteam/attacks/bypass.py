"""The administrator's bypass: every way to foreign rows without a fingerprint, and that the honest way leaves one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import asyncpg

from fintokenx.app.redteam.desk import OPEN, Desk, foreign, look, pin
from fintokenx.app.redteam.scene import SERVING, Scene
from fintokenx.app.redteam.sql import CHANGE, entry, must_refuse, must_refuse_all
from fintokenx.app.redteam.types import Attack, Broken, Finding, attack, fingerprinted
from fintokenx.kernel.caller import Role
from fintokenx.kernel.db import AdministratorRefused, RawConnection

_NONE: Final = "Not one foreign row shows, and no entry is missing."


@asynccontextmanager
async def _platform(scene: Scene) -> AsyncIterator[RawConnection]:
    """A stolen connection of the administrators' own login, in no transaction."""
    connection = await scene.connect("fx_platform")
    try:
        yield connection
    finally:
        if not connection.is_closed():
            if connection.is_in_transaction():
                await connection.execute("rollback")
            await connection.execute("select fx.close_bypass()")
            await connection.close()


async def _granted(desk: Desk, connection: RawConnection, session_id: str) -> str:
    """A grant that nothing has spent yet; its entry's id."""
    async with connection.transaction():
        return await desk.step_one(connection, session_id)


async def _works(desk: Desk, connection: RawConnection, session_id: str) -> str:
    """The honest way, which every attack below departs from; the entry's id. :raises Broken: it shows nothing"""
    entry_id = await _granted(desk, connection, session_id)
    if not await look(connection, desk.scene):
        raise Broken("the honest way shows nothing either; this proves nothing")
    return entry_id


@attack(
    67, "bypass", "The setting fx.bypass_rls alone opens nothing.",
    tries="Every login sets it, in every spelling, with and without a sound pin; all but the auditor's, which reads "
    "everything by design.",
    holds="No foreign row.",
)  # fmt: skip
async def setting_alone(scene: Scene) -> str:
    logins = [role for role in SERVING if role != "fx_auditor"]
    for role in logins:
        for spelling in ("true", "TRUE", "on", "1", "yes"):
            for own_pin in (None, scene.pin(scene.here)):
                async with scene.session(role, pin=own_pin) as connection:
                    await connection.fetchval("select set_config('fx.bypass_rls', $1, true)", spelling)
                    try:
                        seen = await foreign(connection, scene, role=False, guc=False)
                    except asyncpg.InsufficientPrivilegeError:
                        continue
                    if seen:
                        raise Broken(f"the setting alone shows foreign rows to {role}")
    return f"{len(logins)} logins, five spellings, no foreign row"


@attack(
    68, "bypass", "Role and setting without a grant open nothing.",
    tries="The administrators' login takes the role fx_bypass and sets fx.bypass_rls, read-only and not.",
    holds="No foreign row.",
)  # fmt: skip
async def role_without_grant(scene: Scene) -> str:
    async with _platform(scene) as connection:
        for read_only in (True, False):
            for guc in (True, False):
                if await look(connection, scene, guc=guc, read_only=read_only):
                    raise Broken("foreign rows show without a grant")
    return "four ways, no foreign row"


@attack(
    69, "bypass", "A grant gives nothing in its own transaction.",
    tries="Fingerprint and read in one transaction, also read-only from then on and with the entry linked early; then "
    "ROLLBACK, which would erase the evidence.",
    holds=_NONE,
)  # fmt: skip
async def same_transaction(scene: Scene) -> str:
    desk = Desk(scene)
    async with desk.opened() as session_id, _platform(scene) as connection:
        for late in ("", "set transaction_read_only = on", "savepoint s", "set constraints all immediate"):
            await connection.execute("begin")
            await desk.step_one(connection, session_id)
            if late:
                await connection.execute(late)
            seen = await foreign(connection, scene)
            await connection.execute("rollback")
            if seen:
                raise Broken("foreign rows show in the transaction that ROLLBACK erases")
        await _works(desk, connection, session_id)
    return "four ways, no foreign row"


@attack(
    70, "bypass", "A grant that was rolled back never was.",
    tries="Fingerprint, ROLLBACK, then the second step; and the same with a savepoint inside a committed transaction.",
    holds=_NONE,
)  # fmt: skip
async def rolled_back(scene: Scene) -> str:
    desk = Desk(scene)
    async with desk.opened() as session_id, _platform(scene) as connection:
        for begin, end in (("begin", "rollback"), ("begin; savepoint s", "rollback to savepoint s; commit")):
            await connection.execute(begin)
            entry_id = await desk.step_one(connection, session_id)
            await connection.execute(end)
            if await look(connection, scene) or await desk.entries(entry_id):
                raise Broken("a grant outlives its rollback")
        await _works(desk, connection, session_id)
    return "twice rolled back, no foreign row"


@attack(
    71, "bypass", "A grant is for one server process.",
    tries="The fingerprint is left on one connection, foreign rows are read on another of the same login.",
    holds="No foreign row on the other.",
)  # fmt: skip
async def other_connection(scene: Scene) -> str:
    desk = Desk(scene)
    async with desk.opened() as session_id, _platform(scene) as first, _platform(scene) as second:
        await _works(desk, first, session_id)
        await _granted(desk, first, session_id)
        if await look(second, scene):
            raise Broken("a grant is good on another connection")
    return "no foreign row on the other connection"


@attack(
    72, "bypass", "A grant ends after sixty seconds.",
    tries="A committed grant is aged by the owner, through the migrator; then step two.", holds="No foreign row.",
)  # fmt: skip
async def expired_grant(scene: Scene) -> str:
    desk = Desk(scene)
    async with desk.opened() as session_id, _platform(scene) as connection:
        await _works(desk, connection, session_id)
        entry_id = await _granted(desk, connection, session_id)
        owner = await scene.connect("fx_migrator")
        try:
            async with owner.transaction():
                await owner.execute("set local role fx_owner")
                aged = await owner.execute(
                    "update ops.bypass_grants set granted_at = granted_at - interval '2 minutes',"
                    " expires_at = expires_at - interval '2 minutes' where entry_id = $1",
                    entry_id,
                )
        finally:
            await owner.close()
        if aged != "UPDATE 1":
            raise Broken("the grant could not be aged; review this attack")
        if await look(connection, scene):
            raise Broken("foreign rows show after the grant has ended")
    return "no foreign row after its end"


@attack(
    73, "bypass", "A grant that was closed stays closed.",
    tries="Close, then the second step again, with a plan prepared from before; a cursor that was opened under a grant "
    "and held beyond its transaction, after the close and after the next grant.",
    holds="No foreign row.",
)  # fmt: skip
async def closed_grant(scene: Scene) -> str:
    desk = Desk(scene)
    query = f"select id from app.subjects where tenant_id = '{scene.there.tenant_id}'"
    async with desk.opened() as session_id, _platform(scene) as connection:
        await _works(desk, connection, session_id)
        await connection.execute(f"prepare again as {query}")
        await _granted(desk, connection, session_id)
        async with connection.transaction(readonly=True):
            await connection.execute("set local fx.bypass_rls = true; set local role fx_bypass")
            if not await connection.fetch("execute again"):
                raise Broken("the prepared plan shows nothing before; this proves nothing")
        await _granted(desk, connection, session_id)
        await connection.execute("select fx.close_bypass()")
        if await look(connection, scene):
            raise Broken("foreign rows show after the close")
        async with connection.transaction(readonly=True):
            await connection.execute("set local fx.bypass_rls = true; set local role fx_bypass")
            if await connection.fetch("execute again"):
                raise Broken("a prepared plan shows foreign rows after the close")
        for after in ("select fx.close_bypass()", ""):
            await _granted(desk, connection, session_id)
            async with connection.transaction(readonly=True):
                await connection.execute("set local fx.bypass_rls = true; set local role fx_bypass")
                await connection.execute(f"declare held cursor with hold for {query}")
            if not await connection.fetch("fetch 1 from held"):
                raise Broken("the cursor holds nothing before; this proves nothing")
            await connection.execute(after) if after else await _granted(desk, connection, session_id)
            if await connection.fetchval("select count(*) from pg_cursors where name = 'held'"):
                raise Broken("a cursor holds foreign rows after the close")
    return "no foreign row after the close"


@attack(
    74, "bypass", "A grant ends with its admin session.",
    tries="The admin session is closed while a grant of it lives; then the second step.", holds="No foreign row.",
)  # fmt: skip
async def closed_session(scene: Scene) -> str:
    desk = Desk(scene)
    async with desk.opened() as session_id, _platform(scene) as connection:
        await _works(desk, connection, session_id)
        await _granted(desk, connection, session_id)
        await desk.close(session_id)
        if await look(connection, scene):
            raise Broken("foreign rows show after the session was closed")
        async with connection.transaction():
            await pin(connection, scene)
            await must_refuse(scene, connection, OPEN, *desk.arguments(session_id), states=("FX031",))
    return "no foreign row, no new grant"


@attack(
    75, "bypass", "Nobody approves what he has asked for.",
    tries="The administrator who asks approves; a seller's id, nobody's, a foreign customer's, an officer's approve.",
    holds="The database refuses each.",
)  # fmt: skip
async def four_eyes(scene: Scene) -> str:
    desk = Desk(scene)
    session_id = await desk.ask()
    for who in (desk.asking, scene.here.canary_id, scene.ids.new("sub"), scene.there.canary_id,
                scene.there.subjects[Role.MLRO]):  # fmt: skip
        try:
            await desk.approve(session_id, by=who)
        except AdministratorRefused:
            continue
        except asyncpg.PostgresError as fault:
            if fault.sqlstate != "23514":
                raise Broken(f"refused for another reason: {fault.sqlstate}") from fault
        else:
            name = "its own requester" if who == desk.asking else "somebody who is no administrator"
            raise Broken(f"an admin session is approved by {name}")
    return "five approvals refused"


@attack(
    76, "bypass", "An admin session lasts fifteen minutes at most, and an old one opens nothing.",
    tries="A session of sixteen minutes; one that was opened twenty minutes ago; the times changed later.",
    holds="The database refuses each.",
)  # fmt: skip
async def long_session(scene: Scene) -> str:
    desk = Desk(scene)
    session_id = await desk.ask()
    await desk.approve(session_id)
    try:
        await desk.open(session_id, minutes=16)
    except asyncpg.CheckViolationError:
        pass
    else:
        raise Broken("an admin session lasts longer than fifteen minutes")
    await desk.open(session_id, ago=20)
    async with _platform(scene) as connection, connection.transaction():
        await pin(connection, scene)
        await must_refuse(scene, connection, OPEN, *desk.arguments(session_id), states=("FX031",))
    longer = desk.moved(session_id, "OPEN", "OPEN", expires_at=scene.clock.now() + timedelta(hours=1)).wire()
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        for action in ("ADMIN_SESSION_OPEN", "ADMIN_SESSION_CLOSE", "ADMIN_SESSION_APPROVE"):
            given = entry(scene, longer, action=action, role="platform_admin", actor=desk.asking)
            await must_refuse(scene, connection, CHANGE, *given, states=("FX003", "FX013", "23514"))
    await desk.close(session_id)
    return "sixteen minutes refused, an old session refused, its times are kept"


@attack(
    77, "bypass", "Only the administrators' own login may open a bypass.",
    tries="fx.open_bypass and fx.close_bypass as every other login, with an open session's id.",
    holds="Each is refused.",
)  # fmt: skip
async def other_logins(scene: Scene) -> str:
    desk = Desk(scene)
    async with desk.opened() as session_id:
        for role in SERVING:
            if role == "fx_platform":
                continue
            async with scene.session(role, pin=scene.pin(scene.here)) as connection:
                await must_refuse(scene, connection, OPEN, *desk.arguments(session_id))
                await must_refuse(scene, connection, "select fx.close_bypass()")
                await must_refuse(scene, connection, "set role fx_bypass")
        async with scene.session("fx_migrator", pin=scene.pin(scene.here)) as connection:
            await connection.execute("set local role fx_owner; set local role fx_fingerprint")
            await must_refuse(scene, connection, OPEN, *desk.arguments(session_id), states=("FX032",))
    return f"refused to {len(SERVING) - 1} logins, and to the owner by who is logged in"


@attack(
    78, "bypass", "A forged admin session is no session.",
    tries="Rows of app.admin_sessions written directly, and recorded by sellers, officers, the system and somebody "
    "who is no administrator.",
    holds="Each is refused.",
)  # fmt: skip
async def forged_session(scene: Scene) -> str:
    desk = Desk(scene)
    for role in SERVING:
        await must_refuse_all(
            scene,
            role,
            (
                "insert into app.admin_sessions select * from app.admin_sessions",
                "update app.admin_sessions set state = 'OPEN'",
                "delete from app.admin_sessions",
            ),
        )
    session_id = scene.ids.new("ads")
    row = desk.requested(session_id).wire()
    born_open = desk.requested(session_id, state="OPEN").wire()
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        for actor_role in ("seller", "mlro", "system", "partner_admin", "agent"):
            given = entry(scene, row, action="ADMIN_SESSION_REQUEST", role=actor_role)
            await must_refuse(scene, connection, CHANGE, *given, states=("FX006",))
        for actor in (scene.here.canary_id, scene.ids.new("sub"), "system:x", scene.here.key_id):
            given = entry(scene, row, action="ADMIN_SESSION_REQUEST", role="platform_admin", actor=actor)
            await must_refuse(scene, connection, CHANGE, *given, states=("FX030",))
        given = entry(scene, born_open, action="ADMIN_SESSION_OPEN", role="platform_admin", actor=desk.asking)
        await must_refuse(scene, connection, CHANGE, *given, states=("FX002", "FX013", "23514"))
    return "written by nobody, recorded by nobody but administrators, and never born open"


@attack(
    79, "bypass", "The fingerprint cannot be made by hand.",
    tries="RBAC_BYPASS through fx.change by fx_app, as every role, and as the administrators of an open session.",
    holds="Each is refused: only fx.open_bypass records it.",
)  # fmt: skip
async def handmade_entry(scene: Scene) -> str:
    desk = Desk(scene)
    async with desk.opened(), scene.session(pin=scene.pin(scene.here)) as connection:
        for actor, role, customer in (
            (desk.asking, "platform_admin", scene.here.canary_id),
            (desk.asking, "platform_admin", None),
            (desk.approving, "platform_admin", scene.here.canary_id),
            *((scene.here.canary_id, role, scene.here.canary_id) for role in Role if role != Role.PLATFORM_ADMIN),
        ):
            given = entry(scene, action="RBAC_BYPASS", role=role, actor=actor, on_behalf_of=customer)
            states = ("FX006", "FX007", "FX030", "FX031", "FX032")
            await must_refuse(scene, connection, CHANGE, *given, states=states)
    return f"{len(Role) + 2} entries refused"


@attack(
    80, "bypass", "Foreign rows are seen in a reading transaction only, and nothing is written through the bypass.",
    tries="A live grant in a transaction that may write; INSERT, UPDATE, DELETE, CREATE and COPY in one that reads.",
    holds="No foreign row in the former; each statement of the latter is refused.",
)  # fmt: skip
async def writing(scene: Scene) -> str:
    desk = Desk(scene)
    async with desk.opened() as session_id, _platform(scene) as connection:
        await _works(desk, connection, session_id)
        await _granted(desk, connection, session_id)
        if await look(connection, scene, read_only=False):
            raise Broken("foreign rows show in a transaction that may write")
        for read_only in (True, False):
            async with connection.transaction(readonly=read_only):
                await connection.execute("set local fx.bypass_rls = true; set local role fx_bypass")
                for statement in (
                    "update app.subjects set legal_name = 'x'",
                    "delete from app.subjects",
                    "insert into app.subjects select * from app.subjects",
                    "create temporary table x as select * from app.subjects",
                    "copy app.subjects to '/tmp/redteam'",
                    "select * from app.subjects for update",
                ):
                    await must_refuse(scene, connection, statement, states=("42501", "25006"))
    return "no foreign row where anything could be written, twelve statements refused"


@attack(
    81, "bypass", "The list of grants cannot be read or written.",
    tries="SELECT, INSERT, UPDATE, DELETE and TRUNCATE on ops.bypass_grants as every login.", holds="Each is refused.",
)  # fmt: skip
async def grants_table(scene: Scene) -> str:
    for role in SERVING:
        await must_refuse_all(
            scene,
            role,
            (
                "select * from ops.bypass_grants",
                "insert into ops.bypass_grants select * from ops.bypass_grants",
                "update ops.bypass_grants set expires_at = now() + interval '1 day'",
                "delete from ops.bypass_grants",
                "truncate ops.bypass_grants",
            ),
        )
    return f"refused to {len(SERVING)} logins"


@attack(
    82, "bypass", "Odd arguments open nothing, and existing sessions are answered like missing ones.",
    tries="No pin, another tenant's pin and the mere name of one, missing, NULL, empty and overlong arguments.",
    holds="Each is refused; a foreign session like a missing one.",
)  # fmt: skip
async def odd_arguments(scene: Scene) -> str:
    desk = Desk(scene)
    answers = []
    async with desk.opened() as session_id, scene.session("fx_platform") as connection:
        for other_pin in ("", scene.pin(scene.there), scene.here.tenant_id):
            await connection.fetchval("select set_config('fx.pin', $1, true)", other_pin)
            for wanted in (session_id, scene.ids.new("ads")):
                given = desk.arguments(wanted)
                answers.append(await must_refuse(scene, connection, OPEN, *given, states=("FX031", "42501")))
        await pin(connection, scene)
        for arguments in (
            desk.arguments(session_id, reference=""),
            desk.arguments(session_id, reference="x" * 201),
            desk.arguments("' or true --"),
            desk.arguments(session_id, session=None),
        ):
            await must_refuse(scene, connection, OPEN, *arguments, states=("FX031", "FX032"))
    if answers[0::2] != answers[1::2]:
        raise Broken("an existing session is answered otherwise than a missing one")
    return "ten calls refused"


@attack(
    83, "bypass", "The honest way leaves one fingerprint in each of the two trails, committed before a row is seen.",
    tries="Both steps with an open session; a second connection reads the record in between.",
    holds="Fingerprinted: nothing shows before the entry stands in the record for everybody; then one entry in the "
    "trail of the session's tenant and one in that of the tenant that was seen, with both names and the reason.",
)  # fmt: skip
async def honest(scene: Scene) -> Finding:
    desk = Desk(scene)
    before = await desk.fingerprints()
    async with desk.opened() as session_id, _platform(scene) as connection:
        await connection.execute("begin")
        entry_id = await desk.step_one(connection, session_id)
        if await foreign(connection, scene):
            raise Broken("rows show before the fingerprint is committed")
        await connection.execute("reset role")
        if await desk.entries(entry_id):
            raise Broken("the record shows what is not committed")
        await connection.execute("commit")
        if not await desk.entries(entry_id):
            raise Broken("a grant stands in force without its entry in the record")
        seen = await look(connection, scene)
        async with scene.session("fx_auditor") as auditor:
            [row] = await auditor.fetch("select * from app.audit_entries where id = $1", entry_id)
    named = (row["actor"], row["on_behalf_of"], row["tenant_id"])
    if not seen or named != (desk.asking, scene.here.canary_id, scene.here.tenant_id):
        raise Broken("the honest way shows nothing, or its entry does not name who and for whom")
    if "reason" not in str(row["diff"]) or await desk.fingerprints() != before + 2:
        raise Broken("not exactly one entry with a reason in each of the two trails")
    return fingerprinted("one RBAC_BYPASS entry in each trail, committed before the first row, naming both")


@attack(
    84, "bypass", "Every grant leaves a fingerprint of its own.",
    tries="Two grants in a row on one connection, each one spent; then one close too many.",
    holds="Fingerprinted: two entries; and a close leaves nothing open.",
)  # fmt: skip
async def two_grants(scene: Scene) -> Finding:
    desk = Desk(scene)
    async with desk.opened() as session_id, _platform(scene) as connection:
        made = [await _works(desk, connection, session_id) for _ in range(2)]
        if await desk.entries(*made) != len(made):
            raise Broken("two grants left fewer than two fingerprints")
        for _ in range(2):
            await connection.execute("select fx.close_bypass()")
        if await look(connection, scene):
            raise Broken("a grant is left open after a close")
    return fingerprinted("two grants, two entries")


ATTACKS: Final[tuple[Attack, ...]] = (
    setting_alone, role_without_grant, same_transaction, rolled_back, other_connection, expired_grant, closed_grant,
    closed_session, four_eyes, long_session, other_logins, forged_session, handmade_entry, writing, grants_table,
    odd_arguments, honest, two_grants,
)  # fmt: skip
