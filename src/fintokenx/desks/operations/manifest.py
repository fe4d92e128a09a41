"""What must go on by itself: its jobs, and an administrator's lookups."""

from __future__ import annotations

from typing import Final, Protocol

from fintokenx.desks import operations
from fintokenx.desks.operations import halt, sanctions, watch
from fintokenx.kernel import rewrapping
from fintokenx.kernel.caller import HOME_TENANT
from fintokenx.kernel.clock import Clock
from fintokenx.kernel.db import Database
from fintokenx.kernel.jobs import Job, OpenTenants, Periodic
from fintokenx.kernel.sealing import KeyTable
from fintokenx.kernel.vault import Vault
from fintokenx.parties.kyc.ports import NameScreening
from fintokenx.web.module import Module
from fintokenx.web.services import Services


class Needs(Protocol):
    """What it takes from the process."""

    @property
    def database(self) -> Database: ...

    @property
    def vault(self) -> Vault: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def screening(self) -> NameScreening: ...

    @property
    def chain(self) -> sanctions.ChainTime: ...

    @property
    def blocks(self) -> halt.Blocks: ...

    @property
    def open_tenants(self) -> OpenTenants: ...

    @property
    def key_tables(self) -> tuple[KeyTable, ...]: ...

    @property
    def provider_credentials(self) -> tuple[str, ...]: ...


def _jobs(needs: Needs, _services: Services) -> tuple[Job, ...]:
    young = operations.credentials_are_young(needs.database, needs.vault, needs.clock, needs.provider_credentials)
    confirmed = operations.SanctionsConfirmation(needs.database, needs.screening, needs.chain, needs.open_tenants)
    return (
        *operations.Watch((operations.REDTEAM_OVERDUE, young)).jobs(),
        *confirmed.jobs(),
        *operations.HaltWatch(needs.blocks).jobs(),
        *rewrapping.Rewrapping(needs.vault, needs.key_tables).jobs(),
    )


MODULE: Final = Module[Needs](
    name="operations",
    routers=(operations.router,),
    jobs=_jobs,
    periodic=(
        Periodic(sanctions.JOB, sanctions.EVERY, HOME_TENANT),
        Periodic(watch.JOB, watch.EVERY, HOME_TENANT),
        Periodic(halt.JOB, halt.EVERY, HOME_TENANT),
        Periodic(rewrapping.JOB, rewrapping.EVERY, each_tenant=True, resting=rewrapping.RESTING),
    ),
)
