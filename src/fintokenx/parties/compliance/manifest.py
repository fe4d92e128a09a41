"""Cases and alerts: what waits for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from fintokenx.kernel.sealing import SealedColumn, Sealer
from fintokenx.parties.compliance import SEALED, ComplianceServices, http, reactions
from fintokenx.parties.compliance.carries import CARRIES
from fintokenx.parties.compliance.transitions import ACTIONS, MACHINES
from fintokenx.web.module import Module


class Needs(Protocol):
    """What it takes from the process."""

    @property
    def sealer(self) -> Sealer: ...

    @property
    def sealed(self) -> Mapping[tuple[str, str], SealedColumn]: ...


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
