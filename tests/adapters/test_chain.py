"""The chain client and the anchors against the real contracts on a real anvil."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fintokenx.adapters.chain import AnchorClient, ChainClient, Deployment, Rpc, deploy
from fintokenx.adapters.chain.rpc import BATCH_SIZE_MAX, RpcError
from fintokenx.adapters.vault import LocalVault
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.tokenisation.ports import (
    BurnReceivable,
    Call,
    ChainUnavailable,
    Claims,
    MintReceivable,
    Receipt,
    RegisterIdentity,
    TransferToken,
)
from fintokenx.sandbox.anvil import Anvil
from fintokenx.sandbox.processes import free_port

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
NOW = 1_780_000_000
TOKEN = 0xABC


@dataclass
class Network:
    anvil: Anvil
    rpc: Rpc
    vault: LocalVault
    deployment: Deployment
    chain: ChainClient

    async def mined(self, call: Call) -> Receipt:
        """Sign with the next nonce, broadcast, wait for the block."""
        sender = await self.chain.sender_of(call)
        signed = await self.chain.sign(call, await self.chain.transaction_count(sender))
        await self.chain.broadcast(signed.raw)
        return await eventually(lambda: self.chain.receipt(signed.tx_hash))

    async def lender(self, claims: Claims) -> str:
        """A registered wallet."""
        wallet = await self.chain.create_wallet("wallet/test/lender")
        receipt = await self.mined(
            RegisterIdentity(wallet, b"s" * 32, claims, is_investor=False, expires_at_unix=NOW + 10**7)
        )
        assert receipt.succeeded, receipt
        return wallet

    async def minted(self, token_id: int = TOKEN) -> Receipt:
        call = MintReceivable(token_id, Pence(5000), NOW + 10**6, b"d" * 32, await self.chain.minting_wallet())
        return await self.mined(call)


async def eventually(ask: Callable[[], Awaitable[Receipt | None]], seconds: float = 10) -> Receipt:
    for _ in range(int(seconds / 0.05)):
        if (found := await ask()) is not None:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError("it did not happen in time")


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    with tempfile.TemporaryDirectory(prefix="fxc-") as folder:
        anvil = Anvil(None, free_port(), run_dir=Path(folder), project_root=ROOT, block_time_seconds=1,
                      genesis_timestamp=NOW)  # fmt: skip
        await anvil.start(NOW)
        rpc = Rpc([anvil.rpc_url])
        vault = LocalVault(Path(folder) / "vault", os.urandom)
        try:
            deployment = await deploy(rpc, vault, chain_id=1981, artifacts=ROOT / "contracts/artifacts", now_unix=NOW)
            yield Network(anvil, rpc, vault, deployment, ChainClient(rpc, vault, deployment))
        finally:
            await rpc.aclose()
            await anvil.stop()


REQUIRED = Claims.KYC_VERIFIED | Claims.AML_CLEARED | Claims.JURISDICTION_UK


async def test_a_receivable_is_minted_moved_and_burned_without_anybody_owning_gas(network: Network) -> None:
    lender = await network.lender(REQUIRED)
    assert (await network.minted()).succeeded
    minting = await network.chain.minting_wallet()
    assert await network.chain.holding(minting, TOKEN) == Pence(5000)
    assert await network.chain.can_transfer(minting, lender, TOKEN, Pence(5000)) == (True, "ok")
    assert (await network.mined(TransferToken("", minting, lender, TOKEN, Pence(5000)))).succeeded
    assert await network.chain.holding(lender, TOKEN) == Pence(5000)
    assert (await network.mined(BurnReceivable(TOKEN, (lender,), b"SETTLED".ljust(32, b"\0")))).succeeded
    assert await network.chain.supply(TOKEN) == Pence(0)


async def test_a_second_mint_of_the_same_receivable_reverts(network: Network) -> None:
    assert (await network.minted()).succeeded
    again = await network.minted()
    assert not again.succeeded
    assert await network.chain.supply(TOKEN) == Pence(5000)


async def test_the_same_bytes_broadcast_again_are_one_transaction(network: Network) -> None:
    call = MintReceivable(TOKEN, Pence(5000), NOW + 10**6, b"d" * 32, await network.chain.minting_wallet())
    sender = await network.chain.sender_of(call)
    signed = await network.chain.sign(call, 0)
    assert signed == await network.chain.sign(call, 0), "signing is deterministic"
    await network.chain.broadcast(signed.raw)
    await network.chain.broadcast(signed.raw)
    assert (await eventually(lambda: network.chain.receipt(signed.tx_hash))).succeeded
    await network.chain.broadcast(signed.raw)
    assert await network.chain.transaction_count(sender) == 1


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        (Claims.KYC_VERIFIED | Claims.AML_CLEARED, "missing claim: JURISDICTION_UK"),
        (Claims.KYC_VERIFIED | Claims.JURISDICTION_UK, "missing claim: AML_CLEARED"),
    ],
)
async def test_the_chain_refuses_a_receiver_without_its_claims_and_says_why(
    network: Network, claims: Claims, reason: str
) -> None:
    """P-18: nothing of ours is asked; the contract alone refuses."""
    lender = await network.lender(claims)
    await network.minted()
    minting = await network.chain.minting_wallet()
    assert await network.chain.can_transfer(minting, lender, TOKEN, Pence(1)) == (False, reason)
    receipt = await network.mined(TransferToken("", minting, lender, TOKEN, Pence(1)))
    assert (receipt.succeeded, receipt.revert_reason) == (False, reason)
    assert await network.chain.holding(minting, TOKEN) == Pence(5000)


async def test_an_unknown_wallet_is_not_verified(network: Network) -> None:
    await network.minted()
    stranger = await network.chain.create_wallet("wallet/test/stranger")
    minting = await network.chain.minting_wallet()
    assert await network.chain.can_transfer(minting, stranger, TOKEN, Pence(1)) == (False, "wallet not verified")
    assert not await network.chain.is_verified(stranger)


async def test_an_anchor_is_published_once_and_read_back(network: Network) -> None:
    anchors = AnchorClient(network.rpc, network.vault, network.deployment)
    assert await anchors.latest() is None
    first = await anchors.publish(1, 10, b"r" * 32)
    assert first == await anchors.publish(1, 10, b"r" * 32) == await anchors.read(1) == await anchors.latest()
    assert first.tx_hash.startswith("0x")
    with pytest.raises(ValueError, match="other values"):
        await anchors.publish(1, 11, b"x" * 32)
    second = await anchors.publish(2, 20, b"s" * 32)
    assert second.block_number > first.block_number


async def test_a_paused_chain_leaves_the_anchor_unknown_and_the_next_try_finds_it(network: Network) -> None:
    anchors = AnchorClient(network.rpc, network.vault, network.deployment, wait_seconds=1)
    await network.anvil.control.pause()
    with pytest.raises(ChainUnavailable):
        await anchors.publish(1, 10, b"r" * 32)
    with pytest.raises(ChainUnavailable):
        await anchors.publish(1, 10, b"r" * 32)
    await network.anvil.control.resume()
    patient = AnchorClient(network.rpc, network.vault, network.deployment)
    assert (await patient.publish(1, 10, b"r" * 32)).tree_size == 10


async def test_a_dead_endpoint_is_passed_over(network: Network) -> None:
    rpc = Rpc([f"http://127.0.0.1:{free_port()}", network.anvil.rpc_url])
    assert (await ChainClient(rpc, network.vault, network.deployment).head()).number > 0
    await rpc.aclose()


async def test_no_endpoint_means_unavailable(network: Network) -> None:
    rpc = Rpc([f"http://127.0.0.1:{free_port()}"])
    client = ChainClient(rpc, network.vault, network.deployment)
    with pytest.raises(ChainUnavailable):
        await client.head()
    assert not await client.healthy()
    await rpc.aclose()


async def test_many_calls_are_answered_in_order_in_batches_that_besu_takes(network: Network) -> None:
    minting = await network.chain.minting_wallet()
    blocks = ["latest" if at % 2 else "0x0" for at in range(BATCH_SIZE_MAX + 1)]
    answers = await network.rpc.call_many("eth_getBlockByNumber", [(block, False) for block in blocks])
    assert [answer["number"] == "0x0" for answer in answers] == [block == "0x0" for block in blocks]
    with pytest.raises(RpcError):
        await network.rpc.call_many("eth_getBalance", [(minting, "latest"), ("no address", "latest")])
