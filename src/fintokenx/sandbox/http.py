"""Sandbox controls: clock, provider modes, chain pause. Mounted in local and sandbox only; elsewhere 404 (P-22)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import httpx
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from fintokenx.kernel.caller import Role
from fintokenx.kernel.clock import Clock
from fintokenx.kernel.errors import Invalid, NotFound, Unavailable
from fintokenx.sandbox.anvil import ChainControl
from fintokenx.sandbox.clock import ClockBackwards, ClockTooFar, SandboxClock
from fintokenx.web.edge import Edge, problems
from fintokenx.web.inputs import IsoInstant, PrintableText, Reference
from fintokenx.web.routes import open_to
from fintokenx.web.services import provided


async def _may_control(request: Request) -> None:
    if not _services(request).open_to_all:
        edge = provided(request, Edge)
        caller = await edge.authenticate(request)
        caller.must_be(Role.PLATFORM_ADMIN, tenant_id=caller.tenant_id)


_CONTROLS: Final = open_to("anyone in the local environment, platform_admin in the sandbox")
router = APIRouter(prefix="/v1/sandbox", tags=["sandbox"], dependencies=[Depends(_may_control)])


class UnknownProvider(NotFound):
    """There is no such mock provider."""

    code = "PROVIDER_UNKNOWN"


class ModeRefused(Invalid):
    """The mock does not know this mode."""

    code = "PROVIDER_MODE_UNKNOWN"


@dataclass(frozen=True, slots=True)
class SandboxServices:
    """What the controls act on."""

    clock: SandboxClock
    chain: ChainControl
    providers: Mapping[str, str]
    """Control address of each mock server by name."""
    open_to_all: bool
    """``local`` only; elsewhere the controls are a platform administrator's, since they move everybody."""
    session_life: timedelta
    """How long a session lives: a move by so much signs everybody out."""


class ClockView(BaseModel):
    """The one clock of platform, mock servers and chain."""

    now: datetime = Field(description="Business time, UTC.")
    note: str | None = Field(None, description="What else the move has done, for people.")


class MoveClock(BaseModel):
    """Where the clock is to go; never backwards."""

    model_config = ConfigDict(extra="forbid")

    to: IsoInstant = Field(description="RFC 3339 with an offset.", examples=["2026-07-31T09:00:00Z"])


class SetMode(BaseModel):
    """How a mock provider is to behave."""

    model_config = ConfigDict(extra="forbid")

    mode: Annotated[str, PrintableText(40)] = Field(
        description="`up`, `down`, `timeout`, `slow`, `5xx`, `malformed`, `lost_response`, …"
    )
    times: int | None = Field(
        None, strict=True, ge=1, le=1_000_000, description="For how many requests; null = until changed."
    )
    seconds: float | None = Field(
        None, strict=True, ge=0, le=3600, allow_inf_nan=False, description="For the modes that wait."
    )


class SetChain(BaseModel):
    """Whether the chain makes blocks."""

    model_config = ConfigDict(extra="forbid")

    paused: bool = Field(strict=True)


def _services(request: Request) -> SandboxServices:
    return provided(request, SandboxServices)


@router.get("/clock", openapi_extra=_CONTROLS)
async def read_clock(request: Request) -> ClockView:
    """What time it is."""
    clock: Clock = _services(request).clock
    return ClockView(now=clock.now(), note=None)


@router.post("/clock", responses=problems(ClockBackwards, ClockTooFar), openapi_extra=_CONTROLS)
async def move_clock(body: MoveClock, request: Request) -> ClockView:
    """Move time forward for everybody: due jobs run, timers fire, the chain's next block carries the new time."""
    services = _services(request)
    before = services.clock.now()
    services.clock.advance_to(body.to)
    now = services.clock.now()
    await services.chain.follow(int(now.timestamp()))
    if now - before < services.session_life:
        return ClockView(now=now, note=None)
    minutes = services.session_life // timedelta(minutes=1)
    return ClockView(
        now=now,
        note=f"Sessions live {minutes} minutes of business time: everybody is signed out. Sign in again;"
        " `fintokenx seed` does it for its cast.",
    )


@router.get("/providers", openapi_extra=_CONTROLS)
async def list_providers(request: Request) -> dict[str, Any]:
    """Each mock server and its mode."""
    found: dict[str, Any] = {}
    for name, url in _services(request).providers.items():
        found[name] = await _control("GET", f"{url}/control/mode")
    return found


@router.post("/providers/{name}", responses=problems(UnknownProvider, ModeRefused), openapi_extra=_CONTROLS)
async def set_provider(name: Reference, body: SetMode, request: Request) -> dict[str, Any]:
    """Switch a mock server's mode."""
    url = _services(request).providers.get(name)
    if url is None:
        raise UnknownProvider(name)
    return await _control("POST", f"{url}/control/mode", body.model_dump(exclude_none=True))


@router.post("/chain", openapi_extra=_CONTROLS)
async def set_chain(body: SetChain, request: Request) -> SetChain:
    """Pause or resume block production."""
    chain = _services(request).chain
    await (chain.pause() if body.paused else chain.resume())
    return body


async def _control(method: str, url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    try:
        async with httpx.AsyncClient(timeout=5.0, trust_env=False) as http:
            answer = await http.request(method, url, json=body)
            if answer.status_code >= 400:
                raise ModeRefused(answer.text[:200])
            found: dict[str, Any] = answer.json()
            return found
    except (httpx.HTTPError, ValueError) as fault:
        raise Unavailable("sandbox", type(fault).__name__, outcome_unknown=False) from fault
