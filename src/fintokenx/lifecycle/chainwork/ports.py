"""What chain transactions need of the FinToken X Network, whatever they ask of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from fintokenx.kernel.errors import Unavailable

CallT_contra = TypeVar("CallT_contra", contravariant=True)
"""What is asked of the chain, in the words of the module that asks."""


class ChainUnavailable(Unavailable):
    """The network did not answer, or does not produce blocks."""

    def __init__(self, detail: str, *, outcome_unknown: bool = True) -> None:
        super().__init__("chain", detail, outcome_unknown=outcome_unknown)


class NotInABlock(ChainUnavailable):
    """The network answers, and no block has taken what was sent; its outcome is unknown."""

    answers = True


class StateNotKept(ChainUnavailable):
    """The node does not keep the state of this block, or no longer; a newer block can be asked."""

    def __init__(self, block_number: int) -> None:
        super().__init__(f"the state of block {block_number} is not kept", outcome_unknown=False)


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A transaction that can be broadcast any number of times and takes effect once."""

    sender: str
    nonce: int
    tx_hash: str
    """0x + 64 lower-case hex."""
    raw: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """A mined transaction. IBFT: one block is final."""

    tx_hash: str
    block_number: int
    succeeded: bool
    revert_reason: str
    """The refusing rule's reason in words of the specification, or ``reverted``; empty on success."""


@dataclass(frozen=True, slots=True)
class ChainHead:
    """The newest block."""

    number: int
    timestamp_unix: int


class Blocks(Protocol):
    """A chain that makes blocks. Raises :class:`ChainUnavailable`."""

    async def head(self) -> ChainHead:
        """The newest block."""
        ...


class SendingChain(Blocks, Protocol[CallT_contra]):
    """The network as seen through the relay. Raises :class:`ChainUnavailable`; signing raises VaultUnavailable."""

    async def sender_of(self, call: CallT_contra) -> str:
        """The address that must sign this call (its role's key in the vault)."""
        ...

    async def transaction_count(self, sender: str) -> int:
        """The next nonce as far as mined blocks know."""
        ...

    async def sign(self, call: CallT_contra, nonce: int) -> SignedTransaction:
        """Encode and sign; touches the vault, not the network. Whether the same call and nonce give the same bytes
        again depends on the vault."""
        ...

    async def send_many(self, raws: Sequence[bytes]) -> list[ChainUnavailable | None]:
        """Send in this order; for each what the node has against it, None when the node has it. "Already known" and
        "nonce too low" are believed of nothing: it is looked up. Raises when it is not known of any."""
        ...

    async def receipt(self, tx_hash: str) -> Receipt | None:
        """None while the transaction is not in a block; asked of the node itself."""
        ...

    async def receipts(self, tx_hashes: Sequence[str]) -> Mapping[str, Receipt]:
        """Of those that are in a block. Made for asking for the same ones again and again."""
        ...


class NonceChain(Blocks, Protocol):
    """What closing a gap of nonces needs. Raises as :class:`SendingChain` does."""

    async def transaction_count(self, sender: str) -> int:
        """The next nonce as far as mined blocks know."""
        ...

    async def waiting(self, sender: str, tx_hashes: Sequence[str]) -> set[int]:
        """With which nonces the node holds those of the transactions that are this sender's and in no block yet."""
        ...

    async def cancellation(self, sender: str, nonce: int) -> SignedTransaction | None:
        """A transaction that does nothing but use this nonce; None for a sender whose key is not a role's."""
        ...

    async def send_many(self, raws: Sequence[bytes]) -> list[ChainUnavailable | None]:
        """As :meth:`SendingChain.send_many`."""
        ...
