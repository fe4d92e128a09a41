"""The buyer's page."""

from __future__ import annotations

from typing import Final, Protocol

from fintokenx.desks.buyer.pages import BuyerServices, router
from fintokenx.kernel.blobs import Blobs
from fintokenx.kernel.sealing import Sealer
from fintokenx.web.module import Module


class Needs(Protocol):
    """What it takes from the process."""

    @property
    def blobs(self) -> Blobs: ...

    @property
    def sealer(self) -> Sealer: ...


MODULE: Final = Module[Needs](
    name="buyer", routers=(router,), services=lambda needs: (BuyerServices(needs.blobs, needs.sealer),)
)
