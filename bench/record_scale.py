"""How the record behaves when it is large: proofs, bundles, seals, verification, replay, tenant isolation.

A database of its own is filled with a million entries, each of which records one invoice of one of a hundred tenants:
true canonical bytes, a true chain, rows that a replay yields again. It is filled by COPY, past the guards, since that
is not what is measured; afterwards the product verifies and replays it.
On the way, at 10,000, 100,000 and all entries, proofs and bundles are worked out by the product's own functions, and a
batch of 10,000 new entries is sealed on the smallest and on the largest tree.

Isolation: the product's routes over HTTP (in process), with row-level security and the signed pin, against the very
same routes on the same tables with row security off and no pin, where the statements name the tenant themselves;
interleaved.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import random
import re
import resource
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import Request

import fintokenx.lifecycle.invoice.http as invoice_http
from bench.audit_append import MIGRATIONS, PASSWORD
from fintokenx import audit
from fintokenx.app import catalogue
from fintokenx.app import http as application
from fintokenx.app.migrate import Plan, bootstrap, migrate
from fintokenx.audit.ports import AnchorOnChain, AnchorReceipt
from fintokenx.audit.types import GENESIS_HASH, canonical_entry
from fintokenx.kernel.bus import Reactions
from fintokenx.kernel.caller import Caller, Role, system
from fintokenx.kernel.clock import FixedClock, SystemClock
from fintokenx.kernel.db import Database, PinSigner, Pool, Tx, clean_session, open_pool
from fintokenx.kernel.ids import Ids, invoice_reference
from fintokenx.kernel.notes import VerifierKey
from fintokenx.sandbox.postgres import EmbeddedPostgres
from fintokenx.web.edge import Edge
from fintokenx.web.services import Services

ROLES = ("fx_migrator", "fx_app", "fx_auditor", "fx_sealer", "fx_platform", "fx_worker")
TENANTS = [f"tnt_{number:03d}" for number in range(100)]
NAME = "record"
ORIGIN = "log.example/bench"
NOW = datetime(2026, 6, 2, 9, tzinfo=UTC)
REFERENCES = b"r" * 32
SEAL = 10_000
CHUNK = 10_000
INVOICE_COLUMNS = (
    "tenant_id", "reference", "originator_id", "obligor_id", "invoice_number", "invoice_number_normalised",
    "face_value_pence", "collected_pence", "currency", "issue_date", "tenor_days", "maturity_date",
    "asking_discount_bps", "state", "token_reference", "document_sha256", "created_at",
)  # fmt: skip
ENTRY_COLUMNS = (
    "seq", "id", "timestamp", "action", "actor", "actor_role", "on_behalf_of", "tenant_id", "resource", "request_id",
    "diff", "prev_hash", "hash", "merkle_batch_id",
)  # fmt: skip
BARS = {
    "proof_ratio_1m_10k": (2.0, "at most"),
    "seal_ratio_1m_10k": (1.5, "at most"),
    "verify_entries_per_second_per_core": (50_000, "at least"),
    "rls_cost_percent": (10.0, "at most"),
}

Say = Callable[[str], None]


class Signer:
    """The log's key, in memory."""

    key = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)

    async def sign(self, message: bytes) -> bytes:
        """Its signature."""
        return self.key.sign(message)

    async def public_key(self) -> bytes:
        """Its public half."""
        return self.key.public_key().public_bytes_raw()


class NothingAnchored:
    """A chain that holds no anchor: what it costs to ask one is not measured here."""

    async def latest(self) -> None:
        """None."""

    async def publish(self, batch_id: int, tree_size: int, root: bytes) -> AnchorOnChain:
        """Not asked for."""
        raise NotImplementedError

    async def read(self, batch_id: int) -> None:
        """None."""

    async def receipt(self, anchor: AnchorOnChain) -> AnchorReceipt:
        """Not asked for."""
        raise NotImplementedError


LOG = audit.LogIdentity(VerifierKey(ORIGIN, Signer.key.public_key().public_bytes_raw()), 1981, "0x" + "00" * 20)


