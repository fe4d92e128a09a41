"""What may be recorded, and whose an entry is."""

from __future__ import annotations

from typing import Any

from fintokenx.kernel.actions import Action
from fintokenx.kernel.caller import Role
from fintokenx.kernel.db import Connection, Tx


async def actions(tx: Tx) -> list[Action]:
    """The closed taxonomy, as the database enforces it."""
    rows = await tx.rows(
        "select action, actor_roles, customer_facing, on_behalf_of_rule, staff_only from app.audit_actions"
        " order by action"
    )
    return [
        Action(
            row["action"],
            tuple(Role(role) for role in row["actor_roles"]),
            customer_facing=row["customer_facing"],
            on_behalf_of=row["on_behalf_of_rule"],
            staff_only=row["staff_only"] is not False,
        )
        for row in rows
    ]


async def find_anywhere(connection: Connection, entry_id: str) -> dict[str, Any] | None:
    """An entry in whatever tenant, without its diff; ``connection`` reads under a bypass."""
    row = await connection.fetchrow(
        'select tenant_id, id, seq, "timestamp", action, actor_role, resource from app.audit_entries where id = $1',
        entry_id,
    )
    return dict(row) if row else None
