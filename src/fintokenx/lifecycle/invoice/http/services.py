"""What the routes need besides the edge; the wiring puts it on ``app.state.invoice``."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from fintokenx.kernel.blobs import Blobs
from fintokenx.kernel.sealing import Sealer
from fintokenx.lifecycle.invoice.ports import DocumentReader


@dataclass(frozen=True, slots=True)
class InvoiceServices:
    """``reference_key`` keys the permutation behind invoice references (kernel.ids)."""

    blobs: Blobs
    reader: DocumentReader
    sealer: Sealer
    reference_key: bytes
    file_bytes_max: int = 10 * 1024 * 1024


def services(request: Request) -> InvoiceServices:
    """The services of this application."""
    found: InvoiceServices = request.app.state.invoice
    return found
