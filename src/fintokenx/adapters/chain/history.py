"""What happened to some wallets and what they hold: tokenisation's ``ChainHistory`` port over JSON-RPC. The node is
asked by indexed topic, so it tells of these wallets and of nobody else's."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fintokenx.adapters.chain.deployment import Deployment
from fintokenx.adapters.chain.logs import MOVED, MOVED_MANY, NOBODY, Log, address_in, in_ranges, moved, topic_of
from fintokenx.adapters.chain.rpc import Rpc
from fintokenx.adapters.chain.signing import calldata
from fintokenx.adapters.chain.state import ContractCall, StateClient, answers_at
from fintokenx.lifecycle.chainwork.ports import ChainHead
from fintokenx.lifecycle.explorer.ports import EventKind, Held, WalletEvent
from fintokenx.lifecycle.tokenisation.ports import Holding

TRAILS_MAX: Final = 512
"""Wallets whose past is remembered; blocks are final, so each look reads only what is new, and the newest again."""

NEWEST_READ_AGAIN: Final = 64
"""Blocks whose logs are read at each look. The node that is asked for logs need not be the one that told the newest
block: after a failover it may lag, and it gives no logs for blocks that it has not. What was remembered of those would
leave an event out until the process ends. 64 blocks are two minutes of blocks; a node that takes part lags by one or
two, and to read these few again costs no more than to ask at all."""

_FORCED: Final = topic_of("ForcedTransfer(address,address,uint256,uint256)")
_FROZEN: Final = topic_of("Frozen(address,uint256,uint256)")
_RECOVERED: Final = topic_of("RecoverySuccess(address,address,bytes32)")


@dataclass(slots=True)
class _Trail:
    """What is known of one wallet: its events, and the first block that must be looked at."""

    next: int
    events: list[WalletEvent] = field(default_factory=list)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def remember(self, read: Sequence[WalletEvent], last: int) -> None:
        """Of what was read from ``next`` on, all up to the block ``last``."""
        if last >= self.next:
            self.events += [event for event in read if event.block_number <= last]
            self.next = last + 1


class HistoryClient:
    """Reads logs and balances of single wallets."""

    def __init__(self, rpc: Rpc, deployment: Deployment, state: StateClient) -> None:
        self._rpc = rpc
        self._at = deployment
        self._state = state
        self._trails: OrderedDict[str, _Trail] = OrderedDict()

    async def head(self) -> ChainHead:
        """The newest block."""
        return await self._state.head()

    async def minting_wallet(self) -> str:
        """fx_minting_wallet."""
        return self._at.minting_wallet

    async def events(self, block_number: int, wallets: Sequence[str], *, afresh: bool = False) -> list[WalletEvent]:
        """Whatever the token contract logged of the wallets up to the block, oldest first."""
        found: dict[tuple[int, int, int], WalletEvent] = {}
        for wallet in wallets:
            trail = self._trail(wallet, afresh=afresh)
            async with trail.lock:
                async for end, logs in in_ranges(trail.next, block_number, self._asking(wallet)):
                    read = list(_events(logs))
                    found |= {event.place: event for event in read}
                    trail.remember(read, min(end, block_number - NEWEST_READ_AGAIN))
                found |= {event.place: event for event in trail.events if event.block_number <= block_number}
        return [found[place] for place in sorted(found)]

    async def held(self, block_number: int, holdings: Sequence[Holding]) -> Mapping[Holding, Held]:
        """Balance and frozen amount of each holding at the block. :raises StateNotKept: ask at a newer one"""
        token = self._at.token
        calls: list[ContractCall] = [
            (token, calldata(f"{question}(address,uint256)", wallet.lower(), token_id))
            for token_id, wallet in holdings
            for question in ("balanceOf", "getFrozenTokens")
        ]
        numbers = [int.from_bytes(word[:32], "big") for word in await answers_at(self._rpc, block_number, calls)]
        return {
            holding: Held(balance, frozen)
            for holding, balance, frozen in zip(holdings, numbers[::2], numbers[1::2], strict=True)
        }

    def _trail(self, wallet: str, *, afresh: bool) -> _Trail:
        if afresh or wallet not in self._trails:
            self._trails[wallet] = _Trail(self._at.from_block)
        self._trails.move_to_end(wallet)
        while len(self._trails) > TRAILS_MAX:
            self._trails.popitem(last=False)
        return self._trails[wallet]

    def _asking(self, wallet: str) -> Any:
        padded = "0x" + wallet.lower().removeprefix("0x").rjust(64, "0")
        moves = [MOVED, MOVED_MANY]
        topics: list[list[Any]] = [
            [moves, None, padded],
            [moves, None, None, padded],
            [[_FORCED, _FROZEN, _RECOVERED], padded],
            [[_FORCED, _RECOVERED], None, padded],
        ]

        async def ask(first: int, last: int) -> list[Log]:
            span = {"address": self._at.token, "fromBlock": hex(first), "toBlock": hex(last)}
            answers = await self._rpc.call_many("eth_getLogs", [[{**span, "topics": each}] for each in topics])
            once = {_place(log): log for answer in answers for log in answer}
            return [once[place] for place in sorted(once)]

        return ask


def _place(log: Log) -> tuple[int, int]:
    return int(log["blockNumber"], 16), int(log["logIndex"], 16)


def _events(logs: Sequence[Log]) -> Iterator[WalletEvent]:
    """Transfers and freezes, each once. A forced transfer and a recovery are logged twice: as the transfer that they
    are, and under their own name in the same transaction."""
    forced = {_forced(log) for log in logs if log["topics"][0] == _FORCED}
    recovered = {_recovered(log) for log in logs if log["topics"][0] == _RECOVERED}
    for log in logs:
        block_number, log_index = _place(log)
        tx_hash = log["transactionHash"].lower()
        if log["topics"][0] == _FROZEN:
            wallet, token_id, amount = address_in(log["topics"][1]), int(log["topics"][2], 16), int(log["data"], 16)
            yield WalletEvent(EventKind.FREEZE, token_id, wallet, wallet, amount, block_number, tx_hash, (log_index, 0))
        elif log["topics"][0] in (MOVED, MOVED_MANY):
            giver, taker, parts = moved(log)
            for number, (token_id, amount) in enumerate(parts):
                kind = _kind(giver, taker, (tx_hash, giver, taker, token_id), forced, recovered)
                yield WalletEvent(
                    kind, token_id, _somebody(giver), _somebody(taker), amount, block_number, tx_hash,
                    (log_index, number),
                )  # fmt: skip


_Move = tuple[str, str, str, int]


def _kind(
    giver: str, taker: str, move: _Move, forced: Iterable[_Move], recovered: Iterable[tuple[str, str, str]]
) -> EventKind:
    if giver == NOBODY:
        return EventKind.MINT
    if taker == NOBODY:
        return EventKind.BURN
    if move in forced:
        return EventKind.FORCED_TRANSFER
    return EventKind.RECOVERY if move[:3] in recovered else EventKind.TRANSFER


def _forced(log: Log) -> _Move:
    giver, taker, token_id = log["topics"][1:]
    return log["transactionHash"].lower(), address_in(giver), address_in(taker), int(token_id, 16)


def _recovered(log: Log) -> tuple[str, str, str]:
    return log["transactionHash"].lower(), address_in(log["topics"][1]), address_in(log["topics"][2])


def _somebody(address: str) -> str | None:
    return None if address == NOBODY else address
