"""A running mock bank for the tests of its two clients, with the keys and accounts that they need."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.applications import Starlette

from fintokenx.adapters.ais import OpenBankingClient
from fintokenx.adapters.fps import ClearBankClient
from fintokenx.kernel.clock import FixedClock
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.settlement.ports import BankAccount, PaymentInstruction
from fintokenx.sandbox.providers.bank import create_app
from tests.support.fakes.credentials import FixedCredential
from tests.support.fakes.outbound import calm

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
OUR_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
TRUST = ssl.create_default_context()
"""Shared, because reading the machine's certificates takes longer than most of these tests."""
PAYMENTS_TOKEN = "payments-token"
INFORMATION_TOKEN = "information-token"

LENDER = BankAccount("Harbour Lending Ltd", "040404", "11111111")
SELLER = BankAccount("Oak & Sons Ltd", "040404", "22222222")


async def sign(body: bytes) -> bytes:
    """What the vault does with ClearBank's signature key."""
    return OUR_KEY.sign(body, padding.PKCS1v15(), SHA256())


@asynccontextmanager
async def serving(app: Starlette) -> AsyncIterator[str]:
    """Run the application on a free port of this machine; gives its base URL.

    uvicorn's own ``serve`` looks for the end ten times a second and takes over signals; tests want neither.
    """
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=1)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        for connection in list(server.server_state.connections):
            connection.shutdown()
        await asyncio.sleep(0)
        await server.shutdown()


@dataclass
class House:
    """The bank at ``url``; its wall clock stands still until a test moves it."""

    url: str
    clock: FixedClock
    wall: FixedClock
    http: httpx.AsyncClient
    clients: list[ClearBankClient | OpenBankingClient] = field(default_factory=list)

    def payments(self, **changes: Any) -> ClearBankClient:
        wanted: dict[str, Any] = {"base_url": self.url, "token": FixedCredential(PAYMENTS_TOKEN), "sign": sign}
        wanted |= {"debtor_address": "GB, London, EC1A 1AA, 1 High St", "timeout_seconds": 5.0, "tls": TRUST}
        wanted["guard"] = calm()
        client = ClearBankClient(**(wanted | changes))
        self.clients.append(client)
        return client

    def information(self, **changes: Any) -> OpenBankingClient:
        wanted: dict[str, Any] = {
            "base_url": self.url,
            "token": FixedCredential(INFORMATION_TOKEN),
            "clock": self.clock,
            "guard": calm(),
        }
        client = OpenBankingClient(**(wanted | {"timeout_seconds": 5.0, "tls": TRUST} | changes))
        self.clients.append(client)
        return client

    async def control(self, path: str, body: dict[str, Any]) -> Any:
        response = await self.http.post(f"/control/{path}", json=body)
        assert response.is_success, response.text
        return response.json()

    async def mode(self, mode: str, **setting: Any) -> None:
        await self.control("mode", {"mode": mode, **setting})

    async def open_account(self, account: BankAccount, balance_pence: int = 0, **habits: Any) -> None:
        body = {"sort_code": account.sort_code, "account_number": account.account_number, "name": account.name}
        await self.control("accounts", {**body, "balance_pence": balance_pence, **habits})

    async def balance_pence(self, account: BankAccount) -> int:
        response = await self.http.get(f"/control/accounts/{account.sort_code}/{account.account_number}")
        return int(response.json()["balance_pence"])

    async def instruction(self, end_to_end_id: str) -> dict[str, Any] | None:
        rows = (await self.http.get("/control/instructions")).json()["instructions"]
        return next((row for row in rows if row["endToEndId"] == end_to_end_id), None)

    async def pay(self, payer: BankAccount, payee: BankAccount, amount_pence: int, reference: str, **more: str) -> str:
        """Somebody pays at their own bank; returns the end-to-end id."""
        numbers = [{"sort_code": a.sort_code, "account_number": a.account_number} for a in (payer, payee)]
        body = {"from": numbers[0], "to": numbers[1], "amount_pence": amount_pence, "reference": reference}
        return str((await self.control("payments", body | more))["end_to_end_id"])

    def time_passes(self, seconds: float) -> None:
        self.wall.set(self.wall.now() + timedelta(seconds=seconds))


@asynccontextmanager
async def bank_house(state_path: Path, *, page_size: int = 50) -> AsyncIterator[House]:
    """A bank with an empty book, or with the one that ``state_path`` holds."""
    clock, wall = FixedClock(NOON), FixedClock(NOON)
    app = create_app(
        state_path=state_path,
        clock=clock,
        clearbank_token=FixedCredential(PAYMENTS_TOKEN),
        clearbank_public_key_pem=OUR_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        open_banking_token=FixedCredential(INFORMATION_TOKEN),
        wall=wall,
        page_size=page_size,
    )
    async with serving(app) as url, httpx.AsyncClient(base_url=url, trust_env=False, verify=False) as http:
        house = House(url, clock, wall, http)
        try:
            yield house
        finally:
            for client in house.clients:
                await client.aclose()


def instruction(end_to_end_id: str = "disb-0001", amount_pence: int = 12_345, **changes: Any) -> PaymentInstruction:
    """The lender pays the seller."""
    wanted: dict[str, Any] = {"debtor": LENDER, "creditor": SELLER, "reference": "INV 42"}
    return PaymentInstruction(end_to_end_id=end_to_end_id, amount=Pence(amount_pence), **(wanted | changes))
