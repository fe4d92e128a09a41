"""An installation for the tests of invoices: the real routes, vault, sealer, blobs, reader and worker, two tenants."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI, Request

from fintokenx import audit
from fintokenx.adapters.blobs import DataKeys, EncryptedBlobs
from fintokenx.adapters.documents import TextReader
from fintokenx.adapters.vault import LocalVault
from fintokenx.app import http as application
from fintokenx.desks import buyer
from fintokenx.kernel.bus import Reactions
from fintokenx.kernel.caller import Caller, Role, system
from fintokenx.kernel.errors import Unauthenticated
from fintokenx.kernel.jobs import Worker
from fintokenx.kernel.sealing import Sealer
from fintokenx.lifecycle import invoice
from fintokenx.lifecycle.invoice import Document, reactions
from fintokenx.lifecycle.invoice import http as routes
from fintokenx.lifecycle.invoice.jobs import InvoiceJobs
from fintokenx.lifecycle.invoice.ports import DocumentKind, DocumentReader, Reading
from fintokenx.parties import auth, compliance, partner
from fintokenx.parties.auth import SubjectEvent
from fintokenx.web.edge import Edge
from fintokenx.web.services import Services
from tests.modules.parties_house import HERE, NUMBERS, THERE, terms
from tests.support import ROOT, World, names, world_from

SAMPLES = ROOT / "samples" / "invoices"
THIRD_PARTY = ROOT / "tests" / "data" / "invoices"
"""Invoices in layouts that we did not make."""
SEED = system(HERE, "seed")
DEADLINE_SECONDS = 60
ADDRESS = "203.0.113.77"
"""Where the client of the tests sits."""


@dataclass(frozen=True)
class Sample:
    """A document with what its seller knows of it."""

    content: bytes
    told: Mapping[str, Any]

    @classmethod
    def at(cls, path: Path, truth: Path | None = None) -> Sample:
        """Read a document and the JSON beside it (or at ``truth``)."""
        return cls(path.read_bytes(), json.loads((truth or path.with_suffix(".json")).read_text()))


HARBOUR = Sample.at(SAMPLES / "harbour-signage.pdf")
MILLRACE = Sample.at(SAMPLES / "millrace-foods.xml")
TERN = Sample.at(SAMPLES / "tern-instruments.pdf")


@dataclass(frozen=True)
class Parties:
    """A seller and a buyer, both active."""

    seller: auth.Subject
    buyer: auth.Subject

    def declared(self, sample: Sample, **changes: Any) -> dict[str, Any]:
        """The honest declaration of a sample, with changes; a change to ``...`` leaves the field out."""
        told = sample.told
        body = {
            "obligor_id": self.buyer.id,
            "invoice_number": told["invoice_number"],
            "issue_date": told["issue_date"],
            "maturity_date": told["due_date"] or told["implied_due_date"],
            "face_value_pence": told["total_pence"],
            "asking_discount_bps": 200,
            **changes,
        }
        return {name: value for name, value in body.items() if value is not ...}


class OneAtATime:
    """The reader within this process, for tests that are not about reading: no server to start for each test."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reader = TextReader()

    def inspect(self, content: bytes) -> DocumentKind:
        with self._lock:
            return self._reader.inspect(content)

    def read(self, content: bytes, given_up: threading.Event | None = None) -> Reading:
        with self._lock:
            return self._reader.read(content)


