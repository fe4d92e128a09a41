"""What audit needs of the network: a place outside the database where roots cannot be rewritten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from fintokenx.audit.types import Entry
from fintokenx.kernel.caller import Caller
from fintokenx.kernel.db import Tx


@dataclass(frozen=True, slots=True)
class AnchorOnChain:
    """An anchor as the contract holds it."""

    batch_id: int
    tree_size: int
    root: bytes
    """32 bytes: the RFC 6962 root over the first ``tree_size`` entries."""
    block_number: int
    tx_hash: str


@dataclass(frozen=True, slots=True)
class AnchorReceipt:
    """What proves an anchor to somebody who asks nobody but for the hash of a block (docs/evidence.md)."""

    chain_id: int
    contract: str
    """FXAuditAnchor's address, ``0x`` and lower-case hex."""
    block_hash: str
    """``0x`` and lower-case hex: the keccak-256 of ``header``."""
    header: bytes
    """The block header's RLP."""
    receipt_index: int
    receipt_proof: tuple[bytes, ...]
    """The trie nodes from the header's receiptsRoot down to the receipt."""


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

    async def receipt(self, anchor: AnchorOnChain) -> AnchorReceipt:
        """The proof of an anchor; also Unavailable while the node cannot give one that holds. Asking again is safe."""
        ...


class CheckpointSigner(Protocol):
    """The log's own key, which never leaves the vault. Raises ``kernel.errors.Unavailable`` while the vault is away."""

    async def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature (RFC 8032): for equal messages always the same."""
        ...

    async def public_key(self) -> bytes:
        """The raw 32-byte public key."""
        ...


class Own(Protocol):
    """Says for the modules above whether an entry tells a customer of its own doings, and of nobody else's."""

    async def __call__(self, tx: Tx, caller: Caller, entry: Entry) -> bool:
        """Whether the caller may read all of it."""
        ...
