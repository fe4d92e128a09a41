"""All mock servers in one process, each on its own port, sharing the system's clock and the vault's credentials."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import uvicorn
from cryptography.hazmat.primitives import serialization
from starlette.types import ASGIApp

from fintokenx.app import providers
from fintokenx.app.local import LocalSystem
from fintokenx.kernel.clock import Clock
from fintokenx.kernel.credentials import VaultCredential
from fintokenx.kernel.vault import Vault, VaultUnavailable
from fintokenx.sandbox.providers.mock import MockParts


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


async def applications(system: LocalSystem) -> dict[str, ASGIApp]:
    """Every mock server by the name of its port."""
    vault, clock = system.vault(), system.clock()
    public_keys = {
        name: serialization.load_der_public_key(await vault.ensure_rsa(name)).public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        for name in providers.signing_keys()
    }
    parts = MockParts(
        clock=clock,
        folder=system.folder,
        ports=system.ports(),
        credential=lambda name: _VendorsCopy(vault, name, clock),
        public_keys=public_keys,
    )
    return {mock.name: mock.app(parts) for mock in providers.mocks()}


async def serve(system: LocalSystem) -> None:
    """Run until the process is told to end."""
    ports = system.ports()
    servers = [
        uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=ports[name], log_level="warning", access_log=False))
        for name, app in (await applications(system)).items()
    ]
    await asyncio.gather(*(server.serve() for server in servers))
