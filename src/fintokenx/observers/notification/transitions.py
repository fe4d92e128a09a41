"""The machine of mails (statemachines §12), as far as code walks it, and what is recorded of them."""

from __future__ import annotations

from typing import Final

from fintokenx.audit import Action
from fintokenx.kernel.caller import Role
from fintokenx.kernel.machine import NOTHING, Machine, transitions

EMAIL: Final = Machine(
    "email",
    transitions(
        [
            (NOTHING, "queue", "QUEUED", "MAIL_QUEUE"),
            ("QUEUED", "sent", "SENT", "MAIL_SENT"),
            ("QUEUED", "fail", "FAILED", "MAIL_FAILED"),
            ("QUEUED", "expire", "EXPIRED", "MAIL_EXPIRED"),
        ]
    ),
)

MACHINES: tuple[Machine, ...] = (EMAIL,)

ACTIONS = (
    Action("MAIL_QUEUE", (Role.SYSTEM,)),
    Action("MAIL_SENT", (Role.SYSTEM,)),
    Action("MAIL_FAILED", (Role.SYSTEM,)),
    Action("MAIL_EXPIRED", (Role.SYSTEM,)),
)