@dataclass
class House:
    """The installation. ``as_`` names who calls: the id of a subject, or any name put into ``callers``."""

    world: World
    vault: LocalVault
    sealer: Sealer
    blobs: EncryptedBlobs
    reader: DocumentReader
    client: httpx.AsyncClient
    callers: dict[str, Caller]
    app: FastAPI
    keys: int = 0

    # --- parties

    async def subject(
        self, role: Role, name: str = "Ada Engines Ltd", number: str | None = None, tenant_id: str = HERE,
        *, active: bool = True,
    ) -> auth.Subject:  # fmt: skip
        """A company in a role; it may sign in by its id."""
        seed = system(tenant_id, "seed")
        async with self.world.database.transaction(tenant_id) as tx:
            made = await auth.create_subject(
                tx,
                seed,
                subject_id=tx.ids.new("sub"),
                role=role,
                legal_name=name,
                company_number=number or next(NUMBERS),
                person=None,
            )
        if active:
            for event in ("OPEN_ONBOARDING", "SUBMIT", "GATE_1_CLEAR", "GATE_2_DONE", "ACTIVATE"):
                await self.moved(made, SubjectEvent[event])
        self.callers[made.id] = Caller(tenant_id, role, made.id, subject_id=made.id)
        async with self.world.database.transaction(tenant_id) as tx:
            return await auth.subject(tx, made.id)

    async def moved(self, subject: auth.Subject, event: SubjectEvent) -> None:
        """Move a subject along its machine."""
        by = system(subject.tenant_id, "seed")
        if event is SubjectEvent.FREEZE:
            by = Caller(subject.tenant_id, Role.MLRO, "sub_mlro", subject_id="sub_mlro")
        reason = "TEST" if event is SubjectEvent.SUSPEND else ""
        async with self.world.database.transaction(subject.tenant_id) as tx:
            move = await auth.advance(tx, by, subject_id=subject.id, event=event, reason=reason)
            await audit.change(tx, by, action=auth.action_of(event), resource=subject.id, move=move)

    async def parties(self, sample: Sample = HARBOUR, tenant_id: str = HERE) -> Parties:
        """The seller and the buyer that a sample names."""
        seller, buyer = sample.told["seller"], sample.told["buyer"]
        return Parties(
            await self.subject(Role.SELLER, seller["name"], seller["company_number"], tenant_id),
            await self.subject(Role.BUYER, buyer["name"], buyer["company_number"], tenant_id),
        )

    # --- requests

    async def submit(
        self, as_: str, content: bytes, declared: object, *, key: str | None = "", name: str = "invoice.pdf"
    ) -> httpx.Response:  # fmt: skip
        """POST /v1/invoices. ``key``: a fresh one for "", none for None. ``declared``: JSON text, or what to dump."""
        self.keys += 1
        headers = {"Authorization": f"Bearer {as_}"}
        if key is not None:
            headers["FX-Idempotency-Key"] = key or f"k{self.keys}"
        text = declared if isinstance(declared, str) else json.dumps(declared)
        return await self.client.post(
            "/v1/invoices", headers=headers, data={"declared": text}, files={"file": (name, content, "application/pdf")}
        )

    async def submitted(self, parties: Parties, sample: Sample = HARBOUR, **changes: Any) -> str:
        """The reference of a sample that its seller has just uploaded."""
        answer = await self.submit(parties.seller.id, sample.content, parties.declared(sample, **changes))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["reference"])

    async def awaiting(self, parties: Parties, sample: Sample = HARBOUR, **changes: Any) -> str:
        """The reference of an invoice that waits for its buyer."""
        reference = await self.submitted(parties, sample, **changes)
        await self.work()
        assert (await self.invoice(reference)).state == "AWAITING_BUYER"
        return reference

    async def get(self, as_: str, path: str) -> httpx.Response:
        """GET as somebody."""
        return await self.client.get(path, headers={"Authorization": f"Bearer {as_}"})

    async def post(self, as_: str, path: str) -> httpx.Response:
        """POST without a body, with a fresh key, as somebody."""
        self.keys += 1
        return await self.client.post(
            path, headers={"Authorization": f"Bearer {as_}", "FX-Idempotency-Key": f"k{self.keys}"}
        )

    async def link(self, reference: str, days: int = 7) -> str:
        """The path of a fresh magic link for the invoice's buyer, as the mail carries it."""
        buyer_id = (await self.invoice(reference)).obligor_id
        async with self.world.database.transaction(HERE) as tx:
            raw = await auth.issue_magic_link(
                tx, SEED, invoice_reference=reference, subject_id=buyer_id, life=timedelta(days=days)
            )
        return f"/confirm/{raw}"

    # --- what came of it

    async def invoice(self, reference: str) -> invoice.Invoice:
        """As it stands."""
        async with self.world.database.transaction(HERE) as tx:
            return await invoice.get(tx, SEED, reference=reference)

    async def documents(self, reference: str) -> dict[str, list[Document]]:
        """Its artefacts by type."""
        async with self.world.database.transaction(HERE) as tx:
            found = await invoice.documents(tx, SEED, reference=reference)
        by_type: dict[str, list[Document]] = {}
        for document in found:
            by_type.setdefault(document.type, []).append(document)
        return by_type

    async def entries(self, resource: str) -> list[audit.Entry]:
        """What is recorded about it."""
        async with self.world.database.transaction(HERE) as tx:
            return await audit.entries_of(tx, SEED, resources=[resource])

    async def trail(self, resource: str) -> list[str]:
        """The actions recorded about it."""
        return names(await self.entries(resource))

    async def cases(self, resource: str) -> list[compliance.Case]:
        """The MLRO queue about it."""
        decider = Caller(HERE, Role.MLRO, "sub_mlro", subject_id="sub_mlro")
        async with self.world.database.transaction(HERE) as tx:
            found = await compliance.cases(tx, decider, state=None, after="", limit=200)
        return [case for case in found if case.resource == resource]

    async def decide(self, case: compliance.Case, decision: compliance.Decision) -> None:
        """What a compliance officer decides, and what follows from it."""
        decider = Caller(HERE, Role.MLRO, "sub_mlro", subject_id="sub_mlro")
        rationale = await compliance.seal_rationale(self.sealer, case, HERE, "Compared by eye.")
        async with self.world.database.transaction(HERE) as tx:
            await compliance.decide(tx, decider, case_id=case.id, decision=decision, rationale=rationale)
        await self.work()

    async def rows(self, sql: str, *arguments: Any) -> list[dict[str, Any]]:
        """What the superuser sees."""
        connection = await self.world.connect("postgres")
        try:
            return [dict(row) for row in await connection.fetch(sql, *arguments)]
        finally:
            await connection.close()

    async def count(self, table: str) -> int:
        """How many rows there are, in all tenants."""
        [row] = await self.rows(f"select count(*) as n from {table}")
        return int(row["n"])

    async def work(self, reader: DocumentReader | None = None) -> None:
        """Run the worker until no job of invoices is left; business time stands still unless a job waits for it."""
        claims = await self.world.pool("fx_worker")
        worker = Worker(
            claims=claims,
            database=self.world.database,
            jobs=InvoiceJobs(reader or self.reader, self.blobs).jobs(),
            periodic=(),
            clock=self.world.clock,
            ids=self.world.ids,
            poll_seconds=0.02,
        )
        running = asyncio.create_task(worker.run())
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while waiting := await self.rows(_WAITING):
                    if all(job["run_at"] > self.world.clock.now() for job in waiting):
                        self.world.clock.set(min(job["run_at"] for job in waiting))
                    await asyncio.sleep(0.05)
        finally:
            worker.stop()
            await running
            await claims.close()


