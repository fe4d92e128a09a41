"""Drives one promise until a block holds it: look first, then nonce, then bytes, then send, as often as it takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from fintokenx.kernel.db import Tx
from fintokenx.kernel.jobs import TryAgain, Work
from fintokenx.kernel.vault import VaultUnavailable
from fintokenx.lifecycle.tokenisation.ports import (
    BurnReceivable,
    Call,
    Chain,
    ChainUnavailable,
    FlagWallet,
    MintReceivable,
    RecoverWallet,
    RegisterIdentity,
    RemoveIdentity,
    SignedTransaction,
    TransferToken,
)
from fintokenx.lifecycle.tokenisation.service import sending
from fintokenx.lifecycle.tokenisation.service.sending import Mined
from fintokenx.lifecycle.tokenisation.types import ChainTransaction

log = structlog.get_logger("fintokenx.tokenisation")

POLL_SECONDS: Final = 1.0
AWAY_SECONDS: Final = 5.0
LOST_SECONDS: Final = 600.0
TWIN_SEARCH_MAX: Final = 1000
"""How many nonces back to look for a transaction that the database has forgotten."""

Keep = Callable[[Tx, SignedTransaction], Awaitable[ChainTransaction]]
"""Records the signed bytes before they are sent."""


class Away(TryAgain):
    """The network or the vault does not answer. Not a failure of the job: it waits as long as that takes (IX-09)."""


@contextmanager
def waiting_while_away() -> Iterator[None]:
    """Turn an outage into waiting, so that no outage, however long, ends a job."""
    try:
        yield
    except (ChainUnavailable, VaultUnavailable) as fault:
        raise Away(f"{fault.system} is not available", seconds=AWAY_SECONDS) from fault


class Sender:
    """Sends promises to the chain. Keeps nothing in memory: a run may die anywhere and the next one goes on."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    async def mined(self, work: Work, promise: ChainTransaction, call: Call, keep: Keep) -> Mined:
        """The transaction of ``promise`` in its block, succeeded or reverted.

        :raises TryAgain: it is not in a block yet
        :raises ChainUnavailable, VaultUnavailable: nothing is known; the next run looks
        """
        if promise.state in ("PROMISED", "REVERTED"):
            if await self._stands(call):
                return await self._twin(call)
            promise = await self._reserved(work, promise, call)
        if promise.state == "RESERVED" and promise.nonce is not None:
            signed = await self._chain.sign(call, promise.nonce)
            async with work.transaction() as tx:
                promise = await keep(tx, signed)
        mined = await self._in_block(work, promise, call)
        if not mined.receipt.succeeded and await self._stands(call):
            return await self._twin(call)  # it failed because it had been done before
        return mined

    async def _reserved(
        self, work: Work, promise: ChainTransaction, call: Call, lost: int | None = None
    ) -> ChainTransaction:
        sender = await self._chain.sender_of(call)
        count = await self._chain.transaction_count(sender)
        async with work.transaction() as tx:
            return await sending.reserve(
                tx, work.caller, business_key=promise.business_key, sender=sender, mined=count, lost=lost
            )

    async def _in_block(self, work: Work, promise: ChainTransaction, call: Call) -> Mined:
        signed = bytes_of(promise)
        count = await self._chain.transaction_count(
            signed.sender
        )  # before the receipt: a later one is no contradiction
        receipt = await self._chain.receipt(signed.tx_hash)
        if receipt is None and count > signed.nonce:
            return await self._replaced(work, promise, call)
        if receipt is None:
            # Sent at every look: the same bytes take effect once, and asking whether they arrived costs as much.
            await self._chain.broadcast(signed.raw)
            receipt = await self._chain.receipt(signed.tx_hash)
        if receipt is None:
            raise TryAgain("not in a block yet", seconds=POLL_SECONDS)
        return Mined(signed, receipt)

    async def _replaced(self, work: Work, promise: ChainTransaction, call: Call) -> Mined:
        """The chain has used the nonce for something else, which this database does not know: it was restored."""
        if await self._stands(call):
            return await self._twin(call)
        log.warning("chain_nonce_lost", business_key=promise.business_key, nonce=promise.nonce)
        await self._reserved(work, promise, call, lost=promise.nonce)
        raise TryAgain("its nonce was used by something else", seconds=POLL_SECONDS)

    async def _stands(self, call: Call) -> bool:
        """Whether what the call would do has been done. To register, flag or recover twice does no harm, so nobody
        looks."""
        match call:
            case MintReceivable():
                return bool(await self._chain.supply(call.token_id))
            case BurnReceivable():
                return not await self._chain.supply(call.token_id)
            case TransferToken():
                received = await self._chain.holding(call.to_wallet, call.token_id) >= call.amount
                return received and await self._chain.holding(call.from_wallet, call.token_id) < call.amount
            case RemoveIdentity():
                return not await self._chain.is_registered(call.wallet)
            case RegisterIdentity() | FlagWallet() | RecoverWallet():
                return False

    async def _twin(self, call: Call) -> Mined:
        """The transaction that did it: signing is deterministic, so the right nonce gives the hash that is on chain."""
        sender = await self._chain.sender_of(call)
        count = await self._chain.transaction_count(sender)
        for nonce in range(count - 1, max(-1, count - 1 - TWIN_SEARCH_MAX), -1):
            signed = await self._chain.sign(call, nonce)
            receipt = await self._chain.receipt(signed.tx_hash)
            if receipt is not None and receipt.succeeded:
                log.warning("chain_twin_found", tx_hash=signed.tx_hash, nonce=nonce)
                return Mined(signed, receipt)
        log.error("chain_effect_without_transaction", call=type(call).__name__, sender=sender)
        raise TryAgain("done on chain by a transaction that is not ours", seconds=LOST_SECONDS)


def bytes_of(promise: ChainTransaction) -> SignedTransaction:
    """The kept bytes of a signed promise. :raises ValueError: it is not signed"""
    if promise.sender is None or promise.nonce is None or promise.tx_hash is None or promise.raw is None:
        raise ValueError(f"{promise.business_key} is not signed")
    return SignedTransaction(promise.sender, promise.nonce, promise.tx_hash, promise.raw)