@dataclass
class Rows:
    """Makes invoices and the entries that record them."""

    subjects: dict[str, tuple[str, str]]
    seq: int
    previous: bytes

    def chunk(self, count: int, batch_id: int) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        """So many invoices, and their entries."""
        invoices, entries = [], []
        for _ in range(count):
            self.seq += 1
            tenant_id = TENANTS[self.seq % len(TENANTS)]
            row = self._invoice(tenant_id)
            written = {**row, "issue_date": row["issue_date"].isoformat(),
                       "maturity_date": row["maturity_date"].isoformat(),
                       "created_at": "2026-06-02T09:00:00.000000Z"}  # fmt: skip
            operation = {"op": "insert", "row": written, "table": "invoices"}
            # Plain ASCII and integers: sorted keys and no white space are RFC 8785's spelling already.
            diff = json.dumps({"facts": [], "rows": [operation]}, sort_keys=True, separators=(",", ":"))
            entry_id = f"aud_{self.seq:026d}"
            actor = self.subjects[tenant_id][0]
            content = canonical_entry(
                self.seq, entry_id, NOW, "SUBMIT_INVOICE", actor, "seller", None, tenant_id, row["reference"],
                f"req_{self.seq}", diff, self.previous, batch_id,
            )  # fmt: skip
            digest = hashlib.sha256(b"\x00" + content).digest()
            entries.append((
                self.seq, entry_id, NOW, "SUBMIT_INVOICE", actor, "seller", None, tenant_id, row["reference"],
                f"req_{self.seq}", diff, self.previous, digest, batch_id,
            ))  # fmt: skip
            self.previous = digest
            invoices.append(tuple(row[name] for name in INVOICE_COLUMNS))
        return invoices, entries

    def _invoice(self, tenant_id: str) -> dict[str, Any]:
        seller, buyer = self.subjects[tenant_id]
        issued = date(2026, 1, 1) + timedelta(days=self.seq % 150)
        return {
            "tenant_id": tenant_id, "reference": invoice_reference(self.seq, REFERENCES), "originator_id": seller,
            "obligor_id": buyer, "invoice_number": f"INV-{self.seq}", "invoice_number_normalised": f"INV{self.seq}",
            "face_value_pence": 100_000 + self.seq % 900_000, "collected_pence": 0, "currency": "GBP",
            "issue_date": issued, "tenor_days": 60, "maturity_date": issued + timedelta(days=60),
            "asking_discount_bps": 180, "state": "SUBMITTED", "token_reference": None,
            "document_sha256": hashlib.sha256(str(self.seq).encode()).hexdigest(), "created_at": NOW,
        }  # fmt: skip


