"""A stranger's client: web3.py and OpenZeppelin's ERC-1155, neither of which knows this product, against anvil."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_utils.crypto import keccak
from web3 import Web3
from web3.exceptions import ContractLogicError

from fintokenx.adapters.chain import Deployment, Rpc, deploy
from fintokenx.adapters.chain.deployment import MINTER, REGISTRAR, registration
from fintokenx.adapters.chain.signing import Unsigned, address_of, calldata, sign
from fintokenx.adapters.vault import LocalVault
from fintokenx.sandbox.anvil import CHAIN_ID, Anvil
from fintokenx.sandbox.processes import free_port
from tests.contracts.receivers import ROOT, compiled, standard_abi

pytestmark = pytest.mark.anyio

NOW = 1_780_000_000
FIRST, SECOND = (int.from_bytes(keccak(text=name), "big") for name in ("FXR-INV-23A4F", "FXR-INV-23A4G"))
FACE = 1_234_567


class Stranger:
    """Knows the node, the token's address and the standard; holds its own keys."""

    def __init__(self, url: str, token: str) -> None:
        self.web3 = Web3(Web3.HTTPProvider(url))
        self.token = self.web3.eth.contract(address=Web3.to_checksum_address(token), abi=standard_abi("IERC1155"))

    def account(self, name: str) -> Any:
        return Account.from_key(keccak(text=f"a stranger's key: {name}"))

    def send(self, account: Any, call: Any) -> Any:
        """The receipt of a call or of a creation."""
        start = {"from": account.address, "nonce": self.web3.eth.get_transaction_count(account.address), "gasPrice": 0}
        signed = account.sign_transaction(call.build_transaction(start))
        receipt = self.web3.eth.wait_for_transaction_receipt(self.web3.eth.send_raw_transaction(signed.raw_transaction))
        assert receipt["status"] == 1
        return receipt

    def create(self, account: Any, abi: list[dict[str, Any]], code: str) -> Any:
        receipt = self.send(account, self.web3.eth.contract(abi=abi, bytecode=code).constructor())
        return self.web3.eth.contract(address=receipt["contractAddress"], abi=abi)

    def held(self, *pairs: tuple[str, int]) -> list[int]:
        held: list[int] = self.token.functions.balanceOfBatch(
            [who for who, _ in pairs], [each for _, each in pairs]
        ).call()
        return held


@dataclass
class Network:
    rpc: Rpc
    vault: LocalVault
    to: Deployment
    stranger: Stranger

    async def register(self, wallet: str) -> None:
        """What the platform does for a verified customer, whoever made the wallet."""
        data = await registration(
            self.rpc, self.vault, self.to, wallet=wallet, subject_hash=keccak(text=wallet), country=826, claims=15,
            is_investor=True, expires_at_unix=NOW + 10**7,
        )  # fmt: skip
        await self.platform(REGISTRAR, self.to.identity_registry, data)

    async def issue(self, holder: str, token_id: int) -> None:
        issued = calldata(
            "issueReceivable(address,uint256,uint256,uint64,bytes32)",
            holder, token_id, FACE, NOW + 10**6, keccak(b"invoice"),
        )  # fmt: skip
        await self.platform(MINTER, self.to.token, issued)

    async def platform(self, key_name: str, to: str, data: bytes) -> None:
        sender = address_of(await self.vault.ensure_secp256k1(key_name))
        nonce = int(await self.rpc.call("eth_getTransactionCount", sender, "latest"), 16)
        signed = await sign(self.vault, key_name, Unsigned(CHAIN_ID, nonce, 1_000_000, to, data))
        await self.rpc.send(signed.raw)
        receipt = await asyncio.to_thread(self.stranger.web3.eth.wait_for_transaction_receipt, signed.tx_hash)
        assert receipt["status"] == 1


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    """Contracts, deployed as in production; a block for each transaction."""
    with tempfile.TemporaryDirectory(prefix="fxs-") as folder:
        anvil = Anvil(None, free_port(), run_dir=Path(folder), project_root=ROOT, block_time_seconds=1,
                      genesis_timestamp=NOW)  # fmt: skip
        await anvil.start(NOW)
        await anvil.control.pause()
        await anvil.control.call("evm_setAutomine", True)
        rpc = Rpc([anvil.rpc_url])
        vault = LocalVault(Path(folder) / "vault", os.urandom)
        try:
            to = await deploy(rpc, vault, chain_id=CHAIN_ID, artifacts=ROOT / "contracts/artifacts", now_unix=NOW)
            yield Network(rpc, vault, to, Stranger(anvil.rpc_url, to.token))
        finally:
            await rpc.aclose()
            await anvil.stop()


