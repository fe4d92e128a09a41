"""A house of tokens for tests: a tenant, its parties, a chain in memory, the jobs between them, and the worker."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from fintokenx import audit
from fintokenx.kernel.caller import system
from fintokenx.kernel.db import Tx
from fintokenx.kernel.ids import invoice_reference
from fintokenx.kernel.jobs import Handler, Job, Lane, Payload, Work, Worker
from fintokenx.kernel.machine import NOTHING
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle import chainwork, tokenisation
from fintokenx.lifecycle.invoice.transitions import INVOICE
from fintokenx.lifecycle.tokenisation.jobs import TokenisationJobs
from fintokenx.parties import auth
from tests.support import World, names, rows
from tests.support.fakes.chain import MINTER_KEY, LedgerChain

TENANT = "tnt_a"
PLATFORM = system(TENANT, "test")
KEY = b"k" * 32
FACE = Pence(1_250_000)
DEADLINE_SECONDS = 30


class Hashes:
    """Keyed hashes with a key that everybody knows."""

    async def blind_index(self, name: str, value: str) -> str:
        return hashlib.sha256(f"{name}|{value}".encode()).hexdigest()


@dataclass
class House:
    """A tenant with a seller, a buyer and a lender, the chain, and the jobs between them."""

    world: World
    chain: LedgerChain
    seller: str
    buyer: str
    lender: str
    machine_seconds: float = 0.0
    invoices: int = 0
    stall_seconds: float = 10.0
    walks: int = 0
    tokens_a_step: int = 50
    jobs: TokenisationJobs = field(init=False)
    renewals_asked: list[str] = field(default_factory=list)
    """Subjects whom the walk wants checked anew; kyc, which would do it, is not in this house."""
    also: dict[str, Handler] = field(default_factory=dict)
    """Jobs of a test's own."""

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget everything that is only in memory."""
        self.jobs = TokenisationJobs(
            chain=self.chain,
            hashes=Hashes(),
            reference_key=KEY,
            minting_wallet_key=MINTER_KEY,
            stall_seconds=self.stall_seconds,
            machine_seconds=lambda: self.machine_seconds,
            tell_mined=self.world.tell_mined,
            active_holders=auth.active_holders,
            tokens_a_step=self.tokens_a_step,
        )

    @asynccontextmanager
    async def tx(self) -> AsyncIterator[Tx]:
        async with self.world.database.transaction(TENANT) as tx:
            yield tx

    async def record(self, action: str, move: Callable[[Tx], Awaitable[audit.Changes]], resource: str = "test") -> None:
        """What a module above does: one entry around Changes."""
        async with self.tx() as tx:
            await audit.change(tx, PLATFORM, action=action, resource=resource, move=await move(tx))

    async def seed(self, *rows: audit.RowChange) -> None:
        """Rows of other modules, past their doors."""

        async def move(_tx: Tx) -> audit.Changes:
            return audit.Changes(rows)

        await self.record("TEST_SEED", move)

    async def invoice(self, state: str = "CONFIRMED") -> str:
        self.invoices += 1
        reference = invoice_reference(self.invoices, KEY)
        await self.seed(
            rows.invoice(
                TENANT, reference, originator_id=self.seller, obligor_id=self.buyer, face=FACE,
                at=self.world.clock.now(), state=state,
            )
        )  # fmt: skip
        return reference

    async def move_invoice(self, reference: str, before: str, after: str) -> None:
        key = {"tenant_id": TENANT, "reference": reference}
        await self.seed(audit.update("invoices", key=key, before={"state": before}, after={"state": after}))

    async def ask(self, job: str, payload: dict[str, Any], dedupe_key: str = "") -> None:
        async with self.tx() as tx:
            tx.enqueue(job, payload, dedupe_key=dedupe_key or json.dumps(payload))

    async def token(self, reference: str) -> tokenisation.Token:
        async with self.tx() as tx:
            return await tokenisation.token_of(tx, PLATFORM, invoice_reference=reference)

    async def state(self, reference: str) -> str:
        """The state of an invoice's token; empty while there is none."""
        try:
            return (await self.token(reference)).state
        except tokenisation.UnknownToken:
            return NOTHING

    async def promise(self, business_key: str) -> chainwork.ChainTransaction:
        async with self.tx() as tx:
            return await chainwork.chain_transaction(tx, PLATFORM, business_key=business_key)

    async def wallet(self, subject_id: str) -> tokenisation.Wallet:
        async with self.tx() as tx:
            return await tokenisation.wallet_of(tx, PLATFORM, subject_id=subject_id)

    async def trail(self, resource: str) -> list[str]:
        return names(await self.entries(resource))

    async def entries(self, resource: str) -> list[audit.Entry]:
        async with self.tx() as tx:
            return await audit.entries_of(tx, PLATFORM, resources=[resource])

    async def facts(self, resource: str) -> list[dict[str, Any]]:
        return [fact for entry in await self.entries(resource) for fact in json.loads(entry.diff)["facts"]]

    def _jobs(self) -> tuple[Job, ...]:
        async def asked(_work: Work, payload: Payload) -> None:
            self.renewals_asked.append(payload["subject_id"])

        of_others = {"kyc.renew": asked, **self.also}
        return (*self.jobs.jobs(), *(Job(name, do, Lane.CHAIN, 60) for name, do in of_others.items()))

    async def checked_anew(self) -> None:
        """Gates 1 and 2 of the lender are passed anew, now."""
        async with self.tx() as tx:
            before = (await auth.subject(tx, self.lender)).cleared_at
        key = {"tenant_id": TENANT, "id": self.lender}
        after = {"cleared_at": self.world.clock.now()}
        await self.seed(audit.update("subjects", key=key, before={"cleared_at": before}, after=after))

    async def work_until(
        self,
        done: Callable[[], Awaitable[bool]],
        *,
        concurrency: int = 8,
        only: str | None = None,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        """Run the worker, with business time passing, until ``done``; ``only`` names the one handler that works."""
        claims = await self.world.pool("fx_worker")
        worker = Worker(
            claims=claims,
            database=self.world.database,
            jobs=[job for job in self._jobs() if only in (None, job.name)],
            periodic=(),
            clock=self.world.clock,
            ids=self.world.ids,
            slots=dict.fromkeys(Lane, concurrency),
            poll_seconds=0.01,
        )
        running = asyncio.create_task(worker.run())
        try:
            async with asyncio.timeout(deadline_seconds):
                while not await done():
                    self.world.clock.set(self.world.clock.now() + timedelta(seconds=1))
                    await asyncio.sleep(0.02)
        finally:
            worker.stop()
            await running
            await claims.close()

    async def until_idle(self, *, concurrency: int = 8) -> None:
        """Run the worker until no job is left."""

        async def idle() -> bool:
            async with self.tx() as tx:
                return not await tx.value("select count(*) from ops.jobs where state = 'READY'")

        await self.work_until(idle, concurrency=concurrency)

    async def minted(self) -> tokenisation.Token:
        """A token in the minting wallet."""
        reference = await self.invoice()
        await self.ask("tokenisation.mint", {"reference": reference})
        await self.until_idle()
        return await self.token(reference)

    async def lose_all_jobs(self) -> None:
        """As an operator's slip, or a restore, would."""
        admin = await self.world.connect("postgres")
        await admin.execute("delete from ops.jobs")
        await admin.close()

    async def walk(self) -> None:
        """One walk, and whatever it promises."""
        self.walks += 1
        await self.ask("tokenisation.walk", {}, f"walk {self.walks}")
        await self.until_idle()

    async def walk_alone(self) -> None:
        """One walk; whatever it promises stays undone."""
        self.walks += 1
        dedupe_key = f"walk {self.walks}"
        await self.ask("tokenisation.walk", {}, dedupe_key)

        async def walked() -> bool:
            async with self.tx() as tx:
                state = await tx.value("select state from ops.jobs where dedupe_key = $1", dedupe_key)
                return bool(state == "DONE")

        await self.work_until(walked, only="tokenisation.walk")

    def pass_time(self, **units: float) -> None:
        self.world.clock.set(self.world.clock.now() + timedelta(**units))

    async def registered_lender(self) -> tokenisation.Wallet:
        await self.ask("tokenisation.issue_claims", {"subject_id": self.lender, "role": "lender"})
        await self.until_idle()
        return await self.wallet(self.lender)

    async def promise_transfer(self, token: tokenisation.Token, business_key: str) -> None:
        await self.record(
            "FIAT_IN",
            lambda tx: tokenisation.transfer(
                tx,
                PLATFORM,
                token_reference=token.reference,
                to_subject_id=self.lender,
                business_key=business_key,
            ),
            token.invoice_reference,
        )

    async def hold(self, token: tokenisation.Token, business_key: str) -> None:
        await self.record(
            "FUND_INVOICE",
            lambda tx: tokenisation.held(
                tx,
                PLATFORM,
                token_reference=token.reference,
                by_subject_id=self.lender,
                transfer_business_key=business_key,
            ),
            token.invoice_reference,
        )

    async def held(self) -> tokenisation.Token:
        """A token in the lender's wallet."""
        await self.registered_lender()
        token = await self.minted()
        await self.promise_transfer(token, f"fund:{token.reference}")
        await self.until_idle()
        await self.hold(token, f"fund:{token.reference}")
        return await self.token(token.invoice_reference)

    async def request_burn(self, token: tokenisation.Token) -> None:
        await self.record(
            "BURN_REQUEST",
            lambda tx: tokenisation.burn(
                tx, PLATFORM, token_reference=token.reference, reason="SETTLED", business_key=f"burn:{token.reference}"
            ),
            token.invoice_reference,
        )


def subject_row(world: World, subject_id: str, role: str) -> audit.RowChange:
    """An active company of the tests' tenant."""
    return rows.subject(TENANT, subject_id, role, at=world.clock.now())


def tenant_row(world: World) -> audit.RowChange:
    """The tests' tenant."""
    return rows.tenant(TENANT, at=world.clock.now())


async def let_tests_seed(world: World) -> None:
    """An action of the tests' own that puts other modules' rows into any state, and the actions of modules above."""
    states = {"tenant": ["ACTIVE"], "subject": ["ACTIVE", "FROZEN"], "invoice": INVOICE.states}
    await rows.let_tests_seed(world, states, "FIAT_IN", "FUND_INVOICE")


async def tokens_house(world: World) -> House:
    """A tenant with one of each, all active."""
    await let_tests_seed(world)
    seller, buyer, lender = (world.ids.new("sub") for _ in range(3))
    made = House(world, LedgerChain(), seller, buyer, lender)
    await made.seed(
        tenant_row(world),
        subject_row(world, made.seller, "seller"),
        subject_row(world, made.buyer, "buyer"),
        subject_row(world, made.lender, "lender"),
    )
    return made


async def apply_rows(house: House, action: str, *rows: audit.RowChange) -> None:
    """One entry of an action with these rows, whatever they are."""

    async def move(_tx: Tx) -> audit.Changes:
        return audit.Changes(rows)

    await house.record(action, move)


async def freeze(house: House, *, frozen: bool) -> None:
    free = {"state": "ACTIVE", "frozen_from": None}
    cold = {"state": "FROZEN", "frozen_from": "ACTIVE"}
    before, after = (free, cold) if frozen else (cold, free)
    key = {"tenant_id": TENANT, "id": house.lender}
    await house.seed(audit.update("subjects", key=key, before=before, after=after))
