"""What the attacks in SQL share: statements that must be refused, and rows that must not show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import asyncpg

from fintokenx.app.redteam.scene import Scene, Side, by_design, leaked, tenant_tables
from fintokenx.app.redteam.types import Broken
from fintokenx.kernel.canonical import canonical_json
from fintokenx.kernel.db import RawConnection

NOT_ALLOWED: Final = ("42501",)
"""SQLSTATE of "insufficient privilege": also what row-level security and our triggers answer."""


async def must_refuse(
    scene: Scene, connection: RawConnection, statement: str, *arguments: Any, states: Iterable[str] = NOT_ALLOWED
) -> str:
    """The SQLSTATE with which the statement was refused. Whatever it did is rolled back.

    :raises Broken: it worked, it was refused for another reason (then it proves nothing), or the refusal says too much
    """
    shown = f"«{' '.join(statement.split())[:90]}»"
    await connection.execute("savepoint attack")
    try:
        if arguments:
            await connection.fetch(statement, *arguments)
        else:
            await connection.execute(statement)
    except asyncpg.PostgresError as fault:
        state = str(fault.sqlstate)
        if (word := leaked(scene.there, fault, getattr(fault, "detail", ""))) is not None and word not in statement:
            raise Broken(f"{shown}: the refusal shows a word of the other tenant") from fault
        if state not in tuple(states):
            raise Broken(
                f"{shown}: answered {state} {type(fault).__name__}, which is not the expected refusal"
            ) from fault
        return state
    finally:
        if not connection.is_closed():
            await connection.execute("rollback to savepoint attack")
    raise Broken(f"{shown}: was carried out")


async def must_refuse_all(
    scene: Scene, role: str, statements: Sequence[str], *, states: Iterable[str] = NOT_ALLOWED, pinned: bool = True
) -> str:
    """Each as ``role``, under the attacker's own sound pin, so that it is not a missing one that refuses."""
    async with scene.session(role, pin=scene.pin(scene.here) if pinned else None) as connection:
        for statement in statements:
            await must_refuse(scene, connection, statement, states=states)
    return f"{len(statements)} statements refused to {role}"


async def must_refuse_alone(scene: Scene, role: str, *statements: str, states: Iterable[str] = NOT_ALLOWED) -> None:
    """What Postgres takes outside a transaction only, and so would refuse for that alone inside one."""
    connection = await scene.connect(role)
    try:
        for statement in statements:
            try:
                await connection.execute(statement)
            except asyncpg.PostgresError as fault:
                if fault.sqlstate not in tuple(states):
                    raise Broken(f"«{statement[:90]}»: answered {fault.sqlstate}, not the expected refusal") from fault
            else:
                raise Broken(f"«{statement[:90]}»: was carried out")
    finally:
        await connection.close()


async def visible(connection: RawConnection, *, having: Side | None = None) -> dict[str, set[str]]:
    """Whose rows each tenant table shows; tables that the session may not read are left out. ``having`` narrows it to
    one tenant's rows."""
    found: dict[str, set[str]] = {}
    for table in await tenant_tables(connection):
        await connection.execute("savepoint look")
        try:
            rows = await connection.fetch(f"select distinct tenant_id from {table}")
        except asyncpg.InsufficientPrivilegeError:
            continue
        finally:
            await connection.execute("rollback to savepoint look")
        seen = {str(row["tenant_id"]) for row in rows}
        found[table] = seen if having is None else seen & {having.tenant_id}
    return found


async def must_show_nothing(connection: RawConnection, role: str, how: str) -> int:
    """Not one row of any tenant in any table, but what the role reads by design; how many tables were read."""
    found = await visible(connection)
    shown = sorted(table for table, tenants in found.items() if tenants and not by_design(role, table))
    if shown:
        raise Broken(f"{how}: {role} sees rows of {', '.join(shown[:5])}")
    return len(found)


async def must_show_only(connection: RawConnection, side: Side, how: str) -> int:
    """Rows of one tenant and of no other; how many tables were read. :raises Broken: another's, or nothing at all"""
    found = await visible(connection)
    foreign = sorted(table for table, tenants in found.items() if tenants - {side.tenant_id})
    if foreign:
        raise Broken(f"{how}: rows of other tenants show in {', '.join(foreign[:5])}")
    if side.tenant_id not in found.get("app.subjects", set()):
        raise Broken(f"{how}: not even the tenant's own rows show; this proves nothing")
    return len(found)


CHANGE: Final = "select fx.change($1, $2::timestamptz, $3, $4, $5, $6, $7, $8, $9::json)"


def entry(
    scene: Scene,
    *rows: dict[str, Any],
    action: str = "SESSION_OPEN",
    role: str = "seller",
    on_behalf_of: str | None = None,
    diff: str | None = None,
    actor: str | None = None,
) -> tuple[Any, ...]:
    """The arguments of fx.change as an attacker would hand them over."""
    said = diff if diff is not None else canonical_json({"facts": [], "rows": list(rows)}).decode()
    who = actor or scene.here.canary_id
    return (scene.ids.new("aud"), scene.clock.now(), action, who, role, on_behalf_of, who, scene.run, said)


def session_row(scene: Scene, tenant_id: str, subject_id: str) -> dict[str, Any]:
    """A row operation that would sign a subject in."""
    row = {
        "tenant_id": tenant_id,
        "id": scene.ids.new("ses"),
        "subject_id": subject_id,
        "aal": 1,
        "state": "ACTIVE",
        "created_at": "2026-01-01T00:00:00Z",
        "expires_at": "2026-01-01T00:30:00Z",
    }
    return {"op": "insert", "table": "sessions", "row": row}
