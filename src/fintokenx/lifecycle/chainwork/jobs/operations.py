"""What the engine has to be told of the transactions that it drives; the module that wants them tells it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, TypeVar

from fintokenx.kernel.caller import Caller
from fintokenx.kernel.db import Tx
from fintokenx.kernel.jobs import Work
from fintokenx.lifecycle.chainwork.ports import SignedTransaction
from fintokenx.lifecycle.chainwork.service.sending import Mined
from fintokenx.lifecycle.chainwork.types import ChainTransaction

CallT = TypeVar("CallT")


class Recorder(Protocol):
    """Records, inside a transaction, what became of a promise."""

    async def keep(
        self, tx: Tx, caller: Caller, promise: ChainTransaction, signed: SignedTransaction
    ) -> ChainTransaction:
        """Record the signed bytes before they are sent."""
        ...

    async def conclude(self, tx: Tx, caller: Caller, promise: ChainTransaction, mined: Mined) -> None:
        """Record the chain's answer, once, and all that follows from it."""
        ...


class Operations(Protocol[CallT]):
    """All kinds of promises, for whoever drives them without asking what they are. Raises as the chain does."""

    @property
    def kinds(self) -> Sequence[str]:
        """All of them."""
        ...

    @property
    def repeatable(self) -> Collection[str]:
        """Those that do no harm when they are done twice: nobody looks whether they are done before they are sent."""
        ...

    @property
    def looked_at_again(self) -> Collection[str]:
        """Those of which the chain is asked what it holds now even when their own transaction has succeeded."""
        ...

    async def calls(self, work: Work, promises: Sequence[ChainTransaction]) -> dict[str, CallT]:
        """What each promise asks of the chain, by business key. :raises VaultUnavailable: it takes the vault to say"""
        ...

    async def standing(self, calls: Sequence[CallT]) -> list[bool]:
        """Whether what each call would do has been done; of what is repeatable, no."""
        ...

    async def as_asked(self, promises: Sequence[ChainTransaction], calls: Mapping[str, CallT]) -> dict[str, bool]:
        """Of promises that succeeded, whether the chain holds what they asked for, by business key; those of which
        that is not asked are left out."""
        ...

    async def recorder(self) -> Recorder:
        """How to record answers. Asked for before the transaction, so that it may ask the chain for what it needs."""
        ...
