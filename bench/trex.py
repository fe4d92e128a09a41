"""T-REX 4.1.6, the reference ERC-3643 suite, on the same chain: its npm packages, deployed as its own fixture does.

T-REX is GPL-3.0. It is fetched by npm into a folder that is thrown away, measured, and neither copied nor shipped.
Three claim topics, one trusted issuer, four modules that only read (country allow and restrict, transfer restriction,
token listing), all behind the proxies that it ships.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from bench.network import Hand
from fintokenx.adapters.chain.signing import calldata

PACKAGES: Final = ("@tokenysolutions/t-rex@4.1.6", "@onchain-id/solidity@2.1.0")
NOTE: Final = "measured in this run; ONCHAINID as its npm package ships it, not optimised"
RECORDED_NOTE: Final = "recorded on this anvil release with ONCHAINID optimised; npm did not give the packages now"
RECORDED: Final = {
    "transfer_warm": 425_851, "transfer_first": 442_951, "batch10_repeat": 2_538_661, "mint_repeat": 417_982,
    "onboarding": 1_318_952,
}  # fmt: skip
"""T-REX 4.1.6 compiled by its own settings (solc 0.8.17, 200 runs), three topics, the same four modules.
Onboarding is the sum of its five transactions."""

_OWNER, _SIGNER = "trex/owner", "trex/claim-signer"
_NOBODY = "0x" + "00" * 20
_COUNTRY = 826
_CLAIM = b"Some claim public data."
_TOPICS = [int.from_bytes(keccak(text=name), "big") for name in ("KYC_VERIFIED", "AML_CLEARED", "JURISDICTION_UK")]
_REGISTRY = "contracts/registry/implementation/"
_MODULES = (
    "CountryAllowModule", "CountryRestrictModule", "TransferRestrictModule", "TokenListingRestrictionsModule",
)  # fmt: skip


def install(folder: Path) -> bool:
    """Whether npm put the packages into ``folder``."""
    (folder / "package.json").write_text('{"private": true}')
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--legacy-peer-deps",
               "--loglevel=error", *PACKAGES]  # fmt: skip
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, timeout=180, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@dataclass
class Suite:
    """The deployed suite."""

    hand: Hand
    packages: Path
    token: str = ""
    registry: str = ""
    compliance: str = ""
    issuer: str = ""
    identities: str = ""

    async def deploy(self) -> None:
        """As test/fixtures/deploy-full-suite.fixture.ts, with ModularCompliance."""
        names = (
            ("contracts/token/", "Token"), (_REGISTRY, "ClaimTopicsRegistry"), (_REGISTRY, "IdentityRegistry"),
            (_REGISTRY, "IdentityRegistryStorage"), (_REGISTRY, "TrustedIssuersRegistry"),
            ("contracts/compliance/modular/", "ModularCompliance"),
        )  # fmt: skip
        implementations = [await self._create(path + name) for path, name in names]
        authority = await self._create(
            "contracts/proxy/authority/TREXImplementationAuthority", "bool,address,address", True, _NOBODY, _NOBODY
        )
        used = "addAndUseTREXVersion((uint8,uint8,uint8),(address,address,address,address,address,address))"
        version = encode(["(uint8,uint8,uint8)", f"({','.join(['address'] * 6)})"], [(4, 1, 6), tuple(implementations)])
        await self.hand.send(_OWNER, authority, keccak(text=used)[:4] + version)
        owner = await self.hand.address(_OWNER)
        library = await self._identity("Identity", "address,bool", owner, True)
        self.identities = await self._identity("proxy/ImplementationAuthority", "address", library)
        topics, issuers, storage, self.compliance = [
            await self._create(f"contracts/proxy/{name}Proxy", "address", authority)
            for name in (
                "ClaimTopicsRegistry",
                "TrustedIssuersRegistry",
                "IdentityRegistryStorage",
                "ModularCompliance",
            )
        ]
        self.registry = await self._create(
            "contracts/proxy/IdentityRegistryProxy", "address,address,address,address",
            authority, issuers, topics, storage,
        )  # fmt: skip
        identity = await self._identity("proxy/IdentityProxy", "address,address", self.identities, owner)
        self.token = await self._create(
            "contracts/proxy/TokenProxy", "address,address,address,string,string,uint8,address",
            authority, self.registry, self.compliance, "Reference", "REF", 2, identity,
        )  # fmt: skip
        await self._open_for_business(topics, issuers, storage, owner)
        await self._modules()

    async def _open_for_business(self, topics: str, issuers: str, storage: str, owner: str) -> None:
        call = self.hand.call
        await call(_OWNER, storage, "bindIdentityRegistry(address)", self.registry)
        for agent in (owner, self.token):
            await call(_OWNER, self.registry, "addAgent(address)", agent)
        await call(_OWNER, self.token, "addAgent(address)", owner)
        for topic in _TOPICS:
            await call(_OWNER, topics, "addClaimTopic(uint256)", topic)
        self.issuer = await self._identity("ClaimIssuer", "address", owner)
        signer = keccak(encode(["address"], [await self.hand.address(_SIGNER)]))
        await call(_OWNER, self.issuer, "addKey(bytes32,uint256,uint256)", signer, 3, 1)
        await call(_OWNER, issuers, "addTrustedIssuer(address,uint256[])", self.issuer, _TOPICS)
        await call(_OWNER, self.token, "unpause()")

    async def _modules(self) -> None:
        modules = {}
        for name in _MODULES:
            module = await self._create(f"contracts/compliance/modular/modules/{name}")
            proxy = await self._create(
                "contracts/compliance/modular/modules/ModuleProxy", "address,bytes", module, calldata("initialize()")
            )
            await self.hand.call(_OWNER, self.compliance, "addModule(address)", proxy)
            modules[name] = proxy
        await self._tell(modules["CountryAllowModule"], calldata("addAllowedCountry(uint16)", _COUNTRY))
        sender = await self.hand.address("trex/sender")
        await self._tell(modules["TransferRestrictModule"], calldata("allowUser(address)", sender))
        # Blacklisting, and nobody is listed: so the module does its work and lets pass.
        await self._tell(modules["TokenListingRestrictionsModule"], calldata("configureToken(uint8)", 2))

    async def _tell(self, module: str, data: bytes) -> None:
        await self.hand.call(_OWNER, self.compliance, "callModuleFunction(bytes,address)", data, module)

    async def onboard(self, key_name: str) -> int:
        """An investor's identity, entry and three claims; gas of all of it."""
        wallet = await self.hand.address(key_name)
        code = self._code("@onchain-id/solidity", "contracts/proxy/IdentityProxy")
        identity, gas = await self.hand.create(_OWNER, code + encode(["address", "address"], [self.identities, wallet]))
        enter = "registerIdentity(address,address,uint16)"
        gas += await self.hand.call(_OWNER, self.registry, enter, wallet, identity, _COUNTRY)
        for topic in _TOPICS:
            digest = keccak(encode(["address", "uint256", "bytes"], [identity, topic, _CLAIM]))
            signed = keccak(b"\x19Ethereum Signed Message:\n32" + digest)
            r, s, y_parity = await self.hand.vault.sign_secp256k1(_SIGNER, signed)
            signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([27 + y_parity])
            claim = (topic, 1, self.issuer, signature, _CLAIM, "")
            gas += await self.hand.call(
                key_name, identity, "addClaim(uint256,uint256,address,bytes,bytes,string)", *claim
            )
        return gas

    async def _create(self, path: str, types: str = "", *arguments: object) -> str:
        return await self._deployed("@tokenysolutions/t-rex", path, types, *arguments)

    async def _identity(self, path: str, types: str, *arguments: object) -> str:
        return await self._deployed("@onchain-id/solidity", f"contracts/{path}", types, *arguments)

    async def _deployed(self, package: str, path: str, types: str, *arguments: object) -> str:
        encoded = encode(types.split(","), arguments) if types else b""
        return (await self.hand.create(_OWNER, self._code(package, path) + encoded))[0]

    def _code(self, package: str, path: str) -> bytes:
        name = path.rsplit("/", 1)[1]
        artifact = self.packages / "node_modules" / package / "artifacts" / f"{path}.sol" / f"{name}.json"
        return bytes.fromhex(json.loads(artifact.read_text())["bytecode"].removeprefix("0x"))


