"""Mail about what has happened."""

from __future__ import annotations

from typing import Final, Protocol

from fintokenx.kernel.jobs import Job
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


def _jobs(needs: Needs, _services: Services) -> tuple[Job, ...]:
    return NotificationJobs(needs.mailer, needs.sealer, needs.settings.public_url).jobs()


MODULE: Final = Module[Needs](
    name="notification",
    machines=MACHINES,
    actions=ACTIONS,
    carries=CARRIES,
    sealed=SEALED,
    in_step=reactions.IN_STEP,
    afterwards=reactions.AFTERWARDS,
    jobs=_jobs,
)
