"""One token per invoice, whatever happens between us and the chain (TK-01 … TK-13, CH-06, CH-16, P-15, IX-09)."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.middleware.base import RequestResponseEndpoint

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role, WrongRole, WrongTenant, system
from fintokenx.kernel.db import Tx
from fintokenx.kernel.errors import Refused
from fintokenx.kernel.ids import invoice_reference
from fintokenx.kernel.jobs import Handler, Job, Lane, Payload, Work, Worker
from fintokenx.kernel.machine import NOTHING, IllegalTransition, Machine
from fintokenx.kernel.money import Pence
from fintokenx.kernel.vault import VaultUnavailable
from fintokenx.lifecycle import tokenisation
from fintokenx.lifecycle.chainwork.jobs import gaps
from fintokenx.lifecycle.chainwork.ports import ChainUnavailable
from fintokenx.lifecycle.invoice.transitions import INVOICE
from fintokenx.lifecycle.tokenisation.http import router
from fintokenx.lifecycle.tokenisation.jobs import TokenisationJobs
from fintokenx.lifecycle.tokenisation.ports import (
    BurnReceivable,
    Call,
    Claims,
    MintReceivable,
    RegisterIdentity,
    TransferToken,
)
from fintokenx.lifecycle.tokenisation.service import identity, minting, reads, sending
from fintokenx.lifecycle.tokenisation.transitions import CHAIN_TX, MACHINES, RECOVERY, TOKEN, WALLET
from fintokenx.lifecycle.tokenisation.types import token_id_of
from fintokenx.parties import auth
from fintokenx.web.edge import Edge, problem
from fintokenx.web.services import Services
from tests.fakes.chain import MINTER_KEY, Contracts, Crash, LedgerChain, Reverted, address_of
from tests.support import World, may_carry_anything, names

pytestmark = pytest.mark.anyio

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

    async def record(self, action: str, move: Callable[[Tx], Awaitable[audit.Move]], resource: str = "test") -> None:
        """What a module above does: one entry around a Move."""
        async with self.tx() as tx:
            await audit.change(tx, PLATFORM, action=action, resource=resource, move=await move(tx))

    async def seed(self, *rows: audit.RowChange) -> None:
        """Rows of other modules, past their doors."""

        async def move(_tx: Tx) -> audit.Move:
            return audit.Move(rows)

        await self.record("TEST_SEED", move)

    async def invoice(self, state: str = "CONFIRMED") -> str:
        self.invoices += 1
        reference = invoice_reference(self.invoices, KEY)
        await self.seed(_invoice_row(self, reference, state))
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

    async def promise(self, business_key: str) -> tokenisation.ChainTransaction:
        async with self.tx() as tx:
            return await tokenisation.chain_transaction(tx, PLATFORM, business_key=business_key)

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


def _invoice_row(house: House, reference: str, state: str) -> audit.RowChange:
    return audit.insert(
        "invoices",
        {
            "tenant_id": TENANT,
            "reference": reference,
            "originator_id": house.seller,
            "obligor_id": house.buyer,
            "invoice_number": reference,
            "invoice_number_normalised": reference.replace("-", ""),
            "face_value_pence": FACE,
            "collected_pence": 0,
            "currency": "GBP",
            "issue_date": date(2026, 6, 1),
            "tenor_days": 60,
            "maturity_date": date(2026, 7, 31),
            "asking_discount_bps": 180,
            "state": state,
            "token_reference": None,
            "document_sha256": hashlib.sha256(reference.encode()).hexdigest(),
            "created_at": house.world.clock.now(),
        },
    )


def subject_row(world: World, subject_id: str, role: str) -> audit.RowChange:
    return audit.insert(
        "subjects",
        {
            "tenant_id": TENANT,
            "id": subject_id,
            "role": role,
            "legal_name": f"A {role} Ltd",
            "state": "ACTIVE",
            "created_at": world.clock.now(),
            "cleared_at": world.clock.now(),
        },
    )


def tenant_row(world: World) -> audit.RowChange:
    return audit.insert(
        "tenants",
        {
            "tenant_id": TENANT,
            "display_name": "A",
            "theme": {},
            "plan": "partner",
            "scope_rules": {},
            "mail_from": "invoices@a.example",
            "collections_account_name": "A Collections",
            "collections_sort_code": "040004",
            "collections_account_number": "12345678",
            "asking_discount_bps": 180,
            "state": "ACTIVE",
            "opened_at": world.clock.now(),
        },
    )


async def let_tests_seed(world: World) -> None:
    """An action of the tests' own that puts other modules' rows into any state, and the actions of modules above."""
    admin = await world.connect("postgres")
    states = {"tenant": ["ACTIVE"], "subject": ["ACTIVE", "FROZEN"], "invoice": list(INVOICE.states)}
    pairs = [(m, a, b) for m, all_states in states.items() for a in ("", *all_states) for b in all_states if a != b]
    await admin.executemany(
        "insert into fx.machine_transitions (machine, from_state, event, to_state, action)"
        " values ($1, $2, 'seed', $3, 'TEST_SEED')",
        pairs,
    )
    for action in ("TEST_SEED", "FIAT_IN", "FUND_INVOICE"):
        await admin.execute(
            "insert into app.audit_actions values ($1, false, '{system}', 'forbidden') on conflict do nothing", action
        )
    await may_carry_anything(admin, "TEST_SEED")
    await admin.close()


@pytest.fixture
async def house(world: World) -> House:
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


# ── Minting


async def test_a_confirmed_invoice_becomes_a_token_in_the_minting_wallet(house: House) -> None:
    token = await house.minted()
    assert (token.state, token.face, token.holder_subject_id) == ("MINTED", FACE, None)
    assert token.holder_wallet == address_of(MINTER_KEY)
    assert token.token_id_hex == token_id_of(TENANT, token.invoice_reference, token.document_sha256)
    assert token.due_at_unix == 1_785_456_000  # 2026-07-31T00:00:00Z
    [call] = house.chain.mined_calls(MintReceivable)
    assert isinstance(call, MintReceivable)
    assert (call.token_id, call.face, call.to_wallet) == (token.token_id, FACE, address_of(MINTER_KEY))
    assert call.document_sha256.hex() == token.document_sha256
    assert await house.trail(token.invoice_reference) == [
        "TOKEN_REQUEST",
        "CHAIN_TX_RESERVE",
        "TOKEN_SUBMIT",
        "TOKEN_MINT",
    ]
    assert await house.facts(token.invoice_reference) == [
        {"fact": "TokenMinted", "token_reference": token.reference, "invoice_reference": token.invoice_reference}
    ]


async def test_the_invoice_is_tokenised_in_the_entry_of_the_mint(house: House) -> None:
    token = await house.minted()
    entry = (await house.entries(token.invoice_reference))[-1]
    changed = {row["table"]: row["after"] for row in json.loads(entry.diff)["rows"]}
    assert changed["invoices"] == {"state": "TOKENISED", "token_reference": token.reference}
    assert changed["tokens"]["state"] == "MINTED"
    assert changed["chain_tx"]["state"] == "CONFIRMED"


async def test_an_invoice_in_any_other_state_is_not_minted(house: House) -> None:
    for state in INVOICE.states:
        if state == "CONFIRMED":
            continue
        reference = await house.invoice(state)
        with pytest.raises(tokenisation.InvoiceNotConfirmed):
            async with house.tx() as tx:
                await minting.request(tx, PLATFORM, invoice_reference=reference, reference_key=KEY)
        assert await house.state(reference) == NOTHING


async def test_an_unconfirmed_invoice_causes_no_call_to_the_chain(house: House) -> None:
    reference = await house.invoice("AWAITING_BUYER")
    await house.ask("tokenisation.mint", {"reference": reference})

    async def refused() -> bool:
        async with house.tx() as tx:
            return await tx.value("select last_error from ops.jobs") is not None

    await house.work_until(refused)
    assert house.chain.calls.total() == 0


async def test_the_token_is_not_minted_before_the_chain_confirms_it(house: House) -> None:
    house.chain.automine = False
    reference = await house.invoice()
    await house.ask("tokenisation.mint", {"reference": reference})

    async def sent() -> bool:
        return bool(house.chain.broadcasts)

    await house.work_until(sent)
    assert await house.state(reference) == "MINT_SUBMITTED"
    house.chain.mine()
    await house.until_idle()
    assert await house.state(reference) == "MINTED"


async def test_a_second_confirmation_fact_mints_nothing_more(house: House) -> None:
    token = await house.minted()
    await house.ask("tokenisation.mint", {"reference": token.invoice_reference}, "again")
    await house.until_idle()
    assert len(house.chain.mined_calls(MintReceivable)) == 1
    assert len(await house.trail(token.invoice_reference)) == 4


async def test_while_no_block_comes_mints_wait_as_pending_and_happen_once_afterwards(house: House) -> None:
    """TK-05: N confirmations → N PENDING_MINT; resume → all MINTED, one mint each."""
    house.chain.stall()
    references = [await house.invoice() for _ in range(3)]
    for reference in references:
        await house.ask("tokenisation.mint", {"reference": reference})

    async def all_in(state: str) -> bool:
        house.machine_seconds += 1
        return {await house.state(reference) for reference in references} == {state}

    await house.work_until(lambda: all_in("PENDING_MINT"))
    house.chain.resume()
    await house.work_until(lambda: all_in("MINTED"))
    assert len(house.chain.mined_calls(MintReceivable)) == 3
    trail = await house.trail(references[0])
    assert trail == [
        "TOKEN_REQUEST",
        "CHAIN_TX_RESERVE",
        "TOKEN_SUBMIT",
        "TOKEN_PENDING",
        "TOKEN_SUBMIT",
        "TOKEN_MINT",
    ]


async def test_blocks_that_come_again_show_before_the_mint_is_in_one(house: House) -> None:
    house.chain.stall()
    house.chain.automine = False
    reference = await house.invoice()
    await house.ask("tokenisation.mint", {"reference": reference})

    async def is_in(state: str, seconds: float) -> bool:
        house.machine_seconds += seconds
        return await house.state(reference) == state

    await house.work_until(lambda: is_in("PENDING_MINT", 1))
    house.chain.resume()
    await house.work_until(lambda: is_in("MINT_SUBMITTED", 0))
    house.chain.mine()
    await house.until_idle()
    assert await house.state(reference) == "MINTED"


@pytest.mark.parametrize("fault", [ChainUnavailable("refused"), VaultUnavailable("sealed")], ids=["chain", "vault"])
async def test_an_outage_of_two_days_leaves_the_mint_pending_and_its_job_alive(house: House, fault: Exception) -> None:
    """IX-09: waiting is not failing, so the job does not die of it."""
    house.chain.go_away(fault)
    reference = await house.invoice()
    await house.ask("tokenisation.mint", {"reference": reference})

    async def pending() -> bool:
        return await house.state(reference) == "PENDING_MINT"

    await house.work_until(pending)
    for _ in range(20):
        house.world.clock.set(house.world.clock.now() + timedelta(hours=3))
        looks = house.chain.calls.total()

        async def looked_again(before: int = looks) -> bool:
            return house.chain.calls.total() > before

        await house.work_until(looked_again)
    assert await house.trail(reference) == ["TOKEN_REQUEST", "TOKEN_PENDING"]
    house.chain.go_away(None)
    await house.until_idle()
    assert await house.state(reference) == "MINTED"


CALLS_OF_A_MINT = (
    "contract_address",
    "minting_wallet",
    "supply",
    "sender_of",
    "transaction_count",
    "sign",
    "broadcast",
    "receipt",
    "holding",
)


@pytest.mark.parametrize(
    ("moment", "call"),
    [("before", call) for call in CALLS_OF_A_MINT] + [("after", call) for call in ("sign", "broadcast", "receipt")],
)
async def test_a_crash_at_any_step_of_a_mint_is_taken_up_and_ends_in_one_mint(
    house: House, moment: str, call: str
) -> None:
    reference = await house.invoice()
    fail = house.chain.fail_before if moment == "before" else house.chain.fail_after
    fail(call, Crash())
    await house.ask("tokenisation.mint", {"reference": reference})

    async def crashed() -> bool:
        async with house.tx() as tx:
            # The next try may be over before we look, and clears the error: then it was the second at least.
            return bool(await tx.value("select last_error = 'Crash' or attempts > 1 from ops.jobs"))

    await house.work_until(crashed)
    house.restart()
    await house.until_idle()
    assert await house.state(reference) == "MINTED"
    assert len(house.chain.mined) == 1
    assert (await house.trail(reference)).count("CHAIN_TX_RESERVE") == 1


async def test_a_lost_answer_to_a_broadcast_leads_to_one_mint(house: House) -> None:
    house.chain.fail_after("broadcast", ChainUnavailable("timed out"))
    token = await house.minted()
    assert token.state == "MINTED"
    assert len(house.chain.mined) == 1


async def test_a_transaction_that_the_node_forgot_is_sent_again_with_the_same_bytes(house: House) -> None:
    house.chain.automine = False
    reference = await house.invoice()
    await house.ask("tokenisation.mint", {"reference": reference})

    async def sent() -> bool:
        return bool(house.chain.broadcasts)

    await house.work_until(sent)
    house.chain.forget_pool()
    house.chain.automine = True
    await house.until_idle()
    assert await house.state(reference) == "MINTED"
    assert len(set(house.chain.broadcasts)) == 1


async def test_twenty_mints_at_once_get_distinct_nonces_without_a_gap(house: House) -> None:
    references = [await house.invoice() for _ in range(20)]
    for reference in references:
        await house.ask("tokenisation.mint", {"reference": reference})
    await house.until_idle(concurrency=20)
    promises = [await house.promise(f"mint:{reference}") for reference in references]
    assert sorted(p.nonce for p in promises if p.nonce is not None) == list(range(20))
    assert {p.state for p in promises} == {"CONFIRMED"}
    assert len(house.chain.mined_calls(MintReceivable)) == 20


async def test_two_jobs_for_one_invoice_end_in_one_mint(house: House) -> None:
    reference = await house.invoice()
    for number in range(4):
        await house.ask("tokenisation.mint", {"reference": reference}, f"{number}")
    await house.until_idle()
    assert len(house.chain.mined) == 1
    assert (await house.trail(reference)).count("TOKEN_MINT") == 1


async def test_a_promise_keeps_its_nonce_until_the_chain_has_used_it_for_something_else(house: House) -> None:
    reference, sender = await house.invoice(), address_of(MINTER_KEY)

    async def reserved(lost: int | None = None) -> int | None:
        async with house.tx() as tx:
            key = minting.mint_key(reference)
            return (await sending.reserve(tx, PLATFORM, business_key=key, sender=sender, mined=5, lost=lost)).nonce

    async with house.tx() as tx:
        await minting.request(tx, PLATFORM, invoice_reference=reference, reference_key=KEY)
    await house.world.tell_mined(sender, 5)
    assert [await reserved(), await reserved(), await reserved(lost=5), await reserved(lost=5)] == [5, 5, 6, 6]


async def test_a_mint_that_the_restored_database_forgot_is_found_and_not_repeated(house: House) -> None:
    """The chain remembers more than the backup: the same invoice gives the same token id, and the mint is found."""
    reference = await house.invoice()
    async with house.tx() as tx:
        token, _ = await minting.request(tx, PLATFORM, invoice_reference=reference, reference_key=KEY)
    call = MintReceivable(
        token.token_id,
        token.face,
        token.due_at_unix,
        bytes.fromhex(token.document_sha256),
        address_of(MINTER_KEY),
    )
    for nonce, forgotten in enumerate([_a_mint(1), call, _a_mint(2)]):
        await house.chain.broadcast((await house.chain.sign(forgotten, nonce)).raw)
    await house.ask("tokenisation.mint", {"reference": reference})
    await house.until_idle()
    assert await house.state(reference) == "MINTED"
    assert len(house.chain.mined) == 3
    found = await house.promise(f"mint:{reference}")
    assert (found.nonce, found.tx_hash) == (1, house.chain.mined[1][0].tx_hash)


async def test_a_nonce_that_the_chain_used_for_something_else_is_replaced(house: House) -> None:
    """The database was restored: the chain counts further than ours, also for a promise that has a nonce already."""
    house.chain.automine = False
    reference = await house.invoice()
    await house.ask("tokenisation.mint", {"reference": reference})

    async def sent() -> bool:
        return bool(house.chain.broadcasts)

    await house.work_until(sent)
    house.chain.forget_pool()
    house.chain.automine = True
    await house.chain.broadcast((await house.chain.sign(_a_mint(1), 0)).raw)
    await house.until_idle()
    found = await house.promise(f"mint:{reference}")
    assert (found.state, found.nonce) == ("CONFIRMED", 1)
    assert await house.state(reference) == "MINTED"


def _a_mint(token_id: int) -> MintReceivable:
    return MintReceivable(token_id, Pence(1), 0, bytes(32), address_of(MINTER_KEY))


async def test_a_mint_that_the_chain_refuses_waits_and_alarms_people(house: House) -> None:
    minter = house.chain.contracts.identities.pop(address_of(MINTER_KEY))
    reference = await house.invoice()
    await house.ask("tokenisation.mint", {"reference": reference})

    async def pending() -> bool:
        return await house.state(reference) == "PENDING_MINT"

    await house.work_until(pending)
    refused = await house.promise(f"mint:{reference}")
    assert (refused.state, refused.revert_reason) == ("REVERTED", "wallet not verified")
    assert (await house.trail(reference))[-2:] == ["TOKEN_PENDING", "ALERT_RAISE"]
    house.chain.contracts.identities[minter.wallet] = minter
    house.world.clock.set(house.world.clock.now() + timedelta(hours=1))
    await house.until_idle()
    assert await house.state(reference) == "MINTED"


async def test_the_walker_sends_what_lost_its_job_and_closes_the_gap(house: House) -> None:
    """A nonce without a job would hold up every later one of its sender."""
    first, second = await house.invoice(), await house.invoice()
    house.chain.automine = False
    for reference in (first, second):
        await house.ask("tokenisation.mint", {"reference": reference})

        async def signed(of: str = reference) -> bool:
            return await house.state(of) == "MINT_SUBMITTED"

        await house.work_until(signed)
    admin = await house.world.connect("postgres")
    await admin.execute("delete from ops.jobs")
    await admin.close()
    house.chain.forget_pool()
    house.chain.broadcasts.clear()
    house.chain.automine = True
    await house.ask("tokenisation.walk", {})

    async def sent() -> bool:
        return len(house.chain.mined) == 2

    await house.work_until(sent, only="tokenisation.walk")
    promises = [await house.promise(f"mint:{reference}") for reference in (first, second)]
    assert house.chain.broadcasts == [promise.tx_hash for promise in promises]
    await house.until_idle()
    assert [await house.state(reference) for reference in (first, second)] == ["MINTED", "MINTED"]


async def _two_signed_mints_without_jobs(house: House) -> tuple[str, str]:
    first, second = await house.invoice(), await house.invoice()
    house.chain.automine = False
    for reference in (first, second):
        await house.ask("tokenisation.mint", {"reference": reference})

        async def signed(of: str = reference) -> bool:
            return await house.state(of) == "MINT_SUBMITTED"

        await house.work_until(signed)
    await house.lose_all_jobs()
    return first, second


async def test_the_walk_goes_on_past_a_transaction_that_the_node_refuses_and_fails_at_the_end(house: House) -> None:
    first, second = await _two_signed_mints_without_jobs(house)
    house.chain.broadcasts.clear()
    house.chain.fail_before("broadcast", ChainUnavailable("the node refused the transaction (-32000)"))
    await house.ask("tokenisation.walk", {}, "refused")

    async def failed() -> bool:
        async with house.tx() as tx:
            error = await tx.value("select last_error from ops.jobs where dedupe_key = 'refused'")
            return bool(error == "chain unavailable")

    await house.work_until(failed, only="tokenisation.walk")
    assert house.chain.broadcasts[0] == (await house.promise(f"mint:{second}")).tx_hash
    async with house.tx() as tx:
        promised = await tx.rows("select payload from ops.jobs where name = 'tokenisation.mint'")
    assert {row["payload"]["reference"] for row in promised} == {first, second}


async def test_when_nobody_answers_the_walk_does_not_try_every_transaction(house: House) -> None:
    house.chain.automine = False
    for _ in range(8):
        reference = await house.invoice()
        await house.ask("tokenisation.mint", {"reference": reference})

    async def all_signed() -> bool:
        return len(set(house.chain.broadcasts)) == 8

    await house.work_until(all_signed)
    await house.lose_all_jobs()
    house.chain.go_away(ChainUnavailable("no node"))
    asked = house.chain.calls["broadcast"]
    await house.ask("tokenisation.walk", {})

    async def failed() -> bool:
        async with house.tx() as tx:
            return await tx.value("select last_error from ops.jobs where name = 'tokenisation.walk'") is not None

    await house.work_until(failed, only="tokenisation.walk")
    assert (house.chain.calls["broadcast"] - asked) % 5 == 0


async def test_a_mint_whose_job_was_lost_before_it_began_is_found_by_the_walk(house: House) -> None:
    confirmed, unconfirmed = await house.invoice(), await house.invoice("AWAITING_BUYER")
    await house.walk()
    assert [await house.state(reference) for reference in (confirmed, unconfirmed)] == ["MINTED", NOTHING]
    await house.walk()
    assert len(house.chain.mined_calls(MintReceivable)) == 1


async def test_a_refused_mint_whose_job_was_lost_is_tried_again_after_two_hours(house: House) -> None:
    minter = house.chain.contracts.identities.pop(address_of(MINTER_KEY))
    reference = await house.invoice()
    await house.ask("tokenisation.mint", {"reference": reference})

    async def pending() -> bool:
        return await house.state(reference) == "PENDING_MINT"

    await house.work_until(pending)
    await house.lose_all_jobs()
    house.chain.contracts.identities[minter.wallet] = minter
    await house.walk()
    assert await house.state(reference) == "PENDING_MINT"
    house.pass_time(hours=2)
    await house.walk()
    assert await house.state(reference) == "MINTED"


async def test_an_outage_does_not_heap_up_jobs(house: House) -> None:
    """In half an hour of walks, one a minute, a waiting mint is promised again five or six times, not thirty."""
    await _two_signed_mints_without_jobs(house)
    for _ in range(30):
        await house.walk_alone()
        house.pass_time(minutes=1)
    async with house.tx() as tx:
        assert 5 <= await tx.value("select count(*) from ops.jobs where name = 'tokenisation.mint'") / 2 <= 6


# ── Wallets and claims


async def test_an_active_lender_gets_a_wallet_that_the_registry_vouches_for(house: House) -> None:
    wallet = await house.registered_lender()
    assert wallet.registered
    assert Claims(wallet.claims) == Claims.KYC_VERIFIED | Claims.AML_CLEARED | Claims.JURISDICTION_UK
    assert wallet.key_name == f"wallet/{TENANT}/{house.lender}"
    assert await house.chain.is_verified(wallet.address)
    trail = await house.trail(house.lender)
    assert trail == ["WALLET_CREATE", "CLAIMS_REQUEST", "CHAIN_TX_RESERVE", "CHAIN_TX_SIGN", "CLAIMS_ISSUE"]
    [call] = house.chain.mined_calls(RegisterIdentity)
    assert isinstance(call, RegisterIdentity)
    async with house.tx() as tx:
        cleared_at = (await auth.subject(tx, house.lender)).cleared_at
    assert cleared_at is not None
    assert call.expires_at_unix == int((cleared_at + timedelta(days=365)).timestamp())
    assert house.lender.encode() not in call.subject_hash


async def test_a_seller_gets_no_wallet(house: House) -> None:
    await house.ask("tokenisation.issue_claims", {"subject_id": house.seller, "role": "seller"})
    await house.until_idle()
    with pytest.raises(tokenisation.UnknownWallet):
        await house.wallet(house.seller)
    assert house.chain.calls.total() == 0


async def test_told_twice_the_claims_are_issued_once(house: House) -> None:
    for number in range(3):
        await house.ask("tokenisation.issue_claims", {"subject_id": house.lender, "role": "lender"}, f"{number}")
    await house.until_idle()
    assert len(house.chain.mined_calls(RegisterIdentity)) == 1


async def test_a_frozen_lender_loses_its_claims_and_gets_them_back(house: House) -> None:
    """CH-16: after the freeze the chain itself refuses, with no help of ours."""
    wallet = await house.registered_lender()
    await _freeze(house, frozen=True)
    await house.ask("tokenisation.revoke_claims", {"subject_id": house.lender, "role": "lender"})
    await house.until_idle()
    assert not await house.chain.is_verified(wallet.address)
    assert (await house.wallet(house.lender)).state == "REVOKED"
    allowed = await house.chain.can_transfer(address_of(MINTER_KEY), wallet.address, 1, FACE)
    assert allowed == (False, "wallet not verified")
    await _freeze(house, frozen=False)
    await house.ask("tokenisation.issue_claims", {"subject_id": house.lender, "role": "lender"}, "unfrozen")
    await house.until_idle()
    assert await house.chain.is_verified(wallet.address)


async def _freeze(house: House, *, frozen: bool) -> None:
    free = {"state": "ACTIVE", "frozen_from": None}
    cold = {"state": "FROZEN", "frozen_from": "ACTIVE"}
    before, after = (free, cold) if frozen else (cold, free)
    key = {"tenant_id": TENANT, "id": house.lender}
    await house.seed(audit.update("subjects", key=key, before=before, after=after))


@pytest.mark.parametrize("call", ["create_wallet", "sign", "broadcast"])
async def test_a_crash_while_issuing_claims_ends_in_one_wallet(house: House, call: str) -> None:
    house.chain.fail_after(call, Crash())
    wallet = await house.registered_lender()
    assert wallet.registered
    assert len(house.chain.mined) == 1


async def test_claims_are_renewed_by_a_check_and_by_nothing_else(house: House) -> None:
    """CH-16: a holder whose claims have ended could receive nothing more; so it is checked anew before."""
    first = await house.registered_lender()
    house.pass_time(days=334)
    await house.walk()
    assert house.renewals_asked == []
    house.pass_time(days=2)
    await house.walk()
    assert house.renewals_asked == [house.lender]
    assert await house.wallet(house.lender) == first, "asking is not passing"
    await house.checked_anew()
    await house.walk()
    renewed = await house.wallet(house.lender)
    assert renewed.checked_at is not None
    assert renewed.claims_expire_at is not None
    assert (renewed.state, renewed.claims) == (first.state, first.claims)
    assert timedelta(0) <= renewed.checked_at + timedelta(days=365) - renewed.claims_expire_at < timedelta(seconds=1)
    on_chain = house.chain.contracts.identities[renewed.address]
    assert on_chain.expires_at_unix == int(renewed.claims_expire_at.timestamp())
    await house.walk()
    assert len(house.chain.mined_calls(RegisterIdentity)) == 2
    assert house.renewals_asked == [house.lender]


async def test_claims_that_rest_on_an_old_check_lapse_and_are_not_issued_again(house: House) -> None:
    """CH-16: a lender that was checked once, in June 2026, is nobody to the chain in August 2027."""
    first = await house.registered_lender()
    house.pass_time(days=426)
    house.chain.pass_time(timedelta(days=426))
    assert not await house.chain.is_verified(first.address), "the chain itself lets the claim end"
    await house.walk()
    lapsed = await house.wallet(house.lender)
    assert (lapsed.state, lapsed.claims, lapsed.checked_at) == ("REVOKED", 0, None)
    assert house.renewals_asked == [house.lender]
    await house.ask("tokenisation.issue_claims", {"subject_id": house.lender}, "once more")
    await house.until_idle()
    assert await house.wallet(house.lender) == lapsed
    await house.checked_anew()
    await house.ask("tokenisation.issue_claims", {"subject_id": house.lender}, "checked anew")
    await house.until_idle()
    assert (await house.wallet(house.lender)).registered
    assert await house.chain.is_verified(first.address)


async def test_claims_given_back_late_end_with_the_check_and_not_a_year_after(house: House) -> None:
    """Frozen for eleven months and freed: what it gets back is as old as its check."""
    first = await house.registered_lender()
    await _freeze(house, frozen=True)
    await house.walk()
    house.pass_time(days=330)
    await _freeze(house, frozen=False)
    await house.walk()
    given_back = await house.wallet(house.lender)
    assert given_back.registered
    assert given_back.claims_expire_at == first.claims_expire_at


@pytest.mark.parametrize(
    "planted",
    [
        {"claims_expire_at": timedelta(days=366)},
        {"claims_expire_at": timedelta(days=400), "checked_at": timedelta(days=35)},
        {"checked_at": None},
    ],
)
async def test_the_database_refuses_a_claim_that_is_younger_than_its_check(
    house: House, planted: dict[str, timedelta | None]
) -> None:
    """CH-16: a later end, a check that never was, or none at all."""
    wallet = await house.registered_lender()
    async with house.tx() as tx:
        cleared_at = (await auth.subject(tx, house.lender)).cleared_at
    assert cleared_at is not None
    after = {name: cleared_at + shift if shift is not None else None for name, shift in planted.items()}
    before = {name: getattr(wallet, name) for name in planted}
    key = {"tenant_id": TENANT, "id": wallet.id}
    with pytest.raises(asyncpg.PostgresError) as refusal:
        await house.seed(audit.update("wallets", key=key, before=before, after=after))
    assert refusal.value.sqlstate in ("23514", "FX027")


class ClosedRegistry(Contracts):
    """Takes no registration."""

    def execute(self, call: Call, now_unix: int) -> None:
        if isinstance(call, RegisterIdentity):
            raise Reverted("reverted")
        super().execute(call, now_unix)


async def _refused_renewal(house: House) -> str:
    """A registered lender whose renewal the chain refuses; returns the business key of the refused promise."""
    wallet = await house.registered_lender()
    house.pass_time(days=336)
    await house.checked_anew()
    open_registry = house.chain.contracts
    house.chain.contracts = ClosedRegistry(open_registry.identities, open_registry.faces, open_registry.holdings)
    key = f"identity:{wallet.id}:2"
    await house.ask("tokenisation.issue_claims", {"subject_id": house.lender}, "renew")

    async def refused() -> bool:
        try:
            return (await house.promise(key)).state == "REVERTED"
        except tokenisation.UnknownChainTransaction:
            return False

    await house.work_until(refused)
    house.chain.contracts = open_registry
    return key


async def test_a_refused_grant_does_not_stand_in_the_way_of_a_revocation(house: House) -> None:
    """CH-16: else the grant would be sent once more to a frozen lender."""
    refused = await _refused_renewal(house)
    await _freeze(house, frozen=True)
    await house.ask("tokenisation.revoke_claims", {"subject_id": house.lender, "role": "lender"})

    async def revoked() -> bool:
        return (await house.wallet(house.lender)).state == "REVOKED"

    await house.work_until(revoked)
    house.pass_time(hours=1)
    await house.until_idle()
    wallet = await house.wallet(house.lender)
    assert (wallet.state, wallet.claims) == ("REVOKED", 0)
    assert not await house.chain.is_verified(wallet.address)
    assert (await house.promise(refused)).state == "SUPERSEDED"
    written = [call.claims for call in house.chain.mined_calls(RegisterIdentity) if isinstance(call, RegisterIdentity)]
    assert [bool(claims) for claims in written] == [True, False]


async def test_a_refused_grant_that_is_still_wanted_is_tried_again(house: House) -> None:
    refused = await _refused_renewal(house)
    house.pass_time(hours=1)
    await house.until_idle()
    assert (await house.promise(refused)).state == "CONFIRMED"


async def test_a_refused_grant_gives_way_to_one_that_rests_on_a_younger_check(house: House) -> None:
    refused = await _refused_renewal(house)
    house.pass_time(days=336)
    await house.checked_anew()
    await house.until_idle()
    assert (await house.promise(refused)).state == "SUPERSEDED"
    expires_at = (await house.wallet(house.lender)).claims_expire_at
    assert expires_at is not None
    assert expires_at - house.world.clock.now() > timedelta(days=364)


async def test_an_active_lender_whose_job_was_lost_gets_its_wallet_from_the_walk(house: House) -> None:
    await house.walk()
    assert (await house.wallet(house.lender)).registered
    await house.walk()
    assert len(house.chain.mined_calls(RegisterIdentity)) == 1
    with pytest.raises(tokenisation.UnknownWallet):
        await house.wallet(house.seller)


async def test_no_wallet_is_made_for_a_lender_whom_nobody_vouches_for(house: House) -> None:
    """Declined or frozen before it had one."""
    await _freeze(house, frozen=True)
    await house.ask("tokenisation.revoke_claims", {"subject_id": house.lender})
    await house.until_idle()
    assert house.chain.calls["create_wallet"] == 0
    with pytest.raises(tokenisation.UnknownWallet):
        await house.wallet(house.lender)


async def test_a_wallet_that_was_never_registered_is_found_by_the_walk(house: House) -> None:
    """The job died between the wallet and its claims."""
    key_name = identity.key_name_of(TENANT, house.lender, 1)
    address = address_of(key_name)
    async with house.tx() as tx:
        await identity.keep_wallet(tx, PLATFORM, subject_id=house.lender, key_name=key_name, address=address)
    await house.walk()
    assert (await house.wallet(house.lender)).registered


async def test_a_revocation_whose_job_was_lost_is_found_by_the_walk(house: House) -> None:
    await house.registered_lender()
    await _freeze(house, frozen=True)
    await house.walk()
    assert (await house.wallet(house.lender)).state == "REVOKED"


# ── Transfers


async def test_a_confirmed_transfer_lets_the_lender_hold_the_token(house: House) -> None:
    token = await house.held()
    wallet = await house.wallet(house.lender)
    assert (token.state, token.holder_subject_id) == ("HELD", house.lender)
    assert token.holder_wallet == wallet.address
    assert await house.chain.holding(wallet.address, token.token_id) == FACE
    promise = await house.promise(f"fund:{token.reference}")
    assert {"TransferConfirmed": promise.tx_hash}.items() <= {
        f["fact"]: f.get("tx_hash") for f in await house.facts(token.invoice_reference)
    }.items()
    assert (await house.trail(token.invoice_reference))[-5:] == [
        "FIAT_IN",
        "CHAIN_TX_RESERVE",
        "CHAIN_TX_SIGN",
        "TOKEN_TRANSFER",
        "FUND_INVOICE",
    ]


async def test_a_transfer_that_the_chain_refuses_is_told_with_the_rules_reason(house: House) -> None:
    wallet = await house.registered_lender()
    token = await house.minted()
    known = house.chain.contracts.identities[wallet.address]
    house.chain.contracts.identities[wallet.address] = replace(known, claims=Claims.KYC_VERIFIED)
    await house.promise_transfer(token, "fund:1")
    await house.until_idle()
    assert (await house.facts(token.invoice_reference))[-1] == {
        "fact": "TransferRefused",
        "business_key": "fund:1",
        "token_reference": token.reference,
        "reason": "missing claim: AML_CLEARED",
    }
    assert await house.state(token.invoice_reference) == "MINTED"
    with pytest.raises(tokenisation.TransferNotConfirmed):
        await house.hold(token, "fund:1")
    house.chain.contracts.identities[wallet.address] = known
    await house.promise_transfer(token, "fund:2")
    await house.until_idle()
    await house.hold(token, "fund:2")
    assert await house.state(token.invoice_reference) == "HELD"


async def test_a_transfer_and_a_burn_whose_jobs_were_lost_are_concluded_after_the_walk(house: House) -> None:
    """The chain has them; without the conclusion the lender's money would wait for ever."""
    await house.registered_lender()
    token = await house.minted()
    house.chain.automine = False

    async def signed(key: str) -> bool:
        return (await house.promise(key)).state == "SIGNED"

    async def lose_the_job_of(key: str) -> None:
        await house.work_until(lambda: signed(key))
        await house.lose_all_jobs()
        house.chain.automine = True
        house.chain.mine()
        await house.walk()
        house.chain.automine = False

    await house.promise_transfer(token, "fund:1")
    await lose_the_job_of("fund:1")
    assert (await house.facts(token.invoice_reference))[-1]["fact"] == "TransferConfirmed"
    await house.hold(token, "fund:1")
    await house.move_invoice(token.invoice_reference, "TOKENISED", "SETTLING")
    await house.request_burn(token)
    await lose_the_job_of(f"burn:{token.reference}")
    assert await house.state(token.invoice_reference) == "BURNED"
    assert len(house.chain.mined_calls(TransferToken)) == len(house.chain.mined_calls(BurnReceivable)) == 1


