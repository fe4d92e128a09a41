"""A tenant, its bank and its chain for the tests of settlement: the mock bank over HTTP, the fake chain."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from fintokenx import audit
from fintokenx.kernel.bus import Reactions
from fintokenx.kernel.caller import Caller, Role, system
from fintokenx.kernel.clock import to_wire
from fintokenx.kernel.db import Tx
from fintokenx.kernel.ids import invoice_reference
from fintokenx.kernel.jobs import Job, Worker
from fintokenx.kernel.money import ZERO, Pence
from fintokenx.lifecycle import invoice, ledger, marketplace, settlement
from fintokenx.lifecycle.invoice.transitions import INVOICE
from fintokenx.lifecycle.marketplace import jobs as marketplace_jobs
from fintokenx.lifecycle.marketplace import reactions as marketplace_reactions
from fintokenx.lifecycle.settlement import reactions as settlement_reactions
from fintokenx.lifecycle.settlement.ports import (
    AccountInformation,
    BankAccount,
    TokenTransfers,
)
from fintokenx.lifecycle.settlement.service import funding, lines, payments
from fintokenx.lifecycle.settlement.types import LineDoubt
from fintokenx.lifecycle.tokenisation import reactions as tokenisation_reactions
from fintokenx.lifecycle.tokenisation.jobs import TokenisationJobs
from fintokenx.parties import auth, compliance
from fintokenx.sandbox.providers.bank_book import account_id
from tests.adapters.bank_house import House as BankHouse
from tests.adapters.bank_house import bank_house
from tests.support import World, names, rows, world_from
from tests.support.fakes.bank import MortalPayments
from tests.support.fakes.chain import MINTER_KEY, LedgerChain

TENANT = "tnt_a"
PLATFORM = system(TENANT, "test")
KEY = b"k" * 32
FACE, BPS = Pence(1_000_000), 180
DISCOUNT, NET = Pence(18_000), Pence(982_000)
DEADLINE_SECONDS = 40

COLLECTIONS = BankAccount("A Collections", "040004", "12345678")
LENDER = BankAccount("A lender Ltd", "040404", "11111111")
SELLER = BankAccount("A seller Ltd", "040404", "22222222")
BUYER = BankAccount("A buyer Ltd", "040404", "33333333")
ACCOUNT_OF = {"lender": LENDER, "seller": SELLER, "buyer": BUYER}


class Hashes:
    async def blind_index(self, name: str, value: str) -> str:
        return hashlib.sha256(f"{name}|{value}".encode()).hexdigest()


@dataclass
class Place:
    """A tenant, its bank, the chain and all jobs between an invoice's confirmation and its settlement."""

    world: World
    bank: BankHouse
    chain: LedgerChain
    payments: MortalPayments
    parties: dict[str, str] = field(default_factory=dict)
    numbers: int = 0
    tick_seconds: float = 5.0
    tokens: TokenTransfers | None = None
    """What settlement asks before money moves; the chain itself where it is None."""
    information: AccountInformation | None = None
    """Who shows the accounts; the bank's Open Banking where it is None."""

    @asynccontextmanager
    async def tx(self) -> AsyncIterator[Tx]:
        async with self.world.database.transaction(TENANT, request_id="req_test") as tx:
            yield tx

    def all_jobs(self) -> tuple[Job, ...]:
        tokens = TokenisationJobs(
            chain=self.chain, hashes=Hashes(), reference_key=KEY, minting_wallet_key=MINTER_KEY, stall_seconds=60.0,
            machine_seconds=lambda: 0.0, tell_mined=self.world.tell_mined,
        )  # fmt: skip
        jobs = settlement.SettlementJobs(
            self.payments, self.information or self.bank.information(), self.tokens or self.chain
        )
        return (*tokens.jobs(), *marketplace_jobs.JOBS, *jobs.jobs())

    async def seed(self, *rows: audit.RowChange) -> None:
        async with self.tx() as tx:
            await audit.change(tx, PLATFORM, action="TEST_SEED", resource="test", move=audit.Changes(rows))

    async def ask(self, job: str, payload: dict[str, Any] | None = None) -> None:
        async with self.tx() as tx:
            tx.enqueue(job, payload or {}, dedupe_key=tx.ids.new("ask"))

    async def work_until(self, done: Callable[[], Awaitable[bool]]) -> None:
        """Run the worker, with business time and the bank's time passing, until ``done``."""
        claims = await self.world.pool("fx_worker")
        worker = Worker(
            claims=claims, database=self.world.database, jobs=self.all_jobs(), periodic=(),
            clock=self.world.clock, ids=self.world.ids, poll_seconds=0.01,
        )  # fmt: skip
        running = asyncio.create_task(worker.run())
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not await done():
                    self.time_passes(self.tick_seconds)
                    await asyncio.sleep(0.02)
        finally:
            worker.stop()
            await running
            await claims.close()

    def time_passes(self, seconds: float) -> None:
        self.world.clock.set(self.world.clock.now() + timedelta(seconds=seconds))
        self.bank.clock.set(self.world.clock.now())
        self.bank.time_passes(1)

    async def until_hours(self, hours: float) -> None:
        """Let the jobs run for some hours of business time."""
        end = self.world.clock.now() + timedelta(hours=hours)

        async def over() -> bool:
            return self.world.clock.now() >= end

        await self.work_until(over)

    async def until_idle(self) -> None:
        await self.work_until(self._idle)

    async def _idle(self) -> bool:
        async with self.tx() as tx:
            return not await tx.value("select count(*) from ops.jobs where state = 'READY'")

    async def until(self, disbursement_id: str, *states: str) -> settlement.Disbursement:
        async def reached() -> bool:
            return (await self.disbursement(disbursement_id)).state in states

        await self.work_until(reached)
        return await self.disbursement(disbursement_id)

    async def listed(self, *, face: Pence = FACE) -> str:
        """A confirmed invoice that has been minted and listed; its reference."""
        self.numbers += 1
        reference = invoice_reference(self.numbers, KEY)
        await self.seed(
            rows.invoice(
                TENANT, reference, originator_id=self.parties["seller"], obligor_id=self.parties["buyer"], face=face,
                at=self.world.clock.now(), tenor_days=90, maturity_date=date(2026, 8, 30), asking_discount_bps=BPS,
            )
        )  # fmt: skip
        await self.ask("tokenisation.mint", {"reference": reference})
        await self.until_idle()
        assert (await self.invoice(reference)).state == "LISTED"
        return reference

    async def lend(self, reference: str, **changes: Any) -> settlement.Disbursement:
        """The lender funds the listing of an invoice."""
        async with self.tx() as tx:
            listing = await marketplace.listing_of(tx, PLATFORM, invoice_reference=reference)
        async with self.tx() as tx:
            return await settlement.commit(tx, self.caller("lender"), listing_id=listing.id, **changes)

    async def funded(self) -> settlement.Disbursement:
        """A disbursement that has come to its good end."""
        made = await self.lend(await self.listed())
        return await self.until(made.id, "CLOSED")

    def caller(self, role: str) -> Caller:
        return Caller(TENANT, Role(role), self.parties[role], subject_id=self.parties[role], has_api_key=True)

    async def disbursement(self, disbursement_id: str) -> settlement.Disbursement:
        async with self.tx() as tx:
            return await settlement.disbursement(tx, PLATFORM, disbursement_id=disbursement_id)

    async def invoice(self, reference: str) -> invoice.Invoice:
        async with self.tx() as tx:
            return await invoice.get(tx, PLATFORM, reference=reference)

    async def listing_state(self, reference: str) -> str:
        async with self.tx() as tx:
            return (await marketplace.listing_of(tx, PLATFORM, invoice_reference=reference)).state

    async def collect(self) -> list[settlement.Collection]:
        """Read the bank's lines and do everything that follows from them."""
        self.time_passes(1)
        await self.ask("settlement.collect")
        await self.until_idle()
        return await self.collections()

    async def collections(self, state: str | None = None) -> list[settlement.Collection]:
        async with self.tx() as tx:
            return await settlement.collections(tx, PLATFORM, state=state, after=None, limit=200)

    async def shows(self, account: BankAccount, **habits: Any) -> None:
        """How an account shows from now on, its earlier lines too."""
        numbers = {"sort_code": account.sort_code, "account_number": account.account_number}
        await self.bank.control("habits", numbers | habits)

    async def doubts(self) -> list[LineDoubt]:
        """Lines that wait for a person, or did."""
        async with self.tx() as tx:
            return await lines.doubts(tx, PLATFORM, state=None, after=None, limit=200)

    async def trail(self, resource: str) -> list[str]:
        return names(await self.entries(resource))

    async def entries(self, resource: str) -> list[audit.Entry]:
        async with self.tx() as tx:
            return await audit.entries_of(tx, PLATFORM, resources=[resource])

    async def facts(self, resource: str) -> Counter[str]:
        return Counter(f["fact"] for entry in await self.entries(resource) for f in json.loads(entry.diff)["facts"])

    async def balances(self) -> dict[str, int]:
        """Credit less debit of every account that is not zero; the books must balance and agree with the bank."""
        async with self.tx() as tx:
            trial = await ledger.trial_balance(tx, PLATFORM)
        assert trial.difference == ZERO
        found = {a.code: a.credit.value - a.debit.value for a in trial.accounts if a.credit != a.debit}
        assert -found.get("bank:collections", 0) == await self.bank.balance_pence(COLLECTIONS)
        return found

    async def effects(self) -> dict[str, int]:
        """How often each end-to-end id moved money at the bank."""
        rows = (await self.bank.http.get("/control/instructions")).json()["instructions"]
        return {row["endToEndId"]: row["effects"] for row in rows}

    async def alerts(self) -> Counter[tuple[str, str]]:
        """How often each alert was raised, by cause and what it is about."""
        officer = Caller(TENANT, Role.MLRO, "sub_officer", subject_id="sub_officer")
        async with self.tx() as tx:
            found = await compliance.alerts(tx, officer, state=None, after="", limit=200)
        return Counter((alert.cause, alert.resource) for alert in found)

    async def raised(self) -> set[str]:
        """Causes of the alerts that are open."""
        async with self.tx() as tx:
            return {row["cause"] for row in await tx.rows("select cause from app.alerts where state = 'RAISED'")}

    async def alerted(self, cause: str, resource: str) -> None:
        """Work until there is such an alert."""

        async def there() -> bool:
            return (cause, resource) in await self.alerts()

        await self.work_until(there)

    async def admin(self, *statements: str) -> None:
        """As the superuser: what no role of the product may do."""
        admin = await self.world.connect("postgres")
        for statement in statements:
            await admin.execute(statement)
        await admin.close()

    async def lose(self, job: str) -> None:
        """From now on every job of this name is lost the moment it is promised; see :meth:`find_again`."""
        await self.admin(
            "create function public.lose() returns trigger language plpgsql as $$ begin return null; end $$",
            f"create trigger lose before insert on ops.jobs for each row when (new.name = '{job}')"
            " execute function public.lose()",
        )

    async def find_again(self) -> None:
        """Jobs are no longer lost."""
        await self.admin("drop trigger lose on ops.jobs", "drop function public.lose()")

    async def jobs(self, name: str) -> list[dict[str, Any]]:
        """The jobs of a name that wait for their turn."""
        async with self.tx() as tx:
            rows = await tx.rows("select * from ops.jobs where name = $1 and state = 'READY' order by id", name)
        return [dict(row) for row in rows]

    async def lines(self) -> list[tuple[str, int]]:
        """Kinds and amounts of the lines that have been dealt with."""
        async with self.tx() as tx:
            rows = await tx.rows("select kind, amount_pence from app.reconciliations order by kind, amount_pence")
        return [(row["kind"], row["amount_pence"]) for row in rows]

    async def sent(self, reference: str) -> settlement.Disbursement:
        """A disbursement whose lender's payment has just been handed to the bank; no job has run for it."""
        made = await self.lend(reference)
        async with self.tx() as tx:
            await funding.checked(tx, PLATFORM, disbursement_id=made.id, allowed=True, reason="")
        async with self.tx() as tx:
            assert await payments.start(tx, PLATFORM, end_to_end_id=made.id) is not None
        return made

    async def show(self, amount_pence: int, transaction_id: str, **changes: Any) -> None:
        """The statement of collections shows a credit that no payment at this bank explains."""
        row = {
            "AccountId": account_id("open-banking", COLLECTIONS.sort_code + COLLECTIONS.account_number),
            "TransactionId": transaction_id, "CreditDebitIndicator": "Credit", "Status": "Booked",
            "BookingDateTime": to_wire(self.world.clock.now()),
            "Amount": {"Amount": f"{amount_pence // 100}.{amount_pence % 100:02d}", "Currency": "GBP"},
        }  # fmt: skip
        numbers = {"sort_code": COLLECTIONS.sort_code, "account_number": COLLECTIONS.account_number}
        await self.bank.control("oddities", {**numbers, "transaction": row | changes})

    async def tell(self, role: str, event: auth.SubjectEvent) -> None:
        """A compliance officer freezes or unfreezes a party."""
        officer = Caller(TENANT, Role.COMPLIANCE, "sub_officer", subject_id="sub_officer")
        action = {auth.SubjectEvent.FREEZE: "SUBJECT_FREEZE", auth.SubjectEvent.UNFREEZE: "SUBJECT_UNFREEZE"}[event]
        async with self.tx() as tx:
            move = await auth.advance(tx, officer, subject_id=self.parties[role], event=event)
            await audit.change(tx, officer, action=action, resource=self.parties[role], move=move)


