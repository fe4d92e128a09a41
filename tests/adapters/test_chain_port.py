"""What tokenisation may expect of its ``Chain``, held to the real client on anvil and to the modules' fake."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fintokenx.adapters.chain import ChainClient, Rpc, deploy
from fintokenx.adapters.chain.receipts import BLOCKS_MAX
from fintokenx.adapters.chain.rpc import RpcError
from fintokenx.adapters.vault import LocalVault
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.chainwork.ports import SignedTransaction
from fintokenx.lifecycle.tokenisation.ports import Call, Chain, MintReceivable
from fintokenx.sandbox.anvil import Anvil
from fintokenx.sandbox.processes import free_port
from tests.support.fakes.chain import LedgerChain

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
NOW = 1_780_000_000
FACE = Pence(5000)


class CountingRpc(Rpc):
    """The production client, writing down what it asks; ``withheld`` is a method that its node does not have."""

    def __init__(self, urls: Sequence[str]) -> None:
        super().__init__(urls)
        self.asked: list[tuple[str, int]] = []
        self.withheld = ""

    async def call_each(self, method: str, parameters: Sequence[Sequence[Any]]) -> list[Any | RpcError]:
        self.asked.append((method, len(parameters)))
        if method == self.withheld:
            return [RpcError(-32601, "Method not found", b"") for _ in parameters]
        return await super().call_each(method, parameters)


@dataclass
class Network:
    """A chain whose blocks come by ``mine`` only."""

    chain: Chain
    mine: Callable[[], Awaitable[object]]
    rpc: CountingRpc | None = None

    async def mint(self, token_id: int) -> MintReceivable:
        return MintReceivable(token_id, FACE, NOW + 10**6, b"d" * 32, await self.chain.minting_wallet())

    async def signed(self, *token_ids: int, nonce: int | None = None) -> list[SignedTransaction]:
        """Mints of these, from the next nonce on."""
        calls: list[Call] = [await self.mint(token_id) for token_id in token_ids]
        first = await self.chain.transaction_count(await self.chain.sender_of(calls[0])) if nonce is None else nonce
        return [await self.chain.sign(call, first + at) for at, call in enumerate(calls)]


@pytest.fixture(params=["fake", "anvil"])
async def network(request: pytest.FixtureRequest) -> AsyncIterator[Network]:
    if request.param == "anvil":
        async for real in _real():
            yield real
        return
    fake = LedgerChain(automine=False)

    async def mine() -> int:
        return fake.mine()

    yield Network(fake, mine)


@pytest.fixture
async def real() -> AsyncIterator[Network]:
    async for made in _real():
        yield made


async def _real() -> AsyncIterator[Network]:
    with tempfile.TemporaryDirectory(prefix="fxc-") as folder:
        anvil = Anvil(None, free_port(), run_dir=Path(folder), project_root=ROOT, block_time_seconds=1)
        await anvil.start(NOW)
        rpc = CountingRpc([anvil.rpc_url])
        vault = LocalVault(Path(folder) / "vault", os.urandom)
        try:
            artifacts = ROOT / "contracts" / "artifacts"
            deployment = await deploy(rpc, vault, chain_id=1981, artifacts=artifacts, now_unix=NOW)
            await anvil.control.pause()
            rpc.asked.clear()
            yield Network(ChainClient(rpc, vault, deployment), lambda: anvil.control.call("evm_mine"), rpc)
        finally:
            await rpc.aclose()
            await anvil.stop()


def raws(mints: Sequence[SignedTransaction]) -> list[bytes]:
    return [mint.raw for mint in mints]


def hashes(mints: Sequence[SignedTransaction]) -> list[str]:
    return [mint.tx_hash for mint in mints]


async def test_many_are_sent_in_one_go_and_found_in_their_block(network: Network) -> None:
    mints = await network.signed(*range(1, 31))
    assert await network.chain.send_many(raws(mints)) == [None] * 30
    assert await network.chain.receipts(hashes(mints)) == {}
    await network.mine()
    found = await network.chain.receipts([*hashes(mints), "0x" + "ab" * 32])
    assert set(found) == set(hashes(mints))
    assert all(receipt.succeeded and receipt.tx_hash == tx_hash for tx_hash, receipt in found.items())
    assert len({receipt.block_number for receipt in found.values()}) == 1
    assert await network.chain.receipt(mints[7].tx_hash) == found[mints[7].tx_hash]
    wallet = await network.chain.minting_wallet()
    assert await network.chain.supplies([1, 99, 30]) == [FACE, Pence(0), FACE]
    assert await network.chain.holdings([(30, wallet), (99, wallet)]) == [FACE, Pence(0)]


async def test_nothing_is_sent_or_asked_for_nothing(network: Network) -> None:
    assert await network.chain.send_many([]) == []
    assert await network.chain.receipts([]) == {}
    assert await network.chain.supplies([]) == await network.chain.holdings([]) == []


async def test_bytes_that_the_node_has_or_has_mined_count_as_sent(network: Network) -> None:
    mints = await network.signed(1, 2, 3)
    for _ in range(2):
        assert await network.chain.send_many(raws(mints)) == [None] * 3
    await network.mine()
    assert await network.chain.send_many(raws(mints)) == [None] * 3
    sender = mints[0].sender
    assert await network.chain.transaction_count(sender) == mints[0].nonce + 3


async def test_one_that_is_refused_loses_no_other_and_is_named(network: Network) -> None:
    """Its nonce was used by something else, so its hash is not found, whatever the node says of the nonce."""
    first = await network.signed(1)
    await network.chain.send_many(raws(first))
    await network.mine()
    [late] = await network.signed(2, nonce=first[0].nonce)
    mints = await network.signed(3, 4)
    refusals = await network.chain.send_many([mints[0].raw, late.raw, mints[1].raw])
    assert [refusal is None for refusal in refusals] == [True, False, True]
    assert "nonce too low" in str(refusals[1]).lower()
    await network.mine()
    assert set(await network.chain.receipts(hashes([*mints, late]))) == set(hashes(mints))
    assert await network.chain.supplies([2, 3, 4]) == [Pence(0), FACE, FACE]


async def test_a_gap_holds_up_what_comes_after_it_and_its_own_bytes_close_it(network: Network) -> None:
    mints = await network.signed(1, 2, 3)
    await network.chain.send_many(raws(mints[1:]))
    await network.mine()
    assert await network.chain.receipts(hashes(mints)) == {}
    assert await network.chain.send_many(raws(mints)) == [None] * 3
    await network.mine()
    assert set(await network.chain.receipts(hashes(mints))) == set(hashes(mints))


async def test_a_transaction_that_failed_says_so_among_others(network: Network) -> None:
    mints = await network.signed(1, 1, 2)
    await network.chain.send_many(raws(mints))
    await network.mine()
    found = await network.chain.receipts(hashes(mints))
    assert [found[mint.tx_hash].succeeded for mint in mints] == [True, False, True]
    assert found[mints[1].tx_hash].revert_reason == "reverted"


async def test_what_waits_is_found_whenever_its_block_comes(network: Network) -> None:
    """Looked for again and again, in batches that change, over more blocks than are read whole."""
    mints = await network.signed(*range(1, 11))
    for at in range(0, 10, 2):
        await network.chain.send_many(raws(mints[at : at + 2]))
        before = await network.chain.receipts(hashes(mints[at:]))
        assert before == {}
        for _ in range(1 if at else BLOCKS_MAX + 2):
            await network.mine()
        assert set(await network.chain.receipts(hashes(mints[at:]))) == set(hashes(mints[at : at + 2]))
    assert set(await network.chain.receipts(hashes(mints))) == set(hashes(mints))


# ── What it costs, on anvil


async def test_while_no_block_comes_a_look_costs_one_request_and_a_block_one_more(real: Network) -> None:
    assert real.rpc is not None
    mints = await real.signed(*range(1, 51))
    await real.chain.send_many(raws(mints[:40]))
    await real.chain.receipts(hashes(mints))
    await real.mine()
    real.rpc.asked.clear()
    assert len(await real.chain.receipts(hashes(mints))) == 40
    assert [(method, number) for method, number in real.rpc.asked if number] == [
        ("eth_blockNumber", 1),
        ("eth_getBlockReceipts", 2),  # the block that was the newest is read again: it may not have been whole
    ]
    real.rpc.asked.clear()
    await real.chain.receipts(hashes(mints[40:]))
    assert [(method, number) for method, number in real.rpc.asked if number] == [("eth_blockNumber", 1)]


async def test_a_node_without_receipts_of_a_block_is_asked_for_each(real: Network) -> None:
    assert real.rpc is not None
    real.rpc.withheld = "eth_getBlockReceipts"
    mints = await real.signed(*range(1, 6))
    for _ in range(2):
        await real.chain.send_many(raws(mints))
        await real.chain.receipts(hashes(mints))
    await real.mine()
    assert set(await real.chain.receipts(hashes(mints))) == set(hashes(mints))
    assert sum(method == "eth_getBlockReceipts" for method, number in real.rpc.asked if number) == 1