@pytest.mark.parametrize("call", ["sign", "broadcast", "receipt"])
async def test_a_crash_in_a_transfer_moves_the_token_once(house: House, call: str) -> None:
    await house.registered_lender()
    token = await house.minted()
    house.chain.fail_after(call, Crash())
    await house.promise_transfer(token, "fund:1")
    await house.until_idle()
    assert len(house.chain.mined_calls(TransferToken)) == 1
    assert (await house.promise("fund:1")).state == "CONFIRMED"


async def test_a_transfer_that_the_restored_database_forgot_is_not_taken_for_a_refusal(house: House) -> None:
    """Taken for refused, the lender would get its money back and keep the token."""
    wallet = await house.registered_lender()
    token = await house.minted()
    call = TransferToken(MINTER_KEY, address_of(MINTER_KEY), wallet.address, token.token_id, FACE)
    await house.chain.broadcast((await house.chain.sign(call, 1)).raw)
    await house.promise_transfer(token, "fund:1")
    await house.until_idle()
    assert (await house.promise("fund:1")).state == "CONFIRMED"
    assert len(house.chain.mined_calls(TransferToken)) == 1


async def test_the_same_promise_again_adds_nothing_and_another_is_refused(house: House) -> None:
    await house.registered_lender()
    token = await house.minted()
    await house.promise_transfer(token, "fund:1")
    await house.promise_transfer(token, "fund:1")
    with pytest.raises(tokenisation.TokenIsMoving):
        await house.promise_transfer(token, "fund:2")
    other = await house.invoice()
    await house.ask("tokenisation.mint", {"reference": other})
    await house.until_idle()
    with pytest.raises(tokenisation.BusinessKeyReused):
        await house.promise_transfer(await house.token(other), "fund:1")
    with pytest.raises(tokenisation.TokenIsMoving):  # confirmed, and not taken up by held()
        await house.promise_transfer(token, "fund:3")


