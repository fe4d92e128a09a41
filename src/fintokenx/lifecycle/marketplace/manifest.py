"""Listings of receivables, and who sees them."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from fintokenx.kernel.jobs import Periodic
from fintokenx.lifecycle.marketplace import http, reactions
from fintokenx.lifecycle.marketplace.carries import CARRIES
from fintokenx.lifecycle.marketplace.jobs import JOBS
from fintokenx.lifecycle.marketplace.transitions import ACTIONS, MACHINES
from fintokenx.web.module import Module

MODULE: Final = Module[object](
    name="marketplace",
    routers=(http.router,),
    machines=MACHINES,
    actions=ACTIONS,
    carries=CARRIES,
    in_step=reactions.IN_STEP,
    afterwards=reactions.AFTERWARDS,
    jobs=lambda _needs, _services: JOBS,
    periodic=(Periodic("marketplace.walk", timedelta(minutes=5), each_tenant=True, resting=timedelta(hours=1)),),
)
