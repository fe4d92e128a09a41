"""The jobs of tokenisation: the only callers of the chain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Tx
from fintokenx.kernel.jobs import Handler, Payload, TryAgain, Work
from fintokenx.lifecycle.tokenisation.jobs.blocks import BlockWatch
from fintokenx.lifecycle.tokenisation.jobs.sending import Away, Sender, bytes_of, waiting_while_away
from fintokenx.lifecycle.tokenisation.ports import (
    BurnReceivable,
    Call,
    Chain,
    ChainUnavailable,
    Claims,
    FlagWallet,
    MintReceivable,
    RecoverWallet,
    RegisterIdentity,
    RemoveIdentity,
    SignedTransaction,
    SubjectHashes,
    TransferToken,
)
from fintokenx.lifecycle.tokenisation.service import identity, minting, moving, reads, recovering, sending
from fintokenx.lifecycle.tokenisation.service.sending import Mined
from fintokenx.lifecycle.tokenisation.types import ChainTransaction, Kind, Token
from fintokenx.parties.auth import Subject

log = structlog.get_logger("fintokenx.tokenisation")

REVERTED_SECONDS: Final = 3600.0
"""People were told; try again in an hour, by when they may have put it right."""

NOBODY_ANSWERS: Final = 5
"""So many refusals from the first one on, and the walk stops asking: that is an outage and not a transaction."""

HOLDERS_A_WALK: Final = 100

TOKENS_A_STEP: Final = 50
"""How many receivables one transaction of a recovery moves: some three million gas."""

WAIT_SECONDS: Final = 5.0
"""How long a recovery waits before it looks again whether its way is free."""

ActiveHolders = Callable[[Tx, str, int], Awaitable[list[Subject]]]
"""Active lenders and investors by id: those after the given one, at most so many."""

HASH_NAME: Final = "chain/subject"
_DAY_MINUTES: Final = 24 * 60


class TokenisationJobs:
    """The jobs and what they need of the outside.

    ``minting_wallet_key`` is the vault's name of fx_minting_wallet's key; ``reference_key`` keys token references;
    ``machine_seconds`` is the monotonic clock by which a chain without blocks counts as stalled; ``active_holders``
    reads active lenders and investors for the walk; ``tokens_a_step`` bounds what a recovery moves at once.
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
        active_holders: ActiveHolders | None = None,
        tokens_a_step: int = TOKENS_A_STEP,
    ) -> None:
        self._chain = chain
        self._hashes = hashes
        self._reference_key = reference_key
        self._minting_wallet_key = minting_wallet_key
        self._sender = Sender(chain)
        self._active_holders = active_holders
        self._tokens_a_step = tokens_a_step
        self._rounds: dict[tuple[str, str], str] = {}
        self._blocks = BlockWatch(chain, stall_seconds=stall_seconds, machine_seconds=machine_seconds)

    def handlers(self) -> dict[str, Handler]:
        """By job name. ``tokenisation.walk`` is periodic, per tenant."""
        return {
            "tokenisation.mint": self.mint,
            "tokenisation.transfer": self.transfer,
            "tokenisation.burn": self.burn,
            "tokenisation.issue_claims": self.keep_claims,
            "tokenisation.revoke_claims": self.keep_claims,
            "tokenisation.recover": self.recover,
            "tokenisation.walk": self.walk,
        }

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
            with waiting_while_away():
                mined = await self._minted(work, token, promise)
        except TryAgain as wait:
            await self._tell_whether_stalled(work, reference, away=isinstance(wait, Away))
            raise
        if not mined.receipt.succeeded:
            async with work.transaction() as tx:
                await minting.refused(tx, work.caller, invoice_reference=reference, receipt=mined.receipt)
            raise TryAgain("the chain refused the mint", seconds=REVERTED_SECONDS)
        with waiting_while_away():
            address, wallet = await self._chain.contract_address(), await self._chain.minting_wallet()
            await self._must_match(token, wallet)
        async with work.completing() as tx:
            await minting.minted(
                tx,
                work.caller,
                invoice_reference=reference,
                mined=mined,
                contract_address=address,
                minting_wallet=wallet,
            )

    async def _minted(self, work: Work, token: Token, promise: ChainTransaction) -> Mined:
        address = await self._chain.contract_address()
        call = MintReceivable(
            token_id=token.token_id,
            face=token.face,
            due_at_unix=token.due_at_unix,
            document_sha256=bytes.fromhex(token.document_sha256),
            to_wallet=await self._chain.minting_wallet(),
        )

        async def keep(tx: Tx, signed: SignedTransaction) -> ChainTransaction:
            return await minting.submit(
                tx,
                work.caller,
                invoice_reference=token.invoice_reference,
                signed=signed,
                contract_address=address,
            )

        return await self._sender.mined(work, promise, call, keep)

    async def _must_match(self, token: Token, wallet: str) -> None:
        """The chain holds what was asked for: id, face, receiver (TK-02)."""
        supply = await self._chain.supply(token.token_id)
        holding = await self._chain.holding(wallet, token.token_id)
        if (supply, holding) != (token.face, token.face):
            log.error("mint_does_not_match", token=token.reference, supply=supply.value, holding=holding.value)
            raise TryAgain("the chain holds something else than was asked for", seconds=REVERTED_SECONDS)

    async def _tell_whether_stalled(self, work: Work, reference: str, *, away: bool) -> None:
        try:
            stalled = away or await self._blocks.stalled()
        except ChainUnavailable:
            stalled = True
        async with work.transaction() as tx:
            if stalled:
                await minting.stalled(tx, work.caller, invoice_reference=reference)
            else:
                await minting.recovered(tx, work.caller, invoice_reference=reference)

    async def transfer(self, work: Work, payload: Payload) -> None:
        """Move a token to its buyer's wallet, or learn why the chain says no (TK-11)."""
        key: str = payload["business_key"]
        async with work.transaction() as tx:
            moving_now = await moving.promised(tx, work.caller, business_key=key)
        promise = moving_now.promise
        if promise.state in ("CONFIRMED", "REVERTED"):
            return
        from_key = moving_now.from_wallet.key_name if moving_now.from_wallet else self._minting_wallet_key
        call = TransferToken(
            from_wallet_key=from_key,
            from_wallet=promise.arguments["from_wallet"],
            to_wallet=promise.arguments["to_wallet"],
            token_id=moving_now.token.token_id,
            amount=moving_now.token.face,
        )
        with waiting_while_away():
            mined = await self._sender.mined(work, promise, call, self._keep(work, promise))
        async with work.completing() as tx:
            if mined.receipt.succeeded:
                await moving.transferred(tx, work.caller, business_key=key, mined=mined)
            else:
                await moving.transfer_refused(tx, work.caller, business_key=key, receipt=mined.receipt)

    async def burn(self, work: Work, payload: Payload) -> None:
        """Burn a token whose receivable is over (TK-13)."""
        key: str = payload["business_key"]
        async with work.transaction() as tx:
            moving_now = await moving.promised(tx, work.caller, business_key=key)
        promise = moving_now.promise
        if promise.state == "CONFIRMED":
            return
        call = BurnReceivable(
            token_id=moving_now.token.token_id,
            holders=moving_now.holders,
            reason=promise.arguments["reason"].encode().ljust(32, b"\0"),
        )
        mined = await self._succeeded(work, promise, call)
        async with work.completing() as tx:
            await moving.burned(tx, work.caller, business_key=key, mined=mined)

    async def keep_claims(self, work: Work, payload: Payload) -> None:
        """Make the chain say of a lender or investor what we know now: wallet, flag, claims, or none (CH-06, CH-16)."""
        subject_id: str = payload["subject_id"]
        async with work.transaction() as tx:
            key_name = await identity.key_wanted(tx, work.caller, subject_id=subject_id)
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
        wanted = promise.arguments
        call: RegisterIdentity | FlagWallet
        if promise.kind is Kind.FLAG:
            call = FlagWallet(wanted["wallet"], wanted["flagged"])
        else:
            call = RegisterIdentity(
                wallet=wanted["wallet"],
                subject_hash=await self._subject_hash(work.tenant_id, promise.resource),
                claims=Claims(wanted["claims"]),
                is_investor=wanted["is_investor"],
                expires_at_unix=wanted["expires_at_unix"],
            )
        mined = await self._succeeded(work, promise, call)
        async with work.transaction() as tx:
            await identity.told(tx, work.caller, business_key=promise.business_key, mined=mined)
        raise TryAgain("look whether that is still what we know", seconds=0)

    async def _subject_hash(self, tenant_id: str, subject_id: str) -> bytes:
        with waiting_while_away():
            return bytes.fromhex(await self._hashes.blind_index(HASH_NAME, f"{tenant_id}\0{subject_id}"))

    async def recover(self, work: Work, payload: Payload) -> None:
        """Bring what a lost wallet holds to its subject's next one (CH-17): claims away here and issued there, what is
        in flight waited for, holdings moved, the lost wallet out of the registry. One chain transaction per run."""
        recovery_id: str = payload["recovery_id"]
        async with work.transaction() as tx:
            found = await recovering.under_way(tx, work.caller, recovery_id=recovery_id)
        if found is None:
            return
        if found.recovery.state == "APPROVED":
            await self._tell_chain_of(work, found.lost.id)
            await self.keep_claims(work, {"subject_id": found.recovery.subject_id})
        async with work.transaction() as tx:
            step = await recovering.next_step(tx, work.caller, recovery_id=recovery_id, tokens_max=self._tokens_a_step)
        if step.promise is None:
            raise TryAgain(step.waits_for, seconds=WAIT_SECONDS)
        await self._done(work, step.promise)
        raise TryAgain("look what is next", seconds=0)

    async def _done(self, work: Work, promise: ChainTransaction) -> None:
        wanted = promise.arguments
        if promise.kind is Kind.REMOVAL:
            mined = await self._succeeded(work, promise, RemoveIdentity(wanted["wallet"]))
            async with work.transaction() as tx:
                await recovering.retired(tx, work.caller, business_key=promise.business_key, mined=mined)
            return
        call = RecoverWallet(
            lost_wallet=wanted["from_wallet"],
            new_wallet=wanted["to_wallet"],
            subject_hash=await self._subject_hash(work.tenant_id, promise.resource),
            token_ids=tuple(int(each["token_id_hex"], 16) for each in wanted["moving"]),
        )
        mined = await self._succeeded(work, promise, call)
        await self._must_be_empty(promise, call)
        async with work.transaction() as tx:
            await recovering.moved(tx, work.caller, business_key=promise.business_key, mined=mined)

    async def _must_be_empty(self, promise: ChainTransaction, call: RecoverWallet) -> None:
        """Nothing of what was named is left behind."""
        with waiting_while_away():
            left = [each for each in call.token_ids if await self._chain.holding(call.lost_wallet, each)]
        if left:
            log.error("recovery_left_behind", business_key=promise.business_key, tokens=len(left))
            raise TryAgain("the lost wallet holds something still", seconds=REVERTED_SECONDS)

    async def _succeeded(self, work: Work, promise: ChainTransaction, call: Call) -> Mined:
        """For what must not fail: a refusal of the chain is an alert, and tried again later."""
        with waiting_while_away():
            mined = await self._sender.mined(work, promise, call, self._keep(work, promise))
        if mined.receipt.succeeded:
            return mined
        async with work.transaction() as tx:
            await sending.reverted(tx, work.caller, business_key=promise.business_key, receipt=mined.receipt)
        raise TryAgain(f"the chain refused the {promise.kind}", seconds=REVERTED_SECONDS)

    @staticmethod
    def _keep(work: Work, promise: ChainTransaction) -> Callable[[Tx, SignedTransaction], Awaitable[ChainTransaction]]:
        async def keep(tx: Tx, signed: SignedTransaction) -> ChainTransaction:
            return await sending.keep_signed(tx, work.caller, business_key=promise.business_key, signed=signed)

        return keep

    async def walk(self, work: Work, _payload: Payload) -> None:
        """Send everything unanswered again, lowest nonce first, and promise again what may have lost its job.

        A nonce that was handed out and never arrives would hold up all later ones of its sender; this closes such a
        gap even when the promise's own job is lost. Also promised again: the mint of a confirmed invoice without a
        token, claims and flags that are missing, out of date or about to end (CH-06, CH-16), and approved recoveries.

        :raises ChainUnavailable: the node refused some of it; everything else is done all the same
        """
        async with work.transaction() as tx:
            waiting = await reads.unanswered(tx, work.caller)
        faults = await self._sent_again(waiting)
        async with work.transaction() as tx:
            for promise in waiting:
                name, job = _job_of(promise)
                tx.enqueue(name, job, dedupe_key=_turn_of(promise.id, promise.promised_at, tx.at))
            for debt in await minting.unrequested(tx, work.caller):
                key = _turn_of(debt.reference, debt.created_at, tx.at)
                tx.enqueue("tokenisation.mint", {"reference": debt.reference}, dedupe_key=key)
            for subject_id, since in await self._with_wrong_claims(tx, work):
                key = _turn_of(subject_id, since, tx.at)
                tx.enqueue("tokenisation.issue_claims", {"subject_id": subject_id}, dedupe_key=key)
            for recovery in await recovering.all_under_way(tx, work.caller):
                key = _turn_of(recovery.id, recovery.decided_at or recovery.requested_at, tx.at)
                tx.enqueue("tokenisation.recover", {"recovery_id": recovery.id}, dedupe_key=key)
        if faults:
            raise faults[0]

    async def _sent_again(self, waiting: list[ChainTransaction]) -> list[ChainUnavailable]:
        """Send what is signed, past what the node refuses; returns the refusals."""
        faults: list[ChainUnavailable] = []
        signed = [promise for promise in waiting if promise.state == "SIGNED"]
        for number, promise in enumerate(signed, start=1):
            try:
                await self._chain.broadcast(bytes_of(promise).raw)
            except ChainUnavailable as fault:
                log.warning("not_sent_again", business_key=promise.business_key, detail=fault.detail)
                faults.append(fault)
                if len(faults) == number == NOBODY_ANSWERS:
                    break
        return faults

    async def _with_wrong_claims(self, tx: Tx, work: Work) -> list[tuple[str, Instant]]:
        """Subjects whose claims to look at, and since when they may wait; some hundred in each walk, round and round.

        How far the round has come is kept in memory only: after a restart it begins anew.
        """
        wallets, self._rounds[work.tenant_id, "wallets"] = await identity.out_of_date(
            tx, work.caller, after=self._rounds.get((work.tenant_id, "wallets"), "")
        )
        found = [(wallet.subject_id, wallet.created_at) for wallet in wallets]
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
    match promise.kind:
        case Kind.MINT:
            return "tokenisation.mint", {"reference": promise.resource}
        case Kind.IDENTITY | Kind.FLAG:
            return "tokenisation.issue_claims", {"subject_id": promise.resource}
        case Kind.RECOVERY | Kind.REMOVAL:
            return "tokenisation.recover", {"recovery_id": promise.arguments["recovery_id"]}
        case Kind.TRANSFER | Kind.BURN:
            return f"tokenisation.{promise.kind}", {"business_key": promise.business_key}