async def test_a_lender_without_a_registered_wallet_cannot_be_promised_a_token(house: House) -> None:
    token = await house.minted()
    with pytest.raises(tokenisation.WalletNotRegistered):
        await house.promise_transfer(token, "fund:1")


async def test_nobody_holds_on_somebody_elses_transfer(house: House) -> None:
    await house.registered_lender()
    token = await house.minted()
    with pytest.raises(tokenisation.TransferNotConfirmed):
        await house.hold(token, "fund:1")
    await house.promise_transfer(token, "fund:1")
    with pytest.raises(tokenisation.TransferNotConfirmed):
        await house.hold(token, "fund:1")
    await house.until_idle()
    lender, house.lender = house.lender, house.seller
    with pytest.raises(tokenisation.TransferNotConfirmed):
        await house.hold(token, "fund:1")
    house.lender = lender
    await house.hold(token, "fund:1")


async def test_exposure_counts_what_a_lender_holds_of_a_debtor(house: House) -> None:
    token = await house.held()
    async with house.tx() as tx:
        both = {
            obligor: await tokenisation.exposure(tx, PLATFORM, lender_subject_id=house.lender, obligor_id=obligor)
            for obligor in (house.buyer, house.seller)
        }
    assert both == {house.buyer: FACE, house.seller: Pence(0)}
    assert token.obligor_id == house.buyer