class Record:
    """The database that grows, as its several roles see it."""

    def __init__(self, postgres: EmbeddedPostgres, say: Say) -> None:
        self._postgres = postgres
        self.say = say
        self.admin: asyncpg.Connection
        self.sealer: Pool
        self.app: Pool
        self.auditor: asyncpg.Connection
        self.database: Database
        self.rows: Rows

    def dsn(self, role: str) -> str:
        """Its address for a role."""
        return self._postgres.dsn(role, PASSWORD, NAME)

    async def _pool(self, role: str, size_max: int) -> Pool:
        return await open_pool(self.dsn(role).replace(f":{PASSWORD}@", "@"), PASSWORD, size_max=size_max)

    async def open(self) -> None:
        """Make it: migrations, tenants, two subjects each, all through the record."""
        server = await asyncpg.connect(self._postgres.dsn("postgres", PASSWORD, "postgres"))
        await server.execute(f"create database {NAME} template template0")
        await server.close()
        self.admin = await asyncpg.connect(self.dsn("postgres"))
        await bootstrap(self.admin, MIGRATIONS, dict.fromkeys(ROLES, PASSWORD))
        migrator = await asyncpg.connect(self.dsn("fx_migrator"))
        pins = PinSigner(b"b" * 32)
        await migrate(migrator, Plan(MIGRATIONS, catalogue.MACHINES, catalogue.ACTIONS, pins, catalogue.CARRIES))
        await migrator.close()
        self.sealer, self.app = await self._pool("fx_sealer", 2), await self._pool("fx_app", 4)
        self.auditor = await asyncpg.connect(self.dsn("fx_auditor"))
        await self.auditor.set_type_codec("json", schema="pg_catalog", encoder=str, decoder=str)
        clock = FixedClock(NOW)
        ids = Ids(clock, os.urandom)
        self.database = Database(self.app, pins=pins, clock=clock, ids=ids, reactions=Reactions())
        subjects = {tenant_id: await self._settle(tenant_id, ids) for tenant_id in TENANTS}
        head = await self.admin.fetchrow("select seq, hash from app.audit_entries order by seq desc limit 1")
        self.rows = Rows(subjects, head["seq"] if head else 0, head["hash"] if head else GENESIS_HASH)

    async def _settle(self, tenant_id: str, ids: Ids) -> tuple[str, str]:
        tenant = {
            "tenant_id": tenant_id, "display_name": tenant_id, "theme": {}, "plan": "partner", "scope_rules": {},
            "mail_from": "a@b.example", "collections_account_name": "C", "collections_sort_code": "040004",
            "collections_account_number": "12345678", "asking_discount_bps": 180, "state": "ACTIVE", "opened_at": NOW,
        }  # fmt: skip
        made = ids.new("sub"), ids.new("sub")
        caller = system(tenant_id, "bench")
        async with self.database.transaction(tenant_id) as tx:
            move = audit.Changes((audit.insert("tenants", tenant),))
            await audit.change(tx, caller, action="TENANT_OPEN", resource=tenant_id, move=move)
            for subject_id, role in zip(made, ("seller", "buyer"), strict=True):
                row = {"tenant_id": tenant_id, "id": subject_id, "role": role, "legal_name": role, "state": "CREATED",
                       "created_at": NOW}  # fmt: skip
                move = audit.Changes((audit.insert("subjects", row),))
                await audit.change(tx, caller, action="SUBJECT_CREATE", resource=subject_id, move=move)
        return made

    @asynccontextmanager
    async def guards_asleep(self) -> AsyncIterator[None]:
        """Past the guards, as only a superuser can: filling is not what is measured."""
        await self.admin.execute("set session_replication_role = replica")
        triggers = await self.admin.fetch(
            "select tgname from pg_trigger where tgrelid = 'app.invoices'::regclass and tgenabled = 'A'"
        )
        for trigger in triggers:
            await self.admin.execute(f"alter table app.invoices disable trigger {trigger['tgname']}")
        try:
            yield
        finally:
            for trigger in triggers:
                await self.admin.execute(f"alter table app.invoices enable always trigger {trigger['tgname']}")
            await self.admin.execute("set session_replication_role = origin")

    async def grow(self, size: int) -> None:
        """Until there are so many entries."""
        batch_id = await self.admin.fetchval("select id from app.merkle_batches where state = 'COLLECTING'")
        async with self.guards_asleep():
            while (missing := size - self.rows.seq) > 0:
                invoices, entries = await asyncio.to_thread(self.rows.chunk, min(CHUNK, missing), batch_id)
                await self._copy("invoices", invoices, INVOICE_COLUMNS)
                await self._copy("audit_entries", entries, ENTRY_COLUMNS)
                if self.rows.seq % 100_000 < CHUNK:
                    self.say(f"{self.rows.seq:,} entries")

    async def _copy(self, table: str, rows: list[tuple[Any, ...]], columns: tuple[str, ...]) -> None:
        await self.admin.copy_records_to_table(table, schema_name="app", records=rows, columns=columns)

    async def seal(self) -> float:
        """Seal what is new, if anything is, and sign it; the milliseconds of the seal."""
        begun = time.perf_counter()
        sealed = await audit.seal(self.sealer, NOW)
        seconds = time.perf_counter() - begun
        if sealed is None:
            return 0.0
        await audit.sign_sealed(self.sealer, Signer(), ORIGIN, NothingAnchored())
        return seconds * 1e3

    async def seal_of_new_entries(self) -> float:
        """The milliseconds of sealing 10,000 new entries: the best of three batches."""
        best = []
        for _ in range(3):
            await self.grow(self.rows.seq + SEAL)
            best.append(await self.seal())
        return min(best)

    async def settled(self) -> None:
        """No vacuum or checkpoint of the filling in the midst of a measurement."""
        await self.admin.execute("vacuum (analyze)")
        await self.admin.execute("checkpoint")


async def median_ms(work: Callable[[int], Awaitable[Any]], repeats: int) -> float:
    """The median of so many calls, in milliseconds."""
    times = []
    for number in range(repeats):
        begun = time.perf_counter()
        await work(number)
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1e3


