"""Invoices on their way, for the tests of the machine and the doors."""

from __future__ import annotations

from datetime import UTC, datetime

from fintokenx.kernel.money import Pence
from tests.modules.invoice_house import HARBOUR

NOW = datetime(2026, 6, 16, 9, 0, tzinfo=UTC)

FACE = Pence(HARBOUR.told["total_pence"])
