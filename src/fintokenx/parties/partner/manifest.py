"""Tenants, their terms and their API keys."""

from __future__ import annotations

from typing import Final, Protocol

from fintokenx.kernel.settings import Settings
from fintokenx.kernel.vault import Vault
from fintokenx.parties.partner import PartnerServices, http
from fintokenx.parties.partner.carries import CARRIES
from fintokenx.parties.partner.transitions import ACTIONS, MACHINES
from fintokenx.web.module import Module


class Needs(Protocol):
    """What it takes from the process."""

    @property
    def vault(self) -> Vault: ...

    @property
    def settings(self) -> Settings: ...


MODULE: Final = Module[Needs](
    name="partner",
    routers=(http.router,),
    machines=MACHINES,
    actions=ACTIONS,
    carries=CARRIES,
    services=lambda needs: (PartnerServices(needs.vault, needs.settings.environment),),
)
