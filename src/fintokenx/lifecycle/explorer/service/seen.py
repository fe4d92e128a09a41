"""Who looks, and what there is to be seen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from fintokenx import audit
from fintokenx.kernel.caller import Caller
from fintokenx.kernel.db import Tx
from fintokenx.lifecycle.chainwork.ports import ChainHead
from fintokenx.lifecycle.explorer.ports import ChainHistory, Held, WalletEvent
from fintokenx.lifecycle.explorer.types import Agreement, Counterparty, Direction
from fintokenx.lifecycle.tokenisation import Slice, Token

Result = TypeVar("Result")


class Run(Protocol):
    """Runs a read in a transaction of the caller's tenant."""

    async def __call__(self, read: Callable[[Tx], Awaitable[Result]], /) -> Result:
        """What ``read`` returns."""
        ...


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks, at whose holdings (None: its own), and how."""

    run: Run
    caller: Caller
    chain: ChainHistory
    holder_subject_id: str | None = None


@dataclass(frozen=True, slots=True)
class OwnSlice:
    """A part of a token that is the holder's, and the entry behind it."""

    slice: Slice
    behind: audit.Behind | None


@dataclass(frozen=True, slots=True)
class HoldingSeen:
    """What one wallet has of one receivable. ``token`` is None when this tenant's database knows no such thing."""

    token_id: int
    wallet: str
    token: Token | None
    database_pence: int
    held: Held
    agreement: Agreement
    slices: tuple[OwnSlice, ...]
    behind: audit.Behind | None
    """The newest entry that changed the token's row."""


@dataclass(frozen=True, slots=True)
class EventSeen:
    """One event of the holder's wallets, and the entry that confirmed it. ``behind`` is None when there is none:
    the platform did not ask for it, or is about to record it."""

    event: WalletEvent
    token: Token | None
    direction: Direction
    counterparty: Counterparty
    behind: audit.Behind | None
    provable: bool
    """Whether the holder may read the entry: it names no other holder's wallet."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """A page of holdings by token id. ``at`` is None for a holder without a wallet: the chain was not asked."""

    at: ChainHead | None
    items: tuple[HoldingSeen, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Events:
    """A page of events, newest first."""

    at: ChainHead | None
    items: tuple[EventSeen, ...]
    next: str | None
