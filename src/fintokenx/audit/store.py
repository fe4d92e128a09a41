"""All SQL of the record."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from fintokenx.audit.types import REDTEAM_COLUMNS, Action, Batch, Entry, RedteamRun
from fintokenx.kernel.caller import Role
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


async def redteam_runs(tx: Tx, *, limit: int) -> list[RedteamRun]:
    """Runs of the red team, newest first."""
    rows = await tx.rows(
        f"select {', '.join(REDTEAM_COLUMNS)} from app.redteam_reports order by run_at desc, id desc limit $1", limit
    )
    return [RedteamRun(**dict(row)) for row in rows]


async def last_good_redteam_run(tx: Tx) -> Instant | None:
    """When every attack was last turned away."""
    found: Instant | None = await tx.value("select max(run_at) from app.redteam_reports where outcome = 0")
    return found


async def recording_since(tx: Tx) -> Instant | None:
    """The time of the tenant's first entry."""
    found: Instant | None = await tx.value('select "timestamp" from app.audit_entries order by seq limit 1')
    return found
