"""The verifier on receipts of a real network: anvil, the real contract, and a block with other transactions around."""

from __future__ import annotations

import asyncio

import pytest

from fintokenx.adapters.chain import AnchorClient
from tests.adapters.chain_network import Network, network  # noqa: F401
from tests.verifier.bundles import Record, Signer, mth
from tests.verifier.conftest import Verify

pytestmark = pytest.mark.anyio


async def test_a_bundle_anchored_on_a_real_network_is_proved(network: Network, verify: Verify) -> None:  # noqa: F811
    record, signer = Record(3, 4), Signer()
    bundle = await asyncio.to_thread(record.bundle, 2, 7)
    client = AnchorClient(network.rpc, network.vault, network.deployment)
    for batch, size in enumerate(record.sizes, 1):
        anchor = await client.publish(batch, size, mth(record.leaves[:size]))
        receipt = await client.receipt(anchor)
        bundle["anchors"][batch - 1] |= {
            "chain_id": receipt.chain_id, "contract": receipt.contract, "tx_hash": anchor.tx_hash,
            "block_number": anchor.block_number, "block_hash": receipt.block_hash, "header": receipt.header.hex(),
            "receipt_index": receipt.receipt_index, "receipt_proof": [node.hex() for node in receipt.receipt_proof],
        }  # fmt: skip
    hashes = []
    for part in bundle["anchors"]:
        block = await network.rpc.call("eth_getBlockByNumber", hex(part["block_number"]), False)
        hashes += ["--block-hash", block["hash"]]
    contract = ("--contract", network.deployment.audit_anchor)
    answer = await asyncio.to_thread(verify, bundle, "--key", signer.vkey, *contract, *hashes)
    assert (answer.code, answer.errors) == (0, ""), answer.output
    bundle["anchors"][1]["header"] = bundle["anchors"][0]["header"]
    answer = await asyncio.to_thread(verify, bundle, "--key", signer.vkey, *contract, *hashes)
    assert (answer.code, "block hash" in answer.sentence) == (1, True)
