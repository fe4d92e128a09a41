"""What must go on by itself: its jobs, and an administrator's lookups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from fintokenx.desks import operations
from fintokenx.desks.operations import halt, sanctions, watch
from fintokenx.kernel import rewrapping
from fintokenx.kernel.caller import HOME_TENANT
from fintokenx.kernel.clock import Clock
from fintokenx.kernel.db import Database
from fintokenx.kernel.jobs import Handler, Job, Lane, OpenTenants, Periodic
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


def _handlers(needs: Needs, _services: Services) -> Mapping[str, Handler]:
    young = operations.credentials_are_young(needs.database, needs.vault, needs.clock, needs.provider_credentials)
    confirmed = operations.SanctionsConfirmation(needs.database, needs.screening, needs.chain, needs.open_tenants)
    return {
        **operations.Watch((operations.REDTEAM_OVERDUE, young)).handlers(),
        **confirmed.handlers(),
        **operations.HaltWatch(needs.blocks).handlers(),
        **rewrapping.Rewrapping(needs.vault, needs.key_tables).handlers(),
    }


MODULE: Final = Module[Needs](
    name="operations",
    routers=(operations.router,),
    jobs=(
        Job(watch.JOB, Lane.OUTBOUND, 300.0),
        Job(sanctions.JOB, Lane.CHAIN, 600.0),
        Job(halt.JOB, Lane.CHAIN),
        Job(rewrapping.JOB, Lane.OUTBOUND, 600.0),
    ),
    handlers=_handlers,
    periodic=(
        Periodic(sanctions.JOB, sanctions.EVERY, HOME_TENANT),
        Periodic(watch.JOB, watch.EVERY, HOME_TENANT),
        Periodic(halt.JOB, halt.EVERY, HOME_TENANT),
        Periodic(rewrapping.JOB, rewrapping.EVERY, each_tenant=True, resting=rewrapping.RESTING),
    ),
)
