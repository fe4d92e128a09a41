"""A tenant whose gates run against our Sumsub and ComplyAdvantage over real HTTP; its worker runs when told to."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from fintokenx import audit
from fintokenx.adapters.blobs import DataKeys, EncryptedBlobs
from fintokenx.adapters.complyadvantage import ComplyAdvantageClient
from fintokenx.adapters.outbound import RetryPolicy
from fintokenx.adapters.sumsub import SumsubClient
from fintokenx.adapters.vault import LocalVault
from fintokenx.kernel.caller import Caller, Role, system
from fintokenx.kernel.jobs import Job, Worker
from fintokenx.kernel.sealing import Sealer
from fintokenx.parties import auth, compliance, kyc
from fintokenx.parties.kyc import service
from fintokenx.parties.kyc.types import (
    FORM_VERSION,
    OnboardingFile,
    Person,
    PersonRole,
)
from fintokenx.sandbox.providers import complyadvantage, sumsub
from fintokenx.sandbox.providers.complyadvantage_requests import Rate as ScreeningRate
from fintokenx.sandbox.providers.modes import Modes
from fintokenx.sandbox.providers.sumsub_requests import Rate
from tests.modules.compliance_house import MLRO, SYSTEM, A, decide, new_subject
from tests.modules.parties_house import open_tenant
from tests.support import World, names
from tests.support.fakes.credentials import FixedCredential
from tests.support.fakes.outbound import calm
from tests.support.harness.serving import eventually, served

WEBHOOK_SECRET = "webhook-secret-for-tests"
TOKEN, SECRET, HOOK = (FixedCredential(text) for text in ("t", "s", WEBHOOK_SECRET))
QUICK = RetryPolicy(first_pause_seconds=0.01, pause_seconds_max=0.1, attempt_seconds_max=0.5)
IMPATIENT = httpx.Timeout(0.2, connect=1.0)
ACCOUNT = kyc.BankAccount("Acme Ltd", "608371", "12345678")
ADA = Person("Ada Byron", date(1985, 12, 10), (PersonRole.DIRECTOR, PersonRole.REPRESENTATIVE))
GRACE = Person("Grace Hopper", date(1979, 12, 9), (PersonRole.UBO,))
APPROVE, DECLINE = compliance.Decision.APPROVE, compliance.Decision.DECLINE


@dataclass
class Desk:
    """A database, both providers, the production clients between, and a worker that runs when told to."""

    world: World
    services: kyc.KycServices
    worker_pool: Any
    admin: asyncpg.Connection
    identity: Modes
    screening: Modes
    also: Sequence[Job] = ()
    """Jobs of other modules that its worker does, too."""

    async def work(self) -> None:
        """Run every job that is due now, and those that they make due."""
        worker = Worker(
            claims=self.worker_pool,
            database=self.world.database,
            jobs=(*kyc.jobs_of(self.services), *self.also),
            periodic=(),
            clock=self.world.clock,
            ids=self.world.ids,
            poll_seconds=0.01,
        )
        running = asyncio.create_task(worker.run())
        await eventually(self._nothing_due, within_seconds=30)
        worker.stop()
        await running

    async def _nothing_due(self) -> bool:
        due = "select count(*) from ops.jobs where state = 'READY' and run_at <= $1"
        return bool(await self.admin.fetchval(due, self.world.clock.now()) == 0)

    def wait(self, seconds: float) -> None:
        """Let business time pass."""
        self.world.clock.set(self.world.clock.now() + timedelta(seconds=seconds))

    async def settled(self, *, rounds: int = 4) -> None:
        """Let the gates ask, look, and go on."""
        for _ in range(rounds):
            await self.work()
            self.wait(5)

    async def submit(
        self,
        subject: auth.Subject,
        *,
        persons: Sequence[Person] = (ADA, GRACE),
        caller: Caller | None = None,
        company_number: str = "01234567",
        form_version: str = FORM_VERSION,
    ) -> OnboardingFile:
        """Seal a form and hand it in, as the subject itself unless told otherwise."""
        caller = caller or Caller(subject.tenant_id, Role.SELLER, subject.id, subject.id)
        form = await service.seal_form(
            self.services.sealer,
            self.world.ids,
            caller.tenant_id,
            form_version=form_version,
            company_number=company_number,
            persons=persons,
            account=ACCOUNT,
            at=self.world.clock.now(),
        )
        async with self.world.database.transaction(caller.tenant_id) as tx:
            return await service.submit(tx, caller, subject_id=subject.id, form=form)

    async def onboarded(self, name: str = "Acme Ltd", *, persons: Sequence[Person] = (ADA, GRACE)) -> auth.Subject:
        """A subject whose gates have run as far as they get by themselves."""
        subject = await new_subject(self.world, name=name)
        await self.submit(subject, persons=persons)
        await self.settled()
        return subject

    async def standing(self, subject: auth.Subject) -> tuple[str, list[str]]:
        """The subject's state and those of its gates."""
        tenant_id = subject.tenant_id
        async with self.world.database.transaction(tenant_id) as tx:
            gates = await kyc.gates(tx, system(tenant_id, "test"), subject_id=subject.id)
        return gates.subject_state, [gate.state for gate in gates.gates]

    async def cases(self) -> list[compliance.Case]:
        """The undecided ones."""
        async with self.world.database.transaction(A) as tx:
            return await compliance.cases(tx, MLRO, state="OPEN", after="", limit=50)

    async def alerts(self) -> list[str]:
        """Causes of all alerts."""
        async with self.world.database.transaction(A) as tx:
            return [alert.cause for alert in await compliance.alerts(tx, MLRO, state=None, after="", limit=50)]

    async def raised(self) -> list[str]:
        """Causes of the alerts that are open."""
        async with self.world.database.transaction(A) as tx:
            found = await compliance.alerts(tx, MLRO, state="RAISED", after="", limit=50)
        return [alert.cause for alert in found]

    async def decide_all(self, decision: compliance.Decision) -> None:
        """Decide every open case, and let kyc act on it."""
        for case in await self.cases():
            await decide(self.world, self.services.sealer, case, decision=decision)
        await self.work()

    async def rerun(self, subject: auth.Subject, gate: kyc.Gate) -> None:
        async with self.world.database.transaction(A) as tx:
            await service.rerun(tx, MLRO, subject_id=subject.id, gate=gate)
        await self.settled()

    async def trail(self, subject: auth.Subject) -> list[str]:
        async with self.world.database.transaction(A) as tx:
            return names(await audit.entries_of(tx, SYSTEM, resources=[subject.id]))

    async def rows(self, table: str) -> list[asyncpg.Record]:
        return list(await self.admin.fetch(f"select * from app.{table} order by id"))

    async def activations(self) -> int:
        """How often the fact SubjectActive was told."""
        entries = await self.admin.fetch("select diff::text as diff from app.audit_entries")
        return sum(entry["diff"].count('"fact":"SubjectActive"') for entry in entries)


