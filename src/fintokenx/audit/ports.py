"""What audit needs of the network: a place outside the database where roots cannot be rewritten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class AnchorOnChain:
    """An anchor as the contract holds it."""

    batch_id: int
    tree_size: int
    root: bytes
    """32 bytes: the RFC 6962 root over the first ``tree_size`` entries."""
    block_number: int
    tx_hash: str


class Anchors(Protocol):
    """FXAuditAnchor. Raises ``kernel.errors.Unavailable`` when the network does not answer."""

    async def publish(self, batch_id: int, tree_size: int, root: bytes) -> AnchorOnChain:
        """Anchor, once: an anchor that already stands for this batch with equal values is returned as it is.

        :raises ValueError: the chain already holds different values for this batch
        """
        ...

    async def read(self, batch_id: int) -> AnchorOnChain | None:
        """The anchor of a batch, or None."""
        ...

    async def latest(self) -> AnchorOnChain | None:
        """The newest anchor, or None before the first."""
        ...
