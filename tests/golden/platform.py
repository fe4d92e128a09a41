"""The whole platform in this process, with nothing left to chance: every route and every job as the product wires
them, on a real database, the real clients before the real mock servers, and the chain in memory.

The clock stands still but for what :meth:`Platform.work` lets pass, entropy is a counted hash, and jobs run one at a
time in the order in which they fall due: what is recorded is the same at every run.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import httpx
from fastapi import FastAPI

from fintokenx.adapters.ais import OpenBankingClient
from fintokenx.adapters.blobs import DataKeys, EncryptedBlobs
from fintokenx.adapters.complyadvantage import ComplyAdvantageClient
from fintokenx.adapters.documents import TextReader
from fintokenx.adapters.fps import ClearBankClient
from fintokenx.adapters.outbound import Circuits
from fintokenx.adapters.sumsub import SumsubClient
from fintokenx.adapters.vault import LocalVault
from fintokenx.app import catalogue, wiring
from fintokenx.app import http as app_http
from fintokenx.app.assembly import Keys, Pools, parts
from fintokenx.app.base import Base
from fintokenx.app.checkpoint_signer import VaultSigner
from fintokenx.app.outside import Outside
from fintokenx.app.providers import Clients
from fintokenx.audit import LogIdentity
from fintokenx.kernel.db import Database
from fintokenx.kernel.ids import Ids
from fintokenx.kernel.jobs import Handler, TryAgain, Work
from fintokenx.kernel.notes import VerifierKey
from fintokenx.kernel.sealing import Sealer
from fintokenx.kernel.settings import Environment, Settings
from fintokenx.lifecycle.chainwork.jobs.blocks import BlockWatch
from fintokenx.observers.notification.ports import Mail
from fintokenx.sandbox.providers import complyadvantage, sumsub
from fintokenx.sandbox.providers.complyadvantage_requests import Rate as ScreeningRate
from fintokenx.sandbox.providers.sumsub_requests import Rate
from tests.adapters.bank_house import House as BankHouse
from tests.adapters.bank_house import bank_house
from tests.support import World, hold_to_declared_rows, world_from
from tests.support.fakes.anchors import CHAIN_ID, CONTRACT, AnchorsInMemory
from tests.support.fakes.chain import LedgerChain
from tests.support.fakes.credentials import FixedCredential
from tests.support.fakes.outbound import calm
from tests.support.harness.serving import served

PUBLIC_URL: Final = "https://app.fintokenx.example"
ORIGIN: Final = "log.fintokenx.example/golden"
TOKEN, SECRET, HOOK = (FixedCredential(text) for text in ("token", "secret", "hook"))
STEPS_MAX: Final = 500
"""More jobs than any part of the life needs."""
VENDOR_SECONDS: Final = 0.03
"""Machine time in which a mock server decides what it was asked."""


class CountedEntropy:
    """Bytes that look random and are the same each time: the n-th call's are a hash of n."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._count = 0

    def __call__(self, length: int) -> bytes:
        self._count += 1
        block = f"{self._seed}|{self._count}".encode()
        return hashlib.shake_256(block).digest(length)


@dataclass
class Post:
    """Passes as ``Mailer`` and keeps what it carries."""

    mails: list[Mail] = field(default_factory=list)

    async def send(self, mail: Mail) -> str:
        self.mails.append(mail)
        return f"250 kept as {len(self.mails)}"


@dataclass
class Platform:
    """The product in this process."""

    world: World
    app: FastAPI
    client: httpx.AsyncClient
    handlers: Mapping[str, Handler]
    base: Base
    sealer: Sealer
    bank: BankHouse
    chain: LedgerChain
    post: Post
    leases: int = 0

    def pass_time(self, until: datetime) -> None:
        """Let business time pass, at the bank and on the chain, too."""
        passed = until - self.world.clock.now()
        if passed <= timedelta(0):
            return
        self.world.clock.set(until)
        self.bank.clock.set(until)
        self.bank.wall.set(self.bank.wall.now() + passed)
        self.chain.pass_time(passed)

    async def work(self, *, within: timedelta = timedelta(minutes=30)) -> list[str]:
        """Do every job, one after the other, and those that they promise, letting time pass where one waits for it,
        but no more than ``within``; the names of those that were done."""
        end, done = self.world.clock.now() + within, list[str]()
        for _ in range(STEPS_MAX):
            row = await self._next()
            if row is None or row["run_at"] > end:
                return done
            self.pass_time(row["run_at"])
            await self._do(row)
            done.append(row["name"])
        raise AssertionError(f"no end of jobs: {done[-20:]}")

    async def promise(self, name: str, tenant_id: str) -> None:
        """A periodic job falls due now."""
        async with self.base.database.transaction(tenant_id, request_id="clock") as tx:
            tx.enqueue(name, {}, dedupe_key=tx.ids.new("turn"))

    async def _next(self) -> Any:
        admin = await self.world.connect("postgres")
        try:
            return await admin.fetchrow(
                "select * from ops.jobs where state = 'READY' order by run_at, created_at, id limit 1"
            )
        finally:
            await admin.close()

    async def _do(self, row: Any) -> None:
        admin = await self.world.connect("postgres")
        self.leases += 1
        lease = f"lease-{self.leases}"
        try:
            claimed = await admin.fetchrow(
                "update ops.jobs set lease = $2, attempts = attempts + 1,"
                " leased_until = clock_timestamp() + interval '1 hour' where id = $1 returning *",
                row["id"],
                lease,
            )
            work = Work(self.base.database, claimed)
            try:
                await self.handlers[row["name"]](work, json.loads(row["payload"]))
                if not work.completed:
                    async with work.completing():
                        pass
            except TryAgain as wait:
                await asyncio.sleep(VENDOR_SECONDS)
                await admin.execute(
                    "update ops.jobs set leased_until = null, attempts = attempts - 1, run_at = $2 where id = $1",
                    row["id"],
                    self.world.clock.now() + timedelta(seconds=wait.seconds),
                )
        finally:
            await admin.close()


