"""SQL of the open log's tiles: read by those who prove, grown by those who seal."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from fintokenx.kernel.db import Connection, Pool
from fintokenx.kernel.merkle import HASH_BYTES
from fintokenx.kernel.tiles import WIDTH, Growth, Tile, edge_of

LEAVES_PER_STEP = 32 * WIDTH
"""How many leaves one transaction of growing takes: what is repeated after a crash, and what is held in memory."""


_LEAVES = (
    "coalesce((select index * 256 + octet_length(hashes) / 32 from ops.log_tiles"
    " where level = 0 order by index desc limit 1), 0)"
)


async def read(connection: Any, tiles: Collection[Tile]) -> dict[Tile, bytes]:
    """Those of the tiles that are there, in one query."""
    rows = await connection.fetch(
        "select t.level, t.index, t.hashes from unnest($1::smallint[], $2::bigint[]) as wanted (level, index)"
        " join ops.log_tiles t on t.level = wanted.level and t.index = wanted.index",
        [tile.level for tile in tiles],
        [tile.index for tile in tiles],
    )
    return {Tile(row["level"], row["index"]): row["hashes"] for row in rows}


async def prefix(connection: Any, tile: Tile, width: int) -> bytes | None:
    """The first ``width`` hashes of a tile, without reading more; None when it does not hold so many."""
    found: bytes | None = await connection.fetchval(
        "select substring(hashes from 1 for $3) from ops.log_tiles"
        " where level = $1 and index = $2 and octet_length(hashes) >= $3",
        tile.level,
        tile.index,
        width * HASH_BYTES,
    )
    return found


async def size(connection: Any) -> int:
    """How many leaves the tiles hold; at least as many as the last sealed tree, but for a database of before."""
    return int(await connection.fetchval(f"select {_LEAVES}"))


async def extent(connection: Any) -> tuple[int, int]:
    """How many leaves the tiles hold, and how many tiles there are, at one moment."""
    row = await connection.fetchrow(f"select {_LEAVES} as leaves, (select count(*) from ops.log_tiles) as tiles")
    return row["leaves"], row["tiles"]


async def grow(pool: Pool) -> tuple[int, bool]:
    """Take in at most :data:`LEAVES_PER_STEP` entries that the tiles do not hold yet, in a transaction of its own.

    :returns: the size of the tree, and whether there may be more
    """
    async with pool.acquire() as connection, connection.transaction():
        await take_growth_lock(connection)
        before = await size(connection)
        after = (await grow_in(connection, at_most=LEAVES_PER_STEP)).size
        return after, after - before == LEAVES_PER_STEP


async def take_growth_lock(connection: Connection) -> None:
    """One sealer at a time, until the transaction ends. Whoever wants the chain's lock as well takes this one first."""
    await connection.execute("select pg_advisory_xact_lock(4242, 2)")


async def grow_in(connection: Connection, *, at_most: int | None = None) -> Growth:
    """Take in what is recorded beyond the tiles; under the growth lock. :raises ValueError: the record has a gap"""
    known = await size(connection)
    growth = Growth(known, await read(connection, edge_of(known)))
    # Commits are serial, so what is visible has no gap unless somebody made one.
    rows = await connection.fetch(
        "select seq, hash from app.audit_entries where seq > $1 order by seq limit $2", known, at_most
    )
    for expected, row in enumerate(rows, start=known + 1):
        if row["seq"] != expected:
            raise ValueError(f"entry {expected} is missing: the tree cannot go on")
    growth.extend([row["hash"] for row in rows])
    await _write(connection, growth.added)
    return growth


async def _write(connection: Connection, added: Mapping[Tile, bytearray]) -> None:
    await connection.execute(
        "insert into ops.log_tiles as t (level, index, hashes)"
        " select * from unnest($1::smallint[], $2::bigint[], $3::bytea[])"
        " on conflict (level, index) do update set hashes = t.hashes || excluded.hashes",
        [tile.level for tile in added],
        [tile.index for tile in added],
        [bytes(content) for content in added.values()],
    )
