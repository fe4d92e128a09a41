"""What the logs of token and registry add up to: who holds, who was ever registered, whatever our database says."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from eth_abi.abi import decode
from eth_utils.address import to_checksum_address
from eth_utils.conversions import to_bytes
from eth_utils.crypto import keccak

from fintokenx.adapters.chain.deployment import Deployment
from fintokenx.adapters.chain.rpc import Rpc, RpcError
from fintokenx.lifecycle.chainwork.ports import ChainUnavailable
from fintokenx.lifecycle.tokenisation.ports import Holding, Logged, Progress

RANGE_MAX: Final = 5_000
"""Blocks that Besu lets one call look through (--rpc-max-logs-range)."""

NOBODY: Final = "0x" + "00" * 20
"""From whom a mint comes and to whom a burn goes."""

Log = dict[str, Any]


def topic_of(signature: str) -> str:
    """The first topic of an event."""
    return "0x" + keccak(text=signature).hex()


MOVED: Final = topic_of("TransferSingle(address,address,address,uint256,uint256)")
MOVED_MANY: Final = topic_of("TransferBatch(address,address,address,uint256[],uint256[])")
_CREATED: Final = topic_of("ReceivableCreated(uint256,uint256,uint64,bytes32)")
_REGISTERED: Final = topic_of("WalletStatusSet(address,bytes32,uint32,bool,uint64,uint64,uint32)")


async def in_ranges(
    first: int, last: int, ask: Callable[[int, int], Awaitable[list[Log]]]
) -> AsyncIterator[tuple[int, list[Log]]]:
    """The logs of the blocks from ``first`` to ``last``, a bounded range at a time, each with the block it ends at; a
    node that finds a range too large is asked for half of it.

    :raises ChainUnavailable: no node answers, or it refuses even one block
    """
    span = RANGE_MAX
    while first <= last:
        end = min(first + span - 1, last)
        try:
            logs = await ask(first, end)
        except RpcError as refusal:
            if end == first:
                raise ChainUnavailable(f"eth_getLogs refused ({refusal.code})", outcome_unknown=False) from refusal
            span = (end - first + 1) // 2
            continue
        yield end, logs
        first = end + 1


def moved(log: Log) -> tuple[str, str, list[tuple[int, int]]]:
    """From whom to whom a logged transfer went (:data:`NOBODY` at a mint and a burn), and how much of which ids."""
    topics, data = log["topics"], to_bytes(hexstr=log["data"])
    if topics[0] == MOVED:
        parts = [decode(["uint256", "uint256"], data)]
    else:
        parts = list(zip(*decode(["uint256[]", "uint256[]"], data), strict=True))
    return address_in(topics[2]), address_in(topics[3]), parts  # topic 1 is who sent the transaction


class Fold:
    """All logs from the deployment on, added up. It remembers how far it came: blocks are final, so each look reads
    only what is new."""

    def __init__(self, rpc: Rpc, to: Deployment) -> None:
        self._rpc = rpc
        self._to = to
        self._one_at_a_time = asyncio.Lock()
        self._forget()

    def _forget(self) -> None:
        self._next = self._to.from_block
        self._events = 0
        self._token_ids: set[int] = set()
        self._balances: Counter[Holding] = Counter()
        self._wallets: set[str] = set()

    async def up_to(self, block_number: int, progress: Progress) -> Logged:
        """What the logs come to at the end of the block.

        :raises ChainUnavailable: no node answers, or it refuses even one block
        """
        async with self._one_at_a_time:
            if self._next > block_number + 1:  # asked for an older block, or it is another chain
                self._forget()
            async for end, logs in in_ranges(self._next, block_number, self._logs):
                for log in logs:
                    self._add(log)
                self._next = end + 1
                progress("blocks", self._next - self._to.from_block, block_number + 1 - self._to.from_block)
            return Logged(self._events, frozenset(self._token_ids), dict(self._balances), frozenset(self._wallets))

    async def _logs(self, start: int, end: int) -> list[Log]:
        wanted = {
            "address": [self._to.token, self._to.identity_registry],
            "topics": [[MOVED, MOVED_MANY, _CREATED, _REGISTERED]],
            "fromBlock": hex(start),
            "toBlock": hex(end),
        }
        found: list[Log] = await self._rpc.call("eth_getLogs", wanted)
        return found

    def _add(self, log: Log) -> None:
        kind = log["topics"][0]
        self._events += 1
        if kind == _CREATED:
            self._token_ids.add(int(log["topics"][1], 16))
        elif kind == _REGISTERED:
            self._wallets.add(address_in(log["topics"][1]))
        elif kind in (MOVED, MOVED_MANY):
            giver, taker, parts = moved(log)
            for token_id, amount in parts:
                self._move(giver, taker, token_id, amount)

    def _move(self, giver: str, taker: str, token_id: int, amount: int) -> None:
        if giver != NOBODY:
            self._balances[token_id, giver] -= amount
        if taker != NOBODY:
            self._balances[token_id, taker] += amount


def address_in(topic: str) -> str:
    """The address that a topic holds, checksummed."""
    return to_checksum_address("0x" + topic[-40:])