def _party_rows(place: Place, subject_id: str, role: str) -> list[audit.RowChange]:
    now, account = place.world.clock.now(), ACCOUNT_OF[role]
    file_id = place.world.ids.new("onb")
    return [
        rows.subject(TENANT, subject_id, role, at=now, legal_name=account.name),
        rows.onboarding_file(TENANT, file_id, subject_id=subject_id, company_name=account.name, at=now),
        rows.designated_account(
            TENANT, place.world.ids.new("acc"), subject_id=subject_id, file_id=file_id, account_name=account.name,
            sort_code=account.sort_code, account_number=account.account_number, at=now,
        ),
    ]  # fmt: skip


SEEDED = {"tenant": ["ACTIVE"], "subject": ["ACTIVE"], "onboarding_file": ["DRAFT"], "invoice": INVOICE.states}
"""States into which these tests put rows of other modules."""

REACTIONS = Reactions(
    afterwards=(
        *tokenisation_reactions.AFTERWARDS,
        *marketplace_reactions.AFTERWARDS,
        *settlement_reactions.AFTERWARDS,
    )
)


@asynccontextmanager
async def settlement_house(
    cluster: str, template: str, tmp_path: Path, habits: dict[str, Any] | None = None
) -> AsyncIterator[Place]:
    """A lender with £100,000, a seller with nothing, a buyer with £100,000, and an empty collections account."""
    async with (
        world_from(cluster, template, reactions=REACTIONS) as world,
        bank_house(tmp_path / "bank.journal") as bank,
    ):
        await rows.let_tests_seed(world, SEEDED)
        made = Place(world, bank, LedgerChain(), MortalPayments(bank.payments()))
        bank.clock.set(world.clock.now())
        made.parties = {role: world.ids.new("sub") for role in ACCOUNT_OF}
        await made.seed(rows.tenant(TENANT, at=world.clock.now(), scope_rules={"funding": True}))
        for role, subject_id in made.parties.items():
            await made.seed(*_party_rows(made, subject_id, role))
        for account, pence in ((LENDER, 10_000_000), (SELLER, 0), (BUYER, 10_000_000), (COLLECTIONS, 0)):
            await bank.open_account(account, pence, **(habits or {}))
        await made.ask("tokenisation.issue_claims", {"subject_id": made.parties["lender"], "role": "lender"})
        yield made
