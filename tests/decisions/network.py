"""The state that the table asks about, made on any EVM by the product's own code and real signed transactions.

One thing is no transaction: a compliance contract that fails. Ours cannot, so its code is replaced by one that reverts.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from fintokenx.adapters.chain import Deployment, Rpc, deploy
from fintokenx.adapters.chain.deployment import (
    AGENT,
    CLAIM_TOPICS,
    COMPLIANCE,
    ISSUER,
    MINTER,
    OWNER,
    REGISTRAR,
    SANCTIONS_AGE_SECONDS_MAX,
    UPDATER,
    registration,
)
from fintokenx.adapters.chain.signing import Unsigned, address_of, calldata, sign
from fintokenx.adapters.vault import LocalVault
from fintokenx.lifecycle.tokenisation.ports import Claims
from tests.decisions.prediction import (
    HoldingSnapshot,
    NetworkSnapshot,
    ReceivableSnapshot,
    TransferSnapshot,
    WalletSnapshot,
)
from tests.decisions.table import (
    TOKEN_RECEIVERS,
    TOKEN_SENDERS,
    Actor,
    Flag,
    Id,
    Listing,
    Lock,
    Row,
    Standing,
    Table,
    token_id,
)

ROOT = Path(__file__).parents[2]
ARTIFACTS = ROOT / "contracts/artifacts"
CHAIN_ID = 1981
GENESIS = 1_780_000_000
FIRST_MOMENT = GENESIS + 3_600
FAR = GENESIS + 10**8
FACE = 10**6
REVERTS = bytes.fromhex("60006000fd")
_REASON = "canTransferReason(address,address,uint256,uint256)"


class Machine(Protocol):
    """An EVM that can be asked at a chosen time."""

    rpc: Rpc

    async def ask(self, calls: Sequence[tuple[str, bytes]], now_unix: int | None = None) -> list[bytes]:
        """``eth_call`` of each (to, data), in order."""
        ...

    async def set_code(self, address: str, code: bytes) -> None:
        """Replace a contract's code."""
        ...


