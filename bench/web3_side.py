"""The other side of `bench.chain`: web3.py in a process of its own, driven by lines. It is a tool of ours and none of
the product's dependencies (docs/adr/0006)."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from bench.network import ROOT

_LINE_BYTES_MAX = 2**24


class Web3Side:
    """A running web3.py."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def send(self, raws: Sequence[bytes]) -> float:
        """``send_raw_transaction``, one after the other; seconds."""
        return await self._ask(do="send", raws=[raw.hex() for raw in raws])

    async def read(self, tx_hashes: Sequence[str]) -> float:
        """``get_transaction_receipt``, one after the other; seconds."""
        return await self._ask(do="read", hashes=list(tx_hashes))

    async def whole(self, transactions: Sequence[dict[str, Any]], key: bytes) -> float:
        """Sign, send and wait for the receipt, one after the other; seconds."""
        return await self._ask(do="whole", transactions=list(transactions), key=key.hex())

    async def _ask(self, **command: Any) -> float:
        if self._process.stdin is None:
            raise RuntimeError("web3's process takes no input")
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        await self._process.stdin.drain()
        return float((await self.answer())["seconds"])

    async def answer(self) -> dict[str, Any]:
        """The next line. :raises RuntimeError: it has ended"""
        line = await self._process.stdout.readline() if self._process.stdout else b""
        if not line:
            raise RuntimeError("web3's process has ended; its error stands above")
        found: dict[str, Any] = json.loads(line)
        return found


@asynccontextmanager
async def web3_side(rpc_url: str) -> AsyncIterator[Web3Side]:
    """Start it and wait until it is connected; ended afterwards."""
    script = str(ROOT / "bench" / "web3_peer.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, rpc_url,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_LINE_BYTES_MAX,
    )  # fmt: skip
    try:
        side = Web3Side(process)
        await side.answer()
        yield side
    finally:
        process.kill()
        await process.wait()
