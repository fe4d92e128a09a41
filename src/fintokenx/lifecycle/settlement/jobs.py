"""Work after the transaction: the look at the chain, the payments, the statements.

A bank or a network that does not answer is no failure: the job looks again, later each time, for as long as it takes.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from fintokenx.kernel.clock import Instant
from fintokenx.kernel.errors import Unavailable
from fintokenx.kernel.jobs import Handler, Payload, TryAgain, Work
from fintokenx.lifecycle.settlement.ports import (
    AccountInformation,
    FasterPayments,
    PaymentOutcome,
    PaymentState,
    TokenTransfers,
)
from fintokenx.lifecycle.settlement.service import collecting, funding, reconciling, resuming, walking

log = structlog.get_logger("fintokenx.settlement")

_WAIT_MIN_SECONDS = 1.0
_WAIT_MAX_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class SettlementJobs:
    """The jobs of settlement and what they need of the outside."""

    payments: FasterPayments
    information: AccountInformation
    tokens: TokenTransfers

    def handlers(self) -> dict[str, Handler]:
        """By job name. ``settlement.collect`` and ``settlement.resume`` are to be run periodically."""
        return {
            "settlement.disburse": self.disburse,
            "settlement.pay": self.pay,
            "settlement.token_moved": self.token_moved,
            "settlement.token_refused": self.token_refused,
            "settlement.await_seller_credit": self.await_seller_credit,
            "settlement.collect": self.collect,
            "settlement.allocate": self.allocate,
            "settlement.release_held": self.release_held,
            "settlement.resume": self.resume,
        }

    async def disburse(self, work: Work, payload: Payload) -> None:
        """F1 → F2: ask the network before any money moves (SE-05)."""
        disbursement_id: str = payload["disbursement_id"]
        async with work.transaction() as tx:
            candidate = await funding.to_check(tx, work.caller, disbursement_id=disbursement_id)
        if candidate is None:
            return
        try:
            minting_wallet = await self.tokens.minting_wallet()
            allowed, reason = await self.tokens.can_transfer(
                minting_wallet, candidate.to_wallet, candidate.token_id, candidate.face
            )
        except Unavailable as fault:
            raise TryAgain(str(fault), seconds=15) from fault
        async with work.completing() as tx:
            await funding.checked(tx, work.caller, disbursement_id=disbursement_id, allowed=allowed, reason=reason)

    async def pay(self, work: Work, payload: Payload) -> None:
        """Walk one payment to its end. It is recorded as sent before the bank is asked, and looked up before it is
        sent again."""
        end_to_end_id: str = payload["end_to_end_id"]
        async with work.transaction() as tx:
            sending = await walking.start(tx, work.caller, end_to_end_id=end_to_end_id)
        if sending is None:
            return
        waited_since = sending.instruction.sent_at or sending.at
        try:
            outcome = await self._outcome(sending)
        except Unavailable as fault:
            raise TryAgain(str(fault), seconds=_patience(waited_since, sending.at)) from fault
        if outcome.state is PaymentState.PENDING:
            raise TryAgain("the bank has not decided", seconds=_patience(waited_since, sending.at))
        async with work.completing() as tx:
            await walking.conclude(tx, work.caller, end_to_end_id=end_to_end_id, outcome=outcome)

    async def _outcome(self, sending: walking.Sending) -> PaymentOutcome:
        instruction = sending.instruction
        if sending.resumed:
            known = await self.payments.look_up(instruction.debtor, instruction.end_to_end_id)
            if known is not None:
                return known
        return await self.payments.submit(walking.wire(instruction))

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

    async def await_seller_credit(self, work: Work, payload: Payload) -> None:
        """F3b → F4 when the seller's bank shows the advance; or RETURNED when our bank says that it came back."""
        disbursement_id: str = payload["disbursement_id"]
        async with work.transaction() as tx:
            watch = await reconciling.watched(tx, work.caller, disbursement_id=disbursement_id)
        if watch is None:
            return
        try:
            seen = await self.information.credits(watch.payout.creditor, watch.since)
        except Unavailable as fault:
            log.warning("ais_unavailable", disbursement_id=disbursement_id, fault=str(fault))
            seen = []
        async with work.transaction() as tx:
            done = await reconciling.acknowledge(tx, work.caller, watch=watch, credits_seen=seen)
            if not done:
                await reconciling.alert_when_late(tx, work.caller, disbursement_id=disbursement_id)
        if not done:
            await self._look_for_a_return(work, watch)

    async def _look_for_a_return(self, work: Work, watch: reconciling.Watch) -> None:
        waiting = TryAgain("the seller's bank does not show it", seconds=_patience(watch.paid_out_at, watch.at))
        try:
            outcome = await self.payments.look_up(watch.payout.debtor, watch.payout.end_to_end_id)
        except Unavailable as fault:
            raise waiting from fault
        if outcome is None or outcome.state is not PaymentState.RETURNED:
            raise waiting
        async with work.completing() as tx:
            await walking.returned(tx, work.caller, end_to_end_id=watch.payout.end_to_end_id, outcome=outcome)

    async def collect(self, work: Work, _payload: Payload) -> None:
        """Read the collections account and deal with every new line, each in a transaction of its own."""
        async with work.transaction() as tx:
            account, since = await reconciling.statement(tx, work.caller)
        seen = await self.information.credits(account, since)
        async with work.transaction() as tx:
            fresh = await reconciling.unknown_lines(tx, work.caller, account=account, credits_seen=seen)
        for credit in fresh:
            async with work.transaction() as tx:
                await reconciling.take_line(tx, work.caller, account=account, credit=credit)

    async def allocate(self, work: Work, payload: Payload) -> None:
        """Book a matched credit on its invoice; an early one waits until the invoice is funded."""
        async with work.transaction() as tx:
            booked = await collecting.allocate(tx, work.caller, collection_id=payload["collection_id"])
        if not booked:
            raise TryAgain("the invoice cannot take it yet", seconds=_WAIT_MAX_SECONDS)

    async def release_held(self, work: Work, payload: Payload) -> None:
        """A subject is no longer frozen: what was held for it is paid."""
        async with work.completing() as tx:
            await walking.release(tx, work.caller, subject_id=payload["subject_id"])

    async def resume(self, work: Work, _payload: Payload) -> None:
        """Promise again what is still to be done: the net under jobs that were lost or given up."""
        async with work.completing() as tx:
            await resuming.promise_again(tx, work.caller)


def _patience(since: Instant, now: Instant) -> float:
    """A quarter of the time waited so far: soon at first, every five minutes later."""
    return min(max((now - since).total_seconds() / 4, _WAIT_MIN_SECONDS), _WAIT_MAX_SECONDS)
