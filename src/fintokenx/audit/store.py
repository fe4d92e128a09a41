"""All SQL of the record."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fintokenx.audit.types import Batch, Cell, Comparison, Drift, Entry
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Connection, Pool, Tx
from fintokenx.kernel.merkle import Frontier

_ENTRY = (
    'seq, id, "timestamp", action, actor, actor_role, on_behalf_of, tenant_id, resource, request_id,'
    " diff, prev_hash, hash, merkle_batch_id"
)
_BATCH = "id, state, first_seq, last_seq, tree_size, root, tx_hash, block_number"


async def record_and_apply(tx: Tx, arguments: Sequence[Any]) -> None:
    """fx.change: the entry first, then its rows."""
    tx.wrote = True
    await tx.value("select fx.change($1, $2, $3, $4, $5, $6, $7, $8, $9)", *arguments)


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


async def anchored_batch_covering(tx: Tx, seq: int) -> Batch | None:
    """The first anchored batch whose tree holds entry ``seq``."""
    row = await tx.row(
        f"select {_BATCH} from app.merkle_batches where state = 'ANCHORED' and tree_size >= $1 order by id limit 1", seq
    )
    return Batch(**dict(row)) if row else None


async def sealed_batches(connection: Any, *, not_anchored: bool = False) -> list[Batch]:
    """Sealed batches, oldest first."""
    states = ["SEALED"] if not_anchored else ["SEALED", "ANCHORED"]
    rows = await connection.fetch(f"select {_BATCH} from app.merkle_batches where state = any($1) order by id", states)
    return [Batch(**dict(row)) for row in rows]


async def frontier_before(pool: Pool, seq: int) -> Frontier:
    """The right edge of the largest sealed tree that does not hold entry ``seq``; of the empty tree where none is."""
    row = await pool.fetchrow(
        "select tree_size, frontier from app.merkle_batches where state <> 'COLLECTING' and tree_size < $1"
        " order by id desc limit 1",
        seq,
    )
    return Frontier(row["tree_size"], row["frontier"]) if row else Frontier()


async def leaf_hashes(pool: Pool, *, after: int, tree_size: int) -> list[bytes]:
    """The leaf hashes of the entries from the one after ``after`` up to ``tree_size``, all tenants: hashes disclose
    nothing (AD-13)."""
    rows = await pool.fetch(
        "select hash from app.audit_entries where seq > $1 and seq <= $2 order by seq", after, tree_size
    )
    return [row["hash"] for row in rows]


async def seal_open_batch(pool: Pool, at: Instant) -> Batch | None:
    """Close the open batch and open the next, under the chain's lock; None when it holds no entry, or when another
    sealer was quicker."""
    async with pool.acquire() as connection:
        open_id, frontier = await _sealed_so_far(connection)
        first_seq = frontier.size + 1
        # Nearly all of the hashing happens here, while the chain goes on; under its lock only what came meanwhile.
        await _append_new_leaves(connection, frontier)
        async with connection.transaction():
            await connection.execute("select fx.take_chain_lock()")
            if await connection.fetchval("select id from app.merkle_batches where state = 'COLLECTING'") != open_id:
                return None
            await _append_new_leaves(connection, frontier)
            if frontier.size < first_seq:
                return None
            return await _close_and_open_next(connection, open_id, first_seq, frontier, at)


async def _sealed_so_far(connection: Connection) -> tuple[int, Frontier]:
    """The open batch's id and the tree's right edge at the last seal."""
    last = await connection.fetchrow(
        "select id, tree_size, frontier from app.merkle_batches where state <> 'COLLECTING' order by id desc limit 1"
    )
    return (last["id"] + 1, Frontier(last["tree_size"], last["frontier"])) if last else (1, Frontier())


async def _append_new_leaves(connection: Connection, frontier: Frontier) -> None:
    """Take in what is recorded beyond the frontier. Commits are serial, so what is visible has no gap."""
    for row in await connection.fetch("select hash from app.audit_entries where seq > $1 order by seq", frontier.size):
        frontier.append(row["hash"])


async def _close_and_open_next(
    connection: Connection, open_id: int, first_seq: int, frontier: Frontier, at: Instant
) -> Batch:
    [sealed] = await connection.fetch(
        f"""update app.merkle_batches
               set state = 'SEALED', sealed_at = $2, first_seq = $3, last_seq = $4, tree_size = $4, root = $5,
                   frontier = $6
             where id = $1 returning {_BATCH}""",
        open_id,
        at,
        first_seq,
        frontier.size,
        frontier.root(),
        frontier.hashes,
    )
    await connection.execute(
        "insert into app.merkle_batches (id, opened_at, state) values ($1, $2, 'COLLECTING')", open_id + 1, at
    )
    return Batch(**dict(sealed))


async def mark_anchored(pool: Pool, batch: Batch, *, tx_hash: str, block_number: int, at: Instant) -> None:
    """Write the chain's receipt back (AD-07). Doing it again changes nothing."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "update app.merkle_batches set state = 'ANCHORED', tx_hash = $2, block_number = $3, anchored_at = $4"
            " where id = $1 and state = 'SEALED'",
            batch.id,
            tx_hash,
            block_number,
            at,
        )
        await connection.execute(
            "insert into app.chain_anchors (batch_id, tree_size, root, tx_hash, block_number, anchored_at)"
            " values ($1, $2, $3, $4, $5, $6) on conflict (batch_id) do nothing",
            batch.id,
            batch.tree_size,
            batch.root,
            tx_hash,
            block_number,
            at,
        )


