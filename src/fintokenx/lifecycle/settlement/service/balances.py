"""The books held against the bank's own balance, and what may not leave while they differ (ADR 0014)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Tx
from fintokenx.kernel.machine import NOTHING
from fintokenx.kernel.money import ZERO, Pence
from fintokenx.lifecycle import ledger
from fintokenx.lifecycle.settlement import store
from fintokenx.lifecycle.settlement.ports import BankAccount
from fintokenx.lifecycle.settlement.service import alerting, instructing, lines
from fintokenx.lifecycle.settlement.store import balances as balance_store
from fintokenx.lifecycle.settlement.transitions import DIFFERENCE, DifferenceEvent
from fintokenx.lifecycle.settlement.types import (
    RECONCILED_WITHIN_SECONDS,
    Difference,
    Instruction,
    Purpose,
    Reading,
    Statement,
)
from fintokenx.parties import compliance

DIFFERS: Final = "BOOKS_DIFFER_FROM_BANK"
UNREADABLE: Final = "BALANCE_UNREADABLE"
UNDECIDED: Final = "BALANCE_UNDECIDED"
LAG: Final = timedelta(minutes=1)
"""What was booked this shortly before the bank told its balance may not be in that yet."""

_SUMS_MAX: Final = 1 << 14
"""Of one half, so that a look takes milliseconds: nobody else is served meanwhile."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The bank's balance, the books, and whether what is on its way explains that they differ; None: too much is on its
    way to say."""

    bank: Pence
    books: Pence
    is_explained: bool | None


async def compare(tx: Tx, caller: Caller, *, statement: Statement, bank: Pence, asked_at: Instant) -> Comparison:
    """Hold the books against the balance that the bank told after ``asked_at``. ``statement`` was read after that, so
    it shows every credit that is in the balance and not known yet. Each thing on its way may or may not be in it: a
    payment that the bank has not decided, a credit that is not booked, what was booked meanwhile or shortly before."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    account = ledger.BANK_COLLECTIONS
    books = await ledger.asset_balance(tx, caller, account=account)
    moved = await ledger.movements_since(tx, caller, account=account, since=asked_at - LAG)
    leaving = await balance_store.leaving(tx)
    found = zip(statement.credits, await lines.verdicts(tx, statement), strict=True)
    not_booked = [credit.amount for credit, verdict in found if verdict is None or verdict.line is None]
    in_doubt = await balance_store.in_doubt(tx, statement.account)
    parts = [*(-amount for amount in (*moved, *leaving)), *not_booked, *in_doubt]
    return Comparison(bank, books, explains(parts, bank - books))


def explains(parts: Iterable[Pence], difference: Pence) -> bool | None:
    """Whether some of the parts add up to the difference; None where there are too many sums to look through.

    Each half's sums are made, and for each of one half what is missing is looked for in the other: exact for 28 parts
    and more, where a range would let an odd penny pass.
    """
    values = [part.value for part in parts]
    halves = [_sums(half) for half in (values[::2], values[1::2])]
    if halves[0] is None or halves[1] is None:
        return None
    fewer, more = sorted(halves, key=lambda sums: len(sums or ()))
    return any(difference.value - known in (more or ()) for known in fewer or ())


def _sums(values: list[int]) -> set[int] | None:
    sums = {0}
    for value in values:
        sums |= {known + value for known in sums}
        if len(sums) > _SUMS_MAX:
            return None
    return sums


