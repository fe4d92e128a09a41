"""A nonce that nothing is sent with holds up all that come after it, of every tenant: seen, told and closed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import structlog

from fintokenx import audit
from fintokenx.kernel.db import Pool
from fintokenx.kernel.errors import Unavailable
from fintokenx.kernel.jobs import Job, Lane, Payload, Work
from fintokenx.lifecycle.chainwork.jobs.chain_round import TellMined
from fintokenx.lifecycle.chainwork.jobs.outage import waiting_while_away
from fintokenx.lifecycle.chainwork.ports import NonceChain
from fintokenx.lifecycle.chainwork.service import nonces
from fintokenx.lifecycle.chainwork.service.reads import PENDING_MAX
from fintokenx.parties import compliance

log = structlog.get_logger("fintokenx.chainwork")

JOB: Final = "tokenisation.close_gaps"
EVERY: Final = timedelta(seconds=15)
CAUSE: Final = "CHAIN_NONCE_GAP"
STUCK_SECONDS: Final = 14.0
"""So long a sender stands still while blocks come before anything is done: its own rounds send again every 5 s."""
STUCK_BLOCKS: Final = 2


def tell_mined_with(pool: Pool) -> TellMined:
    """How the database is told of the chain's count; ``pool`` logs in as fx_worker."""

    async def tell(sender: str, count: int) -> None:
        await nonces.mined(pool, sender, count)

    return tell


@dataclass(frozen=True, slots=True)
class _Seen:
    """A sender that has not moved since then."""

    count: int
    block_number: int
    machine_seconds: float


@dataclass(slots=True)
class GapJob:
    """Closes gaps, whoever made them. ``auditor`` logs in as fx_auditor; ``tell_mined`` tells the database the count.

    A gap is a nonce below the database's next one that the chain waits for and that its node does not hold, while
    blocks come. It is filled with a transaction that does nothing. Should the promise that had the nonce arrive after
    all, one of the two is mined; if it is not the promise's, that gets another nonce as any that lost its own.
    """

    auditor: Pool
    chain: NonceChain
    tell_mined: TellMined
    machine_seconds: Callable[[], float]
    _seen: dict[str, _Seen] = field(default_factory=dict)
    _closed_to: dict[str, int] = field(default_factory=dict)
    _untold: set[str] = field(default_factory=set)
    """Senders of whom no alert can be open."""

    def jobs(self) -> tuple[Job, ...]:
        """Periodic."""
        return (Job(JOB, self.look, Lane.CHAIN, seconds_max=300),)

    async def look(self, work: Work, _payload: Payload) -> None:
        """Look at every sender once. It waits while the chain or the vault is away. A sender about whom something is
        wrong keeps nobody from looking at the others: what was wrong is raised when all have been looked at."""
        faults: list[Exception] = []
        with waiting_while_away():
            for sender, following in (await nonces.following(self.auditor)).items():
                try:
                    await self._look_at(work, sender, following)
                except Unavailable:
                    raise  # of the chain or the vault, which all senders need
                except Exception as fault:  # whatever is wrong with one must not hide the others
                    log.exception("chain_sender_not_looked_at", sender=sender)
                    faults.append(fault)
        if faults:
            raise faults[0]

    async def _look_at(self, work: Work, sender: str, following: int) -> None:
        count, head = await self.chain.transaction_count(sender), await self.chain.head()
        await self.tell_mined(sender, count)
        if count < following and self._closed_to.pop(sender, None) == count:
            stuck = True  # a wider gap than a node takes at once
        else:
            stuck = count < following and self._is_stuck(sender, count, head.number)
        if count >= following:
            await self._tell_no_more(work, sender)
        if not stuck:
            return
        missing = await self._missing(sender, count, min(following, count + PENDING_MAX))
        if not missing:
            return
        log.error("chain_nonce_gap", sender=sender, first=missing[0], nonces=len(missing))
        raws = await self._cancelling(sender, missing)
        if not raws:
            return
        await self._tell(work, sender)
        for nonce, refusal in zip(missing, await self.chain.send_many(raws), strict=True):
            if refusal is not None:
                log.warning("gap_not_closed", sender=sender, nonce=nonce, detail=refusal.detail)
        self._closed_to[sender] = missing[-1] + 1
        self._seen.pop(sender, None)

    def _is_stuck(self, sender: str, count: int, block_number: int) -> bool:
        """Whether it stands where it stood a while and some blocks ago."""
        known, now = self._seen.get(sender), self.machine_seconds()
        if known is None or known.count != count:
            self._seen[sender] = _Seen(count, block_number, now)
            return False
        return now - known.machine_seconds >= STUCK_SECONDS and block_number - known.block_number >= STUCK_BLOCKS

    async def _missing(self, sender: str, first: int, end: int) -> list[int]:
        """Nonces that no transaction of this sender waits with at the node."""
        signed = await nonces.hashes(self.auditor, sender, first=first, last=end - 1)
        held = await self.chain.waiting(sender, signed)
        return [nonce for nonce in range(first, end) if nonce not in held]

    async def _cancelling(self, sender: str, missing: list[int]) -> list[bytes]:
        """A transaction that does nothing for each nonce; none where the sender is not ours, and no gap of ours."""
        raws = []
        for nonce in missing:
            cancelling = await self.chain.cancellation(sender, nonce)
            if cancelling is None:
                log.error("chain_nonce_gap_of_a_stranger", sender=sender)
                return []
            raws.append(cancelling.raw)
        return raws

    async def _tell(self, work: Work, sender: str) -> None:
        """Once while it is open: whoever looks every few seconds would count seconds, not occurrences."""
        self._untold.discard(sender)
        async with work.transaction() as tx:
            move = await compliance.raise_alert(
                tx, work.caller, cause=CAUSE, resource=sender, severity=compliance.Severity.CRITICAL
            )
            if move.facts:
                await audit.change(tx, work.caller, action="ALERT_RAISE", resource=sender, move=move)

    async def _tell_no_more(self, work: Work, sender: str) -> None:
        """The chain has come as far as the database: nothing of this sender is missing."""
        if sender not in self._untold:
            async with work.transaction() as tx:
                await compliance.clear_alert(tx, work.caller, cause=CAUSE, resource=sender)
            self._untold.add(sender)