async def proofs(record: Record, result: dict[str, Any], label: str) -> None:
    """One entry's proof as the API works it out; a bundle of a hundred entries as the command line does."""
    chance = random.Random(7)
    places = [chance.randrange(301, record.rows.seq + 1) for _ in range(200)]
    rows = await record.admin.fetch(
        "select id, tenant_id from app.audit_entries where seq = any($1) order by random()", places
    )

    async def one(number: int) -> None:
        row = rows[number % len(rows)]
        caller = Caller(row["tenant_id"], Role.PARTNER_ADMIN, "key_bench")
        async with record.database.transaction(row["tenant_id"]) as tx:
            found = await audit.provable(tx, caller, entry_id=row["id"])
        await audit.prove(found, hashes=record.sealer, log=LOG)

    await median_ms(one, 20)
    result[f"proof_ms_{label}"] = round(await median_ms(one, 200), 3)
    tenant_id = TENANTS[3]
    caller = Caller(tenant_id, Role.PARTNER_ADMIN, "key_bench")
    some = [row["id"] for row in await record.admin.fetch(
        "select id from app.audit_entries where tenant_id = $1 and seq > 300 order by hash limit 100", tenant_id
    )]  # fmt: skip

    async def bundle(_number: int) -> None:
        for entry_id in some:
            async with record.database.transaction(tenant_id) as tx:
                found = await audit.provable(tx, caller, entry_id=entry_id)
            await audit.prove(found, hashes=record.sealer, log=LOG)

    result[f"bundle_ms_{label}"] = round(await median_ms(bundle, 3), 1)
    record.say(f"at {label}: a proof {result[f'proof_ms_{label}']} ms, a hundred {result[f'bundle_ms_{label}']} ms")


