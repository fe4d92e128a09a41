"""The local chain: anvil, set up like the FinToken X Network (2 s blocks, no fees, Shanghai), and its controls.

Its blocks carry business time and it can be paused, so that timers and outages of the network can be tried.
Measured on anvil 1.7.1: ``evm_setTime`` makes blocks tick on from the new time, but it also goes back without a
murmur; time set so is not part of the saved state; the state file is rewritten in place, so a kill during the
write destroys it.
"""

from __future__ import annotations

import asyncio
import platform
import shutil
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fintokenx.kernel.errors import Unavailable
from fintokenx.sandbox.processes import POLL_SECONDS, Child, ChildFailed

CHAIN_ID = 1981
BLOCK_TIME_SECONDS = 2
_SYSTEM = "chain"
_NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # plain HTTP on loopback; loading the real ones is slow


class RpcRefused(RuntimeError):
    """The node answered with a JSON-RPC error; ``rpc_code`` is its number."""

    def __init__(self, method: str, rpc_code: int, message: str) -> None:
        self.rpc_code = rpc_code
        super().__init__(f"{method}: {message} ({rpc_code})")


@dataclass(frozen=True, slots=True)
class Head:
    """The newest block."""

    number: int
    timestamp: int
    """Unix seconds."""


class ChainControl:
    """Pause, resume and set the time of a running anvil, from any process that knows its address."""

    def __init__(self, rpc_url: str, *, block_time_seconds: int = BLOCK_TIME_SECONDS) -> None:
        self.rpc_url = rpc_url
        self._block_time_seconds = block_time_seconds

    async def call(self, method: str, *parameters: object) -> Any:
        """One JSON-RPC call; its result as the node spells it.

        :raises Unavailable: no useful answer
        :raises RpcRefused: the node's own error
        """
        import httpx  # here: whoever only asks whether it runs needs no HTTP client

        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)}
        try:
            # A client per call: controls are rare, and so it may be used from any event loop.
            async with httpx.AsyncClient(timeout=10.0, trust_env=False, verify=_NO_AUTHORITIES) as client:
                answer = (await client.post(self.rpc_url, json=body)).raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(_SYSTEM, f"no useful answer to {method}") from error
        if "error" in answer:
            raise RpcRefused(method, int(answer["error"]["code"]), str(answer["error"]["message"]))
        return answer["result"]

    async def head(self) -> Head:
        """The newest block."""
        block = await self.call("eth_getBlockByNumber", "latest", False)
        return Head(number=int(block["number"], 16), timestamp=int(block["timestamp"], 16))

    async def pause(self) -> None:
        """Stop producing blocks; transactions are still taken in and wait."""
        await self.call("evm_setIntervalMining", 0)

    async def resume(self) -> None:
        """Produce blocks again, the next one a block time from now; waiting transactions go into it."""
        await self.call("evm_setIntervalMining", self._block_time_seconds)

    async def follow(self, clock_unix: int) -> None:
        """Let blocks carry the time ``clock_unix`` (Unix seconds) from now on, ticking; never before the head.

        When the chain is ahead of the clock it waits for it, one second after its head.
        """
        head = await self.head()
        while True:
            target = max(clock_unix, head.timestamp + 1)
            await self.call("evm_setTime", target)
            # A block mined between the two calls may be newer than the target; then set it again before the next.
            head = await self.head()
            if head.timestamp < target:
                return


