"""Real Postgres, a real anvil with the real contracts, the platform's own jobs between them, and ways to cheat."""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fintokenx import audit
from fintokenx.adapters.chain import MINTING_WALLET, ChainClient, Deployment, Rpc, StateClient, deploy
from fintokenx.adapters.chain.deployment import AGENT
from fintokenx.adapters.chain.signing import Unsigned, address_of, calldata, sign
from fintokenx.adapters.vault import LocalVault
from fintokenx.kernel.db import Pool
from fintokenx.lifecycle import tokenisation
from fintokenx.lifecycle.chainwork.ports import Receipt
from fintokenx.lifecycle.tokenisation.jobs import TokenisationJobs
from fintokenx.lifecycle.tokenisation.ports import Call, RegisterIdentity
from fintokenx.parties import auth
from fintokenx.sandbox.anvil import Anvil
from fintokenx.sandbox.processes import free_port
from tests.modules.tokens_house import KEY, TENANT, Hashes, House, let_tests_seed, subject_row, tenant_row
from tests.support import ROOT, START, World

CHAIN_ID = 1981
GAS = 400_000
FREE = {"state": "ACTIVE", "frozen_from": None, "freeze_ground": None}


class RealHouse(House):
    """The house of tokenisation's own tests, but its chain is one."""

    def restart(self) -> None:
        """Forget everything that is only in memory."""
        self.jobs = TokenisationJobs(
            chain=self.chain,
            hashes=Hashes(),
            reference_key=KEY,
            minting_wallet_key=MINTING_WALLET,
            stall_seconds=3600,
            machine_seconds=lambda: self.machine_seconds,
            tell_mined=self.world.tell_mined,
            active_holders=auth.active_holders,
            tokens_a_step=self.tokens_a_step,
        )


@dataclass
class Town:
    """A tenant with many lenders, its chain, and the books that must agree with it."""

    world: World
    anvil: Anvil
    rpc: Rpc
    vault: LocalVault
    deployment: Deployment
    chain: ChainClient
    state: StateClient
    house: RealHouse
    lenders: list[str]
    auditor: Pool
    asked: int = 0

    async def reconciled(self) -> tokenisation.Reconciliation:
        """Database against chain, as the auditor."""
        return await tokenisation.reconcile(self.auditor, self.state)

    async def drifts(self) -> list[tuple[str, str, str, str]]:
        """What differs: kind, resource, database, chain."""
        found = await self.reconciled()
        return [(each.kind.name, each.resource, each.database, each.chain) for each in found.drifts]

    async def ask(self, job: str, payload: dict[str, Any]) -> None:
        """A job that nobody asked for before."""
        self.asked += 1
        await self.house.ask(job, payload, f"asked {self.asked}")

    async def register(self, *lenders: str) -> None:
        """A wallet and claims for each."""
        for lender in lenders:
            await self.ask("tokenisation.issue_claims", {"subject_id": lender})
        await self.house.until_idle()

    async def freeze(self, lender: str, *, frozen: bool, ground: str | None = None) -> None:
        """The subject, and a promise to tell the chain."""
        cold = {"state": "FROZEN", "frozen_from": "ACTIVE", "freeze_ground": ground}
        before, after = (FREE, cold) if frozen else (cold, FREE)
        key = {"tenant_id": TENANT, "id": lender}
        await self.house.seed(audit.update("subjects", key=key, before=before, after=after))
        await self.ask("tokenisation.revoke_claims" if frozen else "tokenisation.issue_claims", {"subject_id": lender})

    async def promise_transfer(self, token: tokenisation.Token, lender: str) -> str:
        """Of the whole token; the business key."""
        self.house.lender = lender
        self.asked += 1
        key = f"fund:{token.reference}:{self.asked}"
        await self.house.promise_transfer(token, key)
        return key

    async def hold(self, token: tokenisation.Token, lender: str, key: str) -> None:
        """Take up a confirmed transfer."""
        self.house.lender = lender
        await self.house.hold(token, key)

    async def request_burn(self, token: tokenisation.Token) -> None:
        """As when the last payment is confirmed."""
        await self.house.move_invoice(token.invoice_reference, "TOKENISED", "SETTLING")
        await self.house.request_burn(token)

    async def held(self, lender: str) -> tokenisation.Token:
        """A token in this lender's wallet."""
        token = await self.house.minted()
        key = await self.promise_transfer(token, lender)
        await self.house.until_idle()
        await self.hold(token, lender, key)
        return await self.house.token(token.invoice_reference)

    # --- beside the record and behind our back ---

    async def tamper(self, table: str, *statements: str) -> None:
        """As only a superuser can who has put the guards to sleep."""
        superuser = await self.world.connect("postgres")
        try:
            async with superuser.transaction():
                await superuser.execute(f"alter table app.{table} disable trigger all")
                for statement in statements:
                    await superuser.execute(statement)
                await superuser.execute(f"alter table app.{table} enable trigger all")
                await superuser.execute(f"alter table app.{table} enable always trigger a_guard_change")
        finally:
            await superuser.close()

    async def send(self, key_name: str, to: str, data: bytes) -> None:
        """A transaction that the database never hears of."""
        sender = address_of(await self.vault.ensure_secp256k1(key_name))
        nonce = await self.chain.transaction_count(sender)
        signed = await sign(self.vault, key_name, Unsigned(CHAIN_ID, nonce, GAS, to, data))
        await self.chain.broadcast(signed.raw)
        await self._mined(signed.tx_hash)

    async def agent(self, signature: str, *arguments: object) -> None:
        """Somebody with the agent's key calls the token contract."""
        await self.send(AGENT, self.deployment.token, calldata(signature, *arguments))

    async def call(self, call: Call) -> None:
        """One of the platform's own calls, but not by the platform."""
        signed = await self.chain.sign(call, await self.chain.transaction_count(await self.chain.sender_of(call)))
        await self.chain.broadcast(signed.raw)
        await self._mined(signed.tx_hash)

    async def identity(self, lender: str, claims: int) -> RegisterIdentity:
        """A registration with other claims than the platform's."""
        wallet = await self.house.wallet(lender)
        digest = await Hashes().blind_index("chain/subject", f"{TENANT}\0{lender}")
        until = int((self.world.clock.now()).timestamp()) + 10**7
        return RegisterIdentity(wallet.address, bytes.fromhex(digest), claims, False, until)

    async def receipt(self, tx_hash: str) -> Receipt:
        """Of what was sent just now: anvil mines at once, and says so a moment later."""
        async with asyncio.timeout(30):
            while (found := await self.chain.receipt(tx_hash)) is None:
                await asyncio.sleep(0.01)
        return found

    async def _mined(self, tx_hash: str) -> None:
        receipt = await self.receipt(tx_hash)
        assert receipt.succeeded, receipt