async def two_holders(network: Network) -> tuple[Any, Any]:
    """Ada, who holds two receivables, and Bob, who may."""
    ada, bob = network.stranger.account("ada"), network.stranger.account("bob")
    for account in (ada, bob):
        await network.register(account.address)
    for token_id in (FIRST, SECOND):
        await network.issue(ada.address, token_id)
    return ada, bob


async def test_a_standard_client_recognises_reads_and_sends(network: Network) -> None:
    """ERC-165, both balances, a single transfer and a batch, and their events, by the standard's ABI alone."""
    client = network.stranger
    ada, bob = await two_holders(network)
    call = client.token.functions
    assert call.supportsInterface(bytes.fromhex("d9b67a26")).call()
    assert not call.supportsInterface(bytes.fromhex("ffffffff")).call()
    assert call.balanceOf(ada.address, FIRST).call() == FACE
    receipt = client.send(ada, call.safeTransferFrom(ada.address, bob.address, FIRST, 250_000, b"note"))
    (single,) = client.token.events.TransferSingle().process_receipt(receipt)
    assert dict(single["args"]) == {
        "operator": ada.address, "from": ada.address, "to": bob.address, "id": FIRST, "value": 250_000
    }  # fmt: skip
    batch = call.safeBatchTransferFrom(ada.address, bob.address, [FIRST, SECOND], [1, 2], b"")
    (many,) = client.token.events.TransferBatch().process_receipt(client.send(ada, batch))
    assert (many["args"]["ids"], many["args"]["values"]) == ([FIRST, SECOND], [1, 2])
    assert client.held((ada.address, FIRST), (bob.address, FIRST), (ada.address, SECOND), (bob.address, SECOND)) == [
        FACE - 250_001, 250_001, FACE - 2, 2
    ]  # fmt: skip


async def test_an_operator_sends_only_while_it_is_approved(network: Network) -> None:
    """A custodian in the standard's sense: the operator needs no claim of its own, the receiver does."""
    client = network.stranger
    ada, bob = await two_holders(network)
    operator, call = client.account("operator"), client.token.functions
    move = call.safeTransferFrom(ada.address, bob.address, FIRST, 10, b"")
    with pytest.raises(ContractLogicError):
        move.call({"from": operator.address})
    receipt = client.send(ada, call.setApprovalForAll(operator.address, True))
    (approval,) = client.token.events.ApprovalForAll().process_receipt(receipt)
    assert dict(approval["args"]) == {"account": ada.address, "operator": operator.address, "approved": True}
    assert call.isApprovedForAll(ada.address, operator.address).call()
    (moved,) = client.token.events.TransferSingle().process_receipt(client.send(operator, move))
    assert (moved["args"]["operator"], moved["args"]["from"]) == (operator.address, ada.address)
    client.send(ada, call.setApprovalForAll(operator.address, False))
    with pytest.raises(ContractLogicError):
        move.call({"from": operator.address})
    assert client.held((bob.address, FIRST)) == [10]


async def test_openzeppelins_holder_receives_holds_and_sends(network: Network) -> None:
    """A contract wallet over ERC1155Holder, registered like a person's."""
    client = network.stranger
    ada, bob = await two_holders(network)
    custodian = client.create(bob, *compiled()["Custodian"])
    call, wallet = client.token.functions, custodian.address
    to_it = call.safeTransferFrom(ada.address, wallet, FIRST, 100, b"")
    with pytest.raises(ContractLogicError):
        to_it.call({"from": ada.address})
    await network.register(wallet)
    client.send(ada, to_it)
    client.send(ada, call.safeBatchTransferFrom(ada.address, wallet, [FIRST, SECOND], [20, 3], b""))
    assert client.held((wallet, FIRST), (wallet, SECOND)) == [120, 3]
    client.send(bob, custodian.functions.send(client.token.address, bob.address, FIRST, 50))
    assert client.held((wallet, FIRST), (bob.address, FIRST)) == [70, 50]


async def test_a_contract_without_the_hook_gets_nothing(network: Network) -> None:
    """Registered as it is: the standard's acceptance check refuses."""
    client = network.stranger
    ada, bob = await two_holders(network)
    deaf = client.create(bob, *compiled()["Deaf"])
    await network.register(deaf.address)
    call = client.token.functions
    for move in (
        call.safeTransferFrom(ada.address, deaf.address, FIRST, 1, b""),
        call.safeBatchTransferFrom(ada.address, deaf.address, [FIRST], [1], b""),
    ):
        with pytest.raises(ContractLogicError):
            move.call({"from": ada.address})
    assert client.held((deaf.address, FIRST), (ada.address, FIRST)) == [0, FACE]