PROVIDER_URLS = ("sumsub_url", "complyadvantage_url", "bank_url", "open_banking_url")


def settings_of(folder: Path) -> Settings:
    """What the product is told; nothing here is connected to."""
    return Settings(
        environment=Environment.LOCAL, public_url=PUBLIC_URL, listen_host="127.0.0.1", listen_port=0,
        database_url="postgresql://127.0.0.1:1/unused", vault=f"file:{folder / 'vault'}", blobs_url="memory:///",
        chain_rpc_urls=("http://127.0.0.1:1",), chain_id=CHAIN_ID, chain_deployment="unused", smtp_host="unused",
        smtp_port=1, log_origin=ORIGIN, **dict.fromkeys(PROVIDER_URLS, "http://unused"),
    )  # fmt: skip


class BlocksCome(BlockWatch):
    """Of a chain that makes a block whenever one is wanted: nobody waits for the next."""

    async def must_go_on(self) -> None:
        """It does."""


class _NoHistory:
    """Nobody asks the explorer in this life."""


@asynccontextmanager
async def platform(cluster: str, template: str, folder: Path, start: datetime) -> AsyncIterator[Platform]:
    """A platform whose database knows nothing but its machines and actions; its clock stands at ``start``."""
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(world_from(cluster, template, reactions=wiring.reactions()))
        await hold_to_declared_rows(world)
        world.clock.set(start)
        entropy = CountedEntropy("golden")
        ids = Ids(world.clock, entropy)
        database = Database(world.app, pins=world.pins, clock=world.clock, ids=ids, reactions=wiring.reactions())
        vault = LocalVault(folder / "vault", entropy)
        base = Base(settings_of(folder), vault, world.clock, ids, database, world.pins)
        bank = await stack.enter_async_context(bank_house(folder / "bank.jsonl"))
        bank.clock.set(start)
        bank.wall.set(start)
        chain, post = LedgerChain(), Post()
        identity, screening = await _gate_clients(stack, world)
        outside = Outside(
            network=SimpleNamespace(chain=chain, anchors=AnchorsInMemory(), state=None, history=_NoHistory()),  # type: ignore[arg-type]
            blocks=BlocksCome(chain, stall_seconds=10.0, machine_seconds=lambda: 0.0),
            providers=Clients({}, Circuits((), clock=world.clock, machine_seconds=lambda: 0.0)),
            identity=identity,
            screening=screening,
            payments=_payments(bank),
            accounts=_accounts(bank),
            mailer=post,  # type: ignore[arg-type]
            reader=TextReader(),  # type: ignore[arg-type]
            blobs=EncryptedBlobs("memory:///", vault, DataKeys(database, vault, entropy), entropy),
        )
        pools = {role: await world.pool(f"fx_{role}", 2) for role in ("sealer", "auditor", "worker", "platform")}
        for pool in pools.values():
            stack.push_async_callback(pool.close)
        app = app_http.create(
            ids=ids, routers=wiring.routers(), title="FinToken X", version="golden", environment="local"
        )

        log = LogIdentity(VerifierKey(ORIGIN, await VaultSigner(vault).public_key()), CHAIN_ID, CONTRACT)
        logins = Pools(**pools)
        own = replace(
            parts(base, outside, logins, Keys(b"r" * 32, b"f" * 32), log=log, sealed=catalogue.SEALED, entropy=entropy),
            machine_seconds=lambda: 0.0,
        )
        services = wiring.services(own)
        app.state.services = services
        handlers = {job.name: job.handler for job in wiring.jobs(own, services)}
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        client = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL))
        yield Platform(world, app, client, handlers, base, own.sealer, bank, chain, post)


async def _gate_clients(stack: AsyncExitStack, world: World) -> tuple[SumsubClient, ComplyAdvantageClient]:
    first = sumsub.create_app(
        world.clock, app_token=TOKEN, app_secret=SECRET, webhook_secret=HOOK, decide_after_seconds=0.0,
        rate=Rate(10_000, 10_000),
    )  # fmt: skip
    second = complyadvantage.create_app(world.clock, api_key=TOKEN, rate=ScreeningRate(10_000))
    identity = SumsubClient(
        await stack.enter_async_context(served(first)), TOKEN, SECRET, HOOK, clock=world.clock, guard=calm()
    )
    screening = ComplyAdvantageClient(
        await stack.enter_async_context(served(second)), TOKEN, clock=world.clock, guard=calm()
    )
    stack.push_async_callback(identity.aclose)
    stack.push_async_callback(screening.aclose)
    return identity, screening


def _payments(bank: BankHouse) -> ClearBankClient:
    return bank.payments()


def _accounts(bank: BankHouse) -> OpenBankingClient:
    return bank.information()
