"""The record as a module: its routes, and the jobs that seal, anchor and sample it."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Protocol

from fintokenx.audit import http
from fintokenx.audit.carries import CARRIES
from fintokenx.audit.jobs import AuditJobs, SampleJob
from fintokenx.audit.ports import Anchors, CheckpointSigner, Own
from fintokenx.audit.transitions import ACTIONS, MACHINES
from fintokenx.audit.types import SEAL_EVERY, LogIdentity
from fintokenx.kernel.caller import HOME_TENANT
from fintokenx.kernel.clock import Clock
from fintokenx.kernel.db import Database, Pool
from fintokenx.kernel.jobs import Job, Periodic
from fintokenx.web.module import Module
from fintokenx.web.services import Services


class Needs(Protocol):
    """What it takes from the process."""

    @property
    def database(self) -> Database: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def sealer_pool(self) -> Pool: ...

    @property
    def auditor_pool(self) -> Pool: ...

    @property
    def anchors(self) -> Anchors: ...

    @property
    def signer(self) -> CheckpointSigner: ...

    @property
    def log(self) -> LogIdentity: ...

    @property
    def own_entries(self) -> Own | None: ...


def _services(needs: Needs) -> tuple[object, ...]:
    return (http.AuditServices(needs.sealer_pool, needs.log, needs.own_entries),)


def _jobs(needs: Needs, _services: Services) -> tuple[Job, ...]:
    sealing = AuditJobs(needs.sealer_pool, needs.anchors, needs.clock, needs.signer, needs.log.key.name)
    return (*sealing.jobs(), *SampleJob(needs.auditor_pool, needs.database).jobs())


MODULE: Final = Module[Needs](
    name="audit",
    routers=(http.router,),
    machines=MACHINES,
    actions=ACTIONS,
    carries=CARRIES,
    services=_services,
    jobs=_jobs,
    periodic=(
        Periodic("audit.anchor", SEAL_EVERY, HOME_TENANT),
        Periodic("audit.replay_sample", timedelta(hours=1), HOME_TENANT),
    ),
)
