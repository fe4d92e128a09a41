"""The gates: identity, lists, a person's decision."""

from __future__ import annotations

from typing import Final, Protocol

from fintokenx.kernel.blobs import Blobs
from fintokenx.kernel.sealing import Sealer
from fintokenx.parties.kyc import SEALED, KycServices, http, jobs_of, reactions
from fintokenx.parties.kyc.carries import CARRIES
from fintokenx.parties.kyc.ports import IdentityVerification, NameScreening
from fintokenx.parties.kyc.transitions import ACTIONS, MACHINES
from fintokenx.web.module import Module


class Needs(Protocol):
    """What it takes from the process."""

    @property
    def identity(self) -> IdentityVerification: ...

    @property
    def screening(self) -> NameScreening: ...

    @property
    def sealer(self) -> Sealer: ...

    @property
    def blobs(self) -> Blobs: ...


MODULE: Final = Module[Needs](
    name="kyc",
    routers=(http.router,),
    machines=MACHINES,
    actions=ACTIONS,
    carries=CARRIES,
    sealed=SEALED,
    in_step=reactions.IN_STEP,
    afterwards=reactions.AFTERWARDS,
    services=lambda needs: (KycServices(needs.identity, needs.screening, needs.sealer, needs.blobs),),
    jobs=lambda _needs, services: jobs_of(services.of(KycServices)),
)
