"""What the record says of itself: no machine, and the runs of the red team (TI-09)."""

from __future__ import annotations

from typing import Final

from fintokenx.audit.types import Action
from fintokenx.kernel.caller import Role
from fintokenx.kernel.machine import Machine

MACHINES: Final[tuple[Machine, ...]] = ()

ACTIONS: Final[tuple[Action, ...]] = (Action("REDTEAM_RUN", roles=(Role.SYSTEM, Role.PLATFORM_ADMIN), staff_only=True),)
