"""One round: what a tenant has open is looked for on chain, what is answered is recorded, and the rest is sent."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Generic, TypeAlias, TypeVar

import structlog

from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Tx
from fintokenx.kernel.errors import Unavailable
from fintokenx.kernel.jobs import TryAgain, Work
from fintokenx.kernel.vault import VaultUnavailable
from fintokenx.lifecycle.chainwork.jobs.operations import CallT, Operations
from fintokenx.lifecycle.chainwork.ports import ChainUnavailable, SendingChain, SignedTransaction
from fintokenx.lifecycle.chainwork.service import reads, sending
from fintokenx.lifecycle.chainwork.service.sending import Mined
from fintokenx.lifecycle.chainwork.transitions import ChainTxState
from fintokenx.lifecycle.chainwork.types import ChainTransaction

log = structlog.get_logger("fintokenx.chainwork")

POLL_SECONDS: Final = 1.0
RESEND_SECONDS: Final = 5.0
"""Bytes that no block took in this time are sent again: a node may have forgotten them."""
LOST_SECONDS: Final = 600.0
UNLIKE_SECONDS: Final = 60.0
"""A node that lags behind may show a moment ago; a chain that truly holds something else needs people."""
TWIN_SEARCH_MAX: Final = 1000
"""How many nonces back to look for a transaction that the database has forgotten."""
AT_ONCE_MAX: Final = 50
"""So many answers of the chain are recorded in one transaction."""
NOBODY_ANSWERS: Final = 5
"""After so many of one sender that no node lets us sign, the rest of that sender's is left for the next round."""

_Item = TypeVar("_Item")
TellMined: TypeAlias = Callable[[str, int], Awaitable[None]]
"""Tells the database how many transactions of a sender the chain has mined."""
_Done: TypeAlias = tuple[ChainTransaction, CallT]
"""A promise whose effect stands on chain already, and what it asked for."""


@dataclass(slots=True)
class Memory:
    """What the last round of a tenant has seen. Forgotten with the process, and nothing is lost by it."""

    leading: int = 0
    began_at: Instant | None = None
    waiting: int = 0
    stalled: bool | None = None
    """Whether nothing that is sent takes effect now: no blocks, no node or no vault. None: nobody has looked yet."""
    sent: dict[str, Instant] = field(default_factory=dict)
    overtaken: dict[str, Instant] = field(default_factory=dict)
    searched: dict[str, Instant] = field(default_factory=dict)
    told: dict[str, int] = field(default_factory=dict)
    """Of each sender, how far the database knows that the chain has counted."""
    again: dict[str, ChainTransaction] = field(default_factory=dict)
    """Refused ones that their own jobs want tried again: the next round takes them along, whoever leads it."""

    def begin(self, at: Instant, promises: Sequence[ChainTransaction]) -> None:
        """A round begins with these; what is remembered of others is of no use any more."""
        self.began_at, self.waiting = at, len(promises)
        hashes, keys = {promise.tx_hash for promise in promises}, {promise.business_key for promise in promises}
        self.sent = {tx_hash: then for tx_hash, then in self.sent.items() if tx_hash in hashes}
        self.overtaken = {tx_hash: then for tx_hash, then in self.overtaken.items() if tx_hash in hashes}
        self.searched = {key: then for key, then in self.searched.items() if key in keys}


