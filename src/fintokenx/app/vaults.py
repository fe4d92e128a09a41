"""Which vault a process opens, and which one a new local system is made with."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

from fintokenx.adapters.vault import LocalVault, Pkcs11Vault, TokenLocation
from fintokenx.app.failed import LocalSystemFailed
from fintokenx.kernel.settings import BadSettings
from fintokenx.kernel.vault import Vault
from fintokenx.sandbox import softhsm

KIND_VARIABLE: Final = "FX_VAULT"
"""``file`` (default) or ``pkcs11``: for a local system that is made now; a system keeps the vault it was made with."""


def opened(address: str) -> Vault:
    """The vault at an address of the settings. :raises BadSettings: a kind that is not built in, a URI with a fault"""
    kind, _, where = address.partition(":")
    if kind == "file":
        return LocalVault(Path(where), os.urandom)
    if kind == "pkcs11":
        return Pkcs11Vault(TokenLocation.parse(address))
    raise BadSettings(f"no vault of the kind {kind!r}")


def address_in(folder: Path) -> str:
    """The address of a local system's vault, which lies in this folder."""
    if (folder / "uri").exists():
        return (folder / "uri").read_text().strip()
    return f"file:{folder}"


async def make(folder: Path) -> None:
    """Make the vault that FX_VAULT asks for, unless there is one already.

    :raises LocalSystemFailed: no such kind, or SoftHSM2 is not installed; says what to do
    """
    kind = os.environ.get(KIND_VARIABLE) or "file"
    if kind not in ("file", "pkcs11"):
        raise LocalSystemFailed(f"{KIND_VARIABLE} is file or pkcs11, not {kind!r}")
    if kind == "file" or (folder / "uri").exists() or (folder / "store").exists():
        return
    try:
        await asyncio.to_thread(softhsm.create, folder)
        module_path = softhsm.module_path()
    except softhsm.SoftHsmMissing as missing:
        raise LocalSystemFailed(str(missing)) from missing
    configuration = folder / "softhsm2.conf"
    location = TokenLocation(softhsm.TOKEN, module_path, folder / "pin", softhsm_configuration=configuration)
    await Pkcs11Vault(location).prepare()
    (folder / "uri").write_text(location.uri + "\n")  # last: without it the token counts as never made
