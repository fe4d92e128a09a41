"""What lives wrote, as plain statements on copies of the tables: no platform, no guards, no pins, no chain of entries.

Each entry is a transaction of its own, as its command was: the entry is inserted, then its rows are inserted, updated
and deleted; each job is inserted, claimed and finished; each idempotency key is inserted with its answer. The copies
have the columns and indexes of the real tables and none of their triggers, policies and foreign keys. Commits wait for
the disk. So this is what a program could do at best that stored the same and proved nothing.
"""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import asyncpg

Connection = asyncpg.Connection
Statement = tuple[str, str]
"""SQL, and the row that it is about as JSON: its one parameter."""
Transaction = list[Statement]
ROUNDS = 3
_ID = re.compile(r"\b(?:[a-z]{2,4}_[0-9a-z]{26}|FX[A-Z]-[0-9A-Z-]{5,20})\b")
_ENTRIES = "select to_jsonb(e)::text, (e.diff -> 'rows')::text from app.audit_entries e where seq > $1 order by seq"
_JOBS = "select to_jsonb(j)::text from ops.jobs j where finished_at is not null and created_at >= $1"
_KEYS = "select to_jsonb(k)::text from ops.idempotency_keys k where key like 'life-%'"
_JOB = "from jsonb_populate_record(null::bare.jobs, $1::text::jsonb) n where t.id = n.id"
_CLAIM = f"update bare.jobs t set lease = n.lease, leased_until = clock_timestamp(), attempts = n.attempts {_JOB}"
_FINISH = f"update bare.jobs t set state = 'DONE', finished_at = n.finished_at, leased_until = null {_JOB}"
_COPIES = """
drop schema if exists bare cascade;
create schema bare;
do $$ declare t record; begin
  for t in select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where c.relkind in ('r', 'p') and (n.nspname = 'app' or c.relname in ('jobs', 'idempotency_keys')) loop
    execute format('create table bare.%2$I (like %1$I.%2$I including indexes)', t.nspname, t.relname);
  end loop;
end $$;
"""
_EMPTIED = """
do $$ declare t record; begin
  for t in select relname from pg_class where relnamespace = 'bare'::regnamespace and relkind = 'r' loop
    execute format('truncate bare.%I', t.relname);
  end loop;
end $$;
"""


@dataclass
class Recorded:
    """What was written between two moments."""

    seq: int
    at: Any
    transactions_before: int
    known: set[str]
    entries: list[tuple[str, str]] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    @classmethod
    async def since_now(cls, superuser: Connection) -> Recorded:
        """Remember how far the record has come, and which ids there were before."""
        seq = await superuser.fetchval("select coalesce(max(seq), 0) from app.audit_entries")
        before = await superuser.fetch("select e::text from app.audit_entries e")
        known = {found for row in before for found in _ID.findall(row[0])}
        at = await superuser.fetchval("select coalesce(max(created_at), 'epoch') from ops.jobs")
        return cls(seq, at, await _transactions(superuser), known)

    async def end(self, superuser: Connection) -> int:
        """Read what has come since; the number of transactions of all roles since then."""
        count = await _transactions(superuser) - self.transactions_before
        self.entries = [tuple(row) for row in await superuser.fetch(_ENTRIES, self.seq)]
        self.jobs = [row[0] for row in await superuser.fetch(_JOBS, self.at)]
        self.keys = [row[0] for row in await superuser.fetch(_KEYS)]
        return count

    def by_life(self) -> list[list[Transaction]]:
        """Transactions in order, by life. A row belongs to the life whose ids it mentions; an entry that is about
        several lives is one transaction with the rows of the first, and one of its own for those of each other."""
        owner: dict[str, int] = {}
        lives: dict[int, list[Transaction]] = defaultdict(list)

        def life_of(text: str) -> int:
            named = set(_ID.findall(text)) - self.known
            life = next((owner[each] for each in named if each in owner), len(owner))
            for each in named:
                owner.setdefault(each, life)
            return life

        for row, changes in self.entries:
            parts: dict[int, Transaction] = {life_of(row): [_inserted("audit_entries", row)]}
            for change in json.loads(changes):
                parts.setdefault(life_of(json.dumps(change)), []).append(_changed(change))
            for life, transaction in parts.items():
                lives[life].append(transaction)
        for row in self.jobs:
            lives[life_of(row)] += [[_inserted("jobs", row)], [(_CLAIM, row)], [(_FINISH, row)]]
        for row in self.keys:
            lives[life_of(row)].append([_inserted("idempotency_keys", row)])
        return list(lives.values())


def _inserted(table: str, row: str) -> Statement:
    columns = ", ".join(f'"{name}"' for name in json.loads(row))
    return f"insert into bare.{table} ({columns}) select {columns} from {_row_of(table)}", row


def _changed(change: dict[str, Any]) -> Statement:
    table, op = change["table"], change["op"]
    if op == "insert":
        return _inserted(table, json.dumps(change["row"]))
    here = " and ".join(f't."{name}" = n."{name}"' for name in change["key"])
    if op == "delete":
        return f"delete from bare.{table} t using {_row_of(table)} where {here}", json.dumps(change["key"])
    values = ", ".join(f'"{name}" = n."{name}"' for name in change["after"])
    row = json.dumps({**change["key"], **change["after"]})
    return f"update bare.{table} t set {values} from {_row_of(table)} where {here}", row


def _row_of(table: str) -> str:
    return f"jsonb_populate_record(null::bare.{table}, $1::text::jsonb) n"


async def replayed_per_minute(
    recorded: Recorded, superuser: Connection, *, dsn: str, at_once: int, lives: int
) -> float:
    """Lives a minute, the median of three rounds from empty tables."""
    await superuser.execute(_COPIES)
    connections = [await asyncpg.connect(dsn) for _ in range(at_once)]
    rates = []
    for _ in range(ROUNDS):
        waiting = recorded.by_life()
        begun = time.perf_counter()
        await asyncio.gather(*(_replay(connection, waiting) for connection in connections))
        rates.append(lives / (time.perf_counter() - begun) * 60)
        await superuser.execute(_EMPTIED)
    for connection in connections:
        await connection.close()
    return statistics.median(rates)


async def _replay(connection: Connection, waiting: list[list[Transaction]]) -> None:
    while waiting:
        for transaction in waiting.pop():
            async with connection.transaction():
                for sql, row in transaction:
                    await connection.execute(sql, row)


async def _transactions(superuser: Connection) -> int:
    """That were committed since the database was made, near enough: backends report once a second."""
    await asyncio.sleep(1.5)
    sql = "select xact_commit from pg_stat_database where datname = current_database()"
    return int(await superuser.fetchval(sql))