# ── Burns


async def test_a_burn_ends_the_token_and_settles_the_invoice_in_one_entry(house: House) -> None:
    token = await house.held()
    await house.move_invoice(token.invoice_reference, "TOKENISED", "SETTLING")
    await house.request_burn(token)
    assert await house.state(token.invoice_reference) == "BURN_PENDING"
    await house.until_idle()
    burned = await house.token(token.invoice_reference)
    promise = await house.promise(f"burn:{token.reference}")
    assert (burned.state, burned.burn_tx) == ("BURNED", promise.tx_hash)
    assert burned.burned_at == promise.confirmed_at
    assert await house.chain.supply(token.token_id) == Pence(0)
    [call] = house.chain.mined_calls(BurnReceivable)
    assert isinstance(call, BurnReceivable)
    assert call.reason == b"SETTLED".ljust(32, b"\0")
    entry = (await house.entries(token.invoice_reference))[-1]
    states = {row["table"]: row["after"].get("state") for row in json.loads(entry.diff)["rows"]}
    assert (entry.action, states) == (
        "TOKEN_BURN",
        {"chain_tx": "CONFIRMED", "tokens": "BURNED", "invoices": "SETTLED"},
    )
    assert (await house.facts(token.invoice_reference))[-1]["fact"] == "TokenBurned"


