"""The log's own key, in the vault."""

from __future__ import annotations

from typing import Final

from fintokenx.kernel.vault import Vault

CHECKPOINT_KEY: Final = "audit/checkpoint/1"


class VaultSigner:
    """Passes as ``audit.ports.CheckpointSigner``."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def sign(self, message: bytes) -> bytes:
        """By the vault's key. :raises VaultUnavailable: the vault is away"""
        return await self._vault.sign_ed25519(CHECKPOINT_KEY, message)

    async def public_key(self) -> bytes:
        """The vault makes the key when it is asked first. :raises VaultUnavailable: the vault is away"""
        return await self._vault.ensure_ed25519(CHECKPOINT_KEY)
