"""What the chain costs: the platform's own transaction, chained, against the very same one without a chain.

chained    ``Database.transaction`` and ``audit.change``, exactly as a command runs them: one row is updated, its entry
           is linked into the one hash chain inside COMMIT, and the caller waits until it is on disk.
unchained  the same round trips, the same definer function, guard trigger, row-level security and diff; but the entry
           goes straight into an ordinary table and COMMIT is an ordinary synchronous one: no hash, no chain, no lock.
early      unchained, committed the way the product commits (asynchronously, then a flush barrier before anybody is
           told), so that the chain cannot win by its manner of committing.

The ratio is chained ÷ the faster of the two others: of each, the median over many short repeats of the ratio of
neighbouring runs, so that a checkpoint or another guest of the machine spoils a repeat and not the figure; and the
lower of the two medians. (The faster one of each repeat would be the luckier one.) All run on a Postgres of their own
with our default settings, interleaved, from this one process. The load generator shares the machine with the server, so
read the ratios rather than the rates. Last line: ``RESULT {json}``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import uvloop

from fintokenx import audit
from fintokenx.app import catalogue
from fintokenx.app.migrate import Plan, bootstrap, migrate
from fintokenx.kernel.bus import Reactions
from fintokenx.kernel.caller import Role, system
from fintokenx.kernel.canonical import canonical_json
from fintokenx.kernel.clock import SystemClock
from fintokenx.kernel.db import _BEGIN, Database, PinSigner, Pool, Tx, clean_session, open_pool
from fintokenx.kernel.ids import Ids
from fintokenx.sandbox.postgres import EmbeddedPostgres

WRITERS = (1, 8, 32)
ROWS_PER_WRITER = 200
BARS = {"ratio_1_writer": 0.9, "ratio_32_writers": 0.75}
TENANT = "tnt_bench"
PASSWORD = "bench-only"
MIGRATIONS = Path(__file__).parent.parent / "migrations"
ROLES = ("fx_migrator", "fx_app", "fx_auditor")
CALLER = system(TENANT, "bench")
ACTION = audit.Action("BENCH_UPDATE", roles=(Role.SYSTEM,))
CARRIES = {
    ACTION.name: tuple(
        audit.changes(table, "status", "amount_pence", "version")
        for table in ("bench_chained", "bench_unchained", "bench_early")
    )
}

SCHEMA = """
set local role fx_owner;
create table app.bench_chained (
  tenant_id text not null, id text not null, status text not null, amount_pence bigint not null,
  version bigint not null, primary key (tenant_id, id));
create table app.bench_unchained (like app.bench_chained including all);
create table app.bench_early (like app.bench_chained including all);
select fx.protect('bench_chained', 'bench'), fx.protect('bench_unchained', 'bench'), fx.protect('bench_early', 'bench');

-- An ordinary audit table: the columns of audit_entries without the chain's, and no index that the chain needs. No
-- foreign key to the actions either: concurrent writers would share-lock one hot row, and that would slow it unfairly.
create table app.bench_entries (
  n bigint generated always as identity primary key, id text not null unique, "timestamp" timestamptz not null,
  action text not null, actor text not null, actor_role text not null, on_behalf_of text,
  tenant_id text not null, resource text not null, request_id text not null, diff json not null);
create index bench_entries_of_resource on app.bench_entries (tenant_id, resource, n);
grant select, insert on app.bench_entries to fx_writer;
"""

GUARDS = """
drop trigger a_guard_change on app.bench_unchained;
drop trigger a_guard_change on app.bench_early;
create trigger a_guard_change before insert or update or delete on app.bench_unchained
  for each row execute function fx.bench_guard_change();
create trigger a_guard_change before insert or update or delete on app.bench_early
  for each row execute function fx.bench_guard_change();
