"""The jobs of tokenisation: the only callers of the chain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Tx
from fintokenx.kernel.errors import Unavailable
from fintokenx.kernel.jobs import Job, Lane, Payload, TryAgain, Work
from fintokenx.lifecycle import chainwork, invoice
from fintokenx.lifecycle.chainwork import (
    Away,
    BlockWatch,
    ChainTransaction,
    Mined,
    Pump,
    TellMined,
    waiting_while_away,
)
from fintokenx.lifecycle.tokenisation.jobs.chain_operations import ChainOperations
from fintokenx.lifecycle.tokenisation.ports import Chain, SubjectHashes
from fintokenx.lifecycle.tokenisation.service import identity, minting, moving, reads, recovering
from fintokenx.lifecycle.tokenisation.transitions import RecoveryState, TokenState
from fintokenx.lifecycle.tokenisation.types import Kind, Token
from fintokenx.parties import kyc
from fintokenx.parties.auth import Subject

log = structlog.get_logger("fintokenx.tokenisation")

REVERTED_SECONDS: Final = 3600.0
"""People were told; try again in an hour, by when they may have put it right."""

HOLDERS_A_WALK: Final = 100

SECONDS_MAX: Final = 300
"""For one round of promises to the chain: some 200 signatures, and a node that answers late."""

TOKENS_A_STEP: Final = 50
"""How many receivables one transaction of a recovery moves: some three million gas."""

WAIT_SECONDS: Final = 5.0
"""How long a recovery waits before it looks again whether its way is free."""

PEOPLE_SECONDS: Final = 300.0
"""The same where only people can free it; perhaps they never do."""

ActiveHolders = Callable[[Tx, str, int], Awaitable[list[Subject]]]
"""Active lenders and investors by id: those after the given one, at most so many."""

_DAY_MINUTES: Final = 24 * 60


class TokenisationJobs:
    """The jobs and what they need of the outside.

    ``minting_wallet_key`` is the vault's name of fx_minting_wallet's key; ``reference_key`` keys token references;
    ``machine_seconds`` is the monotonic clock by which a chain without blocks counts as stalled; ``tell_mined`` tells
    the database the chain's count of a sender (chainwork/jobs/gaps.py), which no tenant's transaction may;
    ``active_holders`` reads active lenders and investors for the walk; ``tokens_a_step`` bounds what a recovery moves
    at once.
    """

    def __init__(
        self,
        *,
        chain: Chain,
        hashes: SubjectHashes,
        reference_key: bytes,
        minting_wallet_key: str,
        stall_seconds: float,
        machine_seconds: Callable[[], float],
        tell_mined: TellMined,
        active_holders: ActiveHolders | None = None,
        tokens_a_step: int = TOKENS_A_STEP,
    ) -> None:
        self._chain = chain
        self._reference_key = reference_key
        blocks = BlockWatch(chain, stall_seconds=stall_seconds, machine_seconds=machine_seconds)
        self.pump = Pump(
            chain, ChainOperations(chain, hashes, minting_wallet_key=minting_wallet_key), blocks, tell_mined
        )
        self._active_holders = active_holders
        self._tokens_a_step = tokens_a_step
        self._rounds: dict[tuple[str, str], str] = {}

    def jobs(self) -> tuple[Job, ...]:
        """``tokenisation.walk`` is periodic, per tenant."""
        return (
            Job("tokenisation.mint", self.mint, Lane.CHAIN, SECONDS_MAX),
            Job("tokenisation.transfer", self.transfer, Lane.CHAIN, SECONDS_MAX),
            Job("tokenisation.burn", self.burn, Lane.CHAIN, SECONDS_MAX),
            Job("tokenisation.issue_claims", self.keep_claims, Lane.CHAIN, SECONDS_MAX),
            Job("tokenisation.revoke_claims", self.keep_claims, Lane.CHAIN, SECONDS_MAX),
            Job("tokenisation.confirm_list", self.confirm_list, Lane.CHAIN, SECONDS_MAX),
            Job("tokenisation.recover", self.recover, Lane.CHAIN, SECONDS_MAX),
            Job("tokenisation.walk", self.walk, Lane.CHAIN, SECONDS_MAX),
        )

    async def mint(self, work: Work, payload: Payload) -> None:
        """Turn a confirmed invoice into a token, once (TK-01 … TK-06)."""
        reference: str = payload["reference"]
        async with work.transaction() as tx:
            token, promise = await minting.request(
                tx, work.caller, invoice_reference=reference, reference_key=self._reference_key
            )
        if token.minted_at is not None:
            return
        try:
            await self._succeeded(work, promise, tx.at)
        except TryAgain as wait:
            await self._tell_whether_stalled(work, token, away=isinstance(wait, Away))
            raise

    async def _tell_whether_stalled(self, work: Work, token: Token, *, away: bool) -> None:
        stalled = away or self.pump.stalled(work.tenant_id)
        if stalled is None or stalled == (token.state == TokenState.PENDING_MINT):
            return
        tell = minting.stalled if stalled else minting.recovered
        async with work.transaction() as tx:
            await tell(tx, work.caller, invoice_reference=token.invoice_reference)

    async def transfer(self, work: Work, payload: Payload) -> None:
        """Move a token to its buyer's wallet, or learn why the chain says no (TK-11)."""
        async with work.transaction() as tx:
            promise = await moving.promised(tx, work.caller, business_key=payload["business_key"])
        if promise.state not in (chainwork.ChainTxState.CONFIRMED, chainwork.ChainTxState.REVERTED):
            await self.pump.turn(work, promise, tx.at)

    async def burn(self, work: Work, payload: Payload) -> None:
        """Burn a token whose receivable is over (TK-13)."""
        async with work.transaction() as tx:
            promise = await moving.promised(tx, work.caller, business_key=payload["business_key"])
        if promise.state != chainwork.ChainTxState.CONFIRMED:
            await self._succeeded(work, promise, tx.at)

    async def confirm_list(self, work: Work, payload: Payload) -> None:
        """Tell the chain that its sanctions list was complete when the lists were asked (CH-14)."""
        async with work.transaction() as tx:
            promise = await moving.promised(tx, work.caller, business_key=payload["business_key"])
        if promise.state not in (chainwork.ChainTxState.CONFIRMED, chainwork.ChainTxState.SUPERSEDED):
            await self._succeeded(work, promise, tx.at)

    async def keep_claims(self, work: Work, payload: Payload) -> None:
        """Make the chain say of a lender or investor what we know now: wallet, flag, claims, or none (CH-06, CH-16);
        of a wallet that it lost first."""
        subject_id: str = payload["subject_id"]
        async with work.transaction() as tx:
            lost = await identity.lost_wallets(tx, work.caller, subject_id=subject_id)
            key_name = await identity.key_wanted(tx, work.caller, subject_id=subject_id)
        for wallet in lost:
            await self._tell_chain_of(work, wallet.id)
        if key_name is None:
            return
        with waiting_while_away():
            address = await self._chain.create_wallet(key_name)
        async with work.transaction() as tx:
            wallet = await identity.keep_wallet(
                tx, work.caller, subject_id=subject_id, key_name=key_name, address=address
            )
        await self._tell_chain_of(work, wallet.id)

    async def _tell_chain_of(self, work: Work, wallet_id: str) -> None:
        """Returns once the chain says what we know of the wallet. :raises TryAgain: it did not, and may now"""
        async with work.transaction() as tx:
            promise = await identity.wanted(tx, work.caller, wallet_id=wallet_id)
        if promise is None:
            return
        await self._succeeded(work, promise, tx.at)
        raise TryAgain("look whether that is still what we know", seconds=0)

    async def recover(self, work: Work, payload: Payload) -> None:
        """Bring what a lost wallet holds to its subject's next one (CH-17): claims away here and issued there, what is
        in flight waited for, holdings moved, the lost wallet out of the registry. One chain transaction per run."""
        recovery_id: str = payload["recovery_id"]
        async with work.transaction() as tx:
            found = await recovering.under_way(tx, work.caller, recovery_id=recovery_id)
        if found is None:
            return
        if found.recovery.state == RecoveryState.APPROVED:
            await self.keep_claims(work, {"subject_id": found.recovery.subject_id})
        else:  # its subject may have been sanctioned, or cleared, meanwhile
            await self._tell_chain_of(work, found.lost.id)
        async with work.transaction() as tx:
            step = await recovering.next_step(tx, work.caller, recovery_id=recovery_id, tokens_max=self._tokens_a_step)
        if step.promise is None:
            raise TryAgain(step.waits_for, seconds=PEOPLE_SECONDS if step.waits_for_people else WAIT_SECONDS)
        await self._succeeded(work, step.promise, tx.at)
        raise TryAgain("look what is next", seconds=0)

    async def _succeeded(self, work: Work, promise: ChainTransaction, at: Instant) -> Mined:
        """For what must not fail: a refusal of the chain is told to people, and tried again later."""
        if promise.state == chainwork.ChainTxState.REVERTED and promise.submitted_at is not None:
            passed = (at - promise.submitted_at).total_seconds()
            if passed < REVERTED_SECONDS:
                raise TryAgain(f"the chain refused the {promise.kind}", seconds=REVERTED_SECONDS - passed)
        mined = await self.pump.turn(work, promise, at)
        if not mined.receipt.succeeded:
            raise TryAgain(f"the chain refused the {promise.kind}", seconds=REVERTED_SECONDS)
        return mined

    async def walk(self, work: Work, _payload: Payload) -> None:
        """Send everything unanswered again, lowest nonce first, and promise again what may have lost its job.

        A nonce that was handed out and never arrives would hold up all later ones of its sender; this closes such a
        gap even when no job of the tenant is left. Also promised again: the mint of a confirmed invoice without a
        token, claims and flags that are missing or out of date (CH-06, CH-16), and approved recoveries. Whose claims
        are about to end is checked anew.

        :raises Unavailable: the chain or the vault stood in the way of some of it; all else is done all the same
        """
        try:
            round_ = await self.pump.drive(work, again=True)
            faults = [fault for fault in round_.faults.values() if isinstance(fault, Unavailable)]
        except Unavailable as outage:
            faults = [outage]
        async with work.transaction() as tx:
            for promise in await reads.unanswered(tx, work.caller):
                name, job = _job_of(promise)
                tx.enqueue(name, job, dedupe_key=_turn_of(promise.id, promise.promised_at, tx.at))
            for debt in await minting.unrequested(tx, work.caller):
                key = _turn_of(debt.reference, debt.created_at, tx.at)
                tx.enqueue("tokenisation.mint", {"reference": debt.reference}, dedupe_key=key)
            for subject_id, since in await self._wallets_looked_at(tx, work):
                key = _turn_of(subject_id, since, tx.at)
                tx.enqueue("tokenisation.issue_claims", {"subject_id": subject_id}, dedupe_key=key)
            for recovery in await recovering.all_under_way(tx, work.caller):
                key = _turn_of(recovery.id, recovery.decided_at or recovery.requested_at, tx.at)
                tx.enqueue("tokenisation.recover", {"recovery_id": recovery.id}, dedupe_key=key)
            rounds = (self._rounds.get((work.tenant_id, what)) for what in ("wallets", "holders"))
            if not any(rounds) and not tx.jobs and not await invoice.any_open(tx, work.caller):
                work.may_rest()
        if faults:
            raise faults[0]

    async def _wallets_looked_at(self, tx: Tx, work: Work) -> list[tuple[str, Instant]]:
        """Subjects whose claims to look at, and since when they may wait; some hundred in each walk, round and round.
        Whose claims end soon is checked anew: claims are renewed by a check, and by nothing else.

        How far the round has come is kept in memory only: after a restart it begins anew.
        """
        looked = await identity.walked(tx, work.caller, after=self._rounds.get((work.tenant_id, "wallets"), ""))
        self._rounds[work.tenant_id, "wallets"] = looked.go_on_after
        for subject in looked.renewal_due:
            key = _turn_of(f"renew:{subject.id}", kyc.renewal_due_at(subject), tx.at)
            tx.enqueue("kyc.renew", {"subject_id": subject.id}, dedupe_key=key)
        found = [(wallet.subject_id, wallet.created_at) for wallet in looked.out_of_date]
        if self._active_holders is not None:
            after = self._rounds.get((work.tenant_id, "holders"), "")
            holders = await self._active_holders(tx, after, HOLDERS_A_WALK)
            self._rounds[work.tenant_id, "holders"] = holders[-1].id if len(holders) == HOLDERS_A_WALK else ""
            bare = await identity.without_wallet(tx, work.caller, subjects=holders)
            found += [(subject.id, subject.created_at) for subject in bare]
        return found


