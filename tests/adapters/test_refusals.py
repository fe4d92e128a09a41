"""Must show 5: nothing of ours is asked, the transfer is signed, sent and mined, and the contracts alone refuse it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fintokenx.adapters.chain import ChainClient, Deployment, Rpc, deploy
from fintokenx.adapters.chain.deployment import (
    AGENT,
    COMPLIANCE,
    REGISTRAR,
    SANCTIONS_AGE_SECONDS_MAX,
    UPDATER,
)
from fintokenx.adapters.chain.rpc import RpcError
from fintokenx.adapters.chain.signing import Unsigned, address_of, calldata, sign
from fintokenx.adapters.vault import LocalVault
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.chainwork.ports import Receipt, SignedTransaction
from fintokenx.lifecycle.tokenisation.ports import (
    Call,
    Claims,
    MintReceivable,
    RegisterIdentity,
    TransferToken,
)
from fintokenx.sandbox.anvil import CHAIN_ID, Anvil
from fintokenx.sandbox.processes import free_port
from tests.adapters.chain_network import eventually
from tests.support import ROOT

pytestmark = pytest.mark.anyio

NOW = 1_780_000_000
LIFE_SECONDS = 10**7
TOKEN = 0xABC
FACE = Pence(5000)
REQUIRED = Claims.KYC_VERIFIED | Claims.AML_CLEARED | Claims.JURISDICTION_UK
NOT_VERIFIED, SANCTIONS, FROZEN = "wallet not verified", "sanctions", "address frozen"
UNCLASSIFIED = "MiFID classification required"


@dataclass
class Network:
    """Contracts with one receivable, a sender that holds it, and a receiver whom nobody knows yet."""

    anvil: Anvil
    rpc: Rpc
    vault: LocalVault
    to: Deployment
    chain: ChainClient
    minting: str
    holder: str
    receiver: str

    # ── The lowest that can be asked: sign and send

    async def sent(self, call: Call) -> SignedTransaction:
        """Past every look of the platform at what it signs."""
        signed = await self.chain.sign(call, await self.chain.transaction_count(await self.chain.sender_of(call)))
        await self.chain.broadcast(signed.raw)
        return signed

    async def mined(self, call: Call) -> Receipt:
        """The receipt; each transaction makes a block of its own."""
        signed = await self.sent(call)
        return await eventually(lambda: self.chain.receipt(signed.tx_hash))

    async def write(self, key_name: str, contract: str, signature: str, *arguments: object) -> None:
        """A call by one of the network's roles."""
        nonce = await self.chain.transaction_count(address_of(await self.vault.ensure_secp256k1(key_name)))
        unsigned = Unsigned(CHAIN_ID, nonce, 400_000, contract, calldata(signature, *arguments))
        signed = await sign(self.vault, key_name, unsigned)
        await self.chain.broadcast(signed.raw)
        assert (await eventually(lambda: self.chain.receipt(signed.tx_hash))).succeeded, signature

    # ── Who stands how

    async def register(
        self, wallet: str, claims: Claims = REQUIRED, *, investor: bool = False, seconds: int = LIFE_SECONDS
    ) -> None:
        """What the platform does when it vouches for a wallet."""
        subject = bytes.fromhex(wallet[2:]).rjust(32, b"\0")
        call = RegisterIdentity(wallet, subject, claims, is_investor=investor, expires_at_unix=NOW + seconds)
        assert (await self.mined(call)).succeeded

    async def freeze(self, wallet: str, *, frozen: bool = True) -> None:
        """On the token."""
        await self.write(AGENT, self.to.token, "setAddressFrozen(address,bool)", wallet, frozen)

    async def flag(self, wallet: str) -> None:
        """On the sanctions rule."""
        await self.write(UPDATER, self.to.sanctions_rule, "setFlagged(address,bool)", wallet, True)

    async def lock(self) -> None:
        """The token id, for a year."""
        await self.write(COMPLIANCE, self.to.rules["LockupRule"], "setLock(uint256,uint64)", TOKEN, NOW + LIFE_SECONDS)

    async def pass_time(self, seconds: int) -> None:
        """The next block is so much later."""
        await self.anvil.control.call("evm_increaseTime", seconds)

    async def balances(self) -> dict[str, int]:
        """What the three hold."""
        wallets = (self.minting, self.holder, self.receiver)
        return {wallet: (await self.chain.holding(wallet, TOKEN)).value for wallet in wallets}