async def test_a_burned_token_is_never_minted_again(house: House) -> None:
    token = await house.held()
    await house.move_invoice(token.invoice_reference, "TOKENISED", "SETTLING")
    await house.request_burn(token)
    await house.until_idle()
    await house.ask("tokenisation.mint", {"reference": token.invoice_reference}, "again")
    await house.until_idle()
    assert await house.state(token.invoice_reference) == "BURNED"
    assert len(house.chain.mined_calls(MintReceivable)) == 1


@pytest.mark.parametrize("call", ["supply", "sign", "broadcast"])
async def test_a_crash_in_a_burn_burns_once(house: House, call: str) -> None:
    token = await house.held()
    await house.move_invoice(token.invoice_reference, "TOKENISED", "SETTLING")
    house.chain.fail_before(call, Crash())
    await house.request_burn(token)
    await house.until_idle()
    assert await house.state(token.invoice_reference) == "BURNED"
    assert len(house.chain.mined_calls(BurnReceivable)) == 1


# ── What may not be


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_every_transition_that_is_not_listed_is_refused(machine: Machine) -> None:
    listed = {(t.source, t.event) for t in machine.transitions}
    for state in (NOTHING, *machine.states):
        for event in machine.events:
            if (state, event) not in listed:
                with pytest.raises(IllegalTransition):
                    machine.next(state, event)


