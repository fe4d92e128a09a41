"""Which contracts live where, and putting them there from the committed artifacts (contracts/README.md)."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import rlp
from eth_abi.abi import encode
from eth_utils.address import to_checksum_address
from eth_utils.conversions import to_bytes
from eth_utils.crypto import keccak

from fintokenx.adapters.chain.rpc import Rpc
from fintokenx.adapters.chain.signing import Unsigned, address_of, calldata, sign
from fintokenx.kernel.vault import Vault
from fintokenx.lifecycle.chainwork.ports import ChainUnavailable

OWNER: Final = "chain/owner"
AGENT: Final = "chain/agent"
REGISTRAR: Final = "chain/registrar"
COMPLIANCE: Final = "chain/compliance"
MINTER: Final = "chain/minter"
ISSUER: Final = "chain/issuer"
ANCHORER: Final = "chain/anchorer"
UPDATER: Final = "chain/sanctions-updater"
MINTING_WALLET: Final = "chain/minting-wallet"

SENDERS: Final = (OWNER, AGENT, REGISTRAR, COMPLIANCE, MINTER, ANCHORER, UPDATER, MINTING_WALLET)
"""Whose transactions a permissioned network must take (deploy/besu: ``accounts``). The issuer signs claims only."""

SANCTIONS_AGE_SECONDS_MAX: Final = 2 * 86_400
WALLET_LIFE_SECONDS: Final = 5 * 365 * 86_400
_GAS_DEPLOY: Final = 8_000_000
_GAS_CALL: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Deployment:
    """Addresses, checksummed. One set per environment (CH-05)."""

    chain_id: int
    topics: str
    issuers: str
    identity_registry: str
    sanctions_rule: str
    compliance: str
    token: str
    audit_anchor: str
    minting_wallet: str
    rules: dict[str, str]
    from_block: int = 0
    """No log of these contracts is older."""

    @classmethod
    def load(cls, path: Path) -> Deployment:
        """Read what :func:`deploy` wrote."""
        return cls(**json.loads(path.read_text()))

    def save(self, path: Path) -> None:
        """Write it for :meth:`load`."""
        path.write_text(json.dumps(asdict(self), indent=2, sort_keys=True) + "\n")


class DeploymentFailed(Exception):
    """A contract or a set-up call was not accepted."""


CLAIM_TOPICS: Final = ("KYC_VERIFIED", "AML_CLEARED", "MIFID_PROFESSIONAL", "MIFID_ECP", "JURISDICTION_UK")


class _Deployer:
    """Sends many transactions before it waits: contract addresses follow from sender and nonce (Yellow Paper §7)."""

    def __init__(self, rpc: Rpc, vault: Vault, chain_id: int, artifacts: Path) -> None:
        self.rpc = rpc
        self.vault = vault
        self.chain_id = chain_id
        self.artifacts = artifacts
        self.nonces: dict[str, int] = {}
        self.sent: dict[str, str] = {}

    async def address(self, key_name: str) -> str:
        return address_of(await self.vault.ensure_secp256k1(key_name))

    async def send(self, key_name: str, to: str | None, data: bytes) -> str:
        """Broadcast; the address of the contract that it will make, if it makes one."""
        sender = await self.address(key_name)
        if sender not in self.nonces:
            self.nonces[sender] = int(await self.rpc.call("eth_getTransactionCount", sender, "latest"), 16)
        nonce = self.nonces[sender]
        gas = _GAS_CALL if to else _GAS_DEPLOY
        signed = await sign(self.vault, key_name, Unsigned(self.chain_id, nonce, gas, to, data))
        await self.rpc.send(signed.raw)
        self.nonces[sender] = nonce + 1
        self.sent[signed.tx_hash] = f"{key_name} → {to or 'a new contract'}"
        return to_checksum_address(keccak(rlp.encode([to_bytes(hexstr=sender), nonce]))[-20:])

    async def settle(self) -> None:
        """Wait until everything sent is in a block."""
        for tx_hash, what in self.sent.items():
            receipt = await self._receipt(tx_hash)
            if receipt["status"] != "0x1":
                raise DeploymentFailed(what)
        self.sent.clear()

    async def _receipt(self, tx_hash: str) -> dict[str, Any]:
        for _ in range(300):
            receipt: dict[str, Any] | None = await self.rpc.call("eth_getTransactionReceipt", tx_hash)
            if receipt is not None:
                return receipt
            await asyncio.sleep(0.1)
        raise ChainUnavailable("no block in 30 s")

    async def create(self, name: str, types: list[str], *arguments: object) -> str:
        artifact = json.loads((self.artifacts / f"{name}.json").read_text())
        code = bytes.fromhex(artifact["bytecode"].removeprefix("0x"))
        return await self.send(OWNER, None, code + encode(types, arguments))


async def deploy(rpc: Rpc, vault: Vault, *, chain_id: int, artifacts: Path, now_unix: int) -> Deployment:
    """Deploy the suite in the order of contracts/README.md, name the issuer, and register fx_minting_wallet.

    :raises DeploymentFailed: a step was refused
    :raises ChainUnavailable: no node, or no blocks
    """
    make = _Deployer(rpc, vault, chain_id, artifacts)
    from_block = int(await rpc.call("eth_blockNumber"), 16)
    owner, agent, registrar = [await make.address(key) for key in (OWNER, AGENT, REGISTRAR)]
    topics = await make.create("FXClaimsTopicRegistry", [])
    issuers = await make.create("FXTrustedIssuersRegistry", ["address"], owner)
    registry = await make.create("FXIdentityRegistry", ["address"] * 4, topics, issuers, owner, registrar)
    rules = {
        "LockupRule": await make.create("LockupRule", ["address"] * 2, owner, await make.address(COMPLIANCE)),
        "SanctionsRule": await make.create(
            "SanctionsRule", ["uint64", "address", "address"],
            SANCTIONS_AGE_SECONDS_MAX, owner, await make.address(UPDATER),
        ),
    }  # fmt: skip
    compliance = await make.create("FXComplianceModularised", ["address"] * 3, registry, *rules.values())
    token = await make.create(
        "FXReceivableToken", ["string", "string", *["address"] * 4],
        "FinToken X Receivable", "FXR", compliance, owner, agent, await make.address(MINTER),
    )  # fmt: skip
    anchor = await make.create("FXAuditAnchor", ["address", "address"], owner, await make.address(ANCHORER))
    await make.send(OWNER, issuers, calldata("bindIdentityRegistry(address)", registry))
    topic_ids = [int.from_bytes(name.encode().ljust(32, b"\0"), "big") for name in CLAIM_TOPICS]
    issuer = await make.address(ISSUER)
    await make.send(OWNER, issuers, calldata("addTrustedIssuer(address,uint256[])", issuer, topic_ids))
    await make.settle()
    deployment = Deployment(
        chain_id=chain_id,
        topics=topics,
        issuers=issuers,
        identity_registry=registry,
        sanctions_rule=rules["SanctionsRule"],
        compliance=compliance,
        token=token,
        audit_anchor=anchor,
        minting_wallet=await make.address(MINTING_WALLET),
        rules=rules,
        from_block=from_block,
    )
    await _open_for_business(make, deployment, now_unix)
    return deployment


async def _open_for_business(make: _Deployer, to: Deployment, now_unix: int) -> None:
    """What depends on mined contracts: a fresh sanctions list, and the minting wallet's claims."""
    newest = await make.rpc.call("eth_getBlockByNumber", "latest", False)  # there is nobody yet whom a list could name
    await make.send(UPDATER, to.sanctions_rule, calldata("refresh(uint64)", int(newest["timestamp"], 16)))
    data = await registration(
        make.rpc, make.vault, to, wallet=to.minting_wallet, subject_hash=keccak(text="fx_minting_wallet"),
        country=826, claims=7, is_investor=False, expires_at_unix=now_unix + WALLET_LIFE_SECONDS,
    )  # fmt: skip
    await make.send(REGISTRAR, to.identity_registry, data)
    await make.settle()


async def registration(
    rpc: Rpc, vault: Vault, to: Deployment, *, wallet: str, subject_hash: bytes, country: int, claims: int,
    is_investor: bool, expires_at_unix: int,
) -> bytes:  # fmt: skip
    """Calldata of ``registerWallet``, with the issuer's signature over the registry's own digest of the claims."""
    signature = b""
    if claims:
        asked = calldata(
            "claimsDigest(address,bytes32,uint16,uint32,bool,uint64)",
            wallet, subject_hash, country, claims, is_investor, expires_at_unix,
        )  # fmt: skip
        answer = await rpc.call("eth_call", {"to": to.identity_registry, "data": "0x" + asked.hex()}, "latest")
        r, s, y_parity = await vault.sign_secp256k1(ISSUER, bytes.fromhex(answer.removeprefix("0x")))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([27 + y_parity])
    return calldata(
        "registerWallet(address,bytes32,uint16,uint32,bool,uint64,bytes)",
        wallet, subject_hash, country, claims, is_investor, expires_at_unix, signature,
    )  # fmt: skip
