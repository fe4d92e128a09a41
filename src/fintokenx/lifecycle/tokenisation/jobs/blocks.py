"""Whether the chain makes blocks."""

from __future__ import annotations

from collections.abc import Callable

from fintokenx.lifecycle.tokenisation.ports import Chain


class BlockWatch:
    """Sees a stall: the newest block has been the same for ``stall_seconds`` of machine time.

    Machine time, because business time may be moved in a sandbox; and not the block's own timestamp, because
    validators' clocks are not ours. ``machine_seconds`` only grows, like ``time.monotonic``.
    """

    def __init__(self, chain: Chain, *, stall_seconds: float, machine_seconds: Callable[[], float]) -> None:
        self._chain = chain
        self._stall_seconds = stall_seconds
        self._machine_seconds = machine_seconds
        self._number = -1
        self._since = 0.0

    async def stalled(self) -> bool:
        """Look at the newest block. :raises ChainUnavailable: nobody answers"""
        head = await self._chain.head()
        now = self._machine_seconds()
        if head.number != self._number:
            self._number, self._since = head.number, now
        return now - self._since >= self._stall_seconds
