"""What is on the account is in the books, whatever comes in whatever order; frozen parties' shares (SE-10 … SE-14)."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import timedelta

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.kernel.clock import Instant, to_wire
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle import ledger
from fintokenx.lifecycle.settlement.ports import (
    BankCredit,
    PaymentOutcome,
    PaymentState,
)
from fintokenx.lifecycle.settlement.service import (
    funding,
    instructing,
    payments,
    recovery_sweep,
    statement_lines,
    statement_window,
)
from fintokenx.lifecycle.settlement.types import Statement
from fintokenx.lifecycle.tokenisation.ports import BurnReceivable
from fintokenx.parties import auth
from tests.modules.settlement_house import (
    BUYER,
    COLLECTIONS,
    FACE,
    LENDER,
    NET,
    PLATFORM,
    Place,
)
from tests.modules.settlement_place import habits, place

pytestmark = pytest.mark.anyio
__all__ = ["habits", "place"]

# ── What is on the account is in the books


@pytest.mark.parametrize("habit", ["by id", "by reference"])
async def test_a_lender_that_pays_by_hand_for_a_funding_that_has_ended_finds_its_money_in_suspense(
    place: Place, habit: str
) -> None:
    """Its own payment was refused; what it then sends under the same name is not what was cancelled."""
    reference = await place.listed()
    await place.bank.control("fates", {"fate": "AC07"})
    made = await place.lend(reference)
    await place.until(made.id, "CANCELLED")
    more = {"end_to_end_id": made.id} if habit == "by id" else {}
    await place.bank.pay(LENDER, COLLECTIONS, NET.value, instructing.funding_reference(made.id), **more)
    (lost,) = await place.collect()
    assert (lost.state, lost.amount) == ("UNMATCHED", NET)
    assert await place.balances() == {"bank:collections": -NET.value, "suspense": NET.value}


async def test_a_lender_that_pays_twice_finds_the_second_payment_in_suspense(place: Place) -> None:
    made = await place.funded()
    await place.bank.pay(LENDER, COLLECTIONS, NET.value, instructing.funding_reference(made.id), end_to_end_id=made.id)
    (lost,) = await place.collect()
    assert (lost.state, await place.lines()) == (
        "UNMATCHED", [("collection", NET.value), ("funding", NET.value), ("seller_credit", NET.value)],
    )  # fmt: skip
    assert await place.balances() == {"bank:collections": -NET.value, "suspense": NET.value}


async def test_a_payer_without_an_id_is_not_another_payer(place: Place) -> None:
    """ISO 20022 writes NOTPROVIDED: the reference tells, as where there is no id at all."""
    made = await place.sent(await place.listed())
    settled = PaymentOutcome(PaymentState.SETTLED, "bank-1")
    shown = BankCredit("t", NET, place.world.clock.now(), instructing.funding_reference(made.id), "NOTPROVIDED")
    async with place.tx() as tx:
        await payments.conclude(tx, PLATFORM, end_to_end_id=made.id, outcome=settled)
    async with place.tx() as tx:
        statement = Statement(COLLECTIONS, shown.booked_at, (shown,))
        await statement_lines.take_line(tx, PLATFORM, statement=statement, credit=shown)
    assert await place.lines() == [("funding", NET.value)]


OUTCOMES = {
    "settled": PaymentOutcome(PaymentState.SETTLED, "bank-1"),
    "refused": PaymentOutcome(PaymentState.REJECTED, "", "AC07"),
    "refused for now": PaymentOutcome(PaymentState.REJECTED, "", "MS03", retriable=True),
    "returned": PaymentOutcome(PaymentState.RETURNED, "bank-1", "AC04"),
}


@dataclass
class Account:
    """What the bank has on the collections account: its credits less the payments of ours that left it."""

    place: Place
    chance: random.Random
    pence: int = 0
    lines: list[BankCredit] = field(default_factory=list)

    @property
    def since(self) -> Instant:
        return min(line.booked_at for line in self.lines)

    def shown(self, end_to_end_id: str, reference: str) -> BankCredit:
        """Somebody pays the amount of a payment under its name, in one of the ways in which banks show that."""
        named = self.chance.choice([end_to_end_id, "", "NOTPROVIDED"])
        return BankCredit(self.place.world.ids.new("tx"), NET, self.place.world.clock.now(), reference, named)

    async def take(self, credit: BankCredit) -> None:
        """One of the lines, off the statement as it is now."""
        if credit not in self.lines:
            self.lines.append(credit)
        statement = Statement(COLLECTIONS, self.since, tuple(self.lines))
        async with self.place.tx() as tx:
            if credit in await statement_lines.open_lines(tx, PLATFORM, statement=statement):
                await statement_lines.take_line(tx, PLATFORM, statement=statement, credit=credit)

    async def happen(self, leg: str, outcome: str, credits_shown: list[BankCredit], *, told: bool = False) -> None:
        """A payment's outcome, and lines that name it, in any order; at last the statement is read once more."""
        events: list[BankCredit | str] = [*credits_shown, outcome]
        self.chance.shuffle(events)
        for event in events:
            if isinstance(event, BankCredit):
                self.pence += event.amount.value
                self.lines.append(event)
                await self.take(event)
            else:
                async with self.place.tx() as tx:
                    await payments.conclude(tx, PLATFORM, end_to_end_id=leg, outcome=OUTCOMES[event])
        if told:
            async with self.place.tx() as tx:
                await payments.returned(tx, PLATFORM, end_to_end_id=leg, outcome=OUTCOMES["returned"])
        for credit in self.lines:
            await self.take(credit)

    async def in_the_books(self) -> int:
        async with self.place.tx() as tx:
            trial = await ledger.trial_balance(tx, PLATFORM)
        return sum(a.debit.value - a.credit.value for a in trial.accounts if a.code == "bank:collections")


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_comes_in_whatever_order_the_account_and_the_books_agree(place: Place, seed: int) -> None:
    """SE-16: every outcome of a lender's payment and of its refund, with none to three credits under their names."""
    chance = random.Random(seed)
    account = Account(place, chance)
    references = [await place.listed() for _ in range(12)]
    for number, reference in enumerate(references):
        made = await place.sent(reference)
        outcome = list(OUTCOMES)[number % 4] if number < 8 else "settled"
        own = instructing.funding_reference(made.id)
        count = chance.randint(1, 3) if outcome == "settled" else chance.randint(0, 3)
        await account.happen(made.id, outcome, [account.shown(made.id, own) for _ in range(count)])
        assert await account.in_the_books() == account.pence, (number, outcome, count)
        if outcome != "settled":
            continue
        async with place.tx() as tx:
            await funding.token_refused(tx, PLATFORM, disbursement_id=made.id, reason="no")
        leg = f"{made.id}-R"
        async with place.tx() as tx:
            assert await payments.start(tx, PLATFORM, end_to_end_id=leg) is not None
        back = chance.choice(list(OUTCOMES))
        account.pence -= NET.value if back in ("settled", "returned") else 0
        told = back == "settled" and chance.random() < 0.5
        count = chance.randint(1 if told or back == "returned" else 0, 3)
        shown = [account.shown(leg, f"FX REFUND {reference[4:]}") for _ in range(count)]
        await account.happen(leg, back, shown, told=told)
        assert await account.in_the_books() == account.pence, (number, back, count, told)