def test_the_ends_of_the_machines_are_where_the_specification_has_them() -> None:
    assert TOKEN.terminal_states == ("BURNED",)
    assert CHAIN_TX.terminal_states == ("CONFIRMED", "SUPERSEDED")
    assert WALLET.terminal_states == ("RETIRED",)
    assert RECOVERY.terminal_states == ("DECLINED", "COMPLETED")


async def test_the_database_refuses_every_state_change_that_is_not_listed(house: House) -> None:
    token = await house.minted()
    key = {"tenant_id": TENANT, "reference": token.reference}
    for state in TOKEN.states:
        for action in ("TOKEN_REQUEST", "TOKEN_SUBMIT", "TOKEN_MINT", "TOKEN_PENDING", "BURN_REQUEST", "TOKEN_BURN"):
            if state == token.state:
                continue
            row = audit.update("tokens", key=key, before={"state": token.state}, after={"state": state})
            with pytest.raises(asyncpg.PostgresError, match=f"token may not go from MINTED to {state} by {action}"):
                await _apply(house, action, row)


async def _apply(house: House, action: str, *rows: audit.RowChange) -> None:
    async def move(_tx: Tx) -> audit.Move:
        return audit.Move(rows)

    await house.record(action, move)


async def test_a_token_is_burned_only_with_the_transaction_that_burned_it(house: House) -> None:
    """TK-08."""
    token = await house.held()
    await house.request_burn(token)
    key = {"tenant_id": TENANT, "reference": token.reference}
    row = audit.update("tokens", key=key, before={"state": "BURN_PENDING"}, after={"state": "BURNED"})
    with pytest.raises(asyncpg.CheckViolationError):
        await _apply(house, "TOKEN_BURN", row)


async def test_what_a_token_stands_for_is_final(house: House) -> None:
    token = await house.minted()
    key = {"tenant_id": TENANT, "reference": token.reference}
    row = audit.update("tokens", key=key, before={"face_pence": FACE}, after={"face_pence": 1})
    with pytest.raises(asyncpg.PostgresError, match="is final"):
        await _apply(house, "TOKEN_MINT", row)


async def test_a_whole_token_has_no_slices(house: House) -> None:
    token = await house.held()
    wallet = await house.wallet(house.lender)
    row = audit.insert(
        "slices",
        {
            "tenant_id": TENANT,
            "id": "slc_1",
            "token_reference": token.reference,
            "index": 0,
            "face_pence": FACE,
            "holder_subject_id": house.lender,
            "holder_wallet": wallet.address,
        },
    )
    with pytest.raises(asyncpg.PostgresError, match="do not add up"):
        await _apply(house, "TOKEN_TRANSFER", row)


async def test_a_nonce_cannot_be_used_twice(house: House) -> None:
    first, second = await house.minted(), await house.invoice()
    async with house.tx() as tx:
        await minting.request(tx, PLATFORM, invoice_reference=second, reference_key=KEY)
    used, fresh = await house.promise(f"mint:{first.invoice_reference}"), await house.promise(f"mint:{second}")
    row = audit.update(
        "chain_tx",
        key={"tenant_id": TENANT, "id": fresh.id},
        before={"state": "PROMISED", "sender": None, "nonce": None},
        after={"state": "RESERVED", "sender": used.sender, "nonce": used.nonce},
    )
    with pytest.raises(asyncpg.PostgresError, match="was not given to this promise"):
        await _apply(house, "CHAIN_TX_RESERVE", row)


