"""Two EVMs that have no code in common: anvil (revm, in Rust) over JSON-RPC, and py-evm in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from eth.db.atomic import AtomicDB
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.shanghai import ShanghaiVM
from eth.vm.forks.shanghai.state import ShanghaiState
from eth.vm.message import Message
from eth_utils.address import to_canonical_address, to_checksum_address
from eth_utils.conversions import to_bytes
from eth_utils.crypto import keccak
from trie.constants import BLANK_NODE_HASH

from fintokenx.adapters.chain import Rpc
from fintokenx.sandbox.anvil import Anvil
from fintokenx.sandbox.processes import free_port
from tests.decisions.network import CHAIN_ID, GENESIS, ROOT

_GAS = 10_000_000


class AnvilMachine:
    """A node, asked through the product's client in batches."""

    def __init__(self, anvil: Anvil) -> None:
        self.anvil = anvil
        self.rpc = Rpc([anvil.rpc_url], timeout_seconds=60)

    async def ask(self, calls: Sequence[tuple[str, bytes]], now_unix: int | None = None) -> list[bytes]:
        """Time by block override, the fourth parameter of eth_call."""
        overrides = () if now_unix is None else ({}, {"time": hex(now_unix)})
        asked = [({"to": to, "data": "0x" + data.hex()}, "latest", *overrides) for to, data in calls]
        return [to_bytes(hexstr=answer) for answer in await self.rpc.call_many("eth_call", asked)]

    async def set_code(self, address: str, code: bytes) -> None:
        """anvil_setCode."""
        await self.rpc.call("anvil_setCode", address, "0x" + code.hex())


@asynccontextmanager
async def anvil_machine(folder: Path) -> AsyncIterator[AnvilMachine]:
    """A fresh anvil, stopped at the end."""
    anvil = Anvil(None, free_port(), run_dir=folder, project_root=ROOT, block_time_seconds=1, genesis_timestamp=GENESIS)
    await anvil.start(GENESIS)
    # A block for each transaction, none between: a block made during a batch makes anvil refuse the rest of the batch.
    await anvil.control.pause()
    await anvil.control.call("evm_setAutomine", True)
    machine = AnvilMachine(anvil)
    try:
        yield machine
    finally:
        await machine.rpc.aclose()
        await anvil.stop()


class PyEvmMachine:
    """Ethereum's reference implementation in Python (Shanghai); every transaction is a block of its own."""

    def __init__(self) -> None:
        self.state = ShanghaiState(AtomicDB(), self._context(GENESIS, 1), BLANK_NODE_HASH)
        self.rpc = _InProcess(self)

    @staticmethod
    def _context(timestamp: int, number: int) -> ExecutionContext:
        return ExecutionContext(
            coinbase=bytes(20), timestamp=timestamp, block_number=number, difficulty=0, mix_hash=bytes(32),
            gas_limit=50_000_000, prev_hashes=(), chain_id=CHAIN_ID, base_fee_per_gas=0,
        )  # fmt: skip

    async def ask(self, calls: Sequence[tuple[str, bytes]], now_unix: int | None = None) -> list[bytes]:
        """Each call runs on the same state."""
        self.state.execution_context = self._context(GENESIS + 60 if now_unix is None else now_unix, 2)
        return [self.call(to, data) for to, data in calls]

    async def set_code(self, address: str, code: bytes) -> None:
        """As anvil_setCode."""
        self.state.set_code(to_canonical_address(address), code)

    def call(self, to: str, data: bytes) -> bytes:
        """``eth_call``."""
        target = to_canonical_address(to)
        message = Message(
            gas=_GAS, to=target, sender=bytes(20), value=0, data=data, code=self.state.get_code(target), is_static=True
        )
        context = self.state.get_transaction_context_class()(gas_price=0, origin=bytes(20))
        snapshot = self.state.snapshot()
        computation = self.state.computation_class.apply_message(self.state, message, context)
        self.state.revert(snapshot)
        assert computation.is_success, computation.error
        return bytes(computation.output)

    def mine(self, raw: bytes) -> dict[str, Any]:
        """Run a signed transaction in a block of its own; its receipt."""
        self.state.execution_context = self._context(GENESIS + 60, 1)
        transaction = ShanghaiVM.get_transaction_builder().decode(raw)
        computation = self.state.apply_transaction(transaction)
        self.state.persist()
        made = transaction.to == b""
        address = to_checksum_address(computation.msg.storage_address) if made else None
        return {"status": "0x1" if computation.is_success else "0x0", "contractAddress": address}


class _InProcess(Rpc):
    """What deploying asks of a node, answered by py-evm."""

    def __init__(self, machine: PyEvmMachine) -> None:
        super().__init__([])
        self._machine = machine
        self._receipts: dict[str, dict[str, Any]] = {}

    async def call(self, method: str, *parameters: Any) -> Any:
        state = self._machine.state
        match method, parameters:
            case "eth_blockNumber", ():
                return "0x0"
            case "eth_getBlockByNumber", ("latest", False):
                return {"timestamp": hex(GENESIS + 60)}  # of the blocks that `mine` makes
            case "eth_getTransactionCount", (sender, _):
                return hex(state.get_nonce(to_canonical_address(sender)))
            case "eth_sendRawTransaction", (raw,):
                content = to_bytes(hexstr=raw)
                tx_hash = "0x" + keccak(content).hex()
                self._receipts[tx_hash] = self._machine.mine(content)
                return tx_hash
            case "eth_getTransactionReceipt", (tx_hash,):
                return self._receipts[tx_hash]
            case "eth_call", (asked, _):
                return "0x" + (await self._machine.ask([(asked["to"], to_bytes(hexstr=asked["data"]))]))[0].hex()
            case "eth_getCode", (address, _):
                return "0x" + state.get_code(to_canonical_address(address)).hex()
            case _:
                raise NotImplementedError(method)
