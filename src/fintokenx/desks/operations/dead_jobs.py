"""A job that is given up is told of: what it was to do does not happen unless somebody sees to it."""

from __future__ import annotations

from typing import Final

from fintokenx import audit
from fintokenx.kernel.jobs import Work
from fintokenx.parties import compliance

CAUSE: Final = "JOB_DEAD"


async def tell(work: Work) -> None:
    """One alert for each, in the tenant of the job. Its resource is the job's name and id, and nothing of what it is
    about."""
    resource = f"{work.name}:{work.id}"
    async with work.transaction() as tx:
        move = await compliance.raise_alert(
            tx, work.caller, cause=CAUSE, resource=resource, severity=compliance.Severity.CRITICAL
        )
        if move.facts:  # told before, and the burial failed
            await audit.change(tx, work.caller, action="ALERT_RAISE", resource=resource, move=move)