async def measure(hand: Hand, packages: Path) -> dict[str, int]:
    """Gas by the same names as ours."""
    suite = Suite(hand, packages)
    await suite.deploy()
    gas = {"onboarding": await suite.onboard("trex/sender")}
    receivers = []
    for at in range(10):
        await suite.onboard(f"trex/receiver/{at}")
        receivers.append(await hand.address(f"trex/receiver/{at}"))
    sender, token = await hand.address("trex/sender"), suite.token
    await hand.call(_OWNER, token, "mint(address,uint256)", sender, 10_000_000)
    gas["mint_repeat"] = await hand.call(_OWNER, token, "mint(address,uint256)", sender, 250_000)
    send = "transfer(address,uint256)"
    gas["transfer_first"] = await hand.call("trex/sender", token, send, receivers[0], 250_000)
    gas["transfer_warm"] = await hand.call("trex/sender", token, send, receivers[0], 250_000)
    many = ("batchTransfer(address[],uint256[])", receivers, [25_000] * 10)
    await hand.call("trex/sender", token, *many)
    gas["batch10_repeat"] = await hand.call("trex/sender", token, *many)
    held = [550_000] + [50_000] * 9
    gas["burn_10_holders"] = await hand.call(_OWNER, token, "batchBurn(address[],uint256[])", receivers, held)
    return gas
