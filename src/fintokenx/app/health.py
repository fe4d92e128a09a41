"""Health and readiness that tell database, chain, vault and providers apart (P-25)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import httpx
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from fintokenx.kernel.errors import Unavailable
from fintokenx.web.routes import open_to
from fintokenx.web.services import provided

router = APIRouter(tags=["health"])

Check = Callable[[], Awaitable[bool]]
"""Whether it is up. One that knows why not raises :class:`~fintokenx.kernel.errors.Unavailable`: its detail is told."""
CHECK_SECONDS_MAX = 3.0


@dataclass(frozen=True, slots=True)
class Component:
    """Something the platform leans on. Without a ``needed`` one it serves nothing; without another it degrades."""

    check: Check
    needed: bool


@dataclass(frozen=True, slots=True)
class Health:
    """What /readyz asks, by name."""

    components: Mapping[str, Component]


class ComponentView(BaseModel):
    """One component."""

    state: Literal["up", "down"]
    needed: bool = Field(description="Whether the platform is not ready without it.")
    reason: str | None = Field(None, description="Why it is down, where that is known.")


class Readiness(BaseModel):
    """What works now."""

    status: Literal["ready", "degraded", "not_ready"]
    components: dict[str, ComponentView]


@router.get("/healthz", openapi_extra=open_to())
async def healthz() -> dict[str, str]:
    """The process lives and answers."""
    return {"status": "alive"}


@router.get("/readyz", responses={503: {"model": Readiness}}, openapi_extra=open_to())
async def readyz(request: Request) -> JSONResponse:
    """200 `ready` or `degraded`; 503 `not_ready` when something needed is down. Each component is named."""
    readiness = await look_at(provided(request, Health).components)
    status = 503 if readiness.status == "not_ready" else 200
    return JSONResponse(readiness.model_dump(), status)


async def look_at(components: Mapping[str, Component]) -> Readiness:
    """Ask all components at once, each for three seconds at most."""
    answers = await asyncio.gather(*(_is_up(component) for component in components.values()))
    views = {
        name: ComponentView(state="up" if up else "down", needed=component.needed, reason=reason)
        for (name, component), (up, reason) in zip(components.items(), answers, strict=True)
    }
    if any(view.needed and view.state == "down" for view in views.values()):
        return Readiness(status="not_ready", components=views)
    degraded = any(view.state == "down" for view in views.values())
    return Readiness(status="degraded" if degraded else "ready", components=views)


async def _is_up(component: Component) -> tuple[bool, str | None]:
    """Whether it is, and why not."""
    try:
        return await asyncio.wait_for(component.check(), CHECK_SECONDS_MAX), None
    except TimeoutError:
        return False, f"no answer within {CHECK_SECONDS_MAX:g} s"
    except Unavailable as fault:
        return False, fault.detail
    except Exception:  # whatever it was, it is not up
        return False, None


async def answers(url: str) -> bool:
    """Whether anything answers HTTP at the address; which status does not matter, since we bring no credentials."""
    try:
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as http:
            return (await http.get(url)).status_code < 500
    except httpx.HTTPError:
        return False
