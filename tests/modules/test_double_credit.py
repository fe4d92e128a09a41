"""One credit is one credit, whatever the bank shows of it (SE-10, SE-16, ADR 0014): the story of the double credit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fintokenx.kernel.caller import Caller, Role, WrongRole
from fintokenx.kernel.clock import Instant, from_wire
from fintokenx.kernel.machine import IllegalTransition
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle import settlement
from fintokenx.lifecycle.settlement.ports import AccountInformation, BankAccount, BankCredit
from fintokenx.lifecycle.settlement.service import lines, statement_lines
from fintokenx.lifecycle.settlement.service.statement_lines import Watch
from fintokenx.lifecycle.settlement.store import newest_of_leg
from fintokenx.lifecycle.settlement.types import NotThatLine, UnknownLineDoubt
from fintokenx.sandbox.providers.bank_book import account_id
from tests.adapters.bank_house import PAYMENTS_TOKEN
from tests.adapters.bank_house import House as BankHouse
from tests.modules.settlement_house import BUYER, COLLECTIONS, PLATFORM, SELLER, TENANT, Place, settlement_house

pytestmark = pytest.mark.anyio

PART = 400_000
POOR: dict[str, Any] = {"passes_end_to_end": False, "shows_references": False, "shows_transaction_ids": False}
OFFICER = Caller(TENANT, Role.MLRO, "sub_officer", subject_id="sub_officer")


@asynccontextmanager
async def _collected(
    cluster: str, template: str, tmp_path: Path, **habits: Any
) -> AsyncIterator[tuple[Place, settlement.Disbursement]]:
    """A buyer has paid a part, at a bank that shows little, and the lender has it."""
    async with settlement_house(cluster, template, tmp_path, POOR | habits) as place:
        made = await place.funded()
        await place.bank.pay(BUYER, COLLECTIONS, PART, f"{made.invoice_reference} PART 1 OF 2")
        [collection] = await place.collect()
        assert (collection.state, collection.amount) == ("DISTRIBUTED", Pence(PART))
        yield place, made


async def _is_one_credit(place: Place, made: settlement.Disbursement) -> None:
    """One credit, one payout, books = bank, and nobody was bothered."""
    [collection] = await place.collections()
    assert collection.amount == Pence(PART)
    assert sum((await place.effects()).values()) == 3, "the lender's payment, the advance, one share"
    assert (await place.invoice(made.invoice_reference)).collected == Pence(PART)
    assert await place.balances() == {}
    assert (await place.alerts(), await place.doubts()) == ({}, [])


@pytest.mark.parametrize(
    ("before", "later"),
    [
        ({}, {"shows_transaction_ids": True}),
        ({"narration_length": 18}, {"narration_length": None}),
        ({"shows_times": False}, {"shows_times": True}),
        ({}, {"passes_end_to_end": True, "shows_references": True}),
        ({"narration_length": 18, "shows_times": False}, {"narration_length": None, "shows_transaction_ids": True}),
    ],
    ids=["id later", "narration completed", "time completed", "references later", "all but the time"],
)
async def test_a_credit_that_is_completed_later_is_one_credit_and_one_payout(
    cluster: str, template: str, tmp_path: Path, before: dict[str, Any], later: dict[str, Any]
) -> None:
    async with _collected(cluster, template, tmp_path, **before) as (place, made):
        await place.shows(COLLECTIONS, **later)
        for _ in range(2):
            await place.collect()
        await _is_one_credit(place, made)
        await place.bank.pay(BUYER, COLLECTIONS, PART, f"{made.invoice_reference} PART 1 OF 2")
        assert len(await place.collect()) == 2, "the same payer pays the same amount twice"
        assert await place.balances() == {}


@dataclass
class PaymentsBank:
    """The credits as the payments bank's own list shows them: another id, a cut narration, the payer's id."""

    bank: BankHouse
    other: AccountInformation

    async def credits(self, account: BankAccount, since: Instant) -> list[BankCredit]:
        place = account_id("clearbank", account.sort_code + account.account_number)
        headers = {"Authorization": f"Bearer {PAYMENTS_TOKEN}"}
        answer = await self.bank.http.get(f"/v2/Accounts/{place}/Transactions?pageSize=1000", headers=headers)
        found = [
            BankCredit(
                transaction_id=row["transactionId"],
                amount=Pence(round(row["amount"]["instructedAmount"] * 100)),
                booked_at=from_wire(row["transactionTime"]),
                narration=row["transactionReference"][:18],
                end_to_end_id=row["endToEndIdentifier"],
                source="FPS",
            )
            for row in answer.json()["transactions"]
            if row["debitCreditCode"] == "CRDT"
        ]
        return [credit for credit in found if credit.booked_at >= since]

    async def balance(self, account: BankAccount) -> Pence:
        return await self.other.balance(account)


async def test_a_credit_that_two_sources_show_is_one_credit_and_one_payout(
    cluster: str, template: str, tmp_path: Path
) -> None:
    async with _collected(cluster, template, tmp_path, passes_end_to_end=True) as (place, made):
        open_banking = place.bank.information()
        for source in (PaymentsBank(place.bank, open_banking), open_banking, PaymentsBank(place.bank, open_banking)):
            place.information = source
            await place.collect()
            await _is_one_credit(place, made)
        async with place.tx() as tx:
            sources = await tx.rows("select distinct source from app.line_forms where amount_pence = $1", PART)
        assert {row["source"] for row in sources} == {"AIS", "FPS"}


@dataclass
class Retold:
    """The bank's list with one line told differently."""

    real: AccountInformation
    tell: Callable[[BankCredit], BankCredit]

    async def credits(self, account: BankAccount, since: Instant) -> list[BankCredit]:
        return [self.tell(credit) for credit in await self.real.credits(account, since)]

    async def balance(self, account: BankAccount) -> Pence:
        return await self.real.balance(account)


