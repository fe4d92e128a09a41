"""The jobs of tokenisation: the only callers of the chain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from fintokenx.kernel.db import Tx
from fintokenx.kernel.jobs import Handler, Payload, TryAgain, Work
from fintokenx.lifecycle.tokenisation.jobs.blocks import BlockWatch
from fintokenx.lifecycle.tokenisation.jobs.sending import Away, Sender, bytes_of, waiting_while_away
from fintokenx.lifecycle.tokenisation.ports import (
    BurnReceivable,
    Chain,
    ChainUnavailable,
    Claims,
    MintReceivable,
    RegisterIdentity,
    SignedTransaction,
    SubjectHashes,
    TransferToken,
)
from fintokenx.lifecycle.tokenisation.service import identity, minting, moving, reads, sending
from fintokenx.lifecycle.tokenisation.service.sending import Mined
from fintokenx.lifecycle.tokenisation.types import ChainTransaction, Kind, Token

log = structlog.get_logger("fintokenx.tokenisation")

REVERTED_SECONDS: Final = 3600.0
"""People were told; try again in an hour, by when they may have put it right."""

HASH_NAME: Final = "chain/subject"


class TokenisationJobs:
    """The jobs and what they need of the outside.

    ``minting_wallet_key`` is the vault's name of fx_minting_wallet's key; ``reference_key`` keys token references;
    ``machine_seconds`` is the monotonic clock by which a chain without blocks counts as stalled.
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
    ) -> None:
        self._chain = chain
        self._hashes = hashes
        self._reference_key = reference_key
        self._minting_wallet_key = minting_wallet_key
        self._sender = Sender(chain)
        self._blocks = BlockWatch(chain, stall_seconds=stall_seconds, machine_seconds=machine_seconds)

    def handlers(self) -> dict[str, Handler]:
        """By job name. ``tokenisation.walk`` is periodic, per tenant."""
        return {
            "tokenisation.mint": self.mint,
            "tokenisation.transfer": self.transfer,
            "tokenisation.burn": self.burn,
            "tokenisation.issue_claims": self.keep_claims,
            "tokenisation.revoke_claims": self.keep_claims,
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
            holders=tuple(promise.arguments["holders"]),
            reason=promise.arguments["reason"].encode().ljust(32, b"\0"),
        )
        mined = await self._succeeded(work, promise, call)
        async with work.completing() as tx:
            await moving.burned(tx, work.caller, business_key=key, mined=mined)

    async def keep_claims(self, work: Work, payload: Payload) -> None:
        """Make the registry say of a lender or investor what we know now: wallet, claims, or none (CH-06, CH-16)."""
        subject_id: str = payload["subject_id"]
        async with work.transaction() as tx:
            if not await identity.may_hold(tx, work.caller, subject_id=subject_id):
                return
        with waiting_while_away():
            address = await self._chain.create_wallet(identity.key_name_of(work.tenant_id, subject_id))
        async with work.transaction() as tx:
            await identity.keep_wallet(tx, work.caller, subject_id=subject_id, address=address)
        async with work.transaction() as tx:
            promise = await identity.wanted(tx, work.caller, subject_id=subject_id)
        if promise is None:
            return
        mined = await self._succeeded(work, promise, await self._registration(work, promise))
        async with work.transaction() as tx:
            await identity.registered(tx, work.caller, business_key=promise.business_key, mined=mined)
        raise TryAgain("look whether that is still what we know", seconds=0)

    async def _registration(self, work: Work, promise: ChainTransaction) -> RegisterIdentity:
        wanted = promise.arguments
        with waiting_while_away():
            digest = await self._hashes.blind_index(HASH_NAME, f"{work.tenant_id}\0{promise.resource}")
        return RegisterIdentity(
            wallet=wanted["wallet"],
            subject_hash=bytes.fromhex(digest),
            claims=Claims(wanted["claims"]),
            is_investor=wanted["is_investor"],
            expires_at_unix=wanted["expires_at_unix"],
        )

    async def _succeeded(self, work: Work, promise: ChainTransaction, call: BurnReceivable | RegisterIdentity) -> Mined:
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
        """Send everything unanswered again, lowest nonce first, and give each promise a job again.

        A nonce that was handed out and never arrives would hold up all later ones of its sender; this closes such a
        gap even when the promise's own job is lost.
        """
        async with work.transaction() as tx:
            waiting = await reads.unanswered(tx, work.caller)
        with waiting_while_away():
            for promise in waiting:
                if promise.state == "SIGNED":
                    await self._chain.broadcast(bytes_of(promise).raw)
        async with work.completing() as tx:
            for promise in waiting:
                name, job = _job_of(promise)
                tx.enqueue(name, job, dedupe_key=f"walk:{promise.id}:{work.id}")


def _job_of(promise: ChainTransaction) -> tuple[str, dict[str, str]]:
    match promise.kind:
        case Kind.MINT:
            return "tokenisation.mint", {"reference": promise.resource}
        case Kind.IDENTITY:
            return "tokenisation.issue_claims", {"subject_id": promise.resource}
        case Kind.TRANSFER | Kind.BURN:
            return f"tokenisation.{promise.kind}", {"business_key": promise.business_key}
