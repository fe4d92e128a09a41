"""SQL of batches, their checkpoints and their anchors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fintokenx.audit.store import tiles
from fintokenx.audit.types import Anchor, Batch
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Connection, Pool, Row, Tx

_BATCH = "id, state, first_seq, last_seq, tree_size, root, tx_hash, block_number, checkpoint"
_ANCHOR = "batch_id, tree_size, root, tx_hash, block_number, receipt"


async def _fetch(reader: Any, sql: str, *arguments: Any) -> list[Row]:
    """By whatever is at hand: a transaction, a pool, a connection."""
    return list(await (reader.rows if isinstance(reader, Tx) else reader.fetch)(sql, *arguments))


def _batches(rows: Sequence[Row]) -> list[Batch]:
    return [Batch(**dict(row)) for row in rows]


def _anchors(rows: Sequence[Row]) -> list[Anchor]:
    return [Anchor(**{**dict(row), "receipt": json.loads(row["receipt"]) if row["receipt"] else None}) for row in rows]


# ── Sealing


async def seal_open(pool: Pool, at: Instant, open_id: int) -> Batch | None:
    """Close the batch ``open_id`` and open the next, under the chain's lock, with the tiles of all that it covers in
    the same transaction; None when it holds no entry, or when another sealer was quicker."""
    async with pool.acquire() as connection, connection.transaction():
        await tiles.take_growth_lock(connection)
        await connection.execute("select fx.take_chain_lock()")
        if await open_batch(connection) != open_id:
            return None
        growth = await tiles.grow_in(connection)
        covered = await connection.fetchval("select max(tree_size) from app.merkle_batches where id = $1", open_id - 1)
        first_seq = (covered or 0) + 1
        if growth.size < first_seq:
            return None
        return await _close_and_open_next(connection, open_id, first_seq, growth.size, growth.root(), at)


async def open_batch(connection: Any) -> int:
    """The number of the batch that takes entries now."""
    return int(await connection.fetchval("select id from app.merkle_batches where state = 'COLLECTING'"))


async def _close_and_open_next(
    connection: Connection, open_id: int, first_seq: int, tree_size: int, root: bytes, at: Instant
) -> Batch:
    [sealed] = await connection.fetch(
        f"""update app.merkle_batches
               set state = 'SEALED', sealed_at = $2, first_seq = $3, last_seq = $4, tree_size = $4, root = $5
             where id = $1 returning {_BATCH}""",
        open_id,
        at,
        first_seq,
        tree_size,
        root,
    )
    await connection.execute(
        "insert into app.merkle_batches (id, opened_at, state) values ($1, $2, 'COLLECTING')", open_id + 1, at
    )
    return Batch(**dict(sealed))


async def sealed(connection: Any, *, not_anchored: bool = False) -> list[Batch]:
    """Sealed batches, oldest first."""
    states = ["SEALED"] if not_anchored else ["SEALED", "ANCHORED"]
    return _batches(
        await connection.fetch(f"select {_BATCH} from app.merkle_batches where state = any($1) order by id", states)
    )


async def sealed_as(connection: Any, batch_id: int) -> Batch | None:
    """A sealed batch by its number."""
    row = await connection.fetchrow(
        f"select {_BATCH} from app.merkle_batches where id = $1 and state <> 'COLLECTING'", batch_id
    )
    return Batch(**dict(row)) if row else None


# ── Checkpoints


async def unsigned(connection: Any, *, limit: int) -> list[Batch]:
    """The oldest sealed batches without a checkpoint."""
    return _batches(
        await connection.fetch(
            f"select {_BATCH} from app.merkle_batches where state <> 'COLLECTING' and checkpoint is null"
            " order by id limit $1",
            limit,
        )
    )


async def newest_signed(connection: Any) -> Batch | None:
    """The batch whose checkpoint is the newest: what the open log has published so far."""
    row = await connection.fetchrow(
        f"select {_BATCH} from app.merkle_batches where checkpoint is not null order by id desc limit 1"
    )
    return Batch(**dict(row)) if row else None


async def signed(connection: Any, batch_id: int) -> Batch | None:
    """A batch, once it has a checkpoint."""
    row = await connection.fetchrow(
        f"select {_BATCH} from app.merkle_batches where id = $1 and checkpoint is not null", batch_id
    )
    return Batch(**dict(row)) if row else None


async def keep_checkpoint(pool: Pool, batch_id: int, note: str) -> bool:
    """Set it, once; False when another signer was quicker."""
    done = await pool.execute(
        "update app.merkle_batches set checkpoint = $2 where id = $1 and checkpoint is null and state <> 'COLLECTING'",
        batch_id,
        note,
    )
    return bool(done == "UPDATE 1")


async def first_signed_covering(reader: Any, wanted: Mapping[int, int]) -> dict[int, Batch]:
    """For each wanted batch the first one with a checkpoint whose tree holds the entry ``seq`` of it; those without
    are left out. ``wanted`` maps the batch that was open when the entry was made to ``seq``."""
    rows = await _fetch(
        reader,
        f"""select wanted.id as for_batch, covering.*
              from unnest($1::bigint[], $2::bigint[]) as wanted (id, seq)
             cross join lateral (select {_BATCH} from app.merkle_batches b
                                  where b.id >= wanted.id and b.tree_size >= wanted.seq and b.checkpoint is not null
                                  order by b.id limit 1) as covering""",
        list(wanted),
        list(wanted.values()),
    )
    return {
        row["for_batch"]: Batch(**{name: value for name, value in row.items() if name != "for_batch"}) for row in rows
    }


async def first_anchored_from(reader: Any, batch_ids: Sequence[int]) -> list[Batch]:
    """For each of the batches the first anchored one from there on that has a checkpoint; each once."""
    return _batches(
        await _fetch(
            reader,
            f"""select distinct anchored.*
                  from unnest($1::bigint[]) as wanted (id)
                 cross join lateral (select {_BATCH} from app.merkle_batches b
                                      where b.id >= wanted.id and b.state = 'ANCHORED' and b.checkpoint is not null
                                      order by b.id limit 1) as anchored
                 order by 1""",
            list(batch_ids),
        )
    )


# ── Anchors


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


async def anchors_of(reader: Any, batch_ids: Sequence[int]) -> list[Anchor]:
    """The anchors of the batches, in their order."""
    return _anchors(
        await _fetch(
            reader,
            f"select {_ANCHOR} from app.chain_anchors where batch_id = any($1) order by batch_id",
            list(batch_ids),
        )
    )


async def anchors_after(connection: Any, batch_id: int, *, limit: int) -> list[Anchor]:
    """Anchors of later batches, oldest first."""
    return _anchors(
        await connection.fetch(
            f"select {_ANCHOR} from app.chain_anchors where batch_id > $1 order by batch_id limit $2", batch_id, limit
        )
    )


async def anchors_before(reader: Any, batch_id: int | None, *, limit: int) -> list[Anchor]:
    """Anchors of earlier batches, newest first; of all when there is no ``batch_id``."""
    return _anchors(
        await _fetch(
            reader,
            f"select {_ANCHOR} from app.chain_anchors where $1::bigint is null or batch_id < $1"
            " order by batch_id desc limit $2",
            batch_id,
            limit,
        )
    )


async def anchors_without_receipt(connection: Any, *, limit: int) -> list[Anchor]:
    """The newest anchors whose proof no node has given yet."""
    return _anchors(
        await connection.fetch(
            f"select {_ANCHOR} from app.chain_anchors where receipt is null order by batch_id desc limit $1", limit
        )
    )


async def keep_receipt(pool: Pool, batch_id: int, receipt: dict[str, Any]) -> None:
    """Set it, once."""
    await pool.execute(
        "update app.chain_anchors set receipt = $2 where batch_id = $1 and receipt is null",
        batch_id,
        json.dumps(receipt),
    )
