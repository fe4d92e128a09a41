"""A folder with a vault of either kind, for the suite that both must pass."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fintokenx.adapters.vault import LocalVault, Pkcs11Vault, TokenLocation
from fintokenx.kernel.vault import Vault
from fintokenx.sandbox import softhsm

KINDS: Final = ("file", "pkcs11")
CANARY: Final = "canary-4711-secret"

ENSURES: Final[list[Callable[[Vault], Awaitable[bytes]]]] = [
    lambda vault: vault.ensure_ed25519("k"),
    lambda vault: vault.ensure_secp256k1("k"),
    lambda vault: vault.ensure_rsa("k"),
    lambda vault: vault.hmac_sha256("k", b"m"),
]


@dataclass(frozen=True, slots=True)
class House:
    """Where a vault lives."""

    kind: str
    folder: Path

    def open(self) -> Vault:
        """Another object on the same vault."""
        return opened(self.kind, str(self.folder))


def location_in(folder: Path) -> TokenLocation:
    """The SoftHSM token of a folder."""
    return TokenLocation(
        softhsm.TOKEN, softhsm.module_path(), folder / "pin", softhsm_configuration=folder / "softhsm2.conf"
    )


def opened(kind: str, folder: str) -> Vault:
    """The vault of a folder; the test programs use this, too."""
    if kind == "file":
        return LocalVault(Path(folder), os.urandom)
    return Pkcs11Vault(location_in(Path(folder)))


def house_of(kind: str, folder: Path) -> House:
    """Make an empty vault. A machine without SoftHSM2 fails here and is told what to install."""
    folder.mkdir()
    if kind == "pkcs11":
        softhsm.create(folder)
        asyncio.run(Pkcs11Vault(location_in(folder)).prepare())
    return House(kind, folder)


def flipped(content: bytes, position: int) -> bytes:
    """The same with one bit changed."""
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]
