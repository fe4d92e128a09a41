"""Work after the transaction: the look at the chain, the payments, the statements.

A bank or a network that does not answer is no failure: the job looks again, later each time, for as long as it takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import structlog

from fintokenx.kernel.clock import Instant, from_wire
from fintokenx.kernel.errors import Unavailable
from fintokenx.kernel.jobs import Job, Lane, Payload, TryAgain, Work
from fintokenx.lifecycle.settlement.ports import (
    AccountInformation,
    BankAccount,
    BankCredit,
    FasterPayments,
    PaymentOutcome,
    PaymentState,
    TokenTransfers,
)
from fintokenx.lifecycle.settlement.service import (
    balances,
    collecting,
    funding,
    payments,
    reads,
    recovery_sweep,
    statement_lines,
    statement_window,
)
from fintokenx.lifecycle.settlement.types import LinesNotTaken, Purpose, Statement

log = structlog.get_logger("fintokenx.settlement")

_WAIT_MIN_SECONDS = 0.5  # a Faster Payment is decided within a second, as a rule
_WAIT_MAX_SECONDS = 300.0
ASKING_SECONDS_MAX: Final = 120
"""For one question to a bank or to the network, with its client's own retries."""
STATEMENT_SECONDS_MAX: Final = 600
"""For a whole statement, page by page, and each of its lines."""