def cpu_seconds(pid: int) -> float:
    """What a process has used so far; /proc/<pid>/stat."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def verification(record: Record, result: dict[str, Any]) -> None:
    """Entries per second of processor time, this process and its server process added up: what one core does."""
    backend = await record.auditor.fetchval("select pg_backend_pid()")
    before = cpu_seconds(backend), time.process_time()
    begun = time.perf_counter()
    verdict = await audit.verify(record.auditor, None, key=LOG.key)
    wall = time.perf_counter() - begun
    cpu = cpu_seconds(backend) - before[0] + time.process_time() - before[1]
    assert verdict.sound, verdict.faults[:3]
    result["verify_entries"] = verdict.entries
    result["verify_entries_per_second_per_core"] = round(verdict.entries / cpu)
    result["verify_entries_per_second_wall"] = round(verdict.entries / wall)
    per_core, by_clock = verdict.entries / cpu, verdict.entries / wall
    record.say(f"verified {verdict.entries:,} entries: {per_core:,.0f} a second and core, {by_clock:,.0f} by the clock")


async def replaying(record: Record, result: dict[str, Any]) -> None:
    """The whole record carried out anew and compared."""
    begun = time.perf_counter()
    found = await audit.replay(record.auditor, progress=_every(record.say, 200_000))
    seconds = time.perf_counter() - begun
    assert found.equal, found.faults
    assert found.differing == 0
    result["replay_entries_per_second"] = round(found.entries / seconds)
    result["replay_peak_memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    record.say(f"replayed {found.entries:,} entries in {seconds:.0f} s, 0 rows differ")


def _every(say: Say, step: int) -> Callable[[str, int, int], None]:
    told = itertools.count(step, step)
    due = [next(told)]

    def progress(what: str, done: int, total: int) -> None:
        if what == "entries" and done >= due[0]:
            due[0] = next(told)
            say(f"replayed {done:,} of {total:,}")

    return progress


class Unpinned(Database):
    """The same transaction without a pin; statements name the tenant themselves."""

    @asynccontextmanager
    async def transaction(self, tenant_id: str, *, request_id: str = "") -> AsyncIterator[Tx]:
        connection = await clean_session(self._pool)
        try:
            await connection.execute("BEGIN; SET LOCAL synchronous_commit = off")
            yield Naming(connection, tenant_id, self._clock.now(), self._ids, self._reactions, request_id)
            await connection.execute("COMMIT")
        finally:
            await self._pool.release(connection)


class Naming(Tx):
    """Adds to a statement what row-level security adds by itself."""

    def _named(self, sql: str) -> str:
        return re.sub(r"(from app\.invoices\s+where )(.*?)(\s+order by|$)",
                      rf"\1tenant_id = '{self.tenant_id}' and (\2)\3", sql, flags=re.DOTALL)  # fmt: skip

    async def rows(self, sql: str, *arguments: Any) -> list[Any]:
        """As Tx.rows."""
        return await super().rows(self._named(sql), *arguments)

    async def row(self, sql: str, *arguments: Any) -> Any:
        """As Tx.row."""
        return await super().row(self._named(sql), *arguments)


async def isolation(record: Record, result: dict[str, Any], *, rounds: int, requests: int) -> None:
    """The two routes, pinned and under row security against neither, turn by turn."""
    pins, clock, ids = PinSigner(b"b" * 32), SystemClock(), Ids(SystemClock(), os.urandom)
    kinds = {
        "pinned": Database(record.app, pins=pins, clock=clock, ids=ids, reactions=Reactions()),
        "bare": Unpinned(record.app, pins=pins, clock=clock, ids=ids, reactions=Reactions()),
    }
    references = await record.admin.fetch(
        "select tenant_id, reference from app.invoices tablesample system (1) order by reference limit 500"
    )
    turns = itertools.cycle(references)
    times: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        for kind in ("pinned", "bare") if number % 2 == 0 else ("bare", "pinned"):
            async with _security(record, on=kind == "pinned"):
                for route, seconds in await _requests(kinds[kind], ids, turns, requests):
                    times.setdefault((kind, route), []).extend(seconds if number else [])
    costs = {}
    for route in ("read", "list"):
        pinned, bare = (statistics.median(times[kind, route]) for kind in ("pinned", "bare"))
        costs[route] = (pinned / bare - 1) * 100
        result[f"rls_{route}_cost_percent"] = round(costs[route], 1)
        record.say(f"{route}: {pinned * 1e3:.2f} ms pinned, {bare * 1e3:.2f} ms bare, {costs[route]:+.1f} %")
    result["rls_cost_percent"] = round(max(costs.values()), 1)


@asynccontextmanager
async def _security(record: Record, *, on: bool) -> AsyncIterator[None]:
    word = "enable" if on else "disable"
    await record.admin.execute(f"alter table app.invoices {word} row level security")
    try:
        yield
    finally:
        await record.admin.execute("alter table app.invoices enable row level security")


async def _requests(database: Database, ids: Ids, turns: Iterator[Any], requests: int) -> list[tuple[str, list[float]]]:
    callers: list[Caller] = []

    async def who(_request: Request) -> Caller:
        return callers[-1]

    app = application.create(ids=ids, routers=[invoice_http.router], title="bench", version="0", environment="local")
    app.state.services = Services(Edge(database, ids, who, b"k" * 32))
    found: dict[str, list[float]] = {"read": [], "list": []}
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://bench") as http:
        for _ in range(requests):
            row = next(turns)
            callers.append(Caller(row["tenant_id"], Role.PARTNER_ADMIN, "key_bench"))
            for route, path in (("read", f"/v1/invoices/{row['reference']}"), ("list", "/v1/invoices?limit=50")):
                begun = time.perf_counter()
                answer = await http.get(path)
                found[route].append(time.perf_counter() - begun)
                assert answer.status_code == 200, answer.text
                if route == "list":
                    assert {item["reference"][:4] for item in answer.json()["items"]} == {"FXI-"}
    return list(found.items())


async def measure(postgres: EmbeddedPostgres, *, entries: int, say: Say) -> dict[str, Any]:
    """All of it, from an empty database to ``entries`` entries."""
    result: dict[str, Any] = {"entries": entries, "tenants": len(TENANTS)}
    record = Record(postgres, say)
    await record.open()
    small, middle = min(10_000, entries // 10), min(100_000, entries // 2)
    await record.grow(small)
    await record.seal()
    await record.settled()
    await proofs(record, result, "10k")
    result["seal_ms_10k"] = round(await record.seal_of_new_entries(), 1)
    await record.grow(middle)
    await record.seal()
    await record.settled()
    await proofs(record, result, "100k")
    while record.rows.seq < entries - 3 * SEAL:  # batches of some size, as ten minutes leave them
        await record.grow(min(record.rows.seq + 50_000, max(entries - 3 * SEAL, record.rows.seq + 1)))
        await record.seal()
    await record.settled()
    result["seal_ms_1m"] = round(await record.seal_of_new_entries(), 1)
    say(f"sealing {SEAL:,} entries: {result['seal_ms_10k']} ms on the small tree, {result['seal_ms_1m']} on the large")
    await record.settled()
    await proofs(record, result, "1m")
    result["proof_ratio_1m_10k"] = round(result["proof_ms_1m"] / result["proof_ms_10k"], 2)
    result["seal_ratio_1m_10k"] = round(result["seal_ms_1m"] / result["seal_ms_10k"], 2)
    await verification(record, result)
    await isolation(record, result, rounds=9, requests=150)
    await replaying(record, result)
    for pool in (record.app, record.sealer):
        await pool.close()
    for connection in (record.auditor, record.admin):
        await connection.close()
    return result
