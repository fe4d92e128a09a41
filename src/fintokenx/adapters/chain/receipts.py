"""Receipts of many transactions at a cost that grows with the blocks that came, not with the transactions that wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import structlog

from fintokenx.adapters.chain.rpc import Rpc, RpcError
from fintokenx.lifecycle.chainwork.ports import ChainUnavailable

log = structlog.get_logger("fintokenx.chain")

BLOCKS_MAX: Final = 32
"""After so many blocks each receipt is asked for by itself again."""
_NO_SUCH_METHOD: Final = (-32601, -32604)

Raw = dict[str, Any]


class Receipts:
    """Remembers up to which block a transaction is known to be in none, so that a look reads only newer blocks.

    One block is final, so what a block does not hold it will never hold. A node that lags behind the one before it can
    still mislead us, so everything is forgotten and asked for anew from time to time.
    """

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self._absent: dict[str, int] = {}
        self._began = 0
        self._has_blocks = True

    async def of(self, tx_hashes: Sequence[str]) -> dict[str, Raw]:
        """Those of the transactions that are in a block, by hash, as the node spells them.

        :raises ChainUnavailable: the node gave no useful answer
        """
        head = int((await self._each("eth_blockNumber", [()]))[0], 16)
        if not 0 <= head - self._began < BLOCKS_MAX:
            self._absent, self._began = {}, head
        looked_for = [tx_hash for tx_hash in tx_hashes if tx_hash in self._absent]
        news = range(min((self._absent[tx_hash] for tx_hash in looked_for), default=head) + 1, head + 1)
        found: dict[str, Raw] = {}
        if len(news) < len(looked_for) and (held := await self._held(news)) is not None:
            found = {tx_hash: held[tx_hash] for tx_hash in looked_for if tx_hash in held}
            self._absent |= dict.fromkeys(looked_for, head)
        left = [tx_hash for tx_hash in tx_hashes if tx_hash not in found and self._absent.get(tx_hash, -1) < head]
        for tx_hash, receipt in zip(left, await self._each("eth_getTransactionReceipt", left), strict=True):
            if receipt is not None:
                found[tx_hash] = receipt
            else:  # less one: a node may know a block's number before all that is in it
                self._absent[tx_hash] = max(self._absent.get(tx_hash, 0), head - 1)
        for tx_hash in found:
            self._absent.pop(tx_hash, None)
        return found

    async def _held(self, blocks: range) -> dict[str, Raw] | None:
        """What the blocks hold; None when the node cannot say it, or not yet."""
        if not self._has_blocks:
            return None
        answers = await self._rpc.call_each("eth_getBlockReceipts", [(hex(number),) for number in blocks])
        if any(isinstance(answer, RpcError) and answer.code in _NO_SUCH_METHOD for answer in answers):
            log.warning("chain_node_without_block_receipts")
            self._has_blocks = False
        held: dict[str, Raw] = {}
        for answer in answers:
            if not isinstance(answer, list):
                return None
            held |= {receipt["transactionHash"]: receipt for receipt in answer}
        return held

    async def _each(self, method: str, asked: Sequence[Any]) -> list[Any]:
        try:
            return await self._rpc.call_many(method, [(each,) if isinstance(each, str) else each for each in asked])
        except RpcError as refusal:
            raise ChainUnavailable(f"{method} refused ({refusal.code})", outcome_unknown=False) from refusal
