"""What drives transactions to the chain, whatever they are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from fintokenx.kernel.caller import HOME_TENANT
from fintokenx.kernel.db import Pool
from fintokenx.kernel.jobs import Job, Periodic
from fintokenx.lifecycle.chainwork.carries import CARRIES
from fintokenx.lifecycle.chainwork.jobs import gaps
from fintokenx.lifecycle.chainwork.ports import NonceChain
from fintokenx.lifecycle.chainwork.transitions import ACTIONS, MACHINES
from fintokenx.web.module import Module
from fintokenx.web.services import Services


class Needs(Protocol):
    """What it takes from the process."""

    @property
    def auditor_pool(self) -> Pool: ...

    @property
    def claims(self) -> Pool: ...

    @property
    def chain(self) -> NonceChain: ...

    @property
    def machine_seconds(self) -> Callable[[], float]: ...


def _jobs(needs: Needs, _services: Services) -> tuple[Job, ...]:
    tell_mined = gaps.tell_mined_with(needs.claims)
    return gaps.GapJob(needs.auditor_pool, needs.chain, tell_mined, needs.machine_seconds).jobs()


MODULE: Final = Module[Needs](
    name="chainwork",
    machines=MACHINES,
    actions=ACTIONS,
    carries=CARRIES,
    jobs=_jobs,
    periodic=(Periodic(gaps.JOB, gaps.EVERY, HOME_TENANT),),
)
