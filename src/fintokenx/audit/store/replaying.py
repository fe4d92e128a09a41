"""SQL of the replay: twins of the domain tables, and how they differ from the live ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fintokenx.audit.types.replaying import Cell, Comparison, Drift


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
    """A domain table against its twin, cell by cell. Counts no destroyed keys: :func:`sealed_under_dead_keys` does."""
    counted = await connection.fetchrow("select * from fx.shadow_count($1, $2)", table, tenant_id)
    drifts = await _drifts(connection, table, tenant_id, drifts_max) if counted["differing"] else []
    return Comparison(table, counted["replayed"], counted["live"], counted["differing"], 0, tuple(drifts))


async def sealed_under_dead_keys(
    connection: Any, table: str, column: str, owner: Sequence[str], *, tenant_id: str | None
) -> int:
    """How many fields of a sealed column nobody can open any more."""
    return int(
        await connection.fetchval(
            "select fx.sealed_under_dead_keys($1, $2, $3, $4)", table, column, list(owner), tenant_id
        )
    )


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
