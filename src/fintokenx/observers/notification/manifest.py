"""Mail about what has happened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from fintokenx.kernel.jobs import Handler, Job, Lane
from fintokenx.kernel.sealing import Sealer
from fintokenx.kernel.settings import Settings
from fintokenx.observers.notification import SEALED, reactions
from fintokenx.observers.notification.carries import CARRIES
from fintokenx.observers.notification.jobs import NotificationJobs
from fintokenx.observers.notification.ports import Mailer
from fintokenx.observers.notification.transitions import ACTIONS, MACHINES
from fintokenx.web.module import Module
from fintokenx.web.services import Services


class Needs(Protocol):
    """What it takes from the process."""

    @property
    def mailer(self) -> Mailer: ...

    @property
    def sealer(self) -> Sealer: ...

    @property
    def settings(self) -> Settings: ...


def _handlers(needs: Needs, _services: Services) -> Mapping[str, Handler]:
    return NotificationJobs(needs.mailer, needs.sealer, needs.settings.public_url).handlers()


_NAMES: Final = ("ask_buyer", "invoice_in_review", "invoice_rejected", "login_code")

MODULE: Final = Module[Needs](
    name="notification",
    machines=MACHINES,
    actions=ACTIONS,
    carries=CARRIES,
    sealed=SEALED,
    in_step=reactions.IN_STEP,
    afterwards=reactions.AFTERWARDS,
    jobs=tuple(Job(f"notification.{name}", Lane.OUTBOUND) for name in _NAMES),
    handlers=_handlers,
)
