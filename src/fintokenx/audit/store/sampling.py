"""SQL of the sample: the newest entries, and the rows that they touched last."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


async def newest(connection: Any, *, limit: int) -> list[tuple[int, str]]:
    """The newest entries, oldest of them first: (seq, diff). Without those that tell of drift: they would push the rows
    that they tell of out of the sample."""
    rows = await connection.fetch(
        "select seq, diff::text as diff from app.audit_entries"
        " where action not in ('STATE_DRIFT', 'ALERT_RAISE') order by seq desc limit $1",
        limit,
    )
    return [(row["seq"], row["diff"]) for row in reversed(rows)]


async def keys_of(connection: Any) -> dict[str, list[str]]:
    """The primary key's columns of every domain table, from the catalogue."""
    rows = await connection.fetch(
        """select c.relname as table_name, array_agg(a.attname::text order by a.attnum) as columns
             from pg_class c join pg_index i on i.indrelid = c.oid and i.indisprimary
             join pg_attribute a on a.attrelid = c.oid and a.attnum = any (i.indkey)
            where c.relnamespace = 'app'::regnamespace
              and exists (select from pg_trigger t where t.tgrelid = c.oid and t.tgname = 'a_guard_change')
            group by c.relname"""
    )
    return {row["table_name"]: row["columns"] for row in rows}


async def differing(
    connection: Any, table: str, key: Sequence[str], wanted: Sequence[Mapping[str, Any]]
) -> dict[int, list[str]]:
    """Those of the wanted rows (by their place) that are not there as wanted, with the columns that differ; none where
    the whole row is missing. Names come from the catalogue. Both sides are spelled by the table's own types."""
    joined = " and ".join(f'l."{column}" = (w.row)."{column}"' for column in key)
    rows = await connection.fetch(
        f"""select w.place, l."{key[0]}" is null as missing,
                   array(select c from jsonb_object_keys(w.wanted) c
                          where to_jsonb(l) -> c is distinct from to_jsonb(w.row) -> c order by c) as columns
              from (select n - 1 as place, value as wanted,
                           jsonb_populate_record(null::app."{table}", value) as row
                      from jsonb_array_elements($1::text::jsonb) with ordinality as e (value, n)) w
              left join app."{table}" l on {joined}""",
        json.dumps(list(wanted)),
    )
    return {row["place"]: [] if row["missing"] else row["columns"] for row in rows if row["missing"] or row["columns"]}


async def present(connection: Any, table: str, key: Sequence[str], gone: Sequence[Mapping[str, Any]]) -> list[int]:
    """Those of the rows (by their place) that are still there."""
    joined = " and ".join(f'l."{column}" = (w.row)."{column}"' for column in key)
    rows = await connection.fetch(
        f"""select w.place
              from (select n - 1 as place, jsonb_populate_record(null::app."{table}", value) as row
                      from jsonb_array_elements($1::text::jsonb) with ordinality as e (value, n)) w
              join app."{table}" l on {joined}""",
        json.dumps(list(gone)),
    )
    return [row["place"] for row in rows]