"""


def unchained_twins() -> str:
    """fx.change and fx.guard_change as they stand in the migrations, with the one difference: where the entry lies."""
    functions = (MIGRATIONS / "repeatable" / "10_functions.sql").read_text()

    def twin(name: str, **differences: tuple[str, str]) -> str:
        start = functions.index(f"create or replace function fx.{name}(")
        text = functions[start : functions.index("$$;", start) + 3].replace(f"fx.{name}(", f"fx.bench_{name}(")
        for ours, theirs in differences.values():
            if ours not in text:
                raise SystemExit(f"fx.{name} has changed, adapt this benchmark: {ours!r} is gone")
            text = text.replace(ours, theirs)
        return text

    change = twin(
        "change",
        table=("insert into ops.audit_pending (xid, id, at,", 'insert into app.bench_entries (id, "timestamp",'),
        row=("values (pg_current_xact_id(), entry_id", "values (entry_id"),
    )
    guard = twin(
        "guard_change",
        table=("from ops.audit_pending p", "from app.bench_entries p"),
        own=(" and p.xid = pg_current_xact_id_if_assigned()", ""),
    )
    signature = "fx.bench_change(text, timestamptz, text, text, text, text, text, text, json)"
    handed = f"alter function {signature} owner to fx_writer; grant execute on function {signature} to fx_app;"
    return f"{change} {guard} {handed}"


@dataclass
class Unchained:
    """The same steps as ``Database.transaction`` and ``audit.change``, on the ordinary table."""

    pool: Pool
    pins: PinSigner
    clock: SystemClock
    ids: Ids

    @asynccontextmanager
    async def transaction(self, tenant_id: str, *, early: bool) -> AsyncIterator[Tx]:
        """One pinned transaction; ``early``: committed as the product commits, else by an ordinary COMMIT."""
        begin = _BEGIN if early else _BEGIN.replace("SET LOCAL synchronous_commit = off; ", "")
        connection = await clean_session(self.pool)  # the product's own, which wipes it: not what is measured here
        try:
            await connection.execute(begin.format(pin=self.pins.pin(tenant_id)))
            tx = Tx(connection, tenant_id, self.clock.now(), self.ids, Reactions(), "")
            yield tx
            await tx.flush_jobs()
            barrier = "SELECT pg_logical_emit_message(false, 'fx', '', true)"
            await connection.execute(f"SELECT 1; COMMIT; {barrier}" if early else "COMMIT")
        finally:
            await self.pool.release(connection)

    async def change(self, tx: Tx, *, resource: str, move: audit.Changes) -> None:
        """Record in the ordinary table and apply the rows."""
        diff = {"facts": [], "rows": [row.wire() for row in move.rows]}
        await tx.value(
            "select fx.bench_change($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            tx.ids.new("aud"),
            tx.at,
            ACTION.name,
            CALLER.actor,
            str(CALLER.role),
            CALLER.on_behalf_of,
            resource,
            tx.request_id,
            canonical_json(diff).decode(),
        )


def update_of(table: str, row_id: str, version: int) -> audit.Changes:
    """One update of three columns, as a command would list it."""
    before = {"status": "VERIFIED", "amount_pence": version, "version": version}
    after = {"status": "VERIFIED", "amount_pence": version + 1, "version": version + 1}
    return audit.Changes(
        rows=(audit.update(table, key={"tenant_id": TENANT, "id": row_id}, before=before, after=after),)
    )


@dataclass
class Measured:
    """What one variant did in the repeats of one number of writers."""

    rates: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


Step = Callable[[str, int], Awaitable[None]]


class Bench:
    """The three variants over one database."""

    def __init__(self, pool: Pool) -> None:
        pins, clock, ids = PinSigner(b"b" * 32), SystemClock(), Ids(SystemClock(), os.urandom)
        self.database = Database(pool, pins=pins, clock=clock, ids=ids, reactions=Reactions())
        self.plain = Unchained(pool, pins, clock, ids)
        self.versions: dict[tuple[str, str], int] = {}

    async def chained(self, row_id: str, version: int) -> None:
        """The product's path."""
        async with self.database.transaction(TENANT) as tx:
            move = update_of("bench_chained", row_id, version)
            await audit.change(tx, CALLER, action=ACTION.name, resource=row_id, move=move)

    async def unchained(self, row_id: str, version: int) -> None:
        """The comparison."""
        async with self.plain.transaction(TENANT, early=False) as tx:
            await self.plain.change(tx, resource=row_id, move=update_of("bench_unchained", row_id, version))

    async def early(self, row_id: str, version: int) -> None:
        """The comparison, committed as the product commits."""
        async with self.plain.transaction(TENANT, early=True) as tx:
            await self.plain.change(tx, resource=row_id, move=update_of("bench_early", row_id, version))

    async def load(self, name: str, step: Step, writers: int, seconds: float, into: Measured | None) -> None:
        """Run ``writers`` at once for ``seconds``; each works on rows of its own."""
        times: list[float] = []
        started = time.perf_counter()

        async def write(number: int) -> None:
            turn = 0
            while (begun := time.perf_counter()) < started + seconds:
                row_id = f"row-{number}-{turn % ROWS_PER_WRITER}"
                version = self.versions.get((name, row_id), 0)
                await step(row_id, version)
                self.versions[name, row_id] = version + 1
                times.append(time.perf_counter() - begun)
                turn += 1

        await asyncio.gather(*(write(number) for number in range(writers)))
        if into is not None:
            into.rates.append(len(times) / (time.perf_counter() - started))
            into.seconds.extend(times)