@asynccontextmanager
async def open_desk(world: World, folder: Path) -> AsyncIterator[Desk]:
    async with AsyncExitStack() as stack:
        first = sumsub.create_app(
            world.clock,
            app_token=TOKEN,
            app_secret=SECRET,
            webhook_secret=HOOK,
            decide_after_seconds=0.0,
            rate=Rate(10_000, 10_000),
        )
        second = complyadvantage.create_app(world.clock, api_key=TOKEN, rate=ScreeningRate(10_000))
        first_url = await stack.enter_async_context(served(first))
        second_url = await stack.enter_async_context(served(second))
        client = await stack.enter_async_context(httpx.AsyncClient())
        vault = LocalVault(folder / "vault", os.urandom)
        services = kyc.KycServices(
            identity=SumsubClient(
                first_url, TOKEN, SECRET, HOOK,
                clock=world.clock, guard=calm(), http=client, timeouts=IMPATIENT, policy=QUICK,
            ),
            screening=ComplyAdvantageClient(
                second_url, TOKEN, clock=world.clock, guard=calm(), http=client, timeouts=IMPATIENT, policy=QUICK
            ),
            sealer=Sealer(world.database, vault, os.urandom),
            blobs=EncryptedBlobs(
                f"file://{folder / 'blobs'}", vault, DataKeys(world.database, vault, os.urandom), os.urandom
            ),
        )  # fmt: skip
        await open_tenant(world, A)
        pool = await world.pool("fx_worker")
        admin = await world.connect("postgres")
        try:
            yield Desk(world, services, pool, admin, first.state.modes, second.state.modes)
        finally:
            await admin.close()
            await pool.close()
