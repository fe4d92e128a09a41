"""What is looked at once a day, whether anybody asks or not: the job `platform.watch` and its checks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from fintokenx import audit
from fintokenx.kernel.jobs import Handler, Payload, Work
from fintokenx.parties import compliance

JOB: Final = "platform.watch"
EVERY: Final = timedelta(days=1)

Check = Callable[[Work], Awaitable[None]]
"""Looks at one thing, in transactions of its own, and raises an alert when it is not as it should be."""


@dataclass(frozen=True, slots=True)
class Watch:
    """The checks, in their order. One that fails does not keep the others from looking; the job is then retried."""

    checks: Sequence[Check]

    def handlers(self) -> Mapping[str, Handler]:
        """By job name."""
        return {JOB: self.look}

    async def look(self, work: Work, _payload: Payload) -> None:
        """Run them all. :raises ExceptionGroup: some failed"""
        faults = []
        for check in self.checks:
            try:
                await check(work)
            except Exception as fault:  # told when all have looked
                faults.append(fault)
        if faults:
            raise ExceptionGroup("checks of the daily watch failed", faults)


async def redteam_overdue(work: Work) -> None:
    """Raise REDTEAM_OVERDUE when no run of a quarter turned every attack away (TI-09); counts up while that lasts."""
    async with work.transaction() as tx:
        if not await audit.redteam_overdue(tx, work.caller):
            return
        move = await compliance.raise_alert(
            tx, work.caller, cause="REDTEAM_OVERDUE", resource="redteam", severity=compliance.Severity.WARNING
        )
        await audit.change(tx, work.caller, action="ALERT_RAISE", resource="redteam", move=move)


CHECKS: Final[tuple[Check, ...]] = (redteam_overdue,)