@pytest.fixture(scope="module")
async def deployed(anyio_backend: str) -> AsyncIterator[Network]:
    """One chain for all cases."""
    with tempfile.TemporaryDirectory(prefix="fxn-") as folder:
        anvil = Anvil(None, free_port(), run_dir=Path(folder), project_root=ROOT, genesis_timestamp=NOW)
        await anvil.start(NOW)
        rpc = Rpc([anvil.rpc_url])
        vault = LocalVault(Path(folder) / "vault", os.urandom)
        try:
            await anvil.control.pause()
            await anvil.control.call("evm_setAutomine", True)
            to = await deploy(rpc, vault, chain_id=CHAIN_ID, artifacts=ROOT / "contracts/artifacts", now_unix=NOW)
            chain = ChainClient(rpc, vault, to)
            holder, receiver = await chain.create_wallet("wallet/holder"), await chain.create_wallet("wallet/receiver")
            made = Network(anvil, rpc, vault, to, chain, await chain.minting_wallet(), holder, receiver)
            assert (await made.mined(MintReceivable(TOKEN, FACE, NOW + 10**6, b"d" * 32, made.minting))).succeeded
            await made.register(holder)
            half = Pence(FACE.value // 2)
            assert (await made.mined(TransferToken("", made.minting, holder, TOKEN, half))).succeeded
            yield made
        finally:
            await rpc.aclose()
            await anvil.stop()


@pytest.fixture
async def network(deployed: Network) -> AsyncIterator[Network]:
    """As it was deployed; what a case does to the chain is undone."""
    snapshot = await deployed.anvil.control.call("evm_snapshot")
    yield deployed
    assert await deployed.anvil.control.call("evm_revert", snapshot)


Obstacle = Callable[[Network], Awaitable[None]]


async def _unclaimed(network: Network) -> None:
    """Never registered."""


async def _without_claims(network: Network) -> None:
    """Registered once, and its claims taken away: what a freeze of its subject does (CH-16)."""
    await network.register(network.receiver)
    await network.register(network.receiver, Claims(0))


async def _expired(network: Network) -> None:
    await network.register(network.receiver, seconds=3600)
    await network.pass_time(2 * 3600)


async def _removed(network: Network) -> None:
    await network.register(network.receiver)
    await network.write(REGISTRAR, network.to.identity_registry, "deleteIdentity(address)", network.receiver)


async def _frozen(network: Network) -> None:
    await network.register(network.receiver)
    await network.freeze(network.receiver)


async def _flagged(network: Network) -> None:
    await network.register(network.receiver)
    await network.flag(network.receiver)


async def _stale(network: Network) -> None:
    """Nobody has said for two days that the lists were read."""
    await network.register(network.receiver)
    await network.pass_time(SANCTIONS_AGE_SECONDS_MAX + 60)


async def _locked(network: Network) -> None:
    await network.register(network.receiver)
    await network.lock()


def _lacking(missing: Claims) -> Obstacle:
    async def arrange(network: Network) -> None:
        await network.register(network.receiver, REQUIRED & ~missing)

    return arrange


async def _unclassified(network: Network) -> None:
    """An investor of whom only the MiFID class is not known."""
    await network.register(network.receiver, investor=True)


def _sender(arrange: Callable[[Network, str], Awaitable[None]]) -> Obstacle:
    """The receiver is beyond reproach; both who may send are not."""

    async def both(network: Network) -> None:
        await network.register(network.receiver)
        for wallet in (network.minting, network.holder):
            await arrange(network, wallet)

    return both


async def _loses_its_claims(network: Network, wallet: str) -> None:
    if wallet == network.minting:
        await network.write(REGISTRAR, network.to.identity_registry, "deleteIdentity(address)", wallet)
    else:
        await network.register(wallet, Claims(0))


CASES: dict[str, tuple[Obstacle, str]] = {
    "receiver unclaimed": (_unclaimed, NOT_VERIFIED),
    "receiver without claims": (_without_claims, NOT_VERIFIED),
    "receiver expired": (_expired, NOT_VERIFIED),
    "receiver removed": (_removed, NOT_VERIFIED),
    "receiver frozen": (_frozen, FROZEN),
    "receiver sanctioned": (_flagged, SANCTIONS),
    "sanctions list stale": (_stale, SANCTIONS),
    "token locked": (_locked, "token locked"),
    "receiver without KYC_VERIFIED": (_lacking(Claims.KYC_VERIFIED), "missing claim: KYC_VERIFIED"),
    "receiver without AML_CLEARED": (_lacking(Claims.AML_CLEARED), "missing claim: AML_CLEARED"),
    "receiver without JURISDICTION_UK": (_lacking(Claims.JURISDICTION_UK), "missing claim: JURISDICTION_UK"),
    "investor unclassified": (_unclassified, UNCLASSIFIED),
    "sender frozen": (_sender(Network.freeze), FROZEN),
    "sender sanctioned": (_sender(Network.flag), SANCTIONS),
    "sender without claims": (_sender(_loses_its_claims), NOT_VERIFIED),
}


async def _tried(network: Network) -> list[Receipt]:
    """A transfer out of the platform's wallet and one out of a lender's, both sent and mined."""
    calls = [
        TransferToken("", network.minting, network.receiver, TOKEN, Pence(1)),
        TransferToken("wallet/holder", network.holder, network.receiver, TOKEN, Pence(1)),
    ]
    return [await network.mined(call) for call in calls]


@pytest.mark.parametrize("case", CASES)
async def test_the_contracts_alone_refuse_and_say_why(network: Network, case: str) -> None:
    """P-18, CH-10 … CH-14, CH-16."""
    arrange, reason = CASES[case]
    await arrange(network)
    before = await network.balances()
    for receipt in await _tried(network):
        raw = await network.rpc.call("eth_getTransactionReceipt", receipt.tx_hash)
        assert (raw["status"], int(raw["blockNumber"], 16)) == ("0x0", receipt.block_number), "mined and reverted"
        assert raw["logs"] == []
        assert (receipt.succeeded, receipt.revert_reason) == (False, reason)
    assert await network.balances() == before
    assert await network.chain.supply(TOKEN) == FACE


@pytest.mark.parametrize(
    ("claims", "investor"),
    [(REQUIRED, False), (REQUIRED | Claims.MIFID_PROFESSIONAL, True), (REQUIRED | Claims.MIFID_ECP, True)],
    ids=["lender", "professional investor", "eligible counterparty"],
)
async def test_with_nothing_in_the_way_the_same_transfers_succeed(
    network: Network, claims: Claims, investor: bool
) -> None:
    """The twin: it is the obstacle that is refused and not the way of asking."""
    await network.register(network.receiver, claims, investor=investor)
    assert [(receipt.succeeded, receipt.revert_reason) for receipt in await _tried(network)] == [(True, "")] * 2
    assert (await network.balances())[network.receiver] == 2
    for wallet in await network.balances():
        assert int(await network.rpc.call("eth_getBalance", wallet, "latest"), 16) == 0, "nobody owns gas (TK-15)"


# ── The reason is the one that it had then


class NodeLikeBesu(Rpc):
    """Puts the revert's bytes into the receipt (revert-reason-enabled, as in deploy/besu) and traces nothing."""

    async def call(self, method: str, *parameters: Any) -> Any:
        if method.startswith("debug_"):
            raise RpcError(-32604, "Method not enabled", b"")
        answer = await super().call(method, *parameters)
        if method == "eth_getTransactionReceipt" and answer and answer["status"] == "0x0":
            trace = await super().call("debug_traceTransaction", parameters[0])
            answer["revertReason"] = trace["returnValue"]
        return answer


@pytest.mark.parametrize("node", [Rpc, NodeLikeBesu])
async def test_the_reason_is_that_of_its_block_also_when_the_obstacle_is_gone_by_the_time_one_asks(
    network: Network, node: type[Rpc]
) -> None:
    await _frozen(network)
    signed = await network.sent(TransferToken("", network.minting, network.receiver, TOKEN, Pence(1)))
    await network.freeze(network.receiver, frozen=False)
    rpc = node([network.anvil.rpc_url])
    try:
        chain = ChainClient(rpc, network.vault, network.to)
        receipt = await eventually(lambda: chain.receipt(signed.tx_hash))
    finally:
        await rpc.aclose()
    assert (receipt.succeeded, receipt.revert_reason) == (False, FROZEN)
