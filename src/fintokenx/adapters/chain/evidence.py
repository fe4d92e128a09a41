"""The anchor's receipt as a proof against the hash of its block: read from a node, checked before it is given out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import rlp
from eth_utils.conversions import to_bytes
from eth_utils.crypto import keccak
from trie.hexary import HexaryTrie

from fintokenx.adapters.chain import bft
from fintokenx.adapters.chain.rpc import Rpc, RpcError
from fintokenx.audit.ports import AnchorOnChain, AnchorReceipt
from fintokenx.lifecycle.chainwork.ports import ChainUnavailable

ANCHORED: Final = "0x" + keccak(text="Anchored(uint256,uint256,bytes32)").hex()
_HEADER: Final = (
    "parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom", "difficulty",
    "number", "gasLimit", "gasUsed", "timestamp", "extraData", "mixHash", "nonce",
    "baseFeePerGas", "withdrawalsRoot", "blobGasUsed", "excessBlobGas", "parentBeaconBlockRoot", "requestsHash",
)  # fmt: skip
"""A header's fields in the order of their RLP; the last line came one fork at a time (London to Prague)."""
EXTRA_DATA: Final = _HEADER.index("extraData")
_OLDEST_FIELDS: Final = 15
_QUANTITIES: Final = {
    "difficulty", "number", "gasLimit", "gasUsed", "timestamp", "baseFeePerGas", "blobGasUsed", "excessBlobGas"
}  # fmt: skip


async def receipt_of(rpc: Rpc, chain_id: int, contract: str, anchor: AnchorOnChain) -> AnchorReceipt:
    """The proof that ``contract`` logged ``anchor``.

    :raises ChainUnavailable: no node, one that lacks the block, or one whose answers do not prove it
    """
    try:
        mined = await rpc.call("eth_getTransactionReceipt", anchor.tx_hash)
        if mined is None:
            raise ChainUnavailable("the node does not have the anchor's transaction", outcome_unknown=False)
        block = await rpc.call("eth_getBlockByHash", mined["blockHash"], False)
        receipts = await _receipts(rpc, block)
        return prove(block, receipts, int(mined["transactionIndex"], 16), chain_id, contract, anchor)
    except RpcError as refusal:
        raise ChainUnavailable(f"no receipts from the node ({refusal.code})", outcome_unknown=False) from refusal
    except (KeyError, TypeError, ValueError, IndexError, rlp.RLPException) as fault:
        raise ChainUnavailable(f"the node does not prove the anchor: {fault}", outcome_unknown=False) from fault


async def _receipts(rpc: Rpc, block: dict[str, Any]) -> Sequence[dict[str, Any]]:
    """All receipts of a block, one by one where the node cannot give them together."""
    try:
        together: Sequence[dict[str, Any]] = await rpc.call("eth_getBlockReceipts", block["hash"])
    except RpcError:
        together = []
    if together:
        return together
    return [await rpc.call("eth_getTransactionReceipt", tx_hash) for tx_hash in block["transactions"]]


def prove(
    block: dict[str, Any],
    receipts: Sequence[dict[str, Any]],
    index: int,
    chain_id: int,
    contract: str,
    anchor: AnchorOnChain,
) -> AnchorReceipt:
    """The proof, from what a node says of a block and of its receipts.

    :raises ValueError: they do not hash to what the block says, or the receipt does not hold the anchor
    """
    trie = HexaryTrie({})
    for at, receipt in enumerate(receipts):
        trie[rlp.encode(at)] = receipt_bytes(receipt)
    if trie.root_hash != to_bytes(hexstr=block["receiptsRoot"]):
        raise ValueError("the receipts are not those of the block")
    if int(block["number"], 16) != anchor.block_number:
        raise ValueError("the anchor stands in another block now")
    if not _says(receipts[index], contract, anchor):
        raise ValueError("the receipt does not hold the anchor")
    nodes = tuple(rlp.encode(node) for node in trie.get_proof(rlp.encode(index)))  # type: ignore[no-untyped-call]
    return AnchorReceipt(chain_id, contract.lower(), block["hash"].lower(), header_bytes(block), index, nodes)


class AnotherHash(ValueError):
    """Raised where the fields of a header do not hash to what the block says."""


def header_bytes(block: dict[str, Any]) -> bytes:
    """The RLP whose keccak-256 is the block's hash. :raises AnotherHash: no known form of the header has it"""
    return bytes(rlp.encode(header_fields(block, _extra_data(to_bytes(hexstr=block["extraData"])))))


def header_fields(block: dict[str, Any], extra_data: Iterable[bytes]) -> list[Any]:
    """The fields under the block's hash, with the one of the forms of ``extra_data`` that has it.

    :raises AnotherHash: none has
    :raises KeyError: a field that all forks have is missing
    """
    wanted = to_bytes(hexstr=block["hash"])
    oldest, later = _HEADER[:_OLDEST_FIELDS], _HEADER[_OLDEST_FIELDS:]
    names = [*oldest, *(name for name in later if block.get(name) is not None)]
    values: list[Any] = [_value(name, block[name]) for name in names]
    forms = list(extra_data)
    # Nodes report fields of forks that are not in force: the hash alone decides which belong to the header.
    for width in range(len(values), _OLDEST_FIELDS - 1, -1):
        for form in forms:
            fields = [*values[:EXTRA_DATA], form, *values[EXTRA_DATA + 1 : width]]
            if keccak(rlp.encode(fields)) == wanted:
                return fields
    raise AnotherHash("the header does not have the block's hash")


def _extra_data(content: bytes) -> Iterator[bytes]:
    """As it stands; then as a BFT network hashes it, which leaves out the seals and the round."""
    yield content
    for consensus in bft.Consensus:
        with contextlib.suppress(bft.MalformedExtraData):
            yield bft.encode(consensus, bft.decode(consensus, content), bft.Form.HASHED)


def receipt_bytes(receipt: dict[str, Any]) -> bytes:
    """A receipt as it stands in the trie: legacy, or typed after EIP-2718."""
    logs = [
        [to_bytes(hexstr=log["address"]), [to_bytes(hexstr=t) for t in log["topics"]], to_bytes(hexstr=log["data"])]
        for log in receipt["logs"]
    ]
    fields = [
        int(receipt["status"], 16),
        int(receipt["cumulativeGasUsed"], 16),
        to_bytes(hexstr=receipt["logsBloom"]),
        logs,
    ]
    kind = int(receipt.get("type") or "0x0", 16)
    return (bytes([kind]) if kind else b"") + bytes(rlp.encode(fields))


def _says(receipt: dict[str, Any], contract: str, anchor: AnchorOnChain) -> bool:
    topics = [ANCHORED, f"0x{anchor.batch_id:064x}"]
    data = f"0x{anchor.tree_size:064x}{anchor.root.hex()}"
    return int(receipt["status"], 16) == 1 and any(
        log["address"].lower() == contract.lower() and log["topics"] == topics and log["data"] == data
        for log in receipt["logs"]
    )


def _value(name: str, text: str) -> int | bytes:
    return int(text, 16) if name in _QUANTITIES else to_bytes(hexstr=text)
