"""What is looked at once a day, and the alerts that come of it. A check finds; :class:`Watch` raises, once each.

Another check is another function in the wiring's list: it returns what it found and knows nothing of alerts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from fintokenx import audit
from fintokenx.desks.operations import rotation
from fintokenx.desks.operations.alerting import tell
from fintokenx.kernel.clock import Clock
from fintokenx.kernel.credentials import in_force
from fintokenx.kernel.db import Database
from fintokenx.kernel.errors import Unavailable
from fintokenx.kernel.jobs import Job, Lane, Payload, Work
from fintokenx.kernel.vault import Vault
from fintokenx.parties import compliance

JOB: Final = "platform.watch"
EVERY: Final = timedelta(days=1)
CREDENTIAL_LIFE: Final = timedelta(days=92)
"""Quarterly (P-21): the longest quarter has so many days."""


@dataclass(frozen=True, slots=True)
class Found:
    """Something that people must see. ``cause`` and ``resource`` together are one alert while it is open."""

    cause: str
    resource: str
    severity: compliance.Severity


@dataclass(frozen=True, slots=True)
class Check:
    """Looks at one thing, in transactions of its own, and returns what is not as it should be. ``causes`` are all that
    it may find: what it finds no more is cleared."""

    causes: tuple[str, ...]
    look: Callable[[Work], Awaitable[list[Found]]]


@dataclass(frozen=True, slots=True)
class Watch:
    """The checks, in their order. One that fails does not keep the others' findings back; the job is then retried."""

    checks: Sequence[Check]

    def jobs(self) -> tuple[Job, ...]:
        """Periodic."""
        return (Job(JOB, self.look, Lane.OUTBOUND, seconds_max=300),)

    async def look(self, work: Work, _payload: Payload) -> None:
        """Run them all.

        :raises Unavailable: one could not look now
        :raises ExceptionGroup: some failed otherwise
        """
        faults: list[Exception] = []
        for check in self.checks:
            try:
                found = await check.look(work)
                for one in found:
                    await tell(work, cause=one.cause, resource=one.resource, severity=one.severity)
                await _clear(work, check.causes, found)
            except Exception as fault:  # told when all have looked
                faults.append(fault)
        if faults and all(isinstance(fault, Unavailable) for fault in faults):
            raise faults[0]
        if faults:
            raise ExceptionGroup("checks of the daily watch failed", faults)


async def _clear(work: Work, causes: Sequence[str], found: Sequence[Found]) -> None:
    async with work.transaction() as tx:
        for cause in causes:
            standing = {one.resource for one in found if one.cause == cause}
            await compliance.clear_alerts_but(tx, work.caller, cause=cause, standing=standing)


async def _redteam_overdue(work: Work) -> list[Found]:
    """No run of the red team in a quarter turned every attack away (TI-09)."""
    async with work.transaction() as tx:
        overdue = await audit.redteam_overdue(tx, work.caller)
    return [Found("REDTEAM_OVERDUE", "redteam", compliance.Severity.WARNING)] if overdue else []


REDTEAM_OVERDUE: Final = Check(("REDTEAM_OVERDUE",), _redteam_overdue)


def credentials_are_young(database: Database, vault: Vault, clock: Clock, names: Sequence[str]) -> Check:
    """Each of these credentials is younger than 92 days; a rotation that was interrupted is finished on the way."""

    async def check(work: Work) -> list[Found]:
        found = []
        for name in names:
            resource = f"credential/{name}"
            try:
                await rotation.finish(database, vault, work.caller, name=name)
            except rotation.CredentialLost:
                found.append(Found("CREDENTIAL_LOST", resource, compliance.Severity.CRITICAL))
            since = (await in_force(vault, name)).since
            # Without a date nobody can say that it is young.
            if since is None or clock.now() - since > CREDENTIAL_LIFE:
                found.append(Found("CREDENTIAL_OLD", resource, compliance.Severity.WARNING))
        return found

    return Check(("CREDENTIAL_LOST", "CREDENTIAL_OLD"), check)
