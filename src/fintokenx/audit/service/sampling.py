"""Each hour a sample: every row that the newest entries touched is what the last of them made it (P-06).

Between two full replays this finds, in bounded time and memory, what is changed beside the record in rows and columns
that were written lately. What is older, what no entry named and what was put in beside the record is for the replay.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from fintokenx.audit.events import StateDrifted
from fintokenx.audit.service.recording import change
from fintokenx.audit.store import sampling as store
from fintokenx.audit.types import Changes
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Pool, Tx

log = structlog.get_logger("fintokenx.audit")

ENTRIES_MAX: Final = 5_000
DRIFTS_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class RowDrift:
    """A live row that is not what the last entry about it says."""

    table: str
    tenant_id: str
    key: str
    columns: tuple[str, ...]


@dataclass(slots=True)
class _Touched:
    """What the entries of the sample made of one row: the columns that they set, or that it is gone."""

    values: dict[str, Any] = field(default_factory=dict)
    gone: bool = False


async def sample(pool: Pool, *, entries_max: int = ENTRIES_MAX) -> list[RowDrift]:
    """The rows that differ, at most a hundred; ``pool`` logs in as fx_auditor. Entries and rows are of one snapshot."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        keys = await store.keys_of(connection)
        rows = _fold(await store.newest(connection, limit=entries_max), keys)
        found: list[RowDrift] = []
        for table, touched in rows.items():
            there = [(key, row.values) for key, row in touched.items() if not row.gone]
            gone = [(key, row.values) for key, row in touched.items() if row.gone]
            wrong = await store.differing(connection, table, keys[table], [values for _, values in there])
            found += [_drift(table, *there[place], columns) for place, columns in wrong.items()]
            left = await store.present(connection, table, keys[table], [values for _, values in gone])
            found += [_drift(table, *gone[place], []) for place in left]
    if len(found) > DRIFTS_MAX:
        log.error("state_drift_cut_off", found=len(found), recorded=DRIFTS_MAX)
    return found[:DRIFTS_MAX]


def _fold(entries: list[tuple[int, str]], keys: Mapping[str, list[str]]) -> dict[str, dict[str, _Touched]]:
    """By table and key: the last word of these entries on each column. A column that they do not name is not judged."""
    rows: dict[str, dict[str, _Touched]] = {}
    for _seq, diff in entries:
        for operation in json.loads(diff)["rows"]:
            table = operation["table"]
            values = operation.get("row") or {**operation["key"], **operation.get("after", {})}
            key = json.dumps({column: values[column] for column in keys[table]})
            touched = rows.setdefault(table, {})
            if operation["op"] == "insert":
                touched[key] = _Touched()
            known = touched.setdefault(key, _Touched())
            known.values |= values
            known.gone = operation["op"] == "delete"
    return rows


def _drift(table: str, key: str, values: Mapping[str, Any], columns: list[str]) -> RowDrift:
    return RowDrift(table, str(values["tenant_id"]), key, tuple(columns))


async def record_drift(tx: Tx, caller: Caller, *, drift: RowDrift) -> str:
    """Put on record that the row drifted, in its own tenant; whoever listens raises the alarm."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    told = StateDrifted(drift.table, drift.key, ",".join(drift.columns))
    return await change(tx, caller, action="STATE_DRIFT", resource=drift.table, move=Changes(facts=(told,)))