async def prepare(postgres: EmbeddedPostgres) -> None:
    """Migrate, add the bench's tables and fill them through the record."""
    admin = await asyncpg.connect(postgres.dsn("postgres", PASSWORD, "postgres"))
    await bootstrap(admin, MIGRATIONS, dict.fromkeys(ROLES, PASSWORD))
    migrator = await asyncpg.connect(postgres.dsn("fx_migrator", PASSWORD, "postgres"))
    plan = Plan(MIGRATIONS, catalogue.MACHINES, (*catalogue.ACTIONS, ACTION), PinSigner(b"b" * 32), CARRIES)
    await migrate(migrator, plan)
    async with migrator.transaction():
        await migrator.execute(SCHEMA + unchained_twins() + GUARDS)
    await migrator.close()
    ids = [f"row-{writer}-{row}" for writer in range(max(WRITERS)) for row in range(ROWS_PER_WRITER)]
    async with admin.transaction():  # as superuser, past the guard: filling is not what is measured
        for table in ("bench_chained", "bench_unchained", "bench_early"):
            await admin.execute(f"alter table app.{table} disable trigger a_guard_change")
            await admin.execute(
                f"insert into app.{table} select $1, id, 'VERIFIED', 0, 0 from unnest($2::text[]) as id", TENANT, ids
            )
            await admin.execute(f"alter table app.{table} enable always trigger a_guard_change")
    await admin.execute("vacuum analyze")
    await admin.close()


async def verified(postgres: EmbeddedPostgres) -> int:
    """The chain that the run has left is sound; how long it is."""
    auditor = await asyncpg.connect(postgres.dsn("fx_auditor", PASSWORD, "postgres"))
    await auditor.set_type_codec("json", schema="pg_catalog", encoder=str, decoder=str)
    verdict = await audit.verify(auditor, None)
    await auditor.close()
    if not verdict.sound:
        raise SystemExit(f"the chain is broken: {verdict.faults[:3]}")
    return verdict.entries


async def measure(postgres: EmbeddedPostgres, repeats: int, seconds: float) -> dict[str, object]:
    """All writers, all repeats, interleaved; prints the table and returns the result."""
    await prepare(postgres)
    dsn = postgres.dsn("fx_app", PASSWORD, "postgres").replace(f":{PASSWORD}@", "@")
    pool = await open_pool(dsn, PASSWORD, size_max=max(WRITERS))
    bench = Bench(pool)
    found = {(writers, name): Measured() for writers in WRITERS for name in ("chained", "unchained", "early")}
    steps: dict[str, Step] = {"chained": bench.chained, "unchained": bench.unchained, "early": bench.early}
    for name, step in steps.items():
        await bench.load(name, step, 32, 1.0, None)
    for repeat in range(repeats):
        for writers in WRITERS:
            turn = repeat % len(steps)
            order = [*list(steps)[turn:], *list(steps)[:turn]]
            for name in order:
                print(f"repeat {repeat + 1}/{repeats}  {writers:2d} writers  {name}", file=sys.stderr)
                await bench.load(name, steps[name], writers, seconds, found[writers, name])
    await pool.close()
    entries = await verified(postgres)
    return report(found, entries)


def report(found: dict[tuple[int, str], Measured], entries: int) -> dict[str, object]:
    """Print the table and return the figures; see above for the ratio."""
    print(f"{'writers':>7}  {'':9}  {'tx/s':>7}  {'min … max':>15}  {'p50 ms':>7}  {'p99 ms':>7}  {'ratio':>5}")
    result: dict[str, object] = {}
    for writers in WRITERS:
        chained, unchained, early = (found[writers, name] for name in ("chained", "unchained", "early"))
        against = [
            [with_chain / without for with_chain, without in zip(chained.rates, other.rates, strict=True)]
            for other in (unchained, early)
        ]
        ratios = min(against, key=statistics.median)
        ratio = statistics.median(ratios)
        for name, one in (("unchained", unchained), ("early", early), ("chained", chained)):
            times = sorted(one.seconds)
            spread = f"{min(one.rates):,.0f} … {max(one.rates):,.0f}"
            p50, p99 = times[len(times) // 2] * 1e3, times[int(len(times) * 0.99)] * 1e3
            shown = f"{ratio:.2f}" if name == "chained" else ""
            rate = statistics.median(one.rates)
            print(f"{writers:>7}  {name:9}  {rate:>7,.0f}  {spread:>15}  {p50:>7.2f}  {p99:>7.2f}  {shown:>5}")
            result[f"{name}_tx_per_second_{writers}"] = round(rate)
        result[f"ratio_{writers}_writer{'s' if writers > 1 else ''}"] = round(ratio, 3)
        result[f"ratios_{writers}"] = [round(r, 3) for r in ratios]
    print(f"the chain of {entries:,} entries verifies without a fault")
    return {**result, "entries_verified": entries, "cpus": os.cpu_count()}


def main() -> int:
    """Run it; exit 1 when the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=0.75, help="per variant, number of writers and repeat")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fx-bench-") as folder:
        postgres = EmbeddedPostgres(Path(folder) / "pg", superuser_password=PASSWORD)
        postgres.start()
        try:
            result = uvloop.run(measure(postgres, chosen.repeats, chosen.seconds))
        finally:
            postgres.destroy()
    print(f"RESULT {json.dumps(result)}")
    return 0 if all(float(str(result[name])) >= bar for name, bar in BARS.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
