"""A board on which a job pins notices."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Protocol

from fintokenx.kernel.actions import Action
from fintokenx.kernel.caller import HOME_TENANT, Role
from fintokenx.kernel.clock import Clock
from fintokenx.kernel.jobs import Job, Lane, Periodic
from fintokenx.kernel.machine import NOTHING, Machine, transitions
from fintokenx.web.module import Module
from tests.modules.noticeboard.board import Board, router

JOB: Final = "noticeboard.pin_up"


class Needs(Protocol):
    """What it takes from the process."""

    @property
    def clock(self) -> Clock: ...


MODULE: Final = Module[Needs](
    name="noticeboard",
    routers=(router,),
    machines=(Machine("notice", transitions([(NOTHING, "pin", "PINNED", "NOTICE_PIN")])),),
    actions=(Action("NOTICE_PIN", (Role.SYSTEM,)),),
    services=lambda needs: (Board(needs.clock),),
    jobs=lambda _needs, services: (Job(JOB, services.of(Board).pin_up, Lane.OUTBOUND, 5.0),),
    periodic=(Periodic(JOB, timedelta(minutes=1), HOME_TENANT),),
)