async def conclude(tx: Tx, caller: Caller, *, account: BankAccount, found: Comparison) -> None:
    """Open, change or close the difference of an account: a row, an entry, and one alert while it is open. It closes
    when both are equal to the penny; the payments that waited for that are sent then. Where nobody can tell, nothing
    has been compared, and the next look will."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    if found.is_explained is None:
        await _not_compared(tx, caller, account, UNDECIDED)
        return
    await store.lock(tx, f"balance:{_number(account)}")
    await _read_again(tx, caller, account)
    known = await balance_store.open_difference(tx, account)
    if known is None:
        if found.is_explained is False:
            await _open(tx, caller, account, found)
    elif found.bank == found.books:
        transition = DIFFERENCE.next(known.state, DifferenceEvent.CLOSE)
        row = balance_store.changed_difference(
            known, bank=found.bank, books=found.books, state=transition.target, closed_at=tx.at
        )
        await audit.change(tx, caller, action=transition.action, resource=_number(account), move=audit.Changes((row,)))
        await compliance.clear_alert(tx, caller, cause=DIFFERS, resource=_number(account))
        for end_to_end_id in await balance_store.queued(tx):
            key = f"{end_to_end_id}:{known.id}"
            tx.enqueue(instructing.PAY_JOB, {"end_to_end_id": end_to_end_id}, dedupe_key=key)
    elif found.is_explained is False and found.bank - found.books != known.surplus:
        row = balance_store.changed_difference(known, bank=found.bank, books=found.books)
        await audit.change(tx, caller, action="BALANCE_DIFFERS", resource=_number(account), move=audit.Changes((row,)))


async def _open(tx: Tx, caller: Caller, account: BankAccount, found: Comparison) -> None:
    transition = DIFFERENCE.next(NOTHING, DifferenceEvent.OPEN)
    new = Difference(
        tenant_id=tx.tenant_id,
        id=tx.ids.new("dif"),
        account=_number(account),
        bank=found.bank,
        books=found.books,
        state=transition.target,
        opened_at=tx.at,
        closed_at=None,
    )
    move = audit.Changes((balance_store.new_difference(new),))
    await audit.change(tx, caller, action=transition.action, resource=new.account, move=move)
    await alerting.alert_once(tx, caller, cause=DIFFERS, resource=new.account)


async def must_wait(tx: Tx, caller: Caller, *, payment: Instruction) -> bool:
    """Whether a payment may not be sent while books and bank differ. Where the bank has less nobody knows whose money
    is missing: nothing leaves collections, and no lender pays into them. Where it has more, what was queued since
    waits, for it may be paid from the surplus; what the books owed before is held by the bank and goes."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    known = await balance_store.open_difference(tx, await instructing.collections_account(tx))
    if known is None:
        return False
    if known.surplus < ZERO:
        return True
    return payment.purpose is not Purpose.DISBURSEMENT_IN and payment.queued_at >= known.opened_at


async def not_read(tx: Tx, caller: Caller, *, account: BankAccount) -> None:
    """The bank did not tell the balance: remember since when, and tell somebody, once, after four hours."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    await _not_compared(tx, caller, account, UNREADABLE)


async def _not_compared(tx: Tx, caller: Caller, account: BankAccount, cause: str) -> None:
    await store.lock(tx, f"reading:{_number(account)}")
    known = await store.reading(tx, account)
    if known is None or known.balance_gap_since is None:
        row = (
            store.changed_reading(known, balance_gap_since=tx.at)
            if known is not None
            else store.new_reading(Reading(tx.tenant_id, _number(account), None, tx.at))
        )
        await audit.change(tx, caller, action="BALANCE_GAP", resource=_number(account), move=audit.Changes((row,)))
    elif tx.at - known.balance_gap_since > timedelta(seconds=RECONCILED_WITHIN_SECONDS):
        await alerting.alert_once(tx, caller, cause=cause, resource=_number(account))


async def _read_again(tx: Tx, caller: Caller, account: BankAccount) -> None:
    await store.lock(tx, f"reading:{_number(account)}")
    known = await store.reading(tx, account)
    if known is None or known.balance_gap_since is None:
        return
    move = audit.Changes((store.changed_reading(known, balance_gap_since=None),))
    await audit.change(tx, caller, action="BALANCE_READ", resource=_number(account), move=move)
    for cause in (UNREADABLE, UNDECIDED):
        await compliance.clear_alert(tx, caller, cause=cause, resource=_number(account))


def _number(account: BankAccount) -> str:
    return account.sort_code + account.account_number
