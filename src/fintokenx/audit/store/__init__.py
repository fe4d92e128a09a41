"""All SQL of the record: entries here, the rest in the files beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fintokenx.audit.types import ChangedRow, Entry, EntryName
from fintokenx.kernel.db import Row, Tx

_ENTRY = (
    'seq, id, "timestamp", action, actor, actor_role, on_behalf_of, tenant_id, resource, request_id,'
    " diff, prev_hash, hash, merkle_batch_id"
)


async def record_and_apply(tx: Tx, arguments: Sequence[Any]) -> None:
    """fx.change: the entry first, then its rows."""
    tx.wrote = True
    await tx.value("select fx.change($1, $2, $3, $4, $5, $6, $7, $8, $9)", *arguments)


async def present_row(tx: Tx, table: str, key: Mapping[str, str]) -> dict[str, Any]:
    """A domain row by its key. Table and columns come from an entry of the record, and are quoted all the same."""
    where = " and ".join(f't."{column}"::text = ${number}' for number, column in enumerate(key, start=1))
    row = await tx.row(f'select to_jsonb(t) as row from app."{table}" t where {where}', *key.values())
    return dict(row["row"]) if row else {}


_SHOWN = "($1 or action = any (array(select a.action from app.audit_actions a where not a.staff_only)))"


async def entry(tx: Tx, entry_id: str, *, to_staff: bool) -> Entry | None:
    """An entry of the pinned tenant; staff-only ones only ``to_staff``."""
    row = await tx.row(f"select {_ENTRY} from app.audit_entries where {_SHOWN} and id = $2", to_staff, entry_id)
    return Entry(**dict(row)) if row else None


async def entries_of(tx: Tx, resources: Sequence[str], *, to_staff: bool, after_seq: int, limit: int) -> list[Entry]:
    """Entries about any of the resources, oldest first; staff-only ones only ``to_staff``."""
    rows = await tx.rows(
        f"select {_ENTRY} from app.audit_entries where {_SHOWN} and resource = any($2) and seq > $3"
        " order by seq limit $4",
        to_staff,
        list(resources),
        after_seq,
        limit,
    )
    return [Entry(**dict(row)) for row in rows]


async def newest_entries(tx: Tx, rows: Sequence[ChangedRow], *, to_staff: bool) -> dict[ChangedRow, EntryName]:
    """The newest entry that changed each row; staff-only ones only ``to_staff``."""
    found = await tx.rows(
        f"""select distinct on (w.n) w.n, e.id, e.action, e.seq, e."timestamp" as recorded_at,
                   e.merkle_batch_id as batch_id
              from unnest($2::text[], $3::text[], $4::text[], $5::text[])
                   with ordinality as w (resource, relation, attribute, value, n)
              join app.audit_entries e on e.resource = w.resource
             cross join lateral json_array_elements(e.diff -> 'rows') as r
             where {_SHOWN} and r ->> 'table' = w.relation
               and coalesce(r -> 'key', r -> 'row') ->> w.attribute = w.value
             order by w.n, e.seq desc""",
        to_staff,
        [row.resource for row in rows],
        [row.table for row in rows],
        [row.column for row in rows],
        [row.value for row in rows],
    )
    named = {row["n"]: {name: value for name, value in row.items() if name != "n"} for row in found}
    return {row: EntryName(**named[n]) for n, row in enumerate(rows, start=1) if n in named}


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """An entry that no program can read: a time outside of the years that anybody's calendar has."""

    seq: int
    id: str
    prev_hash: bytes
    hash: bytes
    why: str


async def all_rows(connection: Any, *, chunk: int = 2000) -> AsyncIterator[list[Row] | UnreadableRow]:
    """Every entry of every tenant in order, as fx_auditor, in chunks of bare rows (the columns in the order of
    :class:`Entry`), in bounded memory. What cannot be read comes alone, and the next ones follow."""
    columns = _ENTRY.replace("diff", "diff::text as diff")  # text needs no codec, and each of those costs a call
    after_seq, limit, careful_until = 0, chunk, 0
    while True:
        try:
            rows: list[Row] = await connection.fetch(
                f"select {columns} from app.audit_entries where seq > $1 order by seq limit $2", after_seq, limit
            )
        except (ValueError, OverflowError) as fault:  # the driver's: the entries are there, and have no Python value
            if limit > 1:
                limit, careful_until = 1, after_seq + chunk
                continue
            unreadable = await _unreadable(connection, after_seq, type(fault).__name__)
            yield unreadable
            after_seq = unreadable.seq
            continue
        if rows:
            yield rows
        if len(rows) < limit:
            return
        after_seq = rows[-1]["seq"]
        limit = 1 if after_seq < careful_until else chunk


async def _unreadable(connection: Any, after_seq: int, why: str) -> UnreadableRow:
    row = await connection.fetchrow(
        """select seq, id, prev_hash, hash, "timestamp"::text as said from app.audit_entries where seq > $1
            order by seq limit 1""",
        after_seq,
    )
    return UnreadableRow(row["seq"], row["id"], row["prev_hash"], row["hash"], f"its time is {row['said']} ({why})")


async def all_entries(connection: Any) -> AsyncIterator[Entry]:
    """Every entry of every tenant in order, as fx_auditor, in bounded memory."""
    async for rows in all_rows(connection):
        if isinstance(rows, UnreadableRow):
            raise ValueError(f"entry {rows.seq} ({rows.id}): {rows.why}")
        for row in rows:
            yield Entry(*row)


async def hashes_after(connection: Any, seq: int, *, limit: int) -> list[bytes]:
    """The leaf hashes that follow entry ``seq``, of all tenants: hashes disclose nothing (AD-13)."""
    rows = await connection.fetch("select hash from app.audit_entries where seq > $1 order by seq limit $2", seq, limit)
    return [row["hash"] for row in rows]


async def entry_count(connection: Any) -> int:
    """How many entries there are, for a progress bar."""
    return int(await connection.fetchval("select coalesce(max(seq), 0) from app.audit_entries"))


async def entries_everywhere(connection: Any, resource: str) -> list[Entry]:
    """Every entry about a resource, as fx_auditor."""
    rows = await connection.fetch(f"select {_ENTRY} from app.audit_entries where resource = $1 order by seq", resource)
    return [Entry(**dict(row)) for row in rows]


async def tenant_of_entry(connection: Any, entry_id: str) -> str | None:
    """Whose entry it is, as fx_auditor."""
    value = await connection.fetchval("select tenant_id from app.audit_entries where id = $1", entry_id)
    return str(value) if value else None
