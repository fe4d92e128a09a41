"""What is looked at once a day, and the alerts that come of it. A check finds; :func:`handler` raises, once each.

Another check is another function in the wiring's list: it returns what it found and knows nothing of alerts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from fintokenx import audit
from fintokenx.app import rotation
from fintokenx.app.provision import PROVIDER_SECRETS
from fintokenx.kernel import jobs
from fintokenx.kernel.clock import Clock
from fintokenx.kernel.credentials import in_force
from fintokenx.kernel.db import Database
from fintokenx.kernel.errors import Unavailable
from fintokenx.kernel.vault import Vault
from fintokenx.parties import compliance

JOB: Final = "watch.daily"
EVERY: Final = timedelta(days=1)
CREDENTIAL_LIFE: Final = timedelta(days=92)
"""Quarterly (P-21): the longest quarter has so many days."""


@dataclass(frozen=True, slots=True)
class Found:
    """Something that people must see. ``cause`` and ``resource`` together are one alert while it is open."""

    cause: str
    resource: str
    severity: compliance.Severity


Check = Callable[[jobs.Work], Awaitable[list[Found]]]
"""Reads, calls nobody inside a transaction, returns what it found; :class:`Unavailable` makes the job look again."""


def credentials_are_young(database: Database, vault: Vault, clock: Clock) -> Check:
    """Each provider credential is younger than 92 days; a rotation that was interrupted is finished on the way."""

    async def check(work: jobs.Work) -> list[Found]:
        found = []
        for name in PROVIDER_SECRETS:
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

    return check


def handler(checks: Sequence[Check]) -> jobs.Handler:
    """The job that runs all checks. One that cannot look now does not keep the others' findings back."""

    async def watch(work: jobs.Work, _payload: jobs.Payload) -> None:
        away: Unavailable | None = None
        for check in checks:
            try:
                found = await check(work)
            except Unavailable as fault:
                away = fault
                continue
            for each in found:
                async with work.transaction() as tx:
                    move = await compliance.raise_alert(
                        tx, work.caller, cause=each.cause, resource=each.resource, severity=each.severity
                    )
                    if move.facts:  # it is new; one that is open already needs no entry every day
                        await audit.change(tx, work.caller, action="ALERT_RAISE", resource=each.resource, move=move)
        if away is not None:
            raise away
        async with work.completing():
            pass

    return watch
