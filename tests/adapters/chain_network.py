"""The real contracts on a real anvil, with a client of ours: a network for each test."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fintokenx.adapters.chain import (
    ChainClient,
    Deployment,
    Rpc,
    deploy,
)
from fintokenx.adapters.vault import LocalVault
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.chainwork.ports import Receipt
from fintokenx.lifecycle.tokenisation.ports import (
    Call,
    Claims,
    MintReceivable,
    RegisterIdentity,
)
from fintokenx.sandbox.anvil import Anvil
from fintokenx.sandbox.processes import free_port

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
