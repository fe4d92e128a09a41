"""Invoices and their tokens in any state, for the tests of the modules above: every step is recorded under the action
that its own module records, so that the database's machines check the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count, pairwise
from typing import Any, Final

from fintokenx import audit
from fintokenx.kernel.bus import Fact
from fintokenx.kernel.caller import Caller, system
from fintokenx.kernel.db import Tx
from fintokenx.kernel.ids import invoice_reference, token_reference
from fintokenx.kernel.jobs import Job, Worker
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.invoice.events import InvoiceAwaitingBuyer
from fintokenx.lifecycle.tokenisation.events import TokenMinted
from fintokenx.parties import auth
from tests.modules.parties_house import HERE
from tests.support import World, rows

SYSTEM: Final = system(HERE, "test")
WAY: Final = ("", "SUBMITTED", "EXTRACTING", "AWAITING_BUYER", "CONFIRMED", "TOKENISED")
ACTIONS: Final = ("SUBMIT_INVOICE", "INVOICE_EXTRACT_START", "INVOICE_EXTRACTED", "CONFIRM_INVOICE", "TOKEN_MINT")
CONTRACT, MINTING_WALLET = "0x" + "c" * 40, "0x" + "f" * 40


def caller_of(subject: auth.Subject) -> Caller:
    """The subject, signed in."""
    return Caller(subject.tenant_id, subject.role, subject.id, subject_id=subject.id)


@dataclass
class Paper:
    """Invoices of one seller to one buyer, in the first tenant of the tests."""

    world: World
    seller: auth.Subject
    buyer: auth.Subject
    numbers: count[int] = field(default_factory=lambda: count(1))

    async def invoice(
        self, until: str = "TOKENISED", *, face_pence: int = 100_000, discount_bps: int = 200, days: int = 60
    ) -> tuple[str, str]:
        """An invoice that has come as far as ``until`` and falls due ``days`` from now, and the token that it has or
        may get: both references."""
        async with self.world.database.transaction(HERE) as tx:
            reference = invoice_reference(await tx.next_number("invoice_numbers"), b"test")
            token = token_reference(await tx.next_number("token_numbers"), b"test")
            row = self._row(tx, reference, face_pence=face_pence, discount_bps=discount_bps, days=days)
            for (before, after), action in zip(pairwise(WAY), ACTIONS, strict=True):
                await self._step(tx, row, token, before, after, action)
                if after == until:
                    break
        return reference, token

    def _row(self, tx: Tx, reference: str, *, face_pence: int, discount_bps: int, days: int) -> dict[str, Any]:
        number = next(self.numbers)
        return rows.invoice_values(
            HERE, reference, originator_id=self.seller.id, obligor_id=self.buyer.id, face=Pence(face_pence), at=tx.at,
            invoice_number=f"INV-{number:05}", invoice_number_normalised=f"INV{number:05}",
            issue_date=tx.at.date() - timedelta(days=10), tenor_days=10 + days,
            maturity_date=tx.at.date() + timedelta(days=days), asking_discount_bps=discount_bps, state="SUBMITTED",
            document_sha256=tx.ids.secret("doc").removeprefix("doc_"),
        )  # fmt: skip

    async def _step(self, tx: Tx, row: dict[str, Any], token: str, before: str, after: str, action: str) -> None:
        reference: str = row["reference"]
        actors = {"SUBMIT_INVOICE": caller_of(self.seller), "CONFIRM_INVOICE": caller_of(self.buyer)}
        facts: dict[str, Fact] = {
            "INVOICE_EXTRACTED": InvoiceAwaitingBuyer(reference, self.buyer.id),
            "TOKEN_MINT": TokenMinted(token, reference),
        }
        changes = [audit.insert("invoices", row)] if not before else [self._invoice_moved(reference, before, after)]
        if action == "TOKEN_MINT":
            changes = [self._invoice_moved(reference, before, after, token), await self._minted(tx, row, token)]
        move = audit.Changes(tuple(changes), (facts[action],) if action in facts else ())
        await audit.change(tx, actors.get(action, SYSTEM), action=action, resource=reference, move=move)

    def _invoice_moved(self, reference: str, before: str, after: str, token: str | None = None) -> audit.RowChange:
        names = {"token_reference": token} if token else {}
        return audit.update(
            "invoices",
            key={"tenant_id": HERE, "reference": reference},
            before={"state": before, **dict.fromkeys(names)},
            after={"state": after, **names},
        )

    async def _minted(self, tx: Tx, row: dict[str, Any], token: str) -> audit.RowChange:
        """Request and submit the token; the row that mints it."""
        requested = rows.token(row, token, token_id_hex="0x" + tx.ids.secret("tid").removeprefix("tid_"), at=tx.at)
        submitted = token_moved(token, "REQUESTED", "MINT_SUBMITTED", contract_address=CONTRACT)
        for action, change in (("TOKEN_REQUEST", requested), ("TOKEN_SUBMIT", submitted)):
            await audit.change(tx, SYSTEM, action=action, resource=row["reference"], move=audit.Changes((change,)))
        return token_moved(token, "MINT_SUBMITTED", "MINTED", minted_at=tx.at, holder_wallet=MINTING_WALLET)


def token_moved(token: str, before: str, after: str, **columns: Any) -> audit.RowChange:
    """A token's state change, with columns that were empty; only a minted one has a ``holder_wallet`` already."""
    empty: dict[str, Any] = dict.fromkeys(columns)
    if before == "MINTED":
        empty["holder_wallet"] = MINTING_WALLET
    return audit.update(
        "tokens",
        key={"tenant_id": HERE, "reference": token},
        before={"state": before, **empty},
        after={"state": after, **columns},
    )


async def wallet(tx: Tx, subject: auth.Subject) -> str:
    """A custody wallet of the subject's; its address."""
    address = "0x" + tx.ids.secret("adr").removeprefix("adr_")[:40]
    made = rows.wallet(HERE, tx.ids.new("wal"), subject_id=subject.id, address=address, at=tx.at)
    move = audit.Changes((made,))
    await audit.change(tx, SYSTEM, action="WALLET_CREATE", resource=subject.id, move=move)
    return address


@asynccontextmanager
async def working(world: World, jobs: Sequence[Job]) -> AsyncIterator[None]:
    """A worker with these jobs and no others' jobs to do."""
    claims = await world.pool("fx_worker")
    worker = Worker(
        claims=claims,
        database=world.database,
        jobs=jobs,
        periodic=(),
        clock=world.clock,
        ids=world.ids,
        poll_seconds=0.02,
    )
    running = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await running
        await claims.close()


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    """Ask again and again. :raises TimeoutError: it never became true"""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)