@asynccontextmanager
async def town_in(world: World, *, lenders: int = 3) -> AsyncIterator[Town]:
    """A town whose chain makes a block of each transaction at once."""
    await let_tests_seed(world)
    with tempfile.TemporaryDirectory(prefix="fxr-") as folder:
        now = int(START.timestamp())
        anvil = Anvil(None, free_port(), run_dir=Path(folder), project_root=ROOT, genesis_timestamp=now)
        await anvil.start(now)
        rpc = Rpc([anvil.rpc_url])
        auditor = await world.pool("fx_auditor", 1)
        try:
            await anvil.control.pause()
            await anvil.control.call("evm_setAutomine", True)
            vault = LocalVault(Path(folder) / "vault", os.urandom)
            to = await deploy(rpc, vault, chain_id=CHAIN_ID, artifacts=ROOT / "contracts/artifacts", now_unix=now)
            chain = ChainClient(rpc, vault, to)
            people = [world.ids.new("sub") for _ in range(2 + lenders)]
            house = RealHouse(world, chain, *people[:3])
            roles = ["seller", "buyer", *["lender"] * lenders]
            rows = [subject_row(world, person, role) for person, role in zip(people, roles, strict=True)]
            await house.seed(tenant_row(world), *rows)
            yield Town(world, anvil, rpc, vault, to, chain, StateClient(rpc, to), house, people[2:], auditor)
        finally:
            await auditor.close()
            await rpc.aclose()
            await anvil.stop()


@dataclass
class Walk:
    """Random operations by the platform's own services, a handful at once on different things."""

    town: Town
    dice: random.Random
    minted: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    moving: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By invoice: the business key of its transfer, and to whom."""
    burned: list[str] = field(default_factory=list)
    frozen: set[str] = field(default_factory=set)
    done: dict[str, int] = field(default_factory=dict)

    async def run(self, operations: int, *, at_once: int = 15) -> None:
        """So many operations; each lot is settled before the next."""
        left = operations
        while left > 0:
            lot = min(at_once, left)
            for _ in range(lot):
                await self._one()
            await self.town.house.until_idle()
            await self._look()
            left -= lot

    async def _one(self) -> None:
        ways: list[tuple[str, Callable[[], Awaitable[None]]]] = [("mint", self._mint), ("claims", self._claims)]
        ways += [("freeze", self._freeze)]
        ways += [("transfer", self._transfer)] * 2 if self.minted else []
        ways += [("hold", self._hold)] * 2 if self._arrived() else []
        ways += [("burn", self._burn)] if self.held else []
        name, way = self.dice.choice(ways)
        await way()
        self.done[name] = self.done.get(name, 0) + 1

    def _taken(self, things: list[str]) -> str:
        return things.pop(self.dice.randrange(len(things)))

    async def _mint(self) -> None:
        reference = await self.town.house.invoice()
        await self.town.ask("tokenisation.mint", {"reference": reference})
        self.moving[reference] = ("", "")

    async def _claims(self) -> None:
        lender = self.dice.choice(self.town.lenders)
        await self.town.ask("tokenisation.issue_claims", {"subject_id": lender})

    async def _freeze(self) -> None:
        lender = self.dice.choice(self.town.lenders)
        await self.town.freeze(lender, frozen=lender not in self.frozen)
        self.frozen ^= {lender}

    async def _transfer(self) -> None:
        """Perhaps to somebody whom the chain will refuse; to whom the platform itself refuses, nothing goes."""
        reference, lender = self._taken(self.minted), self.dice.choice(self.town.lenders)
        token = await self.town.house.token(reference)
        try:
            self.moving[reference] = (await self.town.promise_transfer(token, lender), lender)
        except tokenisation.WalletNotRegistered:
            self.minted.append(reference)

    def _arrived(self) -> list[str]:
        return [reference for reference, (key, _) in self.moving.items() if key.startswith("arrived ")]

    async def _hold(self) -> None:
        reference = self.dice.choice(self._arrived())
        key, lender = self.moving.pop(reference)
        await self.town.hold(await self.town.house.token(reference), lender, key.removeprefix("arrived "))
        self.held.append(reference)

    async def _burn(self) -> None:
        reference = self._taken(self.held)
        await self.town.request_burn(await self.town.house.token(reference))
        self.burned.append(reference)

    async def _look(self) -> None:
        """What became of the lot: transfers that arrived wait to be taken up, refused ones may be tried again."""
        for reference, (key, lender) in list(self.moving.items()):
            if key.startswith("arrived "):
                continue
            if not key or (await self.town.house.promise(key)).state == "REVERTED":
                del self.moving[reference]
                self.minted.append(reference)
            else:
                self.moving[reference] = (f"arrived {key}", lender)
