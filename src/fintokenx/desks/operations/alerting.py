"""How operations tells people: one alert for a cause and a resource while it is open."""

from __future__ import annotations

from fintokenx import audit
from fintokenx.kernel.jobs import Work
from fintokenx.parties import compliance


async def tell(
    work: Work, *, cause: str, resource: str, severity: compliance.Severity, is_new_event: bool = False
) -> None:
    """Raise an alert in the tenant of the job, in a transaction of its own.

    Where one is open already: ``is_new_event`` counts that it happened again and leaves an entry; else the same thing
    was only looked at again, and nothing is recorded.
    """
    async with work.transaction() as tx:
        move = await compliance.raise_alert(tx, work.caller, cause=cause, resource=resource, severity=severity)
        if move.facts or is_new_event:  # the fact is that it is new
            await audit.change(tx, work.caller, action="ALERT_RAISE", resource=resource, move=move)
