"""Confirmed invoices become tokens: the platform's own jobs on a Postgres of their own, as fast as they can."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import asyncpg

from bench.audit_append import MIGRATIONS, PASSWORD, TENANT
from fintokenx.adapters.chain import MINTING_WALLET, ChainClient
from fintokenx.app import catalogue
from fintokenx.app.migrate import Plan, bootstrap, migrate
from fintokenx.kernel.bus import Reactions
from fintokenx.kernel.clock import SystemClock
from fintokenx.kernel.db import Database, PinSigner, open_pool
from fintokenx.kernel.ids import Ids, invoice_reference
from fintokenx.kernel.jobs import Worker
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.chainwork.jobs.gaps import tell_mined_with
from fintokenx.lifecycle.tokenisation.jobs import TokenisationJobs
from fintokenx.lifecycle.tokenisation.types import token_id_of
from fintokenx.sandbox.postgres import EmbeddedPostgres

ROLES = ("fx_migrator", "fx_app", "fx_worker")
KEY = b"b" * 32
MINT = "tokenisation.mint"


class _NoHashes:
    """Mints need none."""

    async def blind_index(self, name: str, value: str) -> str:
        raise NotImplementedError


async def minted_from_invoices(chain: ChainClient, number: int, face: Pence) -> tuple[list[int], float]:
    """Their token ids, and the seconds from the first job until the last token is MINTED in the database."""
    with tempfile.TemporaryDirectory(prefix="fx-bench-") as folder:
        postgres = EmbeddedPostgres(Path(folder) / "pg", superuser_password=PASSWORD)
        await asyncio.to_thread(postgres.start)
        try:
            return await _minted(postgres, chain, number, face)
        finally:
            await asyncio.to_thread(postgres.destroy)


async def _minted(postgres: EmbeddedPostgres, chain: ChainClient, number: int, face: Pence) -> tuple[list[int], float]:
    admin = await asyncpg.connect(postgres.dsn("postgres", PASSWORD, "postgres"))
    await bootstrap(admin, MIGRATIONS, dict.fromkeys(ROLES, PASSWORD))
    migrator = await asyncpg.connect(postgres.dsn("fx_migrator", PASSWORD, "postgres"))
    await migrate(migrator, Plan(MIGRATIONS, catalogue.MACHINES, catalogue.ACTIONS, PinSigner(KEY), catalogue.CARRIES))
    await migrator.close()
    clock = SystemClock()
    ids = Ids(clock, os.urandom)
    documents = await _seed(admin, ids, number, face)

    app, worker_pool = [
        await open_pool(postgres.dsn(role, PASSWORD, "postgres").replace(f":{PASSWORD}@", "@"), PASSWORD, size_max=12)
        for role in ("fx_app", "fx_worker")
    ]
    database = Database(app, pins=PinSigner(KEY), clock=clock, ids=ids, reactions=Reactions())
    jobs = TokenisationJobs(
        chain=chain, hashes=_NoHashes(), reference_key=KEY, minting_wallet_key=MINTING_WALLET, stall_seconds=3600,
        machine_seconds=time.monotonic, tell_mined=tell_mined_with(worker_pool),
    )  # fmt: skip
    worker = Worker(
        claims=worker_pool, database=database, jobs=[job for job in jobs.jobs() if job.name == MINT], periodic=(),
        clock=clock, ids=ids,
    )  # fmt: skip
    async with database.transaction(TENANT) as tx:
        for reference in documents:
            tx.enqueue(MINT, {"reference": reference}, dedupe_key=reference)
    begun = time.perf_counter()
    running = asyncio.create_task(worker.run())
    done = "select count(*) from app.chain_tx where state = 'CONFIRMED'"
    while await admin.fetchval(done) < number:
        await asyncio.sleep(0.05)
    seconds = time.perf_counter() - begun
    worker.stop()
    await running
    for each in (app, worker_pool):
        await each.close()
    await admin.close()
    return [int(token_id_of(TENANT, reference, sha256), 16) for reference, sha256 in documents.items()], seconds


async def _seed(admin: asyncpg.Connection, ids: Ids, number: int, face: Pence) -> dict[str, str]:
    """Confirmed invoices, past the guard: filling is not what is measured. Their documents' hashes by reference."""
    seller, buyer = ids.new("sub"), ids.new("sub")
    documents = {
        reference: hashlib.sha256(reference.encode()).hexdigest()
        for reference in (invoice_reference(at, KEY) for at in range(number))
    }
    today = date(2026, 6, 1)
    async with admin.transaction():
        for table in ("tenants", "subjects", "invoices"):
            await admin.execute(f"alter table app.{table} disable trigger user")
        await admin.execute(
            "insert into app.tenants (tenant_id, display_name, theme, plan, scope_rules, mail_from,"
            " collections_account_name, collections_sort_code, collections_account_number, asking_discount_bps, state,"
            " opened_at) values ($1, 'Bench', '{}', 'partner', '{}', 'a@b.example', 'Bench', '040004', '12345678', 180,"
            " 'ACTIVE', now())",
            TENANT,
        )
        await admin.executemany(
            "insert into app.subjects (tenant_id, id, role, legal_name, state, created_at)"
            " values ($1, $2, $3, 'A Company Ltd', 'ACTIVE', now())",
            [(TENANT, seller, "seller"), (TENANT, buyer, "buyer")],
        )
        await admin.executemany(
            "insert into app.invoices (tenant_id, reference, originator_id, obligor_id, invoice_number,"
            " invoice_number_normalised, face_value_pence, collected_pence, currency, issue_date, tenor_days,"
            " maturity_date, asking_discount_bps, state, document_sha256, created_at)"
            " values ($1, $2, $3, $4, $2, replace($2, '-', ''), $5, 0, 'GBP', $6, 90, $7, 180, 'CONFIRMED', $8, now())",
            [
                (TENANT, reference, seller, buyer, face.value, today, today + timedelta(days=90), sha256)
                for reference, sha256 in documents.items()
            ],
        )
        for table in ("tenants", "subjects", "invoices"):
            await admin.execute(f"alter table app.{table} enable trigger user")
            await admin.execute(f"alter table app.{table} enable always trigger a_guard_change")
    await admin.execute("vacuum analyze")
    return documents
