"""FXAuditAnchor in memory: takes each batch once, forgets nothing, and can be away like a network."""

from __future__ import annotations

from typing import Any

import rlp
from eth_utils.crypto import keccak
from trie.hexary import HexaryTrie

from fintokenx.adapters.chain.evidence import prove, receipt_bytes
from fintokenx.audit.ports import AnchorOnChain, AnchorReceipt
from fintokenx.kernel.errors import Unavailable

CHAIN_ID = 31337
CONTRACT = "0x" + "a5" * 20
ANCHOR_AT = 2


class AnchorsInMemory:
    """Passes as ``audit.ports.Anchors``; the real contract is held to the same promises in tests/adapters."""

    def __init__(self) -> None:
        self.standing: dict[int, AnchorOnChain] = {}
        self.away = False
        self.lose_answers = False
        self.calls = 0

    async def publish(self, batch_id: int, tree_size: int, root: bytes) -> AnchorOnChain:
        """Anchor, once. :raises ValueError: other values stand for this batch"""
        self._must_answer()
        known = self.standing.get(batch_id)
        if known is not None and (known.tree_size, known.root) != (tree_size, root):
            raise ValueError(f"batch {batch_id} is anchored with other values")
        if known is None:
            block = 100 + len(self.standing)
            known = AnchorOnChain(batch_id, tree_size, root, block, f"0x{block:064x}")
            self.standing[batch_id] = known
        if self.lose_answers:
            raise Unavailable("chain", "the answer was lost")
        return known

    async def read(self, batch_id: int) -> AnchorOnChain | None:
        """The anchor of a batch, or None."""
        self._must_answer()
        return self.standing.get(batch_id)

    async def latest(self) -> AnchorOnChain | None:
        """The newest anchor, or None before the first."""
        self._must_answer()
        return self.standing[max(self.standing)] if self.standing else None

    async def receipt(self, anchor: AnchorOnChain) -> AnchorReceipt:
        """A true header over a true receipts trie, in a block of five transactions of which the anchor is one."""
        self._must_answer()
        if self.standing.get(anchor.batch_id) != anchor:
            raise Unavailable("chain", "the node does not have the anchor's transaction")
        block, receipts = block_with(anchor)
        return prove(block, receipts, ANCHOR_AT, CHAIN_ID, CONTRACT, anchor)

    def _must_answer(self) -> None:
        self.calls += 1
        if self.away:
            raise Unavailable("chain", "no answer")


def block_with(anchor: AnchorOnChain) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What a node would say of a Shanghai block that took the anchor, and of all its receipts."""
    receipts = [_receipt(at, _log(anchor) if at == ANCHOR_AT else None) for at in range(5)]
    trie = HexaryTrie({})
    for at, receipt in enumerate(receipts):
        trie[rlp.encode(at)] = receipt_bytes(receipt)
    header: list[Any] = [
        keccak(b"parent"), keccak(b"uncles"), bytes(20), keccak(b"state"), keccak(b"transactions"), trie.root_hash,
        bytes(256), 0, anchor.block_number, 30_000_000, 21_000 * len(receipts), 1_780_000_000 + anchor.block_number,
        b"", bytes(32), bytes(8), 7, keccak(b"withdrawals"),
    ]  # fmt: skip
    names = (
        "parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot",
        "logsBloom", "difficulty", "number", "gasLimit", "gasUsed", "timestamp",
        "extraData", "mixHash", "nonce", "baseFeePerGas", "withdrawalsRoot",
    )  # fmt: skip
    spelled = [hex(value) if isinstance(value, int) else "0x" + value.hex() for value in header]
    return {**dict(zip(names, spelled, strict=True)), "hash": "0x" + keccak(rlp.encode(header)).hex()}, receipts


def _receipt(at: int, log: dict[str, Any] | None) -> dict[str, Any]:
    gas = hex(21_000 * (at + 1))
    kind = "0x2" if at % 2 == 0 else "0x0"
    bloom = "0x" + bytes(256).hex()
    return {"type": kind, "status": "0x1", "cumulativeGasUsed": gas, "logsBloom": bloom, "logs": [log] if log else []}


def _log(anchor: AnchorOnChain) -> dict[str, Any]:
    event = "0x" + keccak(text="Anchored(uint256,uint256,bytes32)").hex()
    data = f"0x{anchor.tree_size:064x}{anchor.root.hex()}"
    return {"address": CONTRACT, "topics": [event, f"0x{anchor.batch_id:064x}"], "data": data}
