"""What the commands above may carry of the ledger, which records nothing by itself."""

from __future__ import annotations

from typing import Final

from fintokenx.audit import Carries, adds

JOURNAL: Final = (adds("ledger_accounts"), adds("journals"), adds("journal_lines"))
"""A journal with its lines, and the accounts that it opens."""

CARRIES: Final[Carries] = {}