async def test_a_line_that_waits_for_its_payment_is_still_read_days_later(place: Place) -> None:
    """The bank takes its time to decide, newer lines come, and the line of that payment is not left behind."""
    made = await place.sent(await place.listed())
    sent_at = place.world.clock.now()
    line = BankCredit("old", NET, sent_at, "", made.id)
    account = Account(place, random.Random(0))
    await account.take(line)
    assert await place.lines() == []
    place.time_passes(5 * 86_400)
    await account.take(BankCredit("new", Pence(1), place.world.clock.now(), "WHAT", ""))
    async with place.tx() as tx:
        _, since = await statement_window.statement(tx, PLATFORM)
    assert since < sent_at
    async with place.tx() as tx:
        await payments.conclude(tx, PLATFORM, end_to_end_id=made.id, outcome=OUTCOMES["refused"])
    await account.take(line)
    assert await place.lines() == [("collection", 1), ("collection", NET.value)]


async def test_a_line_without_money_and_one_from_the_future_stop_nobody(place: Place) -> None:
    in_a_year = to_wire(place.world.clock.now() + timedelta(days=365))
    await place.show(0, "zero")
    await place.show(100, "tomorrow", BookingDateTime=in_a_year)
    await place.bank.pay(BUYER, COLLECTIONS, 200, "WHAT")
    await place.collect()
    await place.bank.pay(BUYER, COLLECTIONS, 300, "WHAT")
    *first, last = [c.amount.value for c in await place.collect()]
    assert (sorted(first), last) == ([100, 200], 300), "of one instant, in any order"
    assert await place.lines() == [("collection", 100), ("collection", 200), ("collection", 300), ("nothing", 0)]
    assert await place.trail("04000412345678:zero") == ["RECON_LINE"]