class Round(Generic[CallT]):
    """One look at the chain, and all that follows from it for one tenant.

    ``answers`` are the transactions that were found in a block and recorded, ``faults`` what stood in the way of one
    promise and of no other; both by business key.
    """

    def __init__(
        self,
        chain: SendingChain[CallT],
        operations: Operations[CallT],
        work: Work,
        memory: Memory,
        tell_mined: TellMined,
        *,
        again: bool,
    ) -> None:
        self.answers: dict[str, Mined] = {}
        self.faults: dict[str, Exception] = {}
        self._chain = chain
        self._operations = operations
        self._work = work
        self._memory = memory
        self._tell_mined = tell_mined
        self._again = again
        self._counts: dict[str, int] = {}

    async def run(self) -> None:
        """Look, record what is answered, then send: what has a nonce before anything new.

        :raises ChainUnavailable, VaultUnavailable: nobody answers
        """
        async with self._work.transaction() as tx:
            promises = await reads.to_drive(tx, self._work.caller, kinds=self._operations.kinds)
            self._at = tx.at
        self._memory.begin(self._at, promises)
        signed = [promise for promise in promises if promise.state == ChainTxState.SIGNED]
        reserved = [promise for promise in promises if promise.state == ChainTxState.RESERVED]
        fresh = [promise for promise in promises if promise.nonce is None]
        wanted, self._memory.again = self._memory.again, {}
        known = {promise.business_key for promise in promises}
        fresh += [promise for key, promise in wanted.items() if key not in known]
        mined, waiting, overtaken = await self._looked_for(signed)
        done = await self._settled(mined, [*fresh, *overtaken])
        await self._send(waiting)
        # From here on the vault is needed; while it is away, all that went before is done all the same.
        overtaken = [promise for promise in overtaken if promise.business_key not in done]
        fresh = [promise for promise in fresh if promise.business_key not in done]
        calls = await self._operations.calls(self._work, [*fresh, *reserved, *overtaken])
        reserved += await self._reserve_again(overtaken)
        reserved += await self._reserve(fresh, calls)
        if new := await self._send(await self._sign(reserved, calls)):
            at_once, _, _ = await self._looked_for(new)
            # One that failed may have been done before: the next round looks at that.
            await self._settled([pair for pair in at_once if pair[1].receipt.succeeded], [])
        await self._settle_twins(done)  # last, for it may take a thousand signatures

    async def _settled(
        self, mined: Sequence[tuple[ChainTransaction, Mined]], open_: Sequence[ChainTransaction]
    ) -> dict[str, _Done[CallT]]:
        """Record what is in a block; what turns out to have been done before, by business key, is left."""
        promises = [*open_, *(promise for promise, found in mined if self._is_looked_at(promise, found))]
        calls = await self._operations.calls(
            self._work, [p for p in promises if p.kind not in self._operations.repeatable]
        )
        failed = [promise for promise, found in mined if not found.receipt.succeeded]
        asked = [promise for promise in (*open_, *failed) if promise.business_key in calls]
        stands = await self._operations.standing([calls[promise.business_key] for promise in asked])
        done = {
            promise.business_key: (promise, calls[promise.business_key])
            for promise, stand in zip(asked, stands, strict=True)
            if stand
        }
        await self._conclude([pair for pair in mined if pair[0].business_key not in done], calls)
        return done

    def _is_looked_at(self, promise: ChainTransaction, found: Mined) -> bool:
        """Whether the chain is asked what it holds now: of some kinds in any case, else of what failed."""
        return promise.kind in self._operations.looked_at_again or not found.receipt.succeeded

    async def _settle_twins(self, done: Mapping[str, _Done[CallT]]) -> None:
        """Record the transactions that did what had been done before."""
        twins = [(promise, twin) for promise, call in done.values() if (twin := await self._twin(promise, call))]
        await self._conclude(twins, {key: call for key, (_, call) in done.items()})

    async def _looked_for(
        self, signed: Sequence[ChainTransaction]
    ) -> tuple[list[tuple[ChainTransaction, Mined]], list[ChainTransaction], list[ChainTransaction]]:
        """Those that are in a block, those that may still get there, and those whose nonce something else has used."""
        for sender in {promise.sender for promise in signed if promise.sender is not None}:
            await self._count(sender, anew=True)  # before the receipts: a later one is no contradiction
        receipts = await self._chain.receipts([bytes_of(promise).tx_hash for promise in signed]) if signed else {}
        mined, waiting, overtaken = [], [], []
        for promise in signed:
            kept = bytes_of(promise)
            receipt = receipts.get(kept.tx_hash)
            passed = self._counts[kept.sender] > kept.nonce
            if receipt is None and passed and self._is_old_news(kept):
                receipt = await self._chain.receipt(kept.tx_hash)
                if receipt is None:
                    overtaken.append(promise)
            if receipt is not None:
                mined.append((promise, Mined(kept, receipt)))
            elif not passed:
                waiting.append(promise)
        return mined, waiting, overtaken

    def _is_old_news(self, kept: SignedTransaction) -> bool:
        """Whether it was so a while ago already. For a moment a node may count a transaction and not show it yet."""
        first = self._memory.overtaken.setdefault(kept.tx_hash, self._at)
        return (self._at - first).total_seconds() >= POLL_SECONDS

    async def _count(self, sender: str, *, anew: bool = False) -> int:
        if anew or sender not in self._counts:
            self._counts[sender] = await self._chain.transaction_count(sender)
        return self._counts[sender]

    async def _counted(self, sender: str) -> int:
        """The chain's count, which the database knows too from now on: a restored one has fallen behind."""
        count = await self._count(sender)
        if self._memory.told.get(sender, -1) < count:
            await self._tell_mined(sender, count)
            self._memory.told[sender] = count
        return count

    async def _twin(self, promise: ChainTransaction, call: CallT) -> Mined | None:
        """The transaction that did it; None where it is not found, which ``faults`` then says."""
        key = promise.business_key
        self.faults[key] = TryAgain("done on chain by a transaction that is not ours", seconds=LOST_SECONDS)
        searched_at = self._memory.searched.get(key)
        if searched_at is not None and (self._at - searched_at).total_seconds() < LOST_SECONDS:
            return None
        try:
            found = await self._searched(call)
        except (ChainUnavailable, VaultUnavailable) as fault:
            self.faults[key] = fault
            return None
        if found is None:
            self._memory.searched[key] = self._at
            log.error("chain_effect_without_transaction", business_key=key)
            return None
        log.warning("chain_twin_found", business_key=key, tx_hash=found.signed.tx_hash)
        del self.faults[key]
        return found

    async def _searched(self, call: CallT) -> Mined | None:
        """Signing is deterministic, so the right nonce gives the hash that is on chain."""
        count = await self._counted(await self._chain.sender_of(call))
        for nonce in range(count - 1, max(-1, count - 1 - TWIN_SEARCH_MAX), -1):
            signed = await self._chain.sign(call, nonce)
            receipt = await self._chain.receipt(signed.tx_hash)
            if receipt is not None and receipt.succeeded:
                return Mined(signed, receipt)
        return None

    async def _conclude(self, mined: Sequence[tuple[ChainTransaction, Mined]], calls: dict[str, CallT]) -> None:
        """Record the chain's answers."""
        if not mined:
            return
        succeeded = [promise for promise, found in mined if found.receipt.succeeded]
        matches = await self._operations.as_asked(succeeded, calls)
        recorder = await self._operations.recorder()

        async def record(tx: Tx, pair: tuple[ChainTransaction, Mined]) -> None:
            await recorder.conclude(tx, self._work.caller, *pair)

        true = [pair for pair in mined if matches.get(pair[0].business_key, True)]
        for start in range(0, len(true), AT_ONCE_MAX):
            part = true[start : start + AT_ONCE_MAX]
            for promise, found in await self._recorded(part, record, lambda pair: pair[0].business_key):
                self.answers[promise.business_key] = found
        for key, as_asked in matches.items():
            if not as_asked:
                self.faults[key] = TryAgain("the chain holds something else than was asked for", seconds=UNLIKE_SECONDS)

    async def _recorded(
        self,
        items: Sequence[_Item],
        record: Callable[[Tx, _Item], Awaitable[object]],
        key_of: Callable[[_Item], str],
    ) -> list[_Item]:
        """Record all in one transaction; if that fails, each in its own, so that one bad one keeps back no other."""
        if not items:
            return []
        try:
            async with self._work.transaction() as tx:
                for item in items:
                    await record(tx, item)
        except (Unavailable, sending.TooManyPending):
            raise
        except Exception as fault:
            if len(items) > 1:
                return await self._singly(items, record, key_of)
            log.exception("promise_not_recorded", business_key=key_of(items[0]))
            self.faults[key_of(items[0])] = fault
            return []
        return list(items)

    async def _singly(
        self,
        items: Sequence[_Item],
        record: Callable[[Tx, _Item], Awaitable[object]],
        key_of: Callable[[_Item], str],
    ) -> list[_Item]:
        return [done for item in items for done in await self._recorded([item], record, key_of)]

    async def _reserve_again(self, overtaken: Sequence[ChainTransaction]) -> list[ChainTransaction]:
        """The chain has used the nonce for something else, which this database does not know: it was restored."""
        given = []
        for promise in overtaken:
            sender, nonce = bytes_of(promise).sender, bytes_of(promise).nonce
            log.warning("chain_nonce_lost", business_key=promise.business_key, nonce=nonce)
            given += await self._reserved(sender, [promise], lost=nonce)
        return given

    async def _reserve(self, fresh: Sequence[ChainTransaction], calls: dict[str, CallT]) -> list[ChainTransaction]:
        senders: defaultdict[str, list[ChainTransaction]] = defaultdict(list)
        for promise in fresh:
            senders[await self._chain.sender_of(calls[promise.business_key])].append(promise)
        return [given for sender, promises in senders.items() for given in await self._reserved(sender, promises)]

    async def _reserved(
        self, sender: str, promises: Sequence[ChainTransaction], lost: int | None = None
    ) -> list[ChainTransaction]:
        """The promises that have a nonce now. What finds no place waits for a later round."""
        mined = await self._counted(sender)
        given: list[ChainTransaction] = []

        async def reserve(tx: Tx, some: Sequence[ChainTransaction]) -> None:
            keys = [promise.business_key for promise in some]
            given.extend(
                await sending.reserve_many(
                    tx, self._work.caller, business_keys=keys, sender=sender, mined=mined, lost=lost
                )
            )

        def key_of(some: Sequence[ChainTransaction]) -> str:
            return some[0].business_key

        with suppress(sending.TooManyPending):
            if not await self._recorded([promises], reserve, key_of) and len(promises) > 1:
                given.clear()
                self.faults.pop(key_of(promises), None)
                await self._singly([[promise] for promise in promises], reserve, key_of)
        return given

    async def _sign(self, reserved: Sequence[ChainTransaction], calls: dict[str, CallT]) -> list[ChainTransaction]:
        """Sign in the order of nonces, and keep the bytes before anybody sees them."""
        signed: list[tuple[ChainTransaction, SignedTransaction]] = []
        silent: Counter[str | None] = Counter()
        for promise in sorted(reserved, key=_place):
            if promise.state != ChainTxState.RESERVED or promise.nonce is None:
                continue  # another process was faster
            if silent[promise.sender] >= NOBODY_ANSWERS:
                continue  # no block takes it before those that cannot be signed
            try:
                signed.append((promise, await self._chain.sign(calls[promise.business_key], promise.nonce)))
            except ChainUnavailable as fault:
                silent[promise.sender] += 1
                self.faults[promise.business_key] = fault
            except VaultUnavailable as fault:
                if not signed:
                    raise  # without it nothing goes on
                self.faults[promise.business_key] = fault
                break
        if not signed:
            return []
        recorder = await self._operations.recorder()
        kept: dict[str, ChainTransaction] = {}

        async def keep(tx: Tx, pair: tuple[ChainTransaction, SignedTransaction]) -> None:
            kept[pair[0].business_key] = await recorder.keep(tx, self._work.caller, *pair)

        done = await self._recorded(signed, keep, lambda pair: pair[0].business_key)
        return [found for promise, _ in done if (found := kept[promise.business_key]).state == ChainTxState.SIGNED]

    async def _send(self, waiting: Sequence[ChainTransaction]) -> list[ChainTransaction]:
        """Send what is new and what no block takes, in the order of nonces; those that were not sent before."""
        sent = self._memory.sent
        due = [promise for promise in sorted(waiting, key=_place) if self._again or self._is_due(promise)]
        new = [promise for promise in due if promise.tx_hash not in sent]
        refusals = await self._chain.send_many([bytes_of(promise).raw for promise in due]) if due else []
        for promise, refusal in zip(due, refusals, strict=True):
            if refusal is None:
                sent[bytes_of(promise).tx_hash] = self._at
            else:
                log.warning("not_sent", business_key=promise.business_key, detail=refusal.detail)
                self.faults[promise.business_key] = refusal
        return [promise for promise in new if promise.business_key not in self.faults]

    def _is_due(self, promise: ChainTransaction) -> bool:
        sent_at = self._memory.sent.get(bytes_of(promise).tx_hash)
        return sent_at is None or (self._at - sent_at).total_seconds() >= RESEND_SECONDS


def bytes_of(promise: ChainTransaction) -> SignedTransaction:
    """The kept bytes of a signed promise. :raises ValueError: it is not signed"""
    if promise.sender is None or promise.nonce is None or promise.tx_hash is None or promise.raw is None:
        raise ValueError(f"{promise.business_key} is not signed")
    return SignedTransaction(promise.sender, promise.nonce, promise.tx_hash, promise.raw)


def _place(promise: ChainTransaction) -> tuple[str, int]:
    return promise.sender or "", promise.nonce or 0
