"""A fresh chain for benchmarks, and a hand that sends what the product's vault signs and reads the receipts."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fintokenx.adapters.chain import Rpc
from fintokenx.adapters.chain.signing import Unsigned, address_of, calldata, sign
from fintokenx.adapters.vault import LocalVault
from fintokenx.sandbox.anvil import CHAIN_ID, Anvil
from fintokenx.sandbox.processes import free_port

ROOT = Path(__file__).parent.parent
GENESIS = 1_780_000_000
_GAS = 12_000_000


@dataclass
class Hand:
    """Sends one transaction after the other; each must succeed."""

    rpc: Rpc
    vault: LocalVault
    url: str
    gas_used: dict[str, int] = field(default_factory=dict)
    """By what was measured."""

    async def address(self, key_name: str) -> str:
        """The address of a key of the vault."""
        return address_of(await self.vault.ensure_secp256k1(key_name))

    async def call(self, key_name: str, to: str, signature: str, *arguments: object, measured: str = "") -> int:
        """Gas of a call, kept under ``measured`` when it has a name."""
        return await self.send(key_name, to, calldata(signature, *arguments), measured=measured)

    async def send(self, key_name: str, to: str, data: bytes, *, measured: str = "") -> int:
        """The same with encoded arguments."""
        used = int((await self._mined(key_name, to, data))["gasUsed"], 16)
        if measured:
            self.gas_used[measured] = used
        return used

    async def create(self, key_name: str, code: bytes) -> tuple[str, int]:
        """Deploy; address and gas."""
        receipt = await self._mined(key_name, None, code)
        return str(receipt["contractAddress"]), int(receipt["gasUsed"], 16)

    async def receipt(self, tx_hash: str) -> dict[str, Any]:
        """Wait for the block."""
        for _ in range(400):
            found: dict[str, Any] | None = await self.rpc.call("eth_getTransactionReceipt", tx_hash)
            if found is not None:
                return found
            await asyncio.sleep(0.01)
        raise RuntimeError("no block took the transaction")

    async def _mined(self, key_name: str, to: str | None, data: bytes) -> dict[str, Any]:
        sender = await self.address(key_name)
        nonce = int(await self.rpc.call("eth_getTransactionCount", sender, "latest"), 16)
        signed = await sign(self.vault, key_name, Unsigned(CHAIN_ID, nonce, _GAS, to, data))
        await self.rpc.send(signed.raw)
        receipt = await self.receipt(signed.tx_hash)
        if receipt["status"] != "0x1":
            raise RuntimeError(f"{key_name} → {to or 'a new contract'} reverted")
        return receipt


@asynccontextmanager
async def fresh_network() -> AsyncIterator[Hand]:
    """An anvil (Shanghai, no fees) that makes a block of each transaction, stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="fx-gas-") as folder:
        anvil = Anvil(None, free_port(), run_dir=Path(folder), project_root=ROOT, genesis_timestamp=GENESIS)
        await anvil.start(GENESIS)
        rpc = Rpc([anvil.rpc_url])
        try:
            await anvil.control.pause()
            await anvil.control.call("evm_setAutomine", True)
            yield Hand(rpc, LocalVault(Path(folder) / "vault", os.urandom), anvil.rpc_url)
        finally:
            await rpc.aclose()
            await anvil.stop()
