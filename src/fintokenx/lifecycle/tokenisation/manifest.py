"""Receivables as tokens, the wallets that hold them, and the chain held against the database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final, Protocol

from fintokenx.kernel.caller import HOME_TENANT
from fintokenx.kernel.db import Database, Pool
from fintokenx.kernel.jobs import Job, OpenTenants, Periodic
from fintokenx.kernel.sealing import Sealer
from fintokenx.lifecycle.chainwork import tell_mined_with
from fintokenx.lifecycle.tokenisation import http, reactions
from fintokenx.lifecycle.tokenisation.carries import CARRIES
from fintokenx.lifecycle.tokenisation.jobs import TokenisationJobs
from fintokenx.lifecycle.tokenisation.jobs.reconciling import ReconciliationJob
from fintokenx.lifecycle.tokenisation.ports import Chain, ChainState
from fintokenx.lifecycle.tokenisation.transitions import ACTIONS, MACHINES
from fintokenx.parties import auth
from fintokenx.web.module import Module
from fintokenx.web.services import Services


class Needs(Protocol):
    """What it takes from the process."""

    @property
    def database(self) -> Database: ...

    @property
    def auditor_pool(self) -> Pool: ...

    @property
    def claims(self) -> Pool: ...

    @property
    def chain(self) -> Chain: ...

    @property
    def chain_state(self) -> ChainState: ...

    @property
    def minting_wallet_key(self) -> str: ...

    @property
    def stall_seconds(self) -> float: ...

    @property
    def machine_seconds(self) -> Callable[[], float]: ...

    @property
    def sealer(self) -> Sealer: ...

    @property
    def reference_key(self) -> bytes: ...

    @property
    def open_tenants(self) -> OpenTenants: ...


def _jobs(needs: Needs, _services: Services) -> tuple[Job, ...]:
    jobs = TokenisationJobs(
        chain=needs.chain,
        hashes=needs.sealer,
        reference_key=needs.reference_key,
        minting_wallet_key=needs.minting_wallet_key,
        stall_seconds=needs.stall_seconds,
        machine_seconds=needs.machine_seconds,
        tell_mined=tell_mined_with(needs.claims),
        active_holders=auth.active_holders,
    )
    compared = ReconciliationJob(needs.auditor_pool, needs.database, needs.chain_state, needs.open_tenants)
    return (*jobs.jobs(), *compared.jobs())


MODULE: Final = Module[Needs](
    name="tokenisation",
    routers=(http.router,),
    machines=MACHINES,
    actions=ACTIONS,
    carries=CARRIES,
    in_step=reactions.IN_STEP,
    afterwards=reactions.AFTERWARDS,
    jobs=_jobs,
    periodic=(
        Periodic("tokenisation.reconcile", timedelta(hours=1), HOME_TENANT),
        Periodic("tokenisation.walk", timedelta(minutes=1), each_tenant=True, resting=timedelta(hours=1)),
    ),
)
