"""Invoices: uploaded, read, confirmed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final, Protocol

from fintokenx.kernel.blobs import Blobs
from fintokenx.kernel.jobs import Job, Periodic
from fintokenx.kernel.sealing import Sealer
from fintokenx.lifecycle.invoice import SEALED, ConfirmationPage, http, reactions
from fintokenx.lifecycle.invoice.carries import CARRIES
from fintokenx.lifecycle.invoice.jobs import InvoiceJobs
from fintokenx.lifecycle.invoice.ports import DocumentReader
from fintokenx.lifecycle.invoice.transitions import ACTIONS, MACHINES
from fintokenx.web.module import Module
from fintokenx.web.services import Services


class Needs(Protocol):
    """What it takes from the process."""

    @property
    def blobs(self) -> Blobs: ...

    @property
    def reader(self) -> DocumentReader: ...

    @property
    def sealer(self) -> Sealer: ...

    @property
    def reference_key(self) -> bytes: ...

    @property
    def page_content(self) -> Callable[[ConfirmationPage], bytes]: ...


def _services(needs: Needs) -> tuple[object, ...]:
    return (http.InvoiceServices(needs.blobs, needs.reader, needs.sealer, needs.reference_key, needs.page_content),)


def _jobs(needs: Needs, _services: Services) -> tuple[Job, ...]:
    return InvoiceJobs(needs.reader, needs.blobs).jobs()


MODULE: Final = Module[Needs](
    name="invoice",
    routers=(http.router,),
    machines=MACHINES,
    actions=ACTIONS,
    carries=CARRIES,
    sealed=SEALED,
    in_step=reactions.IN_STEP,
    afterwards=reactions.AFTERWARDS,
    services=_services,
    jobs=_jobs,
    periodic=(Periodic("invoice.fall_due", timedelta(minutes=15), each_tenant=True, resting=timedelta(hours=1)),),
)
