"""The pump: one run of any job drives every promise of its tenant that is open, the others only look at theirs.

So a thousand cost the chain as many requests as ten, and a job more or less changes nothing (docs/adr/0012).
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final, Generic

from fintokenx.kernel.clock import Instant
from fintokenx.kernel.jobs import TryAgain, Work
from fintokenx.kernel.vault import VaultUnavailable
from fintokenx.lifecycle.chainwork.jobs.blocks import BlockWatch
from fintokenx.lifecycle.chainwork.jobs.chain_round import POLL_SECONDS, Memory, Round, TellMined
from fintokenx.lifecycle.chainwork.jobs.operations import CallT, Operations
from fintokenx.lifecycle.chainwork.jobs.outage import waiting_while_away
from fintokenx.lifecycle.chainwork.ports import ChainUnavailable, SendingChain
from fintokenx.lifecycle.chainwork.service.sending import Mined
from fintokenx.lifecycle.chainwork.transitions import ChainTxState
from fintokenx.lifecycle.chainwork.types import ChainTransaction

ROUND_SECONDS: Final = 0.25
"""Rounds of a tenant are at least so far apart, and take along whatever was promised in between."""
WAITING_A_SECOND: Final = 40
"""Of many that wait, so many a second look what became of theirs. Who led a round comes back soon, so there is always
somebody to lead the next."""


class Pump(Generic[CallT]):
    """Takes the promises of a tenant to the chain, round by round; each round is led by the job that comes first.

    Several processes may do so at once: rows are locked one by one, and the same bytes count once.
    """

    def __init__(
        self, chain: SendingChain[CallT], operations: Operations[CallT], blocks: BlockWatch, tell_mined: TellMined
    ) -> None:
        self._chain = chain
        self._operations = operations
        self._blocks = blocks
        self._tell_mined = tell_mined
        self._memories: defaultdict[str, Memory] = defaultdict(Memory)

    def memory(self, tenant_id: str) -> Memory:
        """What the rounds of a tenant have seen so far."""
        return self._memories[tenant_id]

    def stalled(self, tenant_id: str) -> bool | None:
        """What the last round of a tenant saw of the chain and the vault."""
        return self.memory(tenant_id).stalled

    async def turn(self, work: Work, own: ChainTransaction, at: Instant) -> Mined:
        """Lead a round, unless one is under way or just over; the chain's answer to ``own``, which is recorded.

        :raises TryAgain: there is none yet
        """
        memory = self.memory(work.tenant_id)
        if own.state == ChainTxState.REVERTED:
            memory.again[own.business_key] = own
        just_over = memory.began_at is not None and (at - memory.began_at).total_seconds() < ROUND_SECONDS
        if memory.leading or just_over:
            raise TryAgain("another job drives it", seconds=POLL_SECONDS + memory.waiting / WAITING_A_SECOND)
        with waiting_while_away():
            round_ = await self.drive(work)
            if (fault := round_.faults.get(own.business_key)) is not None:
                raise fault
        if (mined := round_.answers.get(own.business_key)) is None:
            raise TryAgain("not in a block yet", seconds=POLL_SECONDS)
        return mined

    async def drive(self, work: Work, *, again: bool = False) -> Round[CallT]:
        """One round, whoever else leads one; ``again`` sends even what was sent a moment ago.

        :raises ChainUnavailable, VaultUnavailable: nothing is known; the next round looks
        """
        memory = self.memory(work.tenant_id)
        memory.leading += 1
        try:
            memory.stalled = await self._blocks.stalled()
            round_ = Round(self._chain, self._operations, work, memory, self._tell_mined, again=again)
            await round_.run()
        except (ChainUnavailable, VaultUnavailable):
            memory.stalled = True
            raise
        finally:
            memory.leading -= 1
        return round_
