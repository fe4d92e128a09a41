"""Seven nodes over one anvil for a test: the committed plan, with certificates and senders of the test's own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fintokenx.adapters.chain import Rpc, client_context
from fintokenx.adapters.chain.deployment import MINTER, SENDERS
from fintokenx.adapters.chain.network import generate, read
from fintokenx.adapters.chain.network.plan import Client
from fintokenx.adapters.chain.signing import Unsigned, address_of, sign
from fintokenx.adapters.vault import LocalVault
from fintokenx.kernel.clock import SystemClock
from fintokenx.lifecycle.chainwork.ports import SignedTransaction
from fintokenx.sandbox.anvil import CHAIN_ID, Anvil
from fintokenx.sandbox.chain_front import Certificate, ChainFront, Consortium, self_signed
from fintokenx.sandbox.processes import free_port

ROOT = Path(__file__).parents[2]
PLAN = (ROOT / "deploy" / "besu" / "network.toml").read_text("utf-8")
SOMEBODY = "0x" + "11" * 20
BLOCK_SECONDS = 1


@dataclass
class Network:
    """``ours`` is a certificate that the nodes know; the platform's own keys may send, nobody else."""

    front: ChainFront
    anvil: Anvil
    vault: LocalVault
    ours: Certificate
    unlisted: Certificate
    folder: Path
    clients: list[Rpc] = field(default_factory=list)

    def rpc(self, *, shown: Certificate | None = None, urls: Sequence[str] = (), timeout_seconds: float = 5.0) -> Rpc:
        """The production client towards all nodes, or towards ``urls``."""
        certificate = shown or self.ours
        path, _ = certificate.save(self.folder / "shown")
        tls = client_context(
            authorities=str(self.front.authorities), certificate=str(path), key_pem=certificate.key_pem
        )
        client = Rpc(urls or self.front.urls, timeout_seconds=timeout_seconds, tls=tls)
        self.clients.append(client)
        return client

    async def signed(self, nonce: int, key: str = MINTER, data: bytes = b"") -> SignedTransaction:
        """A transaction that does nothing to somebody."""
        return await sign(self.vault, key, Unsigned(CHAIN_ID, nonce, 50_000, SOMEBODY, data))

    async def mined(self, tx_hash: str) -> int:
        """The block of a transaction; while blocks come at all, the next one is not waited for."""
        if self.front.has_quorum:
            await self.anvil.control.call("evm_mine")

        async def receipt() -> Any:
            return await self.anvil.control.call("eth_getTransactionReceipt", tx_hash)

        return int((await until(receipt))["blockNumber"], 16)

    async def count(self, key: str = MINTER) -> int:
        """How many transactions of a key the chain has in its blocks."""
        sender = address_of(await self.vault.ensure_secp256k1(key))
        return int(await self.anvil.control.call("eth_getTransactionCount", sender, "latest"), 16)

    async def next_block(self) -> None:
        """Return when one has come."""
        before = (await self.anvil.control.head()).number

        async def come() -> bool:
            return (await self.anvil.control.head()).number > before

        await until(come)

    async def blocks_stand_still(self, seconds: float = 2.2 * BLOCK_SECONDS) -> bool:
        """Whether no block comes for that long."""
        before = await self.anvil.control.head()
        await asyncio.sleep(seconds)
        return await self.anvil.control.head() == before


async def until(ask: Callable[[], Any], seconds: float = 10.0) -> Any:
    """The first true answer."""
    deadline = time.monotonic() + seconds
    while not (found := await ask()):
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)
    return found


@contextlib.asynccontextmanager
async def network() -> AsyncIterator[Network]:
    """A running one, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="fxf-") as name:
        folder = Path(name)
        now = SystemClock().now()
        ours, unlisted = self_signed("platform.test", now), self_signed("unlisted.test", now)
        vault = LocalVault(folder / "vault", os.urandom)
        client = Client(common_name=ours.common_name, fingerprint=ours.fingerprint)
        senders = [address_of(await vault.ensure_secp256k1(key)) for key in SENDERS]
        plan = read(PLAN).model_copy(update={"clients": [client], "accounts": senders})
        for path, text in generate(plan).items():
            (folder / "besu" / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "besu" / path).write_text(text)
        anvil = Anvil(None, free_port(), run_dir=folder, project_root=ROOT, block_time_seconds=BLOCK_SECONDS)
        await anvil.start()
        front = ChainFront.over(
            anvil.control,
            Consortium.read(folder / "besu"),
            client_certificates=[ours.pem, unlisted.pem],
            folder=folder / "front",
            now=now,
        )
        try:
            async with front as running:
                made = Network(running, anvil, vault, ours, unlisted, folder)
                yield made
                for rpc in made.clients:
                    await rpc.aclose()
        finally:
            anvil.kill()
