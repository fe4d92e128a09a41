"""What a mock vendor is told of the credentials that it issued or agreed on: they may be replaced while it runs."""

from __future__ import annotations

from typing import Protocol


class Credential(Protocol):
    """A credential, as the vendor knows it now."""

    async def value(self) -> str:
        """What the vendor itself signs with."""
        ...

    async def accepted(self) -> tuple[str, ...]:
        """What it takes of its customer: just replaced, also the one before."""
        ...