def _turn_of(thing: str, since: Instant, now: Instant) -> str:
    """The name of a walk's promise: a new one when the age of the thing in minutes has doubled, later once a day.

    Whether a job still lives nobody asks; so that an outage of days does not heap up jobs, they are promised ever
    more rarely.
    """
    minutes = max(0, int((now - since).total_seconds()) // 60)
    turn = minutes.bit_length() if minutes < _DAY_MINUTES else _DAY_MINUTES.bit_length() + minutes // _DAY_MINUTES
    return f"walk:{thing}:{turn}"


def _job_of(promise: ChainTransaction) -> tuple[str, dict[str, str]]:
    match Kind(promise.kind):
        case Kind.MINT:
            return "tokenisation.mint", {"reference": promise.resource}
        case Kind.IDENTITY | Kind.FLAG:
            return "tokenisation.issue_claims", {"subject_id": promise.resource}
        case Kind.RECOVERY | Kind.REMOVAL:
            return "tokenisation.recover", {"recovery_id": promise.arguments["recovery_id"]}
        case Kind.REFRESH:
            return "tokenisation.confirm_list", {"business_key": promise.business_key}
        case Kind.TRANSFER | Kind.BURN:
            return f"tokenisation.{promise.kind}", {"business_key": promise.business_key}
