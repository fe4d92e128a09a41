"""Who is calling: subjects, sessions, links, administrators."""

from __future__ import annotations

from typing import Final, Protocol

from fintokenx.kernel.clock import Clock
from fintokenx.kernel.db import Database
from fintokenx.kernel.ids import Ids
from fintokenx.kernel.sealing import Sealer
from fintokenx.kernel.settings import Settings
from fintokenx.kernel.vault import Vault
from fintokenx.parties.auth import SEALED, Authenticator, AuthServices, http
from fintokenx.parties.auth.carries import CARRIES
from fintokenx.parties.auth.jobs import JOBS
from fintokenx.parties.auth.transitions import ACTIONS, MACHINES
from fintokenx.web.edge import Edge
from fintokenx.web.module import Module


class Needs(Protocol):
    """What it takes from the process."""

    @property
    def database(self) -> Database: ...

    @property
    def vault(self) -> Vault: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def ids(self) -> Ids: ...

    @property
    def settings(self) -> Settings: ...

    @property
    def sealer(self) -> Sealer: ...

    @property
    def fingerprint_key(self) -> bytes: ...


def _services(needs: Needs) -> tuple[object, ...]:
    settings = needs.settings
    authenticator = Authenticator(needs.database, needs.vault, needs.clock, settings.environment, settings.public_url)
    return (
        Edge(needs.database, needs.ids, http.authentication(authenticator), needs.fingerprint_key),
        AuthServices(authenticator.tokens, needs.sealer, needs.sealer),
    )


MODULE: Final = Module[Needs](
    name="auth",
    routers=(http.router,),
    machines=MACHINES,
    actions=ACTIONS,
    carries=CARRIES,
    sealed=SEALED,
    services=_services,
    jobs=lambda _needs, _services: JOBS,
)