@dataclass(frozen=True, slots=True)
class SettlementJobs:
    """The jobs of settlement and what they need of the outside."""

    faster_payments: FasterPayments
    information: AccountInformation
    tokens: TokenTransfers

    def jobs(self) -> tuple[Job, ...]:
        """``collect``, ``check_balance`` and ``resume`` are to be run periodically."""
        return (
            Job("settlement.disburse", self.disburse, Lane.MONEY, ASKING_SECONDS_MAX),
            Job("settlement.pay", self.pay, Lane.MONEY, ASKING_SECONDS_MAX),
            Job("settlement.token_moved", self.token_moved, Lane.MONEY, seconds_max=30),
            Job("settlement.token_refused", self.token_refused, Lane.MONEY, seconds_max=30),
            Job("settlement.follow_token", self.follow_token, Lane.MONEY, seconds_max=30),
            Job("settlement.await_seller_credit", self.await_seller_credit, Lane.MONEY, ASKING_SECONDS_MAX),
            Job("settlement.collect", self.collect, Lane.MONEY, STATEMENT_SECONDS_MAX),
            Job("settlement.check_balance", self.check_balance, Lane.MONEY, STATEMENT_SECONDS_MAX),
            Job("settlement.allocate", self.allocate, Lane.MONEY, seconds_max=30),
            Job("settlement.release_held", self.release_held, Lane.MONEY, seconds_max=300),
            Job("settlement.resume", self.resume, Lane.MONEY, seconds_max=300),
        )

    async def disburse(self, work: Work, payload: Payload) -> None:
        """F1 → F2: ask the network before any money moves (SE-05)."""
        disbursement_id: str = payload["disbursement_id"]
        async with work.transaction() as tx:
            candidate = await funding.to_check(tx, work.caller, disbursement_id=disbursement_id)
            at = tx.at
        if candidate is None:
            return
        try:
            minting_wallet = await self.tokens.minting_wallet()
            allowed, reason = await self.tokens.can_transfer(
                minting_wallet, candidate.to_wallet, candidate.token_id, candidate.face
            )
        except Unavailable as fault:
            _look_again(payload, at, str(fault), seconds=15)
            return
        async with work.completing() as tx:
            await funding.checked(tx, work.caller, disbursement_id=disbursement_id, allowed=allowed, reason=reason)

    async def pay(self, work: Work, payload: Payload) -> None:
        """Walk one payment to its end. It is recorded as sent before the bank is asked, and looked up before it is
        sent again."""
        end_to_end_id: str = payload["end_to_end_id"]
        async with work.transaction() as tx:
            sending = await payments.start(tx, work.caller, end_to_end_id=end_to_end_id)
        if sending is None:
            return
        if isinstance(sending, payments.Waiting):
            _look_again(payload, sending.at, "books and bank differ", seconds=_WAIT_MAX_SECONDS)
            return
        waited_since = sending.instruction.sent_at or sending.at
        try:
            outcome = await self._outcome(sending)
            undecided = "the bank has not decided" if outcome.state is PaymentState.PENDING else ""
        except Unavailable as fault:
            undecided = str(fault)
        if undecided:
            await self._tell_when_slow(work, sending)
            _look_again(payload, sending.at, undecided, seconds=_patience(waited_since, sending.at))
            return
        async with work.completing() as tx:
            await payments.conclude(tx, work.caller, end_to_end_id=end_to_end_id, outcome=outcome)

    async def _tell_when_slow(self, work: Work, sending: payments.Sending) -> None:
        payment = sending.instruction
        if not payments.is_slow(payment, sending.at):
            return
        async with work.transaction() as tx:
            await payments.alert_when_slow(tx, work.caller, end_to_end_id=payment.end_to_end_id)
            if payment.purpose is Purpose.PAYOUT and payment.disbursement_id is not None:
                await statement_lines.alert_when_late(tx, work.caller, disbursement_id=payment.disbursement_id)

    async def _outcome(self, sending: payments.Sending) -> PaymentOutcome:
        instruction = sending.instruction
        if sending.resumed:
            known = await self.faster_payments.look_up(instruction.debtor, instruction.end_to_end_id)
            if known is not None:
                return known
        return await self.faster_payments.submit(payments.wire(instruction))

    async def token_moved(self, work: Work, payload: Payload) -> None:
        """The token of a disbursement is with its lender: FUND_INVOICE."""
        if not funding.is_ours(payload["business_key"]):
            return
        async with work.completing() as tx:
            await funding.token_moved(
                tx, work.caller, disbursement_id=payload["business_key"], tx_hash=payload["tx_hash"]
            )

    async def token_refused(self, work: Work, payload: Payload) -> None:
        """The network refuses the token of a disbursement: the money goes back."""
        if not funding.is_ours(payload["business_key"]):
            return
        async with work.completing() as tx:
            await funding.token_refused(
                tx, work.caller, disbursement_id=payload["business_key"], reason=payload["reason"]
            )

    async def follow_token(self, work: Work, payload: Payload) -> None:
        """Look for oneself what became of the token: whoever was to tell has not for hours."""
        async with work.completing() as tx:
            await funding.follow_token(tx, work.caller, disbursement_id=payload["disbursement_id"])

    async def await_seller_credit(self, work: Work, payload: Payload) -> None:
        """F3b → F4 when the seller's bank shows the advance; or RETURNED when our bank says that it came back."""
        disbursement_id: str = payload["disbursement_id"]
        async with work.transaction() as tx:
            watch = await statement_lines.watched(tx, work.caller, disbursement_id=disbursement_id)
        if watch is None:
            return
        try:
            seen = await self.information.credits(watch.payout.creditor, watch.since)
        except Unavailable as fault:
            log.warning("ais_unavailable", disbursement_id=disbursement_id, fault=str(fault))
            seen = []
        async with work.transaction() as tx:
            done = await statement_lines.acknowledge(tx, work.caller, watch=watch, credits_seen=seen)
            if not done:
                await statement_lines.alert_when_late(tx, work.caller, disbursement_id=disbursement_id)
        if not done:
            await self._look_for_a_return(work, payload, watch)

    async def _look_for_a_return(self, work: Work, payload: Payload, watch: statement_lines.Watch) -> None:
        try:
            outcome = await self.faster_payments.look_up(watch.payout.debtor, watch.payout.end_to_end_id)
        except Unavailable as fault:
            log.warning("fps_unavailable", end_to_end_id=watch.payout.end_to_end_id, fault=str(fault))
            outcome = None
        if outcome is None or outcome.state is not PaymentState.RETURNED:
            seconds = _patience(watch.paid_out_at, watch.at)
            _look_again(payload, watch.at, "the seller's bank does not show it", seconds=seconds)
            return
        async with work.completing() as tx:
            await payments.returned(tx, work.caller, end_to_end_id=watch.payout.end_to_end_id, outcome=outcome)

    async def collect(self, work: Work, _payload: Payload) -> None:
        """Read the collections account and deal with every new line, each in a transaction of its own."""
        async with work.transaction() as tx:
            account, since = await statement_window.statement(tx, work.caller)
        try:
            seen = await self.information.credits(account, since)
        except Unavailable:
            async with work.transaction() as tx:
                await statement_window.not_read(tx, work.caller, account=account)
            raise
        statement = Statement(account, since, tuple(seen))
        async with work.transaction() as tx:
            fresh = await statement_lines.open_lines(tx, work.caller, statement=statement)
        left = [credit for credit in fresh if not await self._taken(work, statement, credit)]
        if left:
            async with work.transaction() as tx:
                await statement_window.not_taken(tx, work.caller, account=account)
            raise LinesNotTaken(f"{len(left)} of {len(fresh)}")
        async with work.completing() as tx:
            await statement_window.whole(tx, work.caller, account=account)
            if not fresh and await reads.nothing_expected(tx, work.caller):
                work.may_rest()

    async def check_balance(self, work: Work, _payload: Payload) -> None:
        """Hold the books against the bank's own balance; a difference is believed when it is found twice."""
        async with work.transaction() as tx:
            account, since = await statement_window.statement(tx, work.caller)
        found = await self._compared(work, account, since)
        if found.is_explained is not True:
            found = await self._compared(work, account, since)
        async with work.completing() as tx:
            await balances.conclude(tx, work.caller, account=account, found=found)
            if found.bank == found.books and await reads.nothing_expected(tx, work.caller):
                work.may_rest()

    async def _compared(self, work: Work, account: BankAccount, since: Instant) -> balances.Comparison:
        async with work.transaction() as tx:
            asked_at = tx.at
        try:
            bank = await self.information.balance(account)
            seen = await self.information.credits(account, since)
        except Unavailable:
            async with work.transaction() as tx:
                await balances.not_read(tx, work.caller, account=account)
            raise
        statement = Statement(account, since, tuple(seen))
        async with work.transaction() as tx:
            return await balances.compare(tx, work.caller, statement=statement, bank=bank, asked_at=asked_at)

    async def _taken(self, work: Work, statement: Statement, credit: BankCredit) -> bool:
        """Whether a line was dealt with. What one line does wrong must not keep the others out of the books."""
        try:
            async with work.transaction() as tx:
                await statement_lines.take_line(tx, work.caller, statement=statement, credit=credit)
        except Unavailable:
            raise
        except Exception:  # anticipated or a fault of ours: this line only; the job fails for it at the end
            log.exception("line_not_taken", transaction_id=credit.transaction_id, source=credit.source)
            return False
        return True

    async def allocate(self, work: Work, payload: Payload) -> None:
        """Book a matched credit on its invoice; an early one waits until the invoice is funded."""
        async with work.transaction() as tx:
            booked = await collecting.allocate(tx, work.caller, collection_id=payload["collection_id"])
            at = tx.at
        if not booked:
            _look_again(payload, at, "the invoice cannot take it yet", seconds=_WAIT_MAX_SECONDS)

    async def release_held(self, work: Work, payload: Payload) -> None:
        """A subject is no longer frozen: what was held for it is paid."""
        async with work.completing() as tx:
            await payments.release(tx, work.caller, subject_id=payload["subject_id"], job_id=work.id)

    async def resume(self, work: Work, _payload: Payload) -> None:
        """Promise again what is still to be done: the net under jobs that were lost or given up."""
        async with work.completing() as tx:
            await recovery_sweep.promise_again(tx, work.caller, job_id=work.id)
            if await reads.nothing_expected(tx, work.caller):
                work.may_rest()


def _look_again(payload: Payload, at: Instant, reason: str, *, seconds: float) -> None:
    """Have the job look again later; one that was promised again ends with its time, for the next is promised then.

    :raises TryAgain: it is to look again
    """
    if "until" not in payload or at < from_wire(payload["until"]):
        raise TryAgain(reason, seconds=seconds)


def _patience(since: Instant, now: Instant) -> float:
    """A quarter of the time waited so far: soon at first, every five minutes later."""
    return min(max((now - since).total_seconds() / 4, _WAIT_MIN_SECONDS), _WAIT_MAX_SECONDS)
