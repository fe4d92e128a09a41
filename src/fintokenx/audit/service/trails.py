"""Who reads which entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fintokenx.audit import store
from fintokenx.audit.types import Entry
from fintokenx.audit.types.refusals import UnknownEntry
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx

STAFF = (Role.SYSTEM, Role.MLRO, Role.COMPLIANCE, Role.PLATFORM_ADMIN)
READERS = (*STAFF, Role.PARTNER_ADMIN)


async def entries_of(
    tx: Tx, caller: Caller, *, resources: Sequence[str], after_seq: int = 0, limit: int = 200
) -> list[Entry]:
    """The trail of some resources, oldest first, within the caller's tenant.

    Staff see all of it; a partner all but the entries of staff-only actions, as if they were not there. Customers see
    none: a diff holds what other parties must not learn (bank accounts, filters, prices). What is behind a holder's own
    transfers it may prove (:func:`provable`), and which entry is behind its rows it may know (:func:`behind`).

    :raises WrongRole: a customer, a magic-link caller or an agent
    """
    caller.must_be(*READERS, tenant_id=tx.tenant_id)
    return await store.entries_of(
        tx, resources, to_staff=caller.party_role in STAFF, after_seq=after_seq, limit=min(limit, 1000)
    )


async def entry_of(tx: Tx, caller: Caller, *, entry_id: str) -> Entry:
    """One entry. :raises UnknownEntry: none in the caller's tenant, or one that the caller may not see"""
    caller.must_be(*READERS, tenant_id=tx.tenant_id)
    entry = await store.entry(tx, entry_id, to_staff=caller.party_role in STAFF)
    if entry is None:
        raise UnknownEntry
    return entry


async def present_row(tx: Tx, caller: Caller, *, table: str, key: Mapping[str, str]) -> dict[str, Any]:
    """The row that an entry's operation was about, as it is now; empty when it is gone."""
    caller.must_be(*STAFF, tenant_id=tx.tenant_id)
    return await store.present_row(tx, table, key)


async def entries_everywhere(connection: Any, *, resource: str) -> list[Entry]:
    """The trail of a resource in whatever tenant; ``connection`` logs in as fx_auditor."""
    return await store.entries_everywhere(connection, resource)


async def tenant_of_entry(connection: Any, *, entry_id: str) -> str:
    """Whose entry it is; ``connection`` logs in as fx_auditor. :raises UnknownEntry: nobody's"""
    tenant_id = await store.tenant_of_entry(connection, entry_id)
    if tenant_id is None:
        raise UnknownEntry
    return tenant_id


async def entry_count(connection: Any) -> int:
    """How many entries there are; ``connection`` logs in as fx_auditor."""
    return await store.entry_count(connection)
