"""What docs/chain-operations.md says an operator does, done with the keys that it names: roles, hand-over, rotation,
new rules, a new token. Holdings stay what they are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.address import to_checksum_address

from fintokenx.adapters.chain.deployment import (
    AGENT,
    ANCHORER,
    COMPLIANCE,
    ISSUER,
    MINTER,
    OWNER,
    REGISTRAR,
    SENDERS,
    UPDATER,
)
from fintokenx.adapters.chain.rpc import RpcError
from fintokenx.adapters.chain.signing import Unsigned, calldata, selector, sign
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.tokenisation.ports import BurnReceivable, RegisterIdentity, TransferToken
from tests.adapters.chain_network import NOW, REQUIRED, ROOT, TOKEN, Network, eventually, network

pytestmark = pytest.mark.anyio

__all__ = ["network"]

FACE = Pence(5000)
NEXT_OWNER = "chain/owner/2"
NEXT_AGENT = "chain/agent/2"


@dataclass
class Operator:
    """Somebody with the keys, a terminal, and a receivable that a lender holds 2,000 of."""

    on: Network
    lender: str

    async def call(self, key: str, to: str | None, data: bytes) -> dict[str, Any]:
        """A transaction of this key; its receipt."""
        sender = await self.on.chain.create_wallet(key)
        nonce = await self.on.chain.transaction_count(sender)
        signed = await sign(self.on.vault, key, Unsigned(1981, nonce, 6_000_000, to, data))
        await self.on.chain.broadcast(signed.raw)
        await eventually(lambda: self.on.chain.receipt(signed.tx_hash))
        found: dict[str, Any] = await self.on.rpc.call("eth_getTransactionReceipt", signed.tx_hash)
        return found

    async def does(self, key: str, to: str, signature: str, *arguments: object) -> None:
        """A call that must succeed."""
        assert (await self.call(key, to, calldata(signature, *arguments)))["status"] == "0x1", signature

    async def refusal(self, key: str, to: str, signature: str, *arguments: object) -> bytes:
        """The four bytes of the error with which a contract refuses this key; nothing when it does not."""
        asked = {"from": await self.on.chain.create_wallet(key), "to": to}
        try:
            await self.on.rpc.call("eth_call", asked | {"data": "0x" + calldata(signature, *arguments).hex()}, "latest")
        except RpcError as refused:
            return refused.data[:4]
        return b""

    async def create(self, name: str, types: list[str], *arguments: object) -> str:
        """A contract of the committed artifacts, made by the owner."""
        artifact = json.loads((ROOT / "contracts/artifacts" / f"{name}.json").read_text())
        code = bytes.fromhex(artifact["bytecode"].removeprefix("0x"))
        receipt = await self.call(OWNER, None, code + encode(types, arguments))
        assert receipt["status"] == "0x1", name
        return to_checksum_address(receipt["contractAddress"])

    async def word(self, to: str, signature: str, *arguments: object) -> int:
        """What a contract answers."""
        asked = {"to": to, "data": "0x" + calldata(signature, *arguments).hex()}
        return int(await self.on.rpc.call("eth_call", asked, "latest"), 16)

    async def may_move(self) -> tuple[bool, str]:
        """Whether the minting wallet may send the lender a penny."""
        return await self.on.chain.can_transfer(self.on.deployment.minting_wallet, self.lender, TOKEN, Pence(1))

    async def holdings(self, token: str) -> tuple[int, int]:
        """Of the minting wallet and the lender."""
        minting, lender = [
            await self.word(token, "balanceOf(address,uint256)", wallet, TOKEN)
            for wallet in (self.on.deployment.minting_wallet, self.lender)
        ]
        return minting, lender


@pytest.fixture
async def operator(network: Network) -> Operator:
    lender = await network.lender(REQUIRED)
    assert (await network.minted()).succeeded
    minting = network.deployment.minting_wallet
    assert (await network.mined(TransferToken("", minting, lender, TOKEN, Pence(2000)))).succeeded
    return Operator(network, lender)


NOT_AGENT, NOT_OWNER, NOT_MINTER = (
    selector(f"{name}(address)") for name in ("NotAgent", "NotOwner", "NotMinter")
)  # fmt: skip


async def test_each_role_has_a_key_of_its_own_and_may_nothing_else(operator: Operator) -> None:
    to, token = operator.on.deployment, operator.on.deployment.token
    addresses = [await operator.on.chain.create_wallet(key) for key in (*SENDERS, ISSUER)]
    assert len(set(addresses)) == len(addresses) == 9
    hashed = b"s" * 32
    doors = {
        AGENT: (token, "pause()", ()),
        REGISTRAR: (to.identity_registry, "deleteIdentity(address)", (operator.lender,)),
        COMPLIANCE: (to.rules["LockupRule"], "setLock(uint256,uint64)", (TOKEN, NOW)),
        UPDATER: (to.sanctions_rule, "setFlagged(address,bool)", (operator.lender, True)),
        MINTER: (token, "createReceivable(uint256,uint256,uint64,bytes32)", (7, 1, NOW, hashed)),
        OWNER: (token, "setCompliance(address)", (to.compliance,)),
        ANCHORER: (to.audit_anchor, "", ()),
    }
    refusals = {MINTER: NOT_MINTER, OWNER: NOT_OWNER}
    for holder, (contract, signature, arguments) in doors.items():
        if not signature:
            continue  # the anchor's own rules stand in contracts/test/AuditAnchor.t.sol
        for key in doors:
            refused = await operator.refusal(key, contract, signature, *arguments)
            assert refused == (b"" if key == holder else refusals.get(holder, NOT_AGENT)), (key, signature)


async def test_ownership_of_every_contract_passes_when_the_next_owner_accepts_and_not_before(
    operator: Operator,
) -> None:
    to = operator.on.deployment
    owned = [to.token, to.identity_registry, to.issuers, to.sanctions_rule, to.rules["LockupRule"], to.audit_anchor]
    now, then = [await operator.on.chain.create_wallet(key) for key in (OWNER, NEXT_OWNER)]
    for contract in owned:
        await operator.does(OWNER, contract, "transferOwnership(address)", then)
        assert await operator.word(contract, "owner()") == int(now, 16)
        assert await operator.refusal(AGENT, contract, "acceptOwnership()") == selector("NotPendingOwner(address)")
        await operator.does(NEXT_OWNER, contract, "acceptOwnership()")
        assert await operator.word(contract, "owner()") == int(then, 16)
        assert await operator.refusal(OWNER, contract, "transferOwnership(address)", now) == NOT_OWNER


async def test_a_roles_key_is_replaced_without_a_gap(operator: Operator) -> None:
    token = operator.on.deployment.token
    old, new = [await operator.on.chain.create_wallet(key) for key in (AGENT, NEXT_AGENT)]
    await operator.does(OWNER, token, "addAgent(address)", new)
    assert await operator.refusal(AGENT, token, "pause()") == b""
    await operator.does(OWNER, token, "removeAgent(address)", old)
    assert await operator.refusal(AGENT, token, "pause()") == NOT_AGENT
    assert await operator.refusal(NEXT_AGENT, token, "pause()") == b""


async def test_a_rule_and_the_compliance_contract_are_replaced_and_no_holding_moves(operator: Operator) -> None:
    to, token = operator.on.deployment, operator.on.deployment.token
    before = await operator.holdings(token)
    updater, owner = [await operator.on.chain.create_wallet(key) for key in (UPDATER, OWNER)]
    sanctions = await operator.create("SanctionsRule", ["uint64", "address", "address"], 86_400, owner, updater)
    compliance = await operator.create(
        "FXComplianceModularised", ["address"] * 3, to.identity_registry, to.rules["LockupRule"], sanctions
    )
    assert await operator.refusal(AGENT, token, "setCompliance(address)", compliance) == NOT_OWNER
    assert await operator.may_move() == (True, "ok")
    await operator.does(OWNER, token, "setCompliance(address)", compliance)
    assert await operator.may_move() == (False, "sanctions"), "a list that nobody confirmed lets nothing through"
    await operator.does(UPDATER, sanctions, "setFlagged(address,bool)", operator.lender, True)
    await operator.does(UPDATER, sanctions, "refresh(uint64)", (await operator.on.chain.head()).timestamp_unix)
    assert await operator.may_move() == (False, "sanctions"), "who is flagged there must be flagged here first"
    await operator.does(UPDATER, sanctions, "setFlagged(address,bool)", operator.lender, False)
    assert await operator.may_move() == (True, "ok")
    assert await operator.holdings(token) == before == (3000, 2000)
    assert await operator.on.chain.supply(TOKEN) == FACE
    await operator.does(OWNER, token, "setCompliance(address)", to.compliance)
    assert await operator.may_move() == (True, "ok"), "and back again"


async def test_holders_are_migrated_to_a_new_token_penny_by_penny(operator: Operator) -> None:
    """No proxy: the old contract stands still for ever, the new one starts with the same ids and the same holders."""
    to, old = operator.on.deployment, operator.on.deployment.token
    owner, agent, minter = [await operator.on.chain.create_wallet(key) for key in (OWNER, AGENT, MINTER)]
    minting, lender, held = to.minting_wallet, operator.lender, await operator.holdings(old)
    await operator.does(AGENT, old, "pause()")
    new = await operator.create(
        "FXReceivableToken", ["string", "string", *["address"] * 4],
        "FinToken X Receivable", "FXR", to.compliance, owner, agent, minter,
    )  # fmt: skip
    due, document = NOW + 10**6, b"d" * 32
    create = "createReceivable(uint256,uint256,uint64,bytes32)"
    await operator.does(MINTER, new, create, TOKEN, FACE.value, due, document)
    minted = "batchMint(address[],uint256[],uint256[])"
    await operator.does(MINTER, new, minted, [minting, lender], [TOKEN] * 2, list(held))
    assert await operator.holdings(new) == held == (3000, 2000)
    assert (await operator.on.mined(BurnReceivable(TOKEN, (minting, lender), b"MIGRATED".ljust(32, b"\0")))).succeeded
    assert await operator.holdings(old) == (0, 0)
    again = await operator.refusal(MINTER, old, create, TOKEN, FACE.value, due, document)
    assert again == selector("ReceivableExists(uint256)"), "an id that was burned there is never made there again"
    move = "safeTransferFrom(address,address,uint256,uint256,bytes)"
    await operator.does("wallet/test/lender", new, move, lender, minting, TOKEN, 1, b"")
    assert await operator.holdings(new) == (3001, 1999)


async def test_a_new_issuers_key_voids_every_claim_until_the_wallets_are_registered_anew(operator: Operator) -> None:
    to, chain = operator.on.deployment, operator.on.chain
    now, then = [await chain.create_wallet(key) for key in (ISSUER, "chain/issuer/2")]
    topics = [int.from_bytes(name.encode().ljust(32, b"\0"), "big") for name in ("KYC_VERIFIED", "AML_CLEARED")]
    await operator.does(OWNER, to.issuers, "removeTrustedIssuer(address)", now)
    assert not await chain.is_verified(operator.lender)
    await operator.does(OWNER, to.issuers, "addTrustedIssuer(address,uint256[])", then, topics)
    assert not await chain.is_verified(operator.lender)
    await operator.does(OWNER, to.issuers, "removeTrustedIssuer(address)", then)
    every = [*topics, *(int.from_bytes(name.encode().ljust(32, b"\0"), "big") for name in ("JURISDICTION_UK",))]
    await operator.does(OWNER, to.issuers, "addTrustedIssuer(address,uint256[])", now, every)
    renewal = RegisterIdentity(operator.lender, b"s" * 32, REQUIRED, is_investor=False, expires_at_unix=NOW + 10**7)
    assert (await operator.on.mined(renewal)).succeeded
    assert await chain.is_verified(operator.lender)
