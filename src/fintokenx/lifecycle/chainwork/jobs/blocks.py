"""Whether the chain makes blocks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from fintokenx.lifecycle.chainwork.ports import Blocks, ChainUnavailable

_POLL_SECONDS: Final = 0.25


class ChainHalted(ChainUnavailable):
    """The network answers and makes no blocks: nothing that is sent would take effect."""

    answers = True

    def __init__(self, seconds: float) -> None:
        super().__init__(f"halted: no new block for {seconds:g} s", outcome_unknown=False)


class BlockWatch:
    """Sees a stall: the newest block has been the same for ``stall_seconds`` of machine time.

    Machine time, because business time may be moved in a sandbox; and not the block's own timestamp, because
    validators' clocks are not ours. ``machine_seconds`` only grows, like ``time.monotonic``. Any number of callers may
    look at once; the more often they do, the sooner a stall is known.
    """

    def __init__(self, chain: Blocks, *, stall_seconds: float, machine_seconds: Callable[[], float]) -> None:
        self._chain = chain
        self._stall_seconds = stall_seconds
        self._machine_seconds = machine_seconds
        self._number = -1
        self._since = 0.0
        self._looked_at = 0.0
        self._seen_coming = False

    async def stalled(self) -> bool:
        """Look at the newest block. :raises ChainUnavailable: nobody answers"""
        head = await self._chain.head()
        now = self._machine_seconds()
        if head.number != self._number:
            # After a long time without a look nobody knows how old the newest block is: it may have been the last.
            self._seen_coming = self._number >= 0 and now - self._looked_at < self._stall_seconds
            self._number, self._since = head.number, now
        self._looked_at = now
        return now - self._since >= self._stall_seconds

    @property
    def coming(self) -> bool:
        """Whether the last look saw that a new block had come since the one before."""
        return self._seen_coming

    async def healthy(self) -> bool:
        """True while it makes blocks, as far as is known. :raises ChainHalted, ChainUnavailable: it does not"""
        if await self.stalled():
            raise ChainHalted(self._stall_seconds)
        return True

    async def must_go_on(self) -> None:
        """Return once it is certain that blocks come: one did lately, or does so now (one block's time at most).

        :raises ChainHalted: none has come for ``stall_seconds``
        :raises ChainUnavailable: nobody answers
        """
        while not await self.stalled():
            if self._seen_coming:
                return
            await asyncio.sleep(_POLL_SECONDS)
        raise ChainHalted(self._stall_seconds)
