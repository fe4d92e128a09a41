"""Must show 5 on a whole platform without its own checks: the chain refuses, and the money is where it was."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fintokenx.adapters.chain import ChainClient, Deployment, Rpc
from fintokenx.adapters.chain.deployment import AGENT, REGISTRAR, UPDATER
from fintokenx.adapters.chain.signing import Unsigned, address_of, calldata, sign
from fintokenx.app.api_client import eventually
from fintokenx.kernel.vault import Vault
from fintokenx.lifecycle.chainwork.ports import SignedTransaction
from fintokenx.lifecycle.tokenisation.ports import Claims, RegisterIdentity
from fintokenx.sandbox.anvil import CHAIN_ID
from tests.failures.house import Company, House, open_house
from tests.network.lossy import LossyWire
from tests.network.system import WiredSystem
from tests.story.house import superuser
from tests.support.wire import laid

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

REQUIRED = Claims.KYC_VERIFIED | Claims.AML_CLEARED | Claims.JURISDICTION_UK


@pytest.fixture(scope="module")
async def house(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A platform that checks nothing, its people, and what they trade."""
    async with laid(LossyWire()) as wire:
        system = WiredSystem("unchecked", wire, "tests.network.unchecked")
        async with open_house(tmp_path_factory.mktemp("unchecked"), system) as running:
            with running.at_home():
                await running.cast()
                yield running


@dataclass
class Network:
    """The contracts, in the hands of those who may write to them, beside the platform."""

    rpc: Rpc
    vault: Vault
    to: Deployment
    wallet: str
    subject_hash: bytes

    async def write(self, key_name: str, contract: str, signature: str, *arguments: object) -> None:
        """A call by a role of the network."""
        unsigned = Unsigned(CHAIN_ID, await self._nonce(key_name), 400_000, contract, calldata(signature, *arguments))
        await self._mined(await sign(self.vault, key_name, unsigned))

    async def register(self, *, investor: bool = False) -> None:
        """The lender's wallet, with the claims of a lender."""
        head = await self.rpc.call("eth_getBlockByNumber", "latest", False)
        until = int(head["timestamp"], 16) + 10**7
        call = RegisterIdentity(self.wallet, self.subject_hash, REQUIRED, is_investor=investor, expires_at_unix=until)
        chain = ChainClient(self.rpc, self.vault, self.to)
        await self._mined(await chain.sign(call, await self._count(await chain.sender_of(call))))

    async def _nonce(self, key_name: str) -> int:
        return await self._count(address_of(await self.vault.ensure_secp256k1(key_name)))

    async def _count(self, sender: str) -> int:
        return int(await self.rpc.call("eth_getTransactionCount", sender, "latest"), 16)

    async def _mined(self, signed: SignedTransaction) -> None:
        await self.rpc.send(signed.raw)

        async def receipt() -> Any:
            return await self.rpc.call("eth_getTransactionReceipt", signed.tx_hash)

        assert (await eventually("the block", receipt, seconds=60))["status"] == "0x1"


@pytest.fixture
async def network(house: House) -> AsyncIterator[Network]:
    """As it stands for the lender."""
    lender = await house.company("lender")
    wallet = await eventually("the lender's wallet", lambda: _wallet_of(house, lender), seconds=60)
    to = Deployment.load(Path(house.system.settings().chain_deployment))
    rpc = Rpc([house.anvil.rpc_url])
    asked = {"to": to.identity_registry, "data": "0x" + calldata("subjectOf(address)", wallet).hex()}
    subject_hash = bytes.fromhex((await rpc.call("eth_call", asked, "latest")).removeprefix("0x"))
    found = Network(rpc, house.system.vault(), to, wallet, subject_hash)
    try:
        yield found
    finally:
        await rpc.aclose()


async def _wallet_of(house: House, company: Company) -> str | None:
    async with superuser(house.system) as rows:
        found: str | None = await rows.fetchval(
            "select address from app.wallets where subject_id = $1 and state = 'REGISTERED'", company.subject_id
        )
        return found


@asynccontextmanager
async def _unclaimed(network: Network) -> AsyncIterator[None]:
    await network.write(REGISTRAR, network.to.identity_registry, "deleteIdentity(address)", network.wallet)
    yield
    await network.register()


@asynccontextmanager
async def _frozen(network: Network) -> AsyncIterator[None]:
    await network.write(AGENT, network.to.token, "setAddressFrozen(address,bool)", network.wallet, True)
    yield
    await network.write(AGENT, network.to.token, "setAddressFrozen(address,bool)", network.wallet, False)


@asynccontextmanager
async def _sanctioned(network: Network) -> AsyncIterator[None]:
    await network.write(UPDATER, network.to.sanctions_rule, "setFlagged(address,bool)", network.wallet, True)
    yield
    await network.write(UPDATER, network.to.sanctions_rule, "setFlagged(address,bool)", network.wallet, False)


@asynccontextmanager
async def _unclassified(network: Network) -> AsyncIterator[None]:
    await network.register(investor=True)
    yield
    await network.register()


CASES: dict[str, tuple[Callable[[Network], AbstractAsyncContextManager[None]], str]] = {
    "unclaimed": (_unclaimed, "wallet not verified"),
    "frozen": (_frozen, "address frozen"),
    "sanctioned": (_sanctioned, "sanctions"),
    "unclassified": (_unclassified, "MiFID classification required"),
}


@pytest.mark.parametrize("case", CASES)
async def test_the_chain_refuses_the_buyers_wallet_and_the_money_is_where_it_was(
    house: House, network: Network, case: str
) -> None:
    """P-18, SE-05: paid in, refused by the contract for its own reason, paid back; the seller is paid nothing."""
    obstacle, reason = CASES[case]
    paper = await house.take_listed()
    seller, lender = await house.company("seller"), await house.company("lender")
    before = [await _balance(house, company) for company in (seller, lender)]
    async with obstacle(network):
        payment_id = await house.fund(paper)
        await house.payment_is(payment_id, "REFUNDED")
    payment = await house.payment(payment_id)
    async with superuser(house.system) as rows:
        sent = await rows.fetchrow(
            "select state, revert_reason, tx_hash from app.chain_tx where business_key = $1", payment_id
        )
    assert (sent["state"], sent["revert_reason"]) == ("REVERTED", reason)
    receipt = await network.rpc.call("eth_getTransactionReceipt", sent["tx_hash"])
    assert (receipt["status"], receipt["logs"]) == ("0x0", []), "it was sent, mined, and moved nothing"
    assert payment["end_reason"] == reason
    token = await house.partner.get(f"/v1/invoices/{paper.reference}/token")
    assert (token["state"], token["holder_wallet"]) == ("MINTED", network.to.minting_wallet)
    assert [await _balance(house, company) for company in (seller, lender)] == before
    effects = {
        row["endToEndId"]: row["effects"] for row in await house.instructions() if payment_id in row["endToEndId"]
    }
    assert effects == {payment_id: 1, f"{payment_id}-R": 1}
    assert await house.state(paper) == "LISTED"
    await house.books_agree()


async def test_without_an_obstacle_the_same_platform_funds(house: House, network: Network) -> None:
    """The twin."""
    paper = await house.take_listed()
    await house.payment_is(await house.fund(paper), "CLOSED")
    assert (await house.partner.get(f"/v1/invoices/{paper.reference}/token"))["holder_wallet"] == network.wallet


async def _balance(house: House, company: Company) -> int:
    place = f"{house.controls['bank']}/control/accounts/{company.sort_code}/{company.account_number}"
    return int((await house.http.get(place)).json()["balance_pence"])
