"""A job that is given up is told of: what it was to do does not happen unless somebody sees to it."""

from __future__ import annotations

from typing import Final

from fintokenx.desks.operations.alerting import tell
from fintokenx.kernel.jobs import Work
from fintokenx.parties import compliance

CAUSE: Final = "JOB_DEAD"


async def tell_dead(work: Work) -> None:
    """One alert for each, in the tenant of the job. Its resource is the job's name and id, and nothing of what it is
    about."""
    await tell(work, cause=CAUSE, resource=f"{work.name}:{work.id}", severity=compliance.Severity.CRITICAL)