async def test_a_line_that_cannot_be_booked_stops_nobody_and_is_told_and_not_forgotten(place: Place) -> None:
    """Its id is longer than any that we keep: the job fails for it, the others are in the books."""
    began = place.world.clock.now()
    await place.show(100, "x" * 300)
    await place.bank.pay(BUYER, COLLECTIONS, 200, "WHAT")
    place.time_passes(1)
    await place.ask("settlement.collect")
    await place.alerted("STATEMENT_LINE_NOT_TAKEN", "04000412345678")

    async def failed() -> bool:
        return [job["last_error"] for job in await place.jobs("settlement.collect")] == ["LINES_NOT_TAKEN"]

    await place.work_until(failed)
    assert [c.amount.value for c in await place.collections()] == [200]
    place.tick_seconds = 7200
    await place.until_hours(72)
    await place.bank.pay(BUYER, COLLECTIONS, 300, "WHAT")
    place.time_passes(1)
    await place.ask("settlement.collect")

    async def newer_is_booked() -> bool:
        return [c.amount.value for c in await place.collections()] == [200, 300]

    await place.work_until(newer_is_booked)
    assert (await place.alerts())["STATEMENT_LINE_NOT_TAKEN", "04000412345678"] == 1
    async with place.tx() as tx:
        _, since = await statement_window.statement(tx, PLATFORM)
    assert since < began


async def test_a_statement_that_cannot_be_read_for_four_hours_is_told_of_once(place: Place) -> None:
    """SE-14: and an outage is two entries, not one for every try."""
    await place.bank.mode("down", only="GET /open-banking")
    await place.ask("settlement.collect")
    place.tick_seconds = 300
    await place.until_hours(3)
    assert not await place.alerts()
    await place.alerted("STATEMENT_UNREADABLE", "04000412345678")
    await place.until_hours(10)
    assert await place.alerts() == {("STATEMENT_UNREADABLE", "04000412345678"): 1}
    await place.bank.mode("up")
    await place.until_idle()
    assert await place.trail("04000412345678") == [
        "RECON_GAP",
        "ALERT_RAISE",
        "RECON_WHOLE",
        "ALERT_CLEAR",
    ]
    assert await place.raised() == set()


# ── Frozen parties


async def test_a_share_that_was_held_is_released_even_when_nobody_says_that_its_payee_is_free(place: Place) -> None:
    """The job is lost, or ran before the payment was held."""
    closed = await place.funded()
    await place.tell("lender", auth.SubjectEvent.FREEZE)
    await place.bank.pay(BUYER, COLLECTIONS, FACE.value, closed.invoice_reference)
    await place.collect()
    await place.ask("settlement.resume")
    await place.until_idle()
    assert [c.state for c in await place.collections()] == ["PART_HELD"]
    await place.lose("settlement.release_held")
    await place.tell("lender", auth.SubjectEvent.UNFREEZE)
    await place.until_idle()
    assert [c.state for c in await place.collections()] == ["PART_HELD"]
    await place.find_again()
    for run in ("job_1", "job_2"):
        async with place.tx() as tx:
            await recovery_sweep.promise_again(tx, PLATFORM, job_id=run)
    assert len(await place.jobs("settlement.release_held")) == 2, "a run's promise is its own, whoever asked"
    await place.until_idle()
    assert [c.state for c in await place.collections()] == ["DISTRIBUTED"]
    assert await place.balances() == {}


async def test_a_frozen_holders_share_is_held_and_the_token_not_burned_until_it_is_free(place: Place) -> None:
    """SE-18."""
    closed = await place.funded()
    reference = closed.invoice_reference
    await place.tell("lender", auth.SubjectEvent.FREEZE)
    await place.bank.pay(BUYER, COLLECTIONS, FACE.value, reference)
    (held,) = await place.collect()
    assert held.state == "PART_HELD"
    assert (await place.invoice(reference)).state == "SETTLING"
    assert not place.chain.mined_calls(BurnReceivable)
    owed = {"bank:collections": -FACE.value, f"payable:{place.parties['lender']}": FACE.value}
    assert await place.balances() == owed
    await place.tell("lender", auth.SubjectEvent.UNFREEZE)
    await place.until_idle()
    assert [c.state for c in await place.collections()] == ["DISTRIBUTED"]
    assert (await place.invoice(reference)).state == "SETTLED"
    assert await place.balances() == {}


async def test_a_leg_cannot_be_live_twice_whatever_the_code_does(place: Place) -> None:
    closed = await place.funded()
    async with place.tx() as tx:
        row = await tx.row("select * from app.payment_instructions where end_to_end_id = $1", closed.id)
    assert row is not None
    admin = await place.world.connect("postgres")
    await admin.execute(
        "insert into fx.machine_transitions values ('payment_instruction', '', 'x', 'QUEUED', 'TEST_SEED')"
    )
    await admin.close()
    twin = {**dict(row), "end_to_end_id": f"{closed.id}-2", "attempt": 2, "state": "QUEUED"}
    with pytest.raises(asyncpg.UniqueViolationError, match="one_live_per_leg"):
        await place.seed(audit.insert("payment_instructions", twin))
