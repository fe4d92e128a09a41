"""What the logs of token and registry add up to: who holds, who was ever registered, whatever our database says."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, Final

from eth_abi.abi import decode
from eth_utils.address import to_checksum_address
from eth_utils.conversions import to_bytes
from eth_utils.crypto import keccak

from fintokenx.adapters.chain.deployment import Deployment
from fintokenx.adapters.chain.rpc import Rpc, RpcError
from fintokenx.lifecycle.tokenisation.ports import ChainUnavailable, Holding, Logged, Progress

RANGE_MAX: Final = 5_000
"""Blocks that Besu lets one call look through (--rpc-max-logs-range)."""

_NOBODY: Final = "0x" + "00" * 20


def _topic(signature: str) -> str:
    return "0x" + keccak(text=signature).hex()


_MOVED: Final = _topic("TransferSingle(address,address,address,uint256,uint256)")
_MOVED_MANY: Final = _topic("TransferBatch(address,address,address,uint256[],uint256[])")
_CREATED: Final = _topic("ReceivableCreated(uint256,uint256,uint64,bytes32)")
_REGISTERED: Final = _topic("WalletStatusSet(address,bytes32,uint32,bool,uint64,uint64,uint32)")


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
        """What the logs come to at the end of the block, read a bounded range at a time; a node that finds a range too
        large is asked for half of it.

        :raises ChainUnavailable: no node answers, or it refuses even one block
        """
        async with self._one_at_a_time:
            if self._next > block_number + 1:  # asked for an older block, or it is another chain
                self._forget()
            span = RANGE_MAX
            while self._next <= block_number:
                end = min(self._next + span - 1, block_number)
                try:
                    logs = await self._logs(self._next, end)
                except RpcError as refusal:
                    if end == self._next:
                        raise ChainUnavailable(
                            f"eth_getLogs refused ({refusal.code})", outcome_unknown=False
                        ) from refusal
                    span = (end - self._next + 1) // 2
                    continue
                for log in logs:
                    self._add(log)
                self._next = end + 1
                progress("blocks", self._next - self._to.from_block, block_number + 1 - self._to.from_block)
            return Logged(self._events, frozenset(self._token_ids), dict(self._balances), frozenset(self._wallets))

    async def _logs(self, start: int, end: int) -> list[dict[str, Any]]:
        wanted = {
            "address": [self._to.token, self._to.identity_registry],
            "topics": [[_MOVED, _MOVED_MANY, _CREATED, _REGISTERED]],
            "fromBlock": hex(start),
            "toBlock": hex(end),
        }
        found: list[dict[str, Any]] = await self._rpc.call("eth_getLogs", wanted)
        return found

    def _add(self, log: dict[str, Any]) -> None:
        kind, topics, data = log["topics"][0], log["topics"][1:], to_bytes(hexstr=log["data"])
        self._events += 1
        if kind == _CREATED:
            self._token_ids.add(int(topics[0], 16))
        elif kind == _REGISTERED:
            self._wallets.add(_address(topics[0]))
        elif kind == _MOVED:
            token_id, amount = decode(["uint256", "uint256"], data)
            self._move(topics, token_id, amount)
        elif kind == _MOVED_MANY:
            for token_id, amount in zip(*decode(["uint256[]", "uint256[]"], data), strict=True):
                self._move(topics, token_id, amount)

    def _move(self, topics: list[str], token_id: int, amount: int) -> None:
        giver, taker = _address(topics[1]), _address(topics[2])  # the first is who sent the transaction
        if giver != _NOBODY:
            self._balances[token_id, giver] -= amount
        if taker != _NOBODY:
            self._balances[token_id, taker] += amount


def _address(topic: str) -> str:
    return to_checksum_address("0x" + topic[-40:])
