"""Cases of documents: what they say, in each syntax, and what a reader must find."""

from __future__ import annotations

from datetime import date
from typing import Final

from fintokenx.adapters.documents import TextReader
from fintokenx.lifecycle.invoice.ports import Reading
from tests.adapters.paper_trade import Facts, cii, ubl

JULY: Final = date(2026, 7, 8)

PAYABLE, PAYEE = ("PAYABLE_DIFFERS_FROM_TOTAL",), ("PAYEE_IS_NOT_SELLER",)


def read(content: bytes) -> Reading:
    return TextReader().read(content)


HONEST: Final = Facts()

FACTOR: Final = "Quickcash Factors Limited"

NO_DUE: Final = ("NOT_FOUND:due_date",)

UBL, CII = ubl(HONEST), cii(HONEST)