def _tell_otherwise(credit: BankCredit) -> BankCredit:
    """Nothing but the amount is left of how the part was shown."""
    if credit.amount != Pence(PART):
        return credit
    return replace(credit, narration="BGC", booked_at=credit.booked_at + timedelta(hours=3))


@pytest.mark.parametrize("is_new", [False, True])
async def test_a_credit_that_may_be_a_known_one_waits_for_a_person_and_is_paid_to_nobody(
    cluster: str, template: str, tmp_path: Path, is_new: bool
) -> None:
    async with _collected(cluster, template, tmp_path) as (place, made):
        place.information = Retold(place.bank.information(), _tell_otherwise)
        for _ in range(2):
            await place.collect()
        [doubt] = await place.doubts()
        assert await place.alerts() == {("LINE_DOUBTFUL", doubt.line_id): 1}
        assert len(await place.collections()) == 1
        assert await place.balances() == {}
        known = doubt.may_be[0]
        async with place.tx() as tx:
            with pytest.raises(WrongRole):
                await lines.decide(tx, PLATFORM, line_id=doubt.line_id, same_as=known)
            with pytest.raises(NotThatLine):
                await lines.decide(tx, OFFICER, line_id=doubt.line_id, same_as=doubt.line_id)
            with pytest.raises(UnknownLineDoubt):
                await lines.decide(tx, OFFICER, line_id=known, same_as=None)
        async with place.tx() as tx:
            decided = await lines.decide(tx, OFFICER, line_id=doubt.line_id, same_as=None if is_new else known)
        assert decided.decided_by == "sub_officer"
        assert (await place.trail(doubt.line_id))[-1] == "ALERT_CLEAR"
        async with place.tx() as tx:
            with pytest.raises(IllegalTransition):
                await lines.decide(tx, OFFICER, line_id=doubt.line_id, same_as=None)
        for _ in range(2):
            await place.collect()
        booked = [Pence(PART)] * (2 if is_new else 1)
        assert [collection.amount for collection in await place.collections()] == booked
        assert len(await place.doubts()) == 1
        if not is_new:
            await _share_and_alert(place, made)


@dataclass
class Asked:
    """The bank's list, and from when it was asked for."""

    real: AccountInformation
    since: list[Instant] = field(default_factory=list)

    async def credits(self, account: BankAccount, since: Instant) -> list[BankCredit]:
        self.since.append(since)
        return await self.real.credits(account, since)

    async def balance(self, account: BankAccount) -> Pence:
        return await self.real.balance(account)


async def test_a_line_that_waits_for_a_person_holds_back_neither_the_window_nor_the_balance(
    cluster: str, template: str, tmp_path: Path
) -> None:
    """The list from that day on would be read every few seconds, longer by each day that nobody decides."""
    async with _collected(cluster, template, tmp_path) as (place, made):
        await place.bank.pay(BUYER, COLLECTIONS, PART, made.invoice_reference)
        place.information = Retold(place.bank.information(), _tell_otherwise)
        await place.collect()
        waiting = [doubt.line_id for doubt in await place.doubts()]
        assert waiting
        place.information = asked = Asked(place.bank.information())
        place.time_passes(30 * 86_400)
        await place.bank.pay(BUYER, COLLECTIONS, 100, "later")
        await place.collect()
        await place.collect()
        month_ago = place.world.clock.now() - timedelta(days=30)
        assert asked.since[-1] > month_ago + timedelta(days=25)
        for _ in range(2):
            await place.ask("settlement.check_balance")
            await place.until_idle()
        assert (
            "BOOKS_DIFFER_FROM_BANK",
            COLLECTIONS.sort_code + COLLECTIONS.account_number,
        ) not in await place.alerts()
        async with place.tx() as tx:
            await lines.decide(tx, OFFICER, line_id=waiting[0], same_as=None)
        await place.collect()
        assert asked.since[-1] < month_ago, "what is new is read once more, and booked"


async def _share_and_alert(place: Place, made: settlement.Disbursement) -> None:
    assert (await place.invoice(made.invoice_reference)).collected == Pence(PART)
    assert await place.balances() == {}
    assert len(await place.alerts()) == 1


async def test_the_sellers_credit_that_closed_one_payout_closes_no_other_when_it_gets_its_id(
    cluster: str, template: str, tmp_path: Path
) -> None:
    """SE-07: the watch on the seller's account knows lines as the collections account does."""
    async with settlement_house(cluster, template, tmp_path, POOR) as place:
        made = await place.funded()
        await place.admin(
            "alter table app.disbursements disable trigger user",
            f"update app.disbursements set state = 'SELLER_PAYOUT_SENT' where id = '{made.id}'",
            "alter table app.disbursements enable trigger user",
        )
        await place.shows(SELLER, shows_transaction_ids=True)
        async with place.tx() as tx:
            payout = await newest_of_leg(tx, f"{made.id}-P")
            assert payout is not None
            assert payout.sent_at is not None
            watch = Watch(payout, payout.sent_at - timedelta(hours=48), tx.at, payout.sent_at)
        shown = await place.bank.information().credits(SELLER, watch.since)
        assert [bool(credit.transaction_id) for credit in shown] == [True]
        async with place.tx() as tx:
            assert not await statement_lines.acknowledge(tx, PLATFORM, watch=watch, credits_seen=shown)
