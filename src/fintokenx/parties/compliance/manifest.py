"""Cases and alerts: what waits for a person."""

from __future__ import annotations

from typing import Final, Protocol

from fintokenx.kernel.sealing import Sealer
from fintokenx.parties.compliance import SEALED, ComplianceServices, SealedColumns, http, reactions
from fintokenx.parties.compliance.carries import CARRIES
from fintokenx.parties.compliance.transitions import ACTIONS, MACHINES
from fintokenx.web.module import Module


class Needs(Protocol):
    """What it takes from the process."""

    @property
    def sealer(self) -> Sealer: ...

    @property
    def sealed(self) -> SealedColumns: ...


MODULE: Final = Module[Needs](
    name="compliance",
    routers=(http.router,),
    machines=MACHINES,
    actions=ACTIONS,
    carries=CARRIES,
    sealed=SEALED,
    in_step=reactions.IN_STEP,
    afterwards=reactions.AFTERWARDS,
    services=lambda needs: (ComplianceServices(needs.sealer, needs.sealed),),
)
