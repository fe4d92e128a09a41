"""The whole platform on one page: the modules of the list, given their parts, behind one application and one worker."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import structlog
from fastapi import APIRouter, FastAPI

import fintokenx.sandbox.http as sandbox_http
from fintokenx.app import catalogue, health, provider_health, providers
from fintokenx.app import http as app_http
from fintokenx.app.assembly import Pools, keys, log_identity, parts, pools
from fintokenx.app.base import Base, connected, open_clock
from fintokenx.app.modules import MODULES
from fintokenx.app.outside import components, outside
from fintokenx.app.parts import Parts
from fintokenx.desks import operations
from fintokenx.kernel.bus import Reactions
from fintokenx.kernel.bypass import Bypass
from fintokenx.kernel.ids import Ids
from fintokenx.kernel.jobs import Job, Lane, Periodic, Worker, by_name, slots_of
from fintokenx.kernel.settings import BadSettings, Environment, Settings
from fintokenx.parties import auth
from fintokenx.sandbox.anvil import ChainControl
from fintokenx.sandbox.clock import SandboxClock
from fintokenx.web.module import Module
from fintokenx.web.services import Services

log = structlog.get_logger("fintokenx.app")

VERSION: Final = "0.1.0"
POOL_SIZE: Final = 24
"""Connections of requests and jobs together: their transactions are short, and a job holds none while it waits."""


def routers(modules: Sequence[Module[Parts]] = MODULES) -> tuple[APIRouter, ...]:
    """Every route of the platform but the sandbox's."""
    return (health.router, provider_health.router, *(router for module in modules for router in module.routers))


def reactions(modules: Sequence[Module[Parts]] = MODULES) -> Reactions:
    """All subscriptions."""
    return Reactions(
        [reaction for module in modules for reaction in module.in_step],
        [reaction for module in modules for reaction in module.afterwards],
    )


def periodic(modules: Sequence[Module[Parts]] = MODULES) -> tuple[Periodic, ...]:
    """What falls due by the clock."""
    return tuple(job for module in modules for job in module.periodic)


def services(own: Parts, modules: Sequence[Module[Parts]] = MODULES) -> Services:
    """What the routes of all modules ask for."""
    return Services(*(service for module in modules for service in module.services(own)))


def jobs(own: Parts, services: Services, modules: Sequence[Module[Parts]] = MODULES) -> tuple[Job, ...]:
    """Every job of the platform. :raises ValueError: two modules own one name, or a reaction's is nobody's"""
    owned = (job for module in modules for job in module.jobs(own, services))
    return tuple(by_name(owned, promised={later.job for later in reactions(modules).afterwards}).values())


def job_slots(settings: Settings, lanes: Sequence[str] = ()) -> dict[Lane, int]:
    """How many jobs of each lane this process runs. :raises BadSettings: an unknown lane, or one without a slot"""
    try:
        return slots_of(lanes or settings.lanes, settings.lane_slots)
    except ValueError as fault:
        raise BadSettings(str(fault)) from fault


@asynccontextmanager
async def base(
    settings: Settings, *, pool_size: int = 16, modules: Sequence[Module[Parts]] = MODULES
) -> AsyncIterator[Base]:
    """Connected, with everybody who answers a fact listening.

    :raises VaultUnavailable, UnsafeRole: refuses to start
    """
    async with connected(settings, reactions(modules), pool_size=pool_size) as connected_base:
        yield connected_base


def create_app(settings: Settings, *, lanes: Sequence[str] = (), modules: Sequence[Module[Parts]] = MODULES) -> FastAPI:
    """The platform as one ASGI application; its lifespan connects everything and runs the worker of these lanes, or of
    those that the settings name.

    :raises BadSettings: the providers and their addresses do not agree (app/providers.py), or an unknown lane
    """
    providers.check(settings)
    slots = job_slots(settings, lanes)
    swagger_ui = Path(__file__).resolve().parents[3] / "node_modules" / "swagger-ui-dist"
    app = app_http.create(
        ids=Ids(open_clock(settings), os.urandom),
        routers=[*routers(modules), *([sandbox_http.router] if _has_controls(settings) else [])],
        title="FinToken X",
        version=VERSION,
        environment=settings.environment.value,
        swagger_ui=swagger_ui if swagger_ui.is_dir() else None,
    )
    app.router.lifespan_context = partial(_running, settings=settings, slots=slots, modules=modules)
    return app


@asynccontextmanager
async def _running(
    app: FastAPI, *, settings: Settings, slots: Mapping[Lane, int], modules: Sequence[Module[Parts]]
) -> AsyncIterator[None]:
    async with (
        base(settings, pool_size=POOL_SIZE, modules=modules) as connected_base,
        outside(connected_base) as clients,
        pools(connected_base) as logins,
    ):
        vault = connected_base.vault
        own = parts(
            connected_base, clients, logins, await keys(vault), log=await log_identity(settings, vault),
            sealed=catalogue.SEALED,
        )  # fmt: skip
        provided = services(own, modules)
        worker = _worker(own, provided, slots, modules)
        works = health.Component(partial(_alive, worker), needed=True)
        asked = {
            **components(connected_base, clients),
            "worker": works,
            **{f"lane.{lane}": works for lane in worker.lanes},
        }
        app.state.services = provided.and_also(
            health.Health(asked), clients.providers, _bypass(connected_base, logins), *_controls(connected_base)
        )
        running = asyncio.create_task(worker.run())
        log.info(
            "started", environment=settings.environment.value, port=settings.listen_port, version=VERSION,
            lanes=",".join(worker.lanes),
        )  # fmt: skip
        try:
            yield
        finally:
            worker.stop()
            await running


def _worker(own: Parts, provided: Services, slots: Mapping[Lane, int], modules: Sequence[Module[Parts]]) -> Worker:
    return Worker(
        claims=own.claims,
        database=own.database,
        jobs=jobs(own, provided, modules),
        slots=slots,
        periodic=periodic(modules),
        open_tenants=own.open_tenants,
        tell_dead=operations.tell_dead,
        clock=own.clock,
        ids=own.ids,
    )


async def _alive(worker: Worker) -> bool:
    return worker.alive


def _bypass(connected_base: Base, logins: Pools) -> Bypass:
    return Bypass(logins.platform, pins=connected_base.pins, clock=connected_base.clock, ids=connected_base.ids)


def _has_controls(settings: Settings) -> bool:
    return settings.environment.has_sandbox_controls and bool(settings.sandbox_clock)


def _controls(connected_base: Base) -> tuple[object, ...]:
    """The sandbox's own service, where there is a sandbox."""
    settings, clock = connected_base.settings, connected_base.clock
    if not (settings.environment.has_sandbox_controls and isinstance(clock, SandboxClock)):
        return ()
    return (
        sandbox_http.SandboxServices(
            clock,
            ChainControl(settings.chain_rpc_urls[0]),
            settings.sandbox_control_urls,
            open_to_all=settings.environment is Environment.LOCAL,
            session_life=auth.SESSION_LIFE,
        ),
    )
