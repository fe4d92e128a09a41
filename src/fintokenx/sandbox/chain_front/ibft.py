"""The answers of ``ibft_…``: whom a block's validators were and who proposed, made up from who was up.

Anvil's blocks have no proposer and no seals, so the turn goes round among the nodes that were up at a block's number.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from fintokenx.sandbox.chain_front import besu
from fintokenx.sandbox.chain_front.consortium import Consortium, Member
from fintokenx.sandbox.chain_front.requests import is_quantity

Upstream = Callable[[str, list[Any]], Awaitable[Any]]
"""Asks anvil: method and parameters to the result."""

_RANGE_BLOCKS: Final = 100
_NOBODY: Final = "0x" + "00" * 20
"""The first block's proposer in Besu: the coinbase of its genesis."""
_NEWEST: Final = ("latest", "pending")


class Turns:
    """Who proposed which block: the nodes that were up then, in turn."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._from = [0]
        self._up: list[Sequence[Member]] = [tuple(members)]

    def changed(self, first_block: int, up: Sequence[Member]) -> None:
        """From this block on these are up."""
        self._from.append(first_block)
        self._up.append(tuple(up))

    def proposer_of(self, number: int) -> str:
        """The address of the one whose turn it was."""
        up = self._up[bisect_right(self._from, number) - 1]
        return up[number % len(up)].address if number and up else _NOBODY


class Ibft:
    """The reading methods of the IBFT API (Besu: IbftGet…, AbstractGetSignerMetricsMethod)."""

    def __init__(self, consortium: Consortium, turns: Turns, upstream: Upstream) -> None:
        self._consortium = consortium
        self._turns = turns
        self._upstream = upstream
        self.methods: dict[str, Callable[[list[Any]], Awaitable[Any]]] = {
            "ibft_getValidatorsByBlockNumber": self._validators_by_number,
            "ibft_getValidatorsByBlockHash": self._validators_by_hash,
            "ibft_getPendingVotes": self._pending_votes,
            "ibft_getSignerMetrics": self._signer_metrics,
        }

    async def _validators_by_number(self, parameters: list[Any]) -> list[str] | None:
        if not parameters:
            raise besu.Refusal(besu.INVALID_BLOCK)
        if parameters[0] in ("finalized", "safe"):  # of proof of stake only
            raise besu.Refusal(besu.UNKNOWN_BLOCK)
        known = await self._number(parameters[0], besu.INVALID_BLOCK) <= await self._head()
        return self._consortium.addresses if known else None

    async def _validators_by_hash(self, parameters: list[Any]) -> list[str] | None:
        if not parameters or not isinstance(parameters[0], str):
            raise besu.Refusal(besu.INVALID_BLOCK_HASH)
        block = await self._upstream("eth_getBlockByHash", [parameters[0], False])
        return self._consortium.addresses if block else None

    async def _pending_votes(self, _parameters: list[Any]) -> dict[str, bool]:
        return {}

    async def _signer_metrics(self, parameters: list[Any]) -> list[dict[str, str]]:
        """The last hundred blocks, or those from the first parameter up to, but without, the second."""
        head = await self._head()
        start, end = max(0, head - _RANGE_BLOCKS), head
        if parameters:
            start = await self._number(parameters[0], besu.INVALID_BLOCK_NUMBER)
        if len(parameters) > 1:
            end = min(head, await self._number(parameters[1], besu.INVALID_BLOCK_NUMBER))
        if start >= end:
            raise besu.Refusal(besu.INVALID_BLOCK_NUMBER)
        proposed: dict[str, list[int]] = {}
        for number in range(start, end):
            proposed.setdefault(self._turns.proposer_of(number), []).append(number)
        for address in self._consortium.addresses:  # those who proposed nothing are listed too
            proposed.setdefault(address, [])
        return [
            {
                "address": address,
                "proposedBlockCount": hex(len(numbers)),
                "lastProposedBlockNumber": hex(numbers[-1] if numbers else 0),
            }
            for address, numbers in proposed.items()
        ]

    async def _head(self) -> int:
        return int(await self._upstream("eth_blockNumber", []), 16)

    async def _number(self, parameter: Any, otherwise: besu.Error) -> int:
        if parameter in _NEWEST:
            return await self._head()
        if parameter == "earliest":
            return 0
        if not is_quantity(parameter):
            raise besu.Refusal(otherwise)
        return int(parameter, 16)
