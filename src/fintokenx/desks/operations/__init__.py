"""The operations desk: what must go on by itself, and who is told when it does not.

A halted chain, a credential that is old or lost, a red team that has not run, a job that was given up: each is one
alert while it lasts. The chain's sanctions list is confirmed, a provider's credential is rotated, and an administrator
finds whose something is, across tenants.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from fintokenx.desks.operations import halt, sanctions, watch
from fintokenx.desks.operations.dead_jobs import tell_dead
from fintokenx.desks.operations.halt import HaltWatch, OnlyWhileBlocksCome
from fintokenx.desks.operations.lookups import router
from fintokenx.desks.operations.rotation import (
    credential_states,
    must_be_rotatable,
    new_value,
    rotate_credential,
)
from fintokenx.desks.operations.sanctions import SanctionsConfirmation
from fintokenx.desks.operations.watch import REDTEAM_OVERDUE, Watch, credentials_are_young

PERIODIC: Final[Mapping[str, timedelta]] = {
    sanctions.JOB: sanctions.EVERY,
    watch.JOB: watch.EVERY,
    halt.JOB: halt.EVERY,
}
"""What falls due by the clock, for the platform as a whole: how often, by job name."""

__all__ = [
    "PERIODIC",
    "REDTEAM_OVERDUE",
    "HaltWatch",
    "OnlyWhileBlocksCome",
    "SanctionsConfirmation",
    "Watch",
    "credential_states",
    "credentials_are_young",
    "must_be_rotatable",
    "new_value",
    "rotate_credential",
    "router",
    "tell_dead",
]
