"""All mock servers in one process, each on its own port, sharing the system's clock and the vault's credentials."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import uvicorn
from cryptography.hazmat.primitives import serialization
from starlette.types import ASGIApp

from fintokenx.app.local import LocalSystem
from fintokenx.app.provision import CLEARBANK_SIGNING_KEY
from fintokenx.kernel.clock import Clock
from fintokenx.kernel.credentials import VaultCredential
from fintokenx.kernel.vault import Vault, VaultUnavailable
from fintokenx.sandbox.providers import bank, complyadvantage, mailbox, sumsub


class _VendorsCopy:
    """What a vendor was told of a credential: it follows every rotation, and outlives an outage of our vault."""

    def __init__(self, vault: Vault, name: str, clock: Clock) -> None:
        self._ours = VaultCredential(vault, name, clock, remembered_seconds=0)
        self._value = ""
        self._accepted: tuple[str, ...] = ()

    async def value(self) -> str:
        with suppress(VaultUnavailable):
            self._value = await self._ours.value()
        return self._value

    async def accepted(self) -> tuple[str, ...]:
        with suppress(VaultUnavailable):
            self._accepted = await self._ours.accepted()
        return self._accepted


async def serve(system: LocalSystem) -> None:
    """Run until the process is told to end."""
    vault, clock, ports = system.vault(), system.clock(), system.ports()
    public_key = serialization.load_der_public_key(await vault.ensure_rsa(CLEARBANK_SIGNING_KEY))

    def known(name: str) -> _VendorsCopy:
        return _VendorsCopy(vault, name, clock)

    apps: dict[str, ASGIApp] = {
        "sumsub": sumsub.create_app(
            clock,
            app_token=known("sumsub/app-token"),
            app_secret=known("sumsub/app-secret"),
            webhook_secret=known("sumsub/webhook-secret"),
            webhook_url=f"http://127.0.0.1:{ports['platform']}/v1/webhooks/sumsub",
            state_path=system.folder / "sumsub.json",
        ),
        "complyadvantage": complyadvantage.create_app(clock, api_key=known("complyadvantage/api-key")),
        "bank": bank.create_app(
            state_path=system.folder / "bank.jsonl",
            clock=clock,
            clearbank_token=known("bank/clearbank-token"),
            clearbank_public_key_pem=public_key.public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            ),
            open_banking_token=known("bank/open-banking-token"),
        ),
        "mailbox": mailbox.create_app(clock=clock, smtp_port=ports["smtp"], state_path=system.folder / "mailbox.jsonl"),
    }
    servers = [
        uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=ports[name], log_level="warning", access_log=False))
        for name, app in apps.items()
    ]
    await asyncio.gather(*(server.serve() for server in servers))
