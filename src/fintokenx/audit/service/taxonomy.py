"""What may be recorded at all, and whose an entry is."""

from __future__ import annotations

from typing import Any

from fintokenx.audit.store import taxonomy as store
from fintokenx.kernel.actions import Action
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Connection, Tx


async def taxonomy(tx: Tx, caller: Caller) -> list[Action]:
    """Every action that may be recorded, by name: what the database enforces (AD-15). For anybody who is known."""
    caller.must_be(*(role for role in Role if role is not Role.AGENT), tenant_id=tx.tenant_id)
    return await store.actions(tx)


async def find_anywhere(connection: Connection, entry_id: str) -> dict[str, Any] | None:
    """An entry in whatever tenant, without its diff; ``connection`` reads under a bypass."""
    return await store.find_anywhere(connection, entry_id)