@dataclass
class Network:
    """The suite and all actors of a table on one machine; a second token asks rules whose list was never confirmed."""

    machine: Machine
    vault: LocalVault
    table: Table
    to: Deployment = field(init=False)
    unset_token: str = field(init=False)
    updated_at: int = field(init=False)
    _nonces: dict[str, int] = field(default_factory=dict)
    _sent: list[str] = field(default_factory=list)

    async def build(self) -> None:
        """Deploy, register, mint, freeze, retire."""
        rpc = self.machine.rpc
        self.to = await deploy(rpc, self.vault, chain_id=CHAIN_ID, artifacts=ARTIFACTS, now_unix=GENESIS)
        await self._second_token()
        await self._actors()
        await self._receivables()
        await self._flags()
        self.updated_at = await self._number(self.to.sanctions_rule, "updatedAt()")

    # --- the steps ---

    async def _second_token(self) -> None:
        owner, agent, updater, minter = [await self._address(key) for key in (OWNER, AGENT, UPDATER, MINTER)]
        listing = await self._create(
            "SanctionsRule", "(uint64,address,address)", SANCTIONS_AGE_SECONDS_MAX, owner, updater
        )
        registry = self.to.identity_registry
        compliance = await self._create(
            "FXComplianceModularised", "(address,address,address)", registry, self.to.rules["LockupRule"], listing
        )
        self.unset_token = await self._create(
            "FXReceivableToken", "(string,string,address,address,address,address)",
            "Twin", "TWN", compliance, owner, agent, minter,
        )  # fmt: skip
        await self.settle()

    async def _actors(self) -> None:
        actors = [actor for actor in self.table.actors() if actor.standing is not Standing.UNKNOWN]
        await self._register([(a.address, a, a) for a in actors if a.standing is Standing.OLD_ISSUER])
        issuer = await self._address(ISSUER)
        topics = [int.from_bytes(name.encode().ljust(32, b"\0"), "big") for name in CLAIM_TOPICS]
        await self.send(OWNER, self.to.issuers, "updateIssuerClaimTopics(address,uint256[])", issuer, topics)
        await self.settle()
        # Who is to hold or to be recovered must be verified for that; its claims are revoked later.
        parties, anybody = TOKEN_SENDERS + TOKEN_RECEIVERS, Actor("for now")
        living = [a for a in actors if a.standing is not Standing.OLD_ISSUER]
        await self._register([(a.address, anybody if a in parties else a, a) for a in living])
        await self._register([(_heir(a), anybody, a) for a in parties if a.flag is Flag.RETIRED])
        for actor in self.table.actors():
            if actor.sanctioned:
                await self.send(UPDATER, self.to.sanctions_rule, "setFlagged(address,bool)", actor.address, True)
        await self.settle()

    async def _register(self, entries: Sequence[tuple[str, Actor, Actor]]) -> None:
        """Each wallet with the claims of one actor, as the subject of another."""
        await self.settle()  # a question that meets a new block is refused by anvil: so first all questions
        calls = [
            await registration(
                self.machine.rpc, self.vault, self.to, wallet=wallet, subject_hash=_subject(subject), country=826,
                claims=int(actor.claims), is_investor=actor.is_investor,
                expires_at_unix=FIRST_MOMENT if actor.standing is Standing.EXPIRED else FAR,
            )
            for wallet, actor, subject in entries
        ]  # fmt: skip
        for data in calls:
            await self._send(REGISTRAR, self.to.identity_registry, data)
        await self.settle()

    async def _receivables(self) -> None:
        lives = [token_id(Id.LIVE, lock) for lock in Lock]
        lasting = [*lives, token_id(Id.PAUSED)]
        burned = [token_id(Id.BURNED), token_id(Id.BURNED_PAUSED)]
        create = "createReceivable(uint256,uint256,uint64,bytes32)"
        for each in (*lasting, *burned):
            await self.send(MINTER, self.to.token, create, each, FACE, FAR, b"d" * 32)
        for each in lives:
            await self.send(MINTER, self.unset_token, create, each, FACE, FAR, b"d" * 32)
        await self.settle()
        for actor in TOKEN_SENDERS:
            for each in (lasting[0], lasting[-1]) if actor.balance else ():
                await self.send(
                    MINTER, self.to.token, "mint(address,uint256,uint256)", actor.address, each, actor.balance
                )
        await self.settle()
        locks = {Lock.OVER: FIRST_MOMENT, Lock.LOCKED: FAR}
        for lock, until in locks.items():
            await self.send(
                COMPLIANCE, self.to.rules["LockupRule"], "setLock(uint256,uint64)", token_id(Id.LIVE, lock), until
            )
        for state in (Id.PAUSED, Id.BURNED_PAUSED):
            await self.send(AGENT, self.to.token, "pauseToken(uint256)", token_id(state))
        for each in burned:
            await self.send(AGENT, self.to.token, "burnReceivable(uint256,address[],bytes32)", each, [], b"b" * 32)
        await self.settle()

    async def _flags(self) -> None:
        for actor in TOKEN_SENDERS + TOKEN_RECEIVERS:
            token, address = self.to.token, actor.address
            for state in (Id.LIVE, Id.PAUSED) if actor.frozen else ():
                frozen = (address, token_id(state), actor.frozen)
                await self.send(AGENT, token, "setFrozenTokens(address,uint256,uint256)", *frozen)
            if actor.flag is Flag.RETIRED:
                recover = "recoveryAddress(address,address,bytes32,uint256[])"
                await self.send(AGENT, token, recover, address, _heir(actor), _subject(actor), [])
            if actor.flag is Flag.FROZEN:
                await self.send(AGENT, token, "setAddressFrozen(address,bool)", address, True)
        unverified = [actor for actor in TOKEN_SENDERS + TOKEN_RECEIVERS if not actor.claims]
        await self._register([(actor.address, actor, actor) for actor in unverified])

    # --- transactions ---

    async def send(self, key_name: str, to: str, signature: str, *arguments: object) -> None:
        """Broadcast a call; :meth:`settle` waits for it."""
        await self._send(key_name, to, calldata(signature, *arguments))

    async def settle(self) -> None:
        """Wait for all that was sent; each must have succeeded."""
        for tx_hash in self._sent:
            receipt: Any = None
            while receipt is None:  # the test's own time limit ends a chain that stands still
                receipt = await self.machine.rpc.call("eth_getTransactionReceipt", tx_hash)
                if receipt is None:
                    await asyncio.sleep(0.05)
            assert receipt["status"] == "0x1", receipt
        self._sent.clear()

    async def _create(self, name: str, types: str, *arguments: object) -> str:
        code = bytes.fromhex(json.loads((ARTIFACTS / f"{name}.json").read_text())["bytecode"].removeprefix("0x"))
        tx_hash = await self._send(OWNER, None, code + encode(types[1:-1].split(","), arguments))
        await self.settle()
        receipt = await self.machine.rpc.call("eth_getTransactionReceipt", tx_hash)
        return str(receipt["contractAddress"])

    async def _send(self, key_name: str, to: str | None, data: bytes) -> str:
        sender = await self._address(key_name)
        if key_name not in self._nonces:
            self._nonces[key_name] = int(await self.machine.rpc.call("eth_getTransactionCount", sender, "latest"), 16)
        unsigned = Unsigned(CHAIN_ID, self._nonces[key_name], 6_000_000 if to is None else 400_000, to, data)
        signed = await sign(self.vault, key_name, unsigned)
        await self.machine.rpc.call("eth_sendRawTransaction", "0x" + signed.raw.hex())
        self._nonces[key_name] += 1
        self._sent.append(signed.tx_hash)
        return signed.tx_hash

    async def _address(self, key_name: str) -> str:
        return address_of(await self.vault.ensure_secp256k1(key_name))

    # --- questions ---

    def moment(self, listing: Listing) -> int:
        """When a row is asked."""
        last = self.updated_at + SANCTIONS_AGE_SECONDS_MAX
        return {Listing.LAST_SECOND: last, Listing.STALE: last + 1}.get(listing, FIRST_MOMENT)

    async def answers(self, rows: Sequence[Row]) -> list[tuple[bool, str]]:
        """What the token answers to rows, in order, in the states of the network that they want."""
        found: dict[int, tuple[bool, str]] = {}
        for paused in (False, True):
            if paused:
                await self.send(AGENT, self.to.token, "pause()")
                await self.settle()
            code = await self.machine.rpc.call("eth_getCode", self.to.compliance, "latest")
            for fails in (False, True):
                if fails:
                    await self.machine.set_code(self.to.compliance, REVERTS)
                for listing in Listing:
                    chosen = [
                        at for at, row in enumerate(rows)
                        if (row.paused, row.compliance_fails, row.listing) == (paused, fails, listing)
                    ]  # fmt: skip
                    token = self.unset_token if listing is Listing.UNSET else self.to.token
                    calls = [(token, _question(rows[at])) for at in chosen]
                    words = await self.machine.ask(calls, self.moment(listing))
                    found |= {at: _answer(word) for at, word in zip(chosen, words, strict=True)}
            await self.machine.set_code(self.to.compliance, bytes.fromhex(code.removeprefix("0x")))
        return [found[at] for at in range(len(rows))]

    async def snapshots(self, rows: Sequence[Row]) -> list[TransferSnapshot]:
        """What stands on this machine's chain of every row, as the predictor wants it; pauses as the row says."""
        actors = self.table.actors()
        words = await self._numbers(self.to.identity_registry, "statusWord(address)", [(a.address,) for a in actors])
        frozen = await self._numbers(self.to.token, "isFrozen(address)", [(a.address,) for a in actors])
        listed = await self._numbers(self.to.sanctions_rule, "isFlagged(address)", [(a.address,) for a in actors])
        wallets = {
            actor: WalletSnapshot(word, bool(ice), bool(flag))
            for actor, word, ice, flag in zip(actors, words, frozen, listed, strict=True)
        }
        receivables = {each: await self._receivable(each) for each in {row.token_id for row in rows}}
        places = list({(row.sender.address, row.token_id) for row in rows})
        balances = await self._numbers(self.to.token, "balanceOf(address,uint256)", places)
        ices = await self._numbers(self.to.token, "getFrozenTokens(address,uint256)", places)
        holdings = {
            place: HoldingSnapshot(balance, ice) for place, balance, ice in zip(places, balances, ices, strict=True)
        }
        generation = await self._number(self.to.identity_registry, "issuerGeneration()")
        age_max = await self._number(self.to.sanctions_rule, "maxAgeSeconds()")
        return [
            TransferSnapshot(
                sender=wallets[row.sender],
                receiver=wallets[row.receiver],
                receivable=receivables[row.token_id],
                holding=holdings[row.sender.address, row.token_id],
                network=NetworkSnapshot(
                    now_unix=self.moment(row.listing),
                    paused=row.paused,
                    issuer_generation=generation,
                    sanctions_updated_at_unix=0 if row.listing is Listing.UNSET else self.updated_at,
                    sanctions_age_seconds_max=age_max,
                    compliance_answers=not row.compliance_fails,
                ),
                amount_pence=row.amount,
            )
            for row in rows
        ]

    async def _receivable(self, each: int) -> ReceivableSnapshot:
        stored = (await self.machine.ask([(self.to.token, calldata("receivableOf(uint256)", each))]))[0]
        exists, burned = stored[159], stored[191]
        paused = await self._number(self.to.token, "tokenPaused(uint256)", each)
        until = await self._number(self.to.rules["LockupRule"], "lockedUntil(uint256)", each)
        return ReceivableSnapshot(bool(exists), bool(burned), bool(paused), until)

    async def _number(self, to: str, signature: str, *arguments: object) -> int:
        return (await self._numbers(to, signature, [arguments]))[0]

    async def _numbers(self, to: str, signature: str, each: Iterable[Sequence[object]]) -> list[int]:
        words = await self.machine.ask([(to, calldata(signature, *arguments)) for arguments in each])
        return [int.from_bytes(word[:32], "big") for word in words]


def vault_in(folder: Path) -> LocalVault:
    """The same keys on every machine, so that the same table has the same addresses and the same bytes."""
    drawn = iter(range(10**6))
    return LocalVault(folder, lambda size: hashlib.shake_256(b"decisions %d" % next(drawn)).digest(size))


def _subject(actor: Actor) -> bytes:
    return keccak(text=f"subject of {actor!r}")


def _heir(actor: Actor) -> str:
    return Actor(f"heir of {actor!r}", Standing.LIVE, Claims(7)).address


def _question(row: Row) -> bytes:
    return calldata(_REASON, row.sender.address, row.receiver.address, row.token_id, row.amount)


def _answer(words: bytes) -> tuple[bool, str]:
    return bool(int.from_bytes(words[:32], "big")), words[32:64].rstrip(b"\0").decode("ascii")
