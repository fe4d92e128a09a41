"""The anchor's receipt: one contract suite for the real network and for the fake, and the forms nodes answer in."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import rlp
from eth_utils.crypto import keccak
from trie.hexary import HexaryTrie

from fintokenx.adapters.chain import AnchorClient
from fintokenx.adapters.chain.evidence import header_bytes, prove, receipt_of
from fintokenx.adapters.chain.rpc import RpcError
from fintokenx.audit.ports import AnchorOnChain, Anchors
from fintokenx.kernel.errors import Unavailable
from tests.adapters.chain_network import Network, network  # noqa: F401
from tests.support.fakes.anchors import ANCHOR_AT, CHAIN_ID, CONTRACT, AnchorsInMemory, block_with

pytestmark = pytest.mark.anyio
ANCHOR = AnchorOnChain(7, 412, b"r" * 32, 99, "0x" + "ab" * 32)


@pytest.fixture(params=["network", "fake"])
def anchors(request: pytest.FixtureRequest) -> Anchors:
    if request.param == "fake":
        return AnchorsInMemory()
    real: Network = request.getfixturevalue("network")
    return AnchorClient(real.rpc, real.vault, real.deployment)


async def test_a_receipt_proves_its_anchor_against_the_hash_of_the_block(anchors: Anchors) -> None:
    for batch_id, tree_size in ((1, 10), (2, 20)):
        anchor = await anchors.publish(batch_id, tree_size, bytes([batch_id]) * 32)
        found = await anchors.receipt(anchor)
        header = rlp.decode(found.header)
        assert "0x" + keccak(found.header).hex() == found.block_hash
        assert int.from_bytes(header[8], "big") == anchor.block_number
        nodes = [rlp.decode(node) for node in found.receipt_proof]
        assert keccak(found.receipt_proof[0]) == header[5]
        receipt = HexaryTrie.get_from_proof(header[5], rlp.encode(found.receipt_index), nodes)
        status, _, _, logs = rlp.decode(receipt[1:] if receipt[0] < 0xC0 else receipt)
        assert status == b"\x01"
        expected = f"{tree_size:064x}" + anchor.root.hex()
        assert [log[2].hex() for log in logs if "0x" + log[0].hex() == found.contract] == [expected]


async def test_an_anchor_that_the_network_does_not_have_is_not_proved(anchors: Anchors) -> None:
    with pytest.raises(Unavailable):
        await anchors.receipt(ANCHOR)


async def test_other_values_than_the_chains_are_not_proved(network: Network) -> None:  # noqa: F811
    anchors = AnchorClient(network.rpc, network.vault, network.deployment)
    true = await anchors.publish(1, 10, b"r" * 32)
    with pytest.raises(Unavailable, match="does not hold the anchor"):
        await anchors.receipt(AnchorOnChain(1, 11, true.root, true.block_number, true.tx_hash))
    with pytest.raises(Unavailable, match="another block"):
        await anchors.receipt(AnchorOnChain(1, 10, true.root, true.block_number + 1, true.tx_hash))


class NodeThatAnswers:
    """Stands for ``Rpc`` over one block; ``together`` says whether it knows eth_getBlockReceipts."""

    def __init__(self, block: dict[str, Any], receipts: list[dict[str, Any]], *, together: bool) -> None:
        self.together = together
        self.hashes = [f"0x{at:064x}" for at in range(len(receipts))]
        self.block = {**block, "transactions": self.hashes}
        self.receipts = [
            {**receipt, "blockHash": block["hash"], "transactionIndex": hex(at)} for at, receipt in enumerate(receipts)
        ]

    async def call(self, method: str, *parameters: Any) -> Any:
        if method == "eth_getTransactionReceipt":
            return self.receipts[self.hashes.index(parameters[0])]
        if method == "eth_getBlockByHash":
            return self.block
        if not self.together:
            raise RpcError(-32601, "method not found", b"")
        return self.receipts


@pytest.mark.parametrize("together", [True, False])
async def test_receipts_come_together_or_one_by_one(together: bool) -> None:
    node = NodeThatAnswers(*block_with(ANCHOR), together=together)
    anchor = AnchorOnChain(7, 412, ANCHOR.root, 99, node.hashes[ANCHOR_AT])
    found = await receipt_of(node, CHAIN_ID, CONTRACT, anchor)  # type: ignore[arg-type]
    assert found == prove(*block_with(ANCHOR), ANCHOR_AT, CHAIN_ID, CONTRACT, ANCHOR)


@pytest.mark.parametrize("broken", ["receiptsRoot", "stateRoot", "hash", "logsBloom"])
async def test_a_node_whose_answers_do_not_hash_together_proves_nothing(broken: str) -> None:
    block, receipts = block_with(ANCHOR)
    node = NodeThatAnswers(block, receipts, together=True)
    node.block[broken] = "0x" + "11" * (len(node.block[broken]) // 2 - 1)
    with pytest.raises(Unavailable):
        await receipt_of(node, CHAIN_ID, CONTRACT, AnchorOnChain(7, 412, ANCHOR.root, 99, node.hashes[ANCHOR_AT]))  # type: ignore[arg-type]


@pytest.mark.parametrize("missing", ["blockHash", "transactionIndex", "logs"])
async def test_a_malformed_answer_is_an_outage_and_not_an_error_of_ours(missing: str) -> None:
    node = NodeThatAnswers(*block_with(ANCHOR), together=True)
    del node.receipts[ANCHOR_AT][missing]
    with pytest.raises(Unavailable):
        await receipt_of(node, CHAIN_ID, CONTRACT, AnchorOnChain(7, 412, ANCHOR.root, 99, node.hashes[ANCHOR_AT]))  # type: ignore[arg-type]


LATER: tuple[tuple[str, int | bytes], ...] = (
    ("blobGasUsed", 131072),
    ("excessBlobGas", 0),
    ("parentBeaconBlockRoot", b"\x11" * 32),
    ("requestsHash", b"\x22" * 32),
)
"""Fields that came after Shanghai, in order: two and one with Cancun, one with Prague."""


@pytest.mark.parametrize("forks", range(len(LATER) + 1))
@pytest.mark.parametrize("reported", range(len(LATER) + 1))
def test_headers_of_every_fork_are_found_by_their_hash(forks: int, reported: int) -> None:
    """``forks``: what is hashed; ``reported``: what the node speaks of, some nodes naming fields of later forks."""
    block, _ = block_with(ANCHOR)
    fields = [*rlp.decode(header_bytes(block)), *(value for _, value in LATER[:forks])]
    block["hash"] = "0x" + keccak(rlp.encode(fields)).hex()
    for name, value in LATER[:reported]:
        block[name] = hex(value) if isinstance(value, int) else "0x" + value.hex()
    if reported < forks:
        with pytest.raises(ValueError, match="block's hash"):
            header_bytes(block)
    else:
        assert header_bytes(block) == rlp.encode(fields)


@pytest.mark.parametrize("round_number", [0, 3])
@pytest.mark.parametrize("hashed", ["qbft", "ibft2"])
def test_a_bft_header_is_given_as_it_was_hashed_without_seals_and_round(hashed: str, round_number: int) -> None:
    """Besu, BftBlockHashing.calculateHashOfBftBlockOnchain: QBFT keeps both places empty, IBFT 2.0 leaves both out."""
    block, _ = block_with(ANCHOR)
    seals = [b"s" * 65, b"t" * 65]
    fields = copy.copy(rlp.decode(header_bytes(block)))
    if hashed == "qbft":
        whole = [bytes(32), [b"v" * 20], [], round_number, seals]
        fields[12] = rlp.encode([*whole[:3], 0, []])
    else:
        whole = [bytes(32), [b"v" * 20], b"", round_number.to_bytes(4, "big"), seals]
        fields[12] = rlp.encode(whole[:3])
    block["extraData"] = "0x" + rlp.encode(whole).hex()
    block["hash"] = "0x" + keccak(rlp.encode(fields)).hex()
    assert header_bytes(block) == rlp.encode(fields)