SENDER = address_of("a sender")


async def _reserve(house: House, *, mined: int = 0) -> int:
    """A promise of its own, with the sender's next nonce."""
    reference = await house.invoice()
    async with house.tx() as tx:
        _, promised = await minting.request(tx, PLATFORM, invoice_reference=reference, reference_key=KEY)
    async with house.tx() as tx:
        given = await sending.reserve(tx, PLATFORM, business_key=promised.business_key, sender=SENDER, mined=mined)
    return int(given.nonce or 0)


async def test_nonces_begin_at_the_chains_count_and_go_on_one_by_one(house: House) -> None:
    await house.world.tell_mined(SENDER, 7)
    assert [await _reserve(house) for _ in range(3)] == [7, 8, 9]


async def test_a_counter_behind_the_chain_catches_up_and_never_goes_back(house: House) -> None:
    """The database was restored from a backup that is older than the chain."""
    taken = []
    for count in (7, 900, 0):
        await house.world.tell_mined(SENDER, count)
        taken.append(await _reserve(house, mined=max(count, 800) if taken else count))
    assert taken == [7, 900, 901]


@pytest.mark.parametrize("mined", [10**9, 1008, -1, None])
async def test_a_count_that_no_chain_of_ours_can_have_stops_nobody(house: House, mined: int | None) -> None:
    await house.world.tell_mined(SENDER, 7)
    with pytest.raises(asyncpg.PostgresError) as refused:
        await house.world.tell_mined(SENDER, mined)  # type: ignore[arg-type]
    assert refused.value.sqlstate == "FX023"
    assert await _reserve(house) == 7


# What one tenant's SQL could take from all (issue 9 A22), each tried as fx_app under a valid pin.


async def _burn_a_nonce(tx: Tx) -> None:
    await tx.write("select fx.next_nonce($1)", SENDER)


async def test_a_nonce_that_no_promise_gets_is_not_given(house: House) -> None:
    await house.world.tell_mined(SENDER, 0)
    assert await _reserve(house) == 0
    with pytest.raises(asyncpg.PostgresError) as refused:
        async with house.tx() as tx:
            await _burn_a_nonce(tx)
    assert refused.value.sqlstate == "FX024"
    assert await _reserve(house) == 1, "nothing was burnt"


async def test_of_two_nonces_that_one_transaction_takes_each_needs_its_promise(house: House) -> None:
    await house.world.tell_mined(SENDER, 0)
    reference = await house.invoice()
    async with house.tx() as tx:
        _, promised = await minting.request(tx, PLATFORM, invoice_reference=reference, reference_key=KEY)
    with pytest.raises(asyncpg.PostgresError) as refused:
        async with house.tx() as tx:
            await _burn_a_nonce(tx)
            await sending.reserve(tx, PLATFORM, business_key=promised.business_key, sender=SENDER, mined=0)
    assert refused.value.sqlstate == "FX024"


async def test_a_nonce_of_a_savepoint_that_was_rolled_back_is_not_burnt(house: House) -> None:
    await house.world.tell_mined(SENDER, 0)
    async with house.tx() as tx:
        await tx.write("savepoint s")
        await _burn_a_nonce(tx)
        await tx.write("rollback to savepoint s")
    assert await _reserve(house) == 0


@pytest.mark.parametrize("state", ["RESERVED", "CONFIRMED"])
async def test_a_nonce_that_was_not_given_cannot_be_claimed(house: House, state: str) -> None:
    """Claimed for later it would be missing to whoever is given it, for ever."""
    await house.world.tell_mined(SENDER, 0)
    assert await _reserve(house) == 0
    reference = await house.invoice()
    async with house.tx() as tx:
        _, promised = await minting.request(tx, PLATFORM, invoice_reference=reference, reference_key=KEY)
    mined = {"tx_hash": "0x" + "1" * 64, "raw": b"x", "block_number": 1, "confirmed_at": house.world.clock.now()}
    after = {"state": state, "sender": SENDER, "nonce": 1, **(mined if state == "CONFIRMED" else {})}
    key = {"tenant_id": TENANT, "id": promised.id}
    row = audit.update("chain_tx", key=key, before={n: getattr(promised, n) for n in after}, after=after)
    with pytest.raises(asyncpg.PostgresError) as refused:
        await _apply(house, "CHAIN_TX_RESERVE" if state == "RESERVED" else "TOKEN_MINT", row)
    assert refused.value.sqlstate == "FX025"
    assert await _reserve(house) == 1


@pytest.mark.parametrize(
    "trigger", ["a_goes_to_a_promise on ops.chain_senders", "b_nonce_was_given_anew on app.chain_tx"]
)
async def test_without_its_guard_a_nonce_is_burnt_or_claimed(house: House, trigger: str) -> None:
    """The planted holes: what the tests above would see without what they test."""
    await house.world.tell_mined(SENDER, 0)
    superuser = await house.world.connect("postgres")
    await superuser.execute(f"drop trigger {trigger}")
    await superuser.close()
    if "senders" in trigger:
        async with house.tx() as tx:
            await _burn_a_nonce(tx)
        assert await _reserve(house) == 1
    else:
        with pytest.raises(pytest.fail.Exception):
            await test_a_nonce_that_was_not_given_cannot_be_claimed(house, "RESERVED")


async def test_without_a_pinned_tenant_no_nonce_is_given(house: House) -> None:
    connection = await house.world.connect("fx_app")
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="no tenant is pinned"):
            await connection.execute("select fx.next_nonce($1)", SENDER)
    finally:
        await connection.close()


@pytest.mark.parametrize("stranger", [SENDER.upper(), f"{SENDER}0", "", address_of("a stranger")])
async def test_a_nonce_is_given_for_a_sender_of_the_platform_only(house: House, stranger: str) -> None:
    await house.world.tell_mined(SENDER, 0)
    with pytest.raises(asyncpg.PostgresError, match="is no sender of the platform") as refused:
        async with house.tx() as tx:
            await tx.value("select fx.next_nonce($1)", stranger)
    assert refused.value.sqlstate == "FX026"


