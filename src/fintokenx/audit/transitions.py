"""What the record says of itself: no machine, the runs of the red team (TI-09), and what is reserved (AD-15)."""

from __future__ import annotations

from typing import Final

from fintokenx.kernel.actions import Action
from fintokenx.kernel.caller import Role
from fintokenx.kernel.machine import AnyMachine

MACHINES: Final[tuple[AnyMachine, ...]] = ()

_COMPLIANCE: Final = (Role.MLRO, Role.COMPLIANCE)
_PLATFORM_ADMIN: Final = (Role.PLATFORM_ADMIN,)

RESERVED: Final = (
    Action(
        "SECONDARY_TRADE",
        (Role.LENDER, Role.INVESTOR, Role.PLATFORM_ADMIN, Role.SYSTEM),
        customer_facing=True,
        on_behalf_of="required_from_admin",
    ),
    Action("SAR_FILE", _COMPLIANCE, staff_only=True),
    Action("WEBHOOK_DELIVERED", (Role.SYSTEM,)),
    Action("AGENT_PROPOSE_VERDICT", (Role.SYSTEM, Role.AGENT), staff_only=True),
    Action("AGENT_MODEL_DEPLOY", _PLATFORM_ADMIN, staff_only=True),
    Action("AGENT_MODEL_ROLLBACK", _PLATFORM_ADMIN, staff_only=True),
)
"""Actions that the specification closes the taxonomy with and that no command records yet (AD-17 … AD-22). Declared, so
that the database knows who may record them before anybody does. A module that comes to use one takes its line over into
its own ``transitions``."""

ACTIONS: Final[tuple[Action, ...]] = (
    Action("REDTEAM_RUN", roles=(Role.SYSTEM, Role.PLATFORM_ADMIN), staff_only=True),
    Action("STATE_DRIFT", roles=(Role.SYSTEM,), staff_only=True),
    *RESERVED,
)
