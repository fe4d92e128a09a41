"""What hangs on the board, its route and its job."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastapi import APIRouter, Request

from fintokenx.kernel.clock import Clock, to_wire
from fintokenx.kernel.jobs import Payload, Work
from fintokenx.web.routes import open_to
from fintokenx.web.services import provided

router = APIRouter()


@dataclass(frozen=True)
class Board:
    """The module's service, for its route and its job."""

    clock: Clock
    notices: list[str] = field(default_factory=list)

    async def pin_up(self, work: Work, _payload: Payload) -> None:
        """Say when one has looked."""
        self.notices.append(f"{work.tenant_id} at {to_wire(self.clock.now())}")


@router.get("/v1/noticeboard", openapi_extra=open_to())
async def read(request: Request) -> list[str]:
    """All notices."""
    return provided(request, Board).notices
