"""Sample documents, and ways to change them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pikepdf

from fintokenx.adapters.documents import TextReader
from fintokenx.lifecycle.invoice.ports import (
    Reading,
)

ROOT = Path(__file__).resolve().parents[2]

SAMPLES = ROOT / "samples" / "invoices"

HARBOUR = (SAMPLES / "harbour-signage.pdf").read_bytes()

MILLRACE = (SAMPLES / "millrace-foods.xml").read_bytes()


def read(content: bytes) -> Reading:
    return TextReader().read(content)


def altered(change: Callable[[pikepdf.Pdf], None], content: bytes = HARBOUR, **save: Any) -> bytes:
    """A sample PDF with something done to its structure."""
    with pikepdf.open(io.BytesIO(content)) as pdf:
        change(pdf)
        out = io.BytesIO()
        pdf.save(out, **save)
        return out.getvalue()
