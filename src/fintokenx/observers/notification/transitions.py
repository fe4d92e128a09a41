"""The machine of mails (statemachines §12), as far as code walks it, and what is recorded of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from fintokenx.audit import Action
from fintokenx.kernel.caller import Role
from fintokenx.kernel.machine import NOTHING, AnyMachine, machine


class EmailState(StrEnum):
    """Where a mail stands."""

    QUEUED = "QUEUED"
    SENT = "SENT"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"


class EmailEvent(StrEnum):
    """What moves a mail."""

    QUEUE = "queue"
    SENT = "sent"
    FAIL = "fail"
    EXPIRE = "expire"


EMAIL: Final = machine(
    "email",
    EmailState,
    EmailEvent,
    [
        (NOTHING, "queue", "QUEUED", "MAIL_QUEUE"),
        ("QUEUED", "sent", "SENT", "MAIL_SENT"),
        ("QUEUED", "fail", "FAILED", "MAIL_FAILED"),
        ("QUEUED", "expire", "EXPIRED", "MAIL_EXPIRED"),
    ],
)

MACHINES: tuple[AnyMachine, ...] = (EMAIL,)

ACTIONS = (
    Action("MAIL_QUEUE", (Role.SYSTEM,)),
    Action("MAIL_SENT", (Role.SYSTEM,)),
    Action("MAIL_FAILED", (Role.SYSTEM,)),
    Action("MAIL_EXPIRED", (Role.SYSTEM,)),
)
