"""What auth needs of the outside beside the vault: a keyed hash of an address (``kernel.sealing`` gives it)."""

from __future__ import annotations

from typing import Protocol


class BlindIndex(Protocol):
    """Makes values comparable without making them readable."""

    async def blind_index(self, name: str, value: str) -> str:
        """The same text for the same name and value, and no way back without the vault's key.

        :raises VaultUnavailable: the vault does not answer
        """
        ...