class Anvil:
    """The anvil process of a local system on 127.0.0.1.

    ``state_file`` keeps the chain over restarts (None: in memory only). ``<state_file>.previous`` is the state at
    the last successful start, for the day when a kill hits the node while it writes. ``run_dir`` takes log and
    pid file. ``genesis_timestamp`` (Unix seconds, None: machine time) counts for a chain that does not exist yet.
    Only the newest state is kept in memory: reads at an older block are refused, blocks and receipts remain.
    """

    def __init__(
        self,
        state_file: Path | None,
        port: int,
        *,
        run_dir: Path,
        project_root: Path,
        chain_id: int = CHAIN_ID,
        block_time_seconds: int = BLOCK_TIME_SECONDS,
        genesis_timestamp: int | None = None,
        state_interval_seconds: int = 2,
    ) -> None:
        self._state_file = state_file
        self._port = port
        self._project_root = project_root
        self._chain_id = chain_id
        self._genesis_timestamp = genesis_timestamp
        self._state_interval_seconds = state_interval_seconds
        self._child = Child("anvil", run_dir)
        self.control = ChainControl(f"http://127.0.0.1:{port}", block_time_seconds=block_time_seconds)

    @property
    def rpc_url(self) -> str:
        """Where it speaks JSON-RPC."""
        return self.control.rpc_url

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._child.alive

    async def start(self, clock_unix: int | None = None, *, deadline_seconds: float = 30.0) -> None:
        """Start it and let it produce blocks. Does nothing when it runs already.

        ``clock_unix`` is the business time to follow (Unix seconds). It matters for a kept chain, because the
        state does not hold it: without it the chain goes on one second after its head.

        :raises AnvilMissing: the binary is not installed
        :raises ChildFailed: it did not come up; with its log's tail
        """
        if self.running:
            return
        if _is_taken(self._port):  # or we would take the other one for ours
            raise ChildFailed(f"another process listens on port {self._port}")
        kept = self._keep_previous()
        self._child.start(self._command(fresh=kept is None))
        try:
            await self._wait_ready(deadline_seconds)
            if clock_unix is not None or kept is not None:
                await self.control.follow(clock_unix or 0)
            await self.control.resume()
        except BaseException:
            self._child.kill()
            raise
        if kept is not None and self._state_file is not None:
            kept.replace(_previous(self._state_file))  # the node has read it, so it is whole

    async def stop(self) -> None:
        """Stop it in order; it writes its state first."""
        await asyncio.to_thread(self._child.stop, 30.0)

    def kill(self) -> None:
        """End it at once (SIGKILL), as a crash would; at most the last seconds of the chain are lost."""
        self._child.kill()

    def _keep_previous(self) -> Path | None:
        """Copy the state aside before the node may overwrite it; None when there is none yet."""
        if self._state_file is None:
            return None
        self._state_file.parent.mkdir(parents=True, exist_ok=True)
        if not self._state_file.exists():
            return None
        return Path(shutil.copyfile(self._state_file, self._state_file.with_name(self._state_file.name + ".starting")))

    def _command(self, *, fresh: bool) -> list[str]:
        # It starts without mining: the first block of a kept chain must not be made before the time is set.
        command = [
            str(anvil_binary(self._project_root)), "--host", "127.0.0.1", "--port", str(self._port), "--no-mining",
            "--chain-id", str(self._chain_id), "--hardfork", "shanghai", "--gas-limit", "50000000",
            "--gas-price", "0", "--block-base-fee-per-gas", "0", "--disable-min-priority-fee",
            "--accounts", "0", "--prune-history", "--no-cors", "--quiet",
        ]  # fmt: skip
        if self._state_file is not None:
            command += ["--state", str(self._state_file), "--state-interval", str(self._state_interval_seconds)]
        if fresh and self._genesis_timestamp is not None:
            command += ["--timestamp", str(self._genesis_timestamp)]
        return command

    async def _wait_ready(self, deadline_seconds: float) -> None:
        deadline = time.monotonic() + deadline_seconds
        while True:
            if not self.running:
                raise ChildFailed(f"anvil ended on start{self._advice()}\n{self._child.log_tail()}")
            try:
                await self.control.call("eth_chainId")
            except Unavailable:
                if time.monotonic() > deadline:
                    raise ChildFailed(f"anvil not ready in {deadline_seconds:g} s\n{self._child.log_tail()}") from None
                await asyncio.sleep(POLL_SECONDS)
            else:
                return

    def _advice(self) -> str:
        if self._state_file is None or not _previous(self._state_file).exists():
            return ""
        return f"; if its state is damaged, {_previous(self._state_file)} is the one of the start before"


class AnvilMissing(RuntimeError):
    """anvil is not installed."""


def anvil_binary(project_root: Path) -> Path:
    """The anvil to run: npm's platform package under ``project_root``, else the one on PATH.

    The platform package comes first because npm's ``.bin/anvil`` is a script that only starts it.

    :raises AnvilMissing: there is none
    """
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    modules = project_root / "node_modules"
    own = modules / "@foundry-rs" / f"anvil-{platform.system().lower()}-{machine}" / "bin" / "anvil"
    for candidate in (own, modules / ".bin" / "anvil"):
        if candidate.exists():
            return candidate
    on_path = shutil.which("anvil")
    if on_path is None:
        raise AnvilMissing("anvil is neither in node_modules nor on PATH: run `npm ci`")
    return Path(on_path)


def _previous(state_file: Path) -> Path:
    return state_file.with_name(state_file.name + ".previous")


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