@pytest.mark.parametrize(
    "statement",
    [
        "update ops.chain_senders set next_nonce = 1000000000",
        "insert into ops.chain_senders values ('0x0000000000000000000000000000000000000000', 1000000000)",
        "delete from ops.chain_senders",
        "select * from ops.chain_senders",
        "select fx.sender_has_mined('0x0000000000000000000000000000000000000000', 900)",
    ],
)
async def test_the_counter_is_out_of_the_applications_reach(house: House, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with house.tx() as tx:
            await tx.write(statement)


# A nonce that nothing is sent with, whoever made it.


@asynccontextmanager
async def watched(house: House) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """One look for gaps after another, 15 seconds and some blocks apart."""
    auditor = await house.world.pool("fx_auditor", 1)
    job = gaps.GapJob(auditor, house.chain, house.world.tell_mined, lambda: house.machine_seconds)
    asked = itertools.count()

    async def look() -> None:
        row = {"id": f"job_{next(asked)}", "name": gaps.JOB, "tenant_id": TENANT, "attempts": 1, "lease": "x"}
        await job.look(Work(house.world.database, row), {})  # type: ignore[arg-type]
        house.machine_seconds += gaps.EVERY.total_seconds()
        for _ in range(gaps.STUCK_BLOCKS):
            house.chain.mine()

    yield look
    await auditor.close()


async def _burn(house: House, nonces: int = 1) -> None:
    """As the owner, past every guard."""
    superuser = await house.world.connect("postgres")
    await superuser.execute("update ops.chain_senders set next_nonce = next_nonce + $1", nonces)
    await superuser.close()


async def _gap_alerts(house: House) -> list[str]:
    superuser = await house.world.connect("postgres")
    rows = await superuser.fetch("select resource from app.alerts where cause = $1", gaps.CAUSE)
    await superuser.close()
    return [row["resource"] for row in rows]


@pytest.mark.parametrize("burnt", [1, 250])
async def test_a_gap_is_told_of_and_closed_and_what_waits_behind_it_goes_on(house: House, burnt: int) -> None:
    await house.minted()
    await _burn(house, burnt)
    behind = await house.invoice()
    await house.ask("tokenisation.mint", {"reference": behind})

    async def signed() -> bool:
        return burnt > reads.PENDING_MAX or await house.state(behind) == "MINT_SUBMITTED"

    await house.work_until(signed)
    assert await house.state(behind) != "MINTED", "nothing passes the gap"
    async with watched(house) as look:
        for _ in range(2 if burnt < reads.PENDING_MAX else 3):
            await look()
    await house.until_idle()
    assert await house.state(behind) == "MINTED"
    assert await _gap_alerts(house) == [address_of(MINTER_KEY)]
    assert len(house.chain.mined_calls(MintReceivable)) == 2


async def test_a_promise_that_was_signed_with_what_no_node_takes_is_a_gap_too(house: House) -> None:
    """Injected SQL may record any bytes as those of a promise of its own tenant."""
    await house.minted()
    reference = await house.invoice()
    async with house.tx() as tx:
        _, promised = await minting.request(tx, PLATFORM, invoice_reference=reference, reference_key=KEY)
    async with house.tx() as tx:
        given = await sending.reserve(
            tx, PLATFORM, business_key=promised.business_key, sender=address_of(MINTER_KEY), mined=1
        )
    after = {"state": "SIGNED", "tx_hash": "0x" + "1" * 64, "raw": b"no transaction"}
    key = {"tenant_id": TENANT, "id": given.id}
    before = {"state": "RESERVED", "tx_hash": None, "raw": None}
    await _apply(house, "CHAIN_TX_SIGN", audit.update("chain_tx", key=key, before=before, after=after))
    async with watched(house) as look:
        await look()
        await look()
    assert await house.chain.transaction_count(address_of(MINTER_KEY)) == 2
    assert await _gap_alerts(house) == [address_of(MINTER_KEY)]


async def test_what_waits_for_a_block_is_no_gap_and_a_chain_without_blocks_has_none(house: House) -> None:
    await house.minted()
    house.chain.automine = False
    waiting = await house.invoice()
    await house.ask("tokenisation.mint", {"reference": waiting})

    async def signed() -> bool:
        return await house.state(waiting) == "MINT_SUBMITTED"

    await house.work_until(signed)
    house.chain.stall()
    async with watched(house) as look:
        for _ in range(4):
            await look()
    assert await _gap_alerts(house) == []


def test_a_gap_is_closed_within_a_minute() -> None:
    """Found at the first look after it, closed at the next but one at the latest, mined in the block after."""
    assert gaps.EVERY.total_seconds() > gaps.STUCK_SECONDS
    assert 3 * gaps.EVERY.total_seconds() < 60


async def test_only_the_platform_moves_tokens(house: House) -> None:
    lender = Caller(TENANT, Role.LENDER, house.lender, subject_id=house.lender)
    async with house.tx() as tx:
        with pytest.raises(WrongRole):
            await tokenisation.transfer(
                tx, lender, token_reference="FXR-INV-00000", to_subject_id=house.lender, business_key="k"
            )
        with pytest.raises(WrongRole):
            await tokenisation.burn(tx, lender, token_reference="FXR-INV-00000", reason="SETTLED", business_key="k")
        with pytest.raises(WrongRole):
            await sending.reserve(tx, lender, business_key="k", sender="0x", mined=0)
        with pytest.raises(WrongTenant):
            await tokenisation.token(tx, system("tnt_b", "test"), reference="FXR-INV-00000")


async def test_people_see_the_tokens_of_their_invoices_and_their_own_wallet(house: House) -> None:
    token, wallet = await house.held(), await house.wallet(house.lender)
    seller = Caller(TENANT, Role.SELLER, house.seller, subject_id=house.seller)
    stranger = Caller(TENANT, Role.SELLER, "sub_stranger", subject_id="sub_stranger")
    lender = Caller(TENANT, Role.LENDER, house.lender, subject_id=house.lender)
    other = Caller(TENANT, Role.LENDER, "sub_other", subject_id="sub_other")
    async with house.tx() as tx:
        without_holder = replace(token, holder_subject_id=None, holder_wallet=None)
        assert await tokenisation.token(tx, lender, reference=token.reference) == token
        assert await tokenisation.token(tx, seller, reference=token.reference) == without_holder
        assert await tokenisation.token_of(tx, other, invoice_reference=token.invoice_reference) == without_holder
        with pytest.raises(tokenisation.UnknownToken):
            await tokenisation.token(tx, stranger, reference=token.reference)
        kinds = [p.kind for p in await reads.transactions(tx, seller, reference=token.reference, after=None, limit=9)]
        assert kinds == ["mint", "transfer"]
        assert await tokenisation.wallet_of(tx, lender, subject_id=house.lender) == wallet
        with pytest.raises(tokenisation.UnknownWallet):
            await tokenisation.wallet_of(tx, other, subject_id=house.lender)


# ── Over HTTP


def _app(house: House, caller: Caller) -> httpx.AsyncClient:
    app = FastAPI()
    app.include_router(router)

    async def authenticate(_request: Request) -> Caller:
        return caller

    @app.middleware("http")
    async def name_the_request(request: Request, following: RequestResponseEndpoint) -> Response:
        request.state.request_id = "req_1"
        return await following(request)

    async def refuse(_request: Request, refusal: Exception) -> Response:
        assert isinstance(refusal, Refused)
        return problem(refusal, "req_1")

    app.add_exception_handler(Refused, refuse)
    app.state.services = Services(
        Edge(house.world.database, house.world.ids, authenticate, b"fingerprint key of tests")
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def test_a_lender_reads_its_token_its_chain_story_and_its_wallet(house: House) -> None:
    token, wallet = await house.held(), await house.wallet(house.lender)
    async with _app(house, Caller(TENANT, Role.LENDER, house.lender, subject_id=house.lender)) as client:
        by_reference = (await client.get(f"/v1/tokens/{token.reference}")).json()
        by_invoice = (await client.get(f"/v1/invoices/{token.invoice_reference}/token")).json()
        assert by_reference == by_invoice
        assert (by_reference["state"], by_reference["face_pence"], by_reference["token_id"]) == (
            "HELD",
            FACE.value,
            token.token_id_hex,
        )
        path = f"/v1/tokens/{token.reference}/transactions"
        first = (await client.get(path, params={"limit": 1})).json()
        second = (await client.get(path, params={"limit": 1, "after": first["next"]})).json()
        assert [page["items"][0]["kind"] for page in (first, second)] == ["mint", "transfer"]
        assert "raw" not in first["items"][0]
        mine = (await client.get("/v1/wallets/me")).json()
        assert (mine["address"], mine["state"]) == (wallet.address, "REGISTERED")
        assert mine["claims"] == ["KYC_VERIFIED", "AML_CLEARED", "JURISDICTION_UK"]


async def test_another_tenants_token_looks_like_none(house: House) -> None:
    token = await house.minted()
    async with _app(house, Caller("tnt_b", Role.LENDER, "sub_b", subject_id="sub_b")) as client:
        foreign = await client.get(f"/v1/tokens/{token.reference}")
        missing = await client.get("/v1/tokens/FXR-INV-00000")
    assert foreign.status_code == missing.status_code == 404
    assert foreign.json() == missing.json()
