"""A real anvil: business time in its blocks, pause and resume, and a chain that outlives its process."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from fintokenx.kernel.errors import Unavailable
from fintokenx.sandbox.anvil import Anvil, AnvilMissing, ChainControl, Head, RpcRefused, anvil_binary
from fintokenx.sandbox.processes import ChildFailed, free_port

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
GENESIS = 1_800_000_000
WALLET = "0x" + "11" * 20
DAY = 86_400


def make(folder: Path, *, block_time_seconds: int = 1) -> Anvil:
    return Anvil(
        folder / "chain.json", free_port(), run_dir=folder, project_root=ROOT,
        block_time_seconds=block_time_seconds, genesis_timestamp=GENESIS,
    )  # fmt: skip


@pytest.fixture
async def anvil(tmp_path: Path) -> AsyncIterator[Anvil]:
    anvil = make(tmp_path)
    await anvil.start()
    yield anvil
    anvil.kill()


async def until(anvil: Anvil, condition: Callable[[Head], bool]) -> Head:
    """The first head that meets the condition."""
    deadline = time.monotonic() + 10
    while True:
        head = await anvil.control.head()
        if condition(head):
            return head
        assert time.monotonic() < deadline, head
        await asyncio.sleep(0.05)


async def blocks(anvil: Anvil, count: int) -> list[int]:
    """The timestamps of the next blocks, read one by one so that none is missed."""
    first = (await anvil.control.head()).number + 1
    await until(anvil, lambda head: head.number >= first + count - 1)
    found = [await anvil.control.call("eth_getBlockByNumber", hex(first + i), False) for i in range(count)]
    return [int(block["timestamp"], 16) for block in found]


async def test_it_is_our_network(tmp_path: Path) -> None:
    anvil = make(tmp_path, block_time_seconds=2)
    await anvil.start()
    try:
        call = anvil.control.call
        assert await call("eth_chainId") == hex(1981)
        assert await call("eth_gasPrice") == "0x0"
        assert await call("eth_accounts") == []
        block = await call("eth_getBlockByNumber", "latest", False)
        assert (block["timestamp"], block["gasLimit"], block["baseFeePerGas"]) == (hex(GENESIS), hex(50_000_000), "0x0")
        assert (await call("anvil_nodeInfo"))["hardFork"] == "Shanghai"
        first, second = await blocks(anvil, 2)
        assert second - first == 2
    finally:
        await anvil.stop()
    assert not anvil.running


async def test_blocks_follow_the_clock_and_tick_on(anvil: Anvil) -> None:
    await anvil.control.follow(GENESIS + 30 * DAY)
    times = await blocks(anvil, 3)
    assert GENESIS + 30 * DAY <= times[0] <= GENESIS + 30 * DAY + 3
    assert all(1 <= later - earlier <= 2 for earlier, later in itertools.pairwise(times))


async def times_up_to(anvil: Anvil, last: int) -> list[int]:
    found = [await anvil.control.call("eth_getBlockByNumber", hex(number), False) for number in range(last + 1)]
    return [int(block["timestamp"], 16) for block in found]


async def test_blocks_never_go_back(anvil: Anvil) -> None:
    await anvil.control.follow(GENESIS + DAY)
    ahead = await until(anvil, lambda head: head.timestamp >= GENESIS + DAY)
    await anvil.control.follow(GENESIS)
    head = await until(anvil, lambda head: head.number >= ahead.number + 2)
    times = await times_up_to(anvil, head.number)
    assert times == sorted(set(times))
    assert times[-1] <= GENESIS + DAY + 5


class Overtaken(ChainControl):
    """Lets somebody else mine a block of a later day, just between our look at the head and our setting the time."""

    done = False

    async def call(self, method: str, *parameters: object) -> Any:
        if method == "evm_setTime" and not self.done:
            self.done = True
            await super().call("evm_setNextBlockTimestamp", GENESIS + DAY)
            await super().call("evm_mine")
        return await super().call(method, *parameters)


async def test_blocks_do_not_go_back_when_two_set_the_time_at_once(anvil: Anvil) -> None:
    await Overtaken(anvil.rpc_url).follow(GENESIS + 100)
    mined = await until(anvil, lambda head: head.timestamp >= GENESIS + DAY)
    head = await until(anvil, lambda head: head.number >= mined.number + 2)
    times = await times_up_to(anvil, head.number)
    assert times == sorted(set(times))


async def test_a_paused_chain_stands_still_until_it_is_resumed(anvil: Anvil) -> None:
    await until(anvil, lambda head: head.number >= 1)
    await anvil.control.pause()
    held = await anvil.control.head()
    deadline = time.monotonic() + 2.5
    while time.monotonic() < deadline:
        assert await anvil.control.head() == held
        await asyncio.sleep(0.1)
    await anvil.control.follow(GENESIS + DAY)
    assert await anvil.control.head() == held
    await anvil.control.resume()
    resumed = await until(anvil, lambda head: head.number > held.number)
    assert GENESIS + DAY <= resumed.timestamp <= GENESIS + DAY + 5


async def test_a_restart_keeps_chain_balances_and_time(anvil: Anvil) -> None:
    await anvil.control.follow(GENESIS + 9 * DAY)
    await anvil.control.call("anvil_setBalance", WALLET, hex(4711))
    await until(anvil, lambda head: head.timestamp >= GENESIS + 9 * DAY)
    block = await anvil.control.call("eth_getBlockByNumber", "0x1", False)
    await anvil.control.pause()
    before = await anvil.control.head()
    await anvil.stop()
    with pytest.raises(Unavailable):
        await anvil.control.head()

    await anvil.start()
    assert await anvil.control.call("eth_getBalance", WALLET, "latest") == hex(4711)
    assert await anvil.control.call("eth_getBlockByNumber", "0x1", False) == block
    after = await until(anvil, lambda head: head.number > before.number)
    assert before.timestamp < after.timestamp <= before.timestamp + 5

    await anvil.stop()
    await anvil.start(GENESIS + 20 * DAY)
    after = await until(anvil, lambda head: head.number > after.number)
    assert GENESIS + 20 * DAY <= after.timestamp <= GENESIS + 20 * DAY + 5


async def test_a_crash_loses_seconds_and_not_the_chain(anvil: Anvil, tmp_path: Path) -> None:
    await anvil.control.call("anvil_setBalance", WALLET, hex(4711))
    saved = tmp_path / "chain.json"
    await until(anvil, lambda head: saved.exists() and WALLET in saved.read_text() and head.number >= 2)
    anvil.kill()
    await anvil.start()
    assert await anvil.control.call("eth_getBalance", WALLET, "latest") == hex(4711)
    assert (await anvil.control.head()).number >= 1


async def test_a_damaged_state_is_refused_and_the_previous_one_named(anvil: Anvil, tmp_path: Path) -> None:
    """A new chain in its place would contradict the database."""
    saved = tmp_path / "chain.json"
    await anvil.stop()
    await anvil.start()
    await anvil.stop()
    saved.write_text(saved.read_text()[:-100])
    with pytest.raises(ChildFailed, match=r"(?s)chain\.json\.previous.*failed to parse"):
        await anvil.start()
    saved.write_bytes((tmp_path / "chain.json.previous").read_bytes())
    await anvil.start()
    assert (await anvil.control.head()).timestamp >= GENESIS


async def test_a_taken_port_is_named(anvil: Anvil, tmp_path: Path) -> None:
    port = int(anvil.rpc_url.rsplit(":", 1)[1])
    second = Anvil(None, port, run_dir=tmp_path / "second", project_root=ROOT)
    with pytest.raises(ChildFailed, match=f"listens on port {port}"):
        await second.start()


async def test_the_nodes_own_refusal_is_told_apart_from_silence(anvil: Anvil) -> None:
    with pytest.raises(RpcRefused, match="no_such_method") as refusal:
        await anvil.control.call("no_such_method")
    assert refusal.value.rpc_code in (-32601, -32602)


def test_a_missing_binary_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AnvilMissing):
        anvil_binary(tmp_path)
