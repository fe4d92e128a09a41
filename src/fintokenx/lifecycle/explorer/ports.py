"""What the explorer needs of the FinToken X Network: what happened to single wallets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from fintokenx.lifecycle.chainwork.ports import ChainHead
from fintokenx.lifecycle.tokenisation.ports import Holding


class EventKind(StrEnum):
    """What the token contract logs of a wallet."""

    MINT = "mint"
    TRANSFER = "transfer"
    FORCED_TRANSFER = "forced_transfer"
    RECOVERY = "recovery"
    BURN = "burn"
    FREEZE = "freeze"


@dataclass(frozen=True, slots=True)
class WalletEvent:
    """One thing that happened to a holding. Addresses are checksummed."""

    kind: EventKind
    token_id: int
    from_wallet: str | None
    """None at a mint; the wallet itself at a freeze."""
    to_wallet: str | None
    """None at a burn; the wallet itself at a freeze."""
    amount_pence: int
    """What moved; at a freeze what is frozen from then on. A plain integer, as the chain has it."""
    block_number: int
    tx_hash: str
    in_block: tuple[int, int]
    """The log's number in its block, and the part of a batch."""

    @property
    def place(self) -> tuple[int, int, int]:
        """Where it stands among all that ever happened."""
        return (self.block_number, *self.in_block)


@dataclass(frozen=True, slots=True)
class Held:
    """A holding as the token contract has it. What is frozen may exceed the balance (ERC-7943)."""

    balance_pence: int
    frozen_pence: int


class ChainHistory(Protocol):
    """Reads what happened to single wallets, and of no others. Raises :class:`ChainUnavailable`."""

    async def head(self) -> ChainHead:
        """The newest block."""
        ...

    async def minting_wallet(self) -> str:
        """fx_minting_wallet, checksummed: the platform's own, and no subject's."""
        ...

    async def events(self, block_number: int, wallets: Sequence[str], *, afresh: bool = False) -> list[WalletEvent]:
        """All that was logged of the wallets up to the block, oldest first; ``afresh`` forgets what was read before."""
        ...

    async def held(self, block_number: int, holdings: Sequence[Holding]) -> Mapping[Holding, Held]:
        """What the holdings are at the block. :raises StateNotKept: ask at a newer one"""
        ...
