"""A holder's own tokens and transfers, chain beside database."""

from __future__ import annotations

from typing import Final, Protocol

from fintokenx.kernel.sealing import Sealer
from fintokenx.kernel.settings import Settings
from fintokenx.lifecycle.explorer import http
from fintokenx.lifecycle.explorer.http.services import ExplorerServices
from fintokenx.lifecycle.explorer.ports import ChainHistory
from fintokenx.web.module import Module


class Needs(Protocol):
    """What it takes from the process."""

    @property
    def history(self) -> ChainHistory: ...

    @property
    def sealer(self) -> Sealer: ...

    @property
    def settings(self) -> Settings: ...


def _services(needs: Needs) -> tuple[object, ...]:
    return (ExplorerServices(needs.history, needs.sealer, needs.settings.public_url),)


MODULE: Final = Module[Needs](name="explorer", routers=(http.router,), services=_services)
