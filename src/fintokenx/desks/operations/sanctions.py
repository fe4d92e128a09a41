"""Confirms on chain that its sanctions list is complete, and only while it is (CH-14, MO-06)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

from fintokenx.kernel.caller import system
from fintokenx.kernel.db import Database
from fintokenx.kernel.errors import Unavailable
from fintokenx.kernel.jobs import Job, Lane, Payload, TryAgain, Work
from fintokenx.kernel.jobs.periodic import OpenTenants
from fintokenx.lifecycle import chainwork, tokenisation
from fintokenx.lifecycle.chainwork.ports import ChainHead
from fintokenx.parties.kyc.ports import NameScreening, ScreeningName, Verdict

JOB: Final = "chain.refresh_sanctions"
EVERY: Final = timedelta(hours=12)
WAIT_SECONDS: Final = 60.0
AWAY_SECONDS: Final = 5.0


class ChainTime(Protocol):
    """The network, as far as it says what time it is there."""

    async def head(self) -> ChainHead:
        """The newest block."""
        ...


@dataclass(frozen=True, slots=True)
class SanctionsConfirmation:
    """The periodic job. Without it the chain's list grows stale within two days, and then nothing moves."""

    database: Database
    screening: NameScreening
    chain: ChainTime
    open_tenants: OpenTenants

    def jobs(self) -> tuple[Job, ...]:
        """Periodic."""
        return (Job(JOB, self.confirm, Lane.OUTBOUND, seconds_max=300),)

    async def confirm(self, work: Work, _payload: Payload) -> None:
        """Promise to tell the chain that its list is complete, only after the provider's lists answered just now and
        all whom they name here are flagged there. Who is not yet gets the job promised that flags. Holders are screened
        again by monitoring (MO-01), not here.

        The chain is told a time of its own from before the lists were asked: however late it hears of it, it takes the
        list for as old as that. While an earlier confirmation has no answer there is no second.
        """
        key = f"refresh:{work.id}"
        async with work.transaction() as tx:
            known = await tokenisation.refresh_known(tx, work.caller, business_key=key)
        if _is_promised(known, key):
            return
        try:
            as_of_unix = (await self.chain.head()).timestamp_unix
        except Unavailable as fault:  # an outage is waiting and not failure, however long it lasts (IX-09)
            raise TryAgain(f"{fault.system} is not available", seconds=AWAY_SECONDS) from fault
        answer = await self.screening.screen(ScreeningName("fintokenx-freshness", "company", "FinToken X"))
        if answer.verdict is Verdict.PENDING:
            raise TryAgain("the sanctions lists gave no verdict", seconds=WAIT_SECONDS)
        left = [await self._unflagged(work, tenant_id) for tenant_id in await self.open_tenants()]
        if any(left):
            raise TryAgain(f"{sum(left)} sanctioned wallets are not flagged on chain yet", seconds=WAIT_SECONDS)
        async with work.transaction() as tx:
            promise = await tokenisation.refresh(tx, work.caller, business_key=key, as_of_unix=as_of_unix)
        _is_promised(promise, key)

    async def _unflagged(self, work: Work, tenant_id: str) -> int:
        async with self.database.transaction(tenant_id, request_id=work.id) as tx:
            subjects = await tokenisation.unflagged(tx, system(tenant_id, work.name))
            for subject_id in subjects:
                key = f"{work.id}:{subject_id}"
                tx.enqueue("tokenisation.issue_claims", {"subject_id": subject_id}, dedupe_key=key)
        return len(subjects)


def _is_promised(known: chainwork.ChainTransaction | None, business_key: str) -> bool:
    """Whether this run has its promise. :raises TryAgain: the chain has not answered an earlier one"""
    if known is not None and known.business_key != business_key:
        raise TryAgain("an earlier confirmation has no answer of the chain yet", seconds=WAIT_SECONDS)
    return known is not None