async def all_entries(connection: Any, *, chunk: int = 2000) -> AsyncIterator[Entry]:
    """Every entry of every tenant in order, as fx_auditor, in bounded memory."""
    after_seq = 0
    while True:
        rows = await connection.fetch(
            f"select {_ENTRY} from app.audit_entries where seq > $1 order by seq limit $2", after_seq, chunk
        )
        for row in rows:
            yield Entry(**dict(row))
        if len(rows) < chunk:
            return
        after_seq = rows[-1]["seq"]


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


async def open_shadow(connection: Any) -> list[str]:
    """Empty twins of all domain tables in this session, as fx_auditor; returns their names. What was there goes."""
    await connection.execute("discard temp")
    return list(await connection.fetchval("select fx.shadow_open()"))


async def close_shadow(connection: Any) -> None:
    """Drop the twins."""
    await connection.execute("discard temp")


async def replay_entries(connection: Any, *, after: int, up_to: int) -> tuple[int, int, str | None]:
    """Carry out the entries of (after, up_to] on the twins, all or none of them.

    :returns: the last one, how many row operations, and why that last one cannot be carried out, if it cannot
    """
    row = await connection.fetchrow("select * from fx.replay($1, $2)", after, up_to)
    return row["last_seq"], row["operations"], row["failed"]


async def compare_shadow(connection: Any, table: str, *, tenant_id: str | None, drifts_max: int) -> Comparison:
    """A domain table against its twin, cell by cell."""
    counted = await connection.fetchrow("select * from fx.shadow_count($1, $2)", table, tenant_id)
    dead = await connection.fetchval("select fx.sealed_under_dead_keys($1, $2)", table, tenant_id)
    drifts = await _drifts(connection, table, tenant_id, drifts_max) if counted["differing"] else []
    return Comparison(table, counted["replayed"], counted["live"], counted["differing"], dead, tuple(drifts))


async def _drifts(connection: Any, table: str, tenant_id: str | None, at_most: int) -> list[Drift]:
    rows = await connection.fetch(
        "select key::text, tenant_id, kind, cells::text from fx.shadow_differences($1, $2, $3)",
        table,
        tenant_id,
        at_most,
    )
    return [
        Drift(
            table,
            row["tenant_id"],
            row["key"],
            row["kind"],
            tuple(Cell(column, _cut(replayed), _cut(live)) for column, replayed, live in json.loads(row["cells"])),
        )
        for row in rows
    ]


def _cut(value: str | None) -> str | None:
    """Enough to tell two values apart, and not more of a person than the row's key says already."""
    shown = 26 if value and value.startswith("sealed:") else 60
    return value if value is None or len(value) <= shown else f"{value[:shown]}…"
