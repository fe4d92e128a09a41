"""The explorer's page."""

from __future__ import annotations

from typing import Final, Protocol

from fintokenx.desks.explorer.pages import ExplorerPageServices, router
from fintokenx.kernel.sealing import Sealer
from fintokenx.lifecycle.explorer.ports import ChainHistory
from fintokenx.web.module import Module


class Needs(Protocol):
    """What it takes from the process."""

    @property
    def history(self) -> ChainHistory: ...

    @property
    def sealer(self) -> Sealer: ...


MODULE: Final = Module[Needs](
    name="explorer", routers=(router,), services=lambda needs: (ExplorerPageServices(needs.history, needs.sealer),)
)