_WAITING = "select run_at from ops.jobs where state = 'READY' and name like 'invoice.%'"


@asynccontextmanager
async def invoice_house(cluster: str, template: str, folder: Path, reader: DocumentReader) -> AsyncIterator[House]:
    """Two open tenants on a database of their own."""
    told = Reactions(reactions.IN_STEP, reactions.AFTERWARDS)
    async with world_from(cluster, template, reactions=told) as world:
        vault = LocalVault(folder / "vault", os.urandom)
        sealer = Sealer(world.database, vault, os.urandom)
        blobs = EncryptedBlobs("memory:///", vault, DataKeys(world.database, vault, os.urandom), os.urandom)
        callers: dict[str, Caller] = {}

        async def authenticate(request: Request) -> Caller:
            caller = callers.get(request.headers.get("authorization", "").removeprefix("Bearer "))
            if caller is None:
                raise Unauthenticated
            return caller

        app = application.create(
            ids=world.ids, routers=[routes.router, buyer.router], title="test", version="0", environment="local"
        )
        app.state.services = Services(
            Edge(world.database, world.ids, authenticate, b"fingerprint key of tests"),
            routes.InvoiceServices(blobs, reader, sealer, b"test" * 8, buyer.page_content),
            buyer.BuyerServices(blobs, sealer),
        )
        transport = httpx.ASGITransport(app=app, client=(ADDRESS, 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            house = House(world, vault, sealer, blobs, reader, client, callers, app)
            for tenant_id in (HERE, THERE):
                async with world.database.transaction(tenant_id) as tx:
                    await partner.open_tenant(tx, system(tenant_id, "seed"), terms=terms())
            yield house
