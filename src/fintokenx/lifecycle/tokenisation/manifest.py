"""Receivables as tokens, and the chain that holds them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final, Protocol

from fintokenx.kernel.caller import HOME_TENANT
from fintokenx.kernel.db import Database, Pool
from fintokenx.kernel.jobs import Job, OpenTenants, Periodic
from fintokenx.kernel.sealing import Sealer
from fintokenx.kernel.settings import Settings
from fintokenx.lifecycle.tokenisation import http, reactions
from fintokenx.lifecycle.tokenisation.carries import CARRIES
from fintokenx.lifecycle.tokenisation.http.services import ExplorerServices
from fintokenx.lifecycle.tokenisation.jobs import TokenisationJobs, gaps
from fintokenx.lifecycle.tokenisation.jobs.reconciling import ReconciliationJob
from fintokenx.lifecycle.tokenisation.ports import Chain, ChainHistory, ChainState, NonceChain
from fintokenx.lifecycle.tokenisation.transitions import ACTIONS, MACHINES
from fintokenx.parties import auth
from fintokenx.web.module import Module
from fintokenx.web.services import Services


class WholeChain(Chain, NonceChain, Protocol):
    """The chain as the engine and the watch over nonces use it."""


class Needs(Protocol):
    """What it takes from the process."""

    @property
    def database(self) -> Database: ...

    @property
    def auditor_pool(self) -> Pool: ...

    @property
    def claims(self) -> Pool: ...

    @property
    def chain(self) -> WholeChain: ...

    @property
    def chain_state(self) -> ChainState: ...

    @property
    def history(self) -> ChainHistory: ...

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
    def settings(self) -> Settings: ...

    @property
    def open_tenants(self) -> OpenTenants: ...


def _services(needs: Needs) -> tuple[object, ...]:
    return (ExplorerServices(needs.history, needs.sealer, needs.settings.public_url),)


def _jobs(needs: Needs, _services: Services) -> tuple[Job, ...]:
    tell_mined = gaps.tell_mined_with(needs.claims)
    jobs = TokenisationJobs(
        chain=needs.chain,
        hashes=needs.sealer,
        reference_key=needs.reference_key,
        minting_wallet_key=needs.minting_wallet_key,
        stall_seconds=needs.stall_seconds,
        machine_seconds=needs.machine_seconds,
        tell_mined=tell_mined,
        active_holders=auth.active_holders,
    )
    compared = ReconciliationJob(needs.auditor_pool, needs.database, needs.chain_state, needs.open_tenants)
    gaps_closed = gaps.GapJob(needs.auditor_pool, needs.chain, tell_mined, needs.machine_seconds)
    return (*jobs.jobs(), *compared.jobs(), *gaps_closed.jobs())


MODULE: Final = Module[Needs](
    name="tokenisation",
    routers=(http.router,),
    machines=MACHINES,
    actions=ACTIONS,
    carries=CARRIES,
    in_step=reactions.IN_STEP,
    afterwards=reactions.AFTERWARDS,
    services=_services,
    jobs=_jobs,
    periodic=(
        Periodic("tokenisation.reconcile", timedelta(hours=1), HOME_TENANT),
        Periodic(gaps.JOB, gaps.EVERY, HOME_TENANT),
        Periodic("tokenisation.walk", timedelta(minutes=1), each_tenant=True, resting=timedelta(hours=1)),
    ),
)
