"""All mock servers in one process, each on its own port, sharing the system's clock and the vault's credentials."""

from __future__ import annotations

import asyncio

import uvicorn
from cryptography.hazmat.primitives import serialization
from starlette.types import ASGIApp

from fintokenx.app.local import LocalSystem
from fintokenx.app.provision import CLEARBANK_SIGNING_KEY
from fintokenx.app.wiring import HOME_TENANT
from fintokenx.sandbox.providers import bank, complyadvantage, mailbox, sumsub


async def serve(system: LocalSystem) -> None:
    """Run until the process is told to end."""
    vault, clock, ports = system.vault(), system.clock(), system.ports()
    public_key = serialization.load_der_public_key(await vault.ensure_rsa(CLEARBANK_SIGNING_KEY))
    apps: dict[str, ASGIApp] = {
        "sumsub": sumsub.create_app(
            clock,
            app_token=await vault.secret("sumsub/app-token"),
            app_secret=await vault.secret("sumsub/app-secret"),
            webhook_secret=await vault.secret("sumsub/webhook-secret"),
            webhook_url=f"http://127.0.0.1:{ports['platform']}/v1/webhooks/sumsub/{HOME_TENANT}",
            state_path=system.folder / "sumsub.json",
        ),
        "complyadvantage": complyadvantage.create_app(clock, api_key=await vault.secret("complyadvantage/api-key")),
        "bank": bank.create_app(
            state_path=system.folder / "bank.jsonl",
            clock=clock,
            clearbank_token=await vault.secret("bank/clearbank-token"),
            clearbank_public_key_pem=public_key.public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            ),
            open_banking_token=await vault.secret("bank/open-banking-token"),
        ),
        "mailbox": mailbox.create_app(clock=clock, smtp_port=ports["smtp"]),
    }
    servers = [
        uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=ports[name], log_level="warning", access_log=False))
        for name, app in apps.items()
    ]
    await asyncio.gather(*(server.serve() for server in servers))
