"""A network that answers and makes no blocks: people are told, no purchase begins, and it ends by itself.

What a halt stops: a lender's payment is not asked for, because its token could not move (SE-05); mints, moves and
burns wait, are sent again and go into the first blocks, once each; payouts and refunds wait for the token. What it does
not: a payment that its bank has been asked for is not called back, and a buyer's payment is passed on, which needs no
chain.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Protocol

import structlog

from fintokenx.desks.operations.alerting import tell
from fintokenx.kernel.jobs import Job, Lane, Payload, Work
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.settlement.ports import TokenTransfers
from fintokenx.parties import compliance

log = structlog.get_logger("fintokenx.chain")

JOB: Final = "chain.watch_blocks"
EVERY: Final = timedelta(seconds=5)
CAUSE: Final = "CHAIN_HALTED"
RESOURCE: Final = "chain"


class Blocks(Protocol):
    """The network, as far as it says whether it makes blocks."""

    @property
    def coming(self) -> bool:
        """Whether the last look saw that a new block had come since the one before."""
        ...

    async def stalled(self) -> bool:
        """Look at the newest block. :raises Unavailable: nobody answers"""
        ...

    async def must_go_on(self) -> None:
        """:raises Unavailable: no blocks come"""
        ...


class HaltWatch:
    """Looks whether blocks come, and tells of each halt once.

    That a halt is over is seen when a block comes and needs nobody: the alert ends with it, unless a person has taken
    it up. An alert that is open when another halt begins counts it.
    """

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._halted: bool | None = None  # nobody has looked since this process started

    def jobs(self) -> tuple[Job, ...]:
        """Periodic."""
        return (Job(JOB, self.look, Lane.CHAIN, seconds_max=60),)

    async def look(self, work: Work, _payload: Payload) -> None:
        """Look once. :raises ChainUnavailable: nobody answers, which is another matter: /readyz says it"""
        halted = await self._blocks.stalled()
        if halted == self._halted or not (halted or self._blocks.coming):
            return
        if halted:
            log.error("chain_halted")
            await tell(work, cause=CAUSE, resource=RESOURCE, severity=compliance.Severity.CRITICAL, is_new_event=True)
        else:
            log.info("chain_goes_on")
            async with work.transaction() as tx:
                await compliance.clear_alert(tx, work.caller, cause=CAUSE, resource=RESOURCE)
        self._halted = halted


class OnlyWhileBlocksCome:
    """Settlement's look at the chain before money moves: a halted one is as good as none."""

    def __init__(self, tokens: TokenTransfers, blocks: Blocks) -> None:
        self._tokens = tokens
        self._blocks = blocks

    async def minting_wallet(self) -> str:
        """The wallet that holds every token until it is funded."""
        return await self._tokens.minting_wallet()

    async def can_transfer(self, from_wallet: str, to_wallet: str, token_id: int, amount: Pence) -> tuple[bool, str]:
        """What the network says to this transfer.

        :raises ChainHalted: it makes no blocks
        :raises Unavailable: it does not answer
        """
        await self._blocks.must_go_on()
        return await self._tokens.can_transfer(from_wallet, to_wallet, token_id, amount)
