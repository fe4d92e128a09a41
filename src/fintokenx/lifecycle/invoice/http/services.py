"""What the routes need besides the edge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request

from fintokenx.kernel.blobs import Blobs
from fintokenx.kernel.sealing import Sealer
from fintokenx.lifecycle.invoice.ports import DocumentReader
from fintokenx.lifecycle.invoice.service.confirm import ConfirmationPage
from fintokenx.web.services import provided


@dataclass(frozen=True, slots=True)
class InvoiceServices:
    """``reference_key`` keys the permutation behind invoice references (kernel.ids). ``page_content`` makes the bytes
    of the page that a buyer sees; how it looks is a matter of the buyer's desk, above this module."""

    blobs: Blobs
    reader: DocumentReader
    sealer: Sealer
    reference_key: bytes
    page_content: Callable[[ConfirmationPage], bytes]
    file_bytes_max: int = 10 * 1024 * 1024


def services(request: Request) -> InvoiceServices:
    """The services of this application."""
    return provided(request, InvoiceServices)
