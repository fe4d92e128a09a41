"""Which rows the entries of the record's own actions carry."""

from __future__ import annotations

from typing import Final

from fintokenx.kernel.carries import Carries, adds, always

CARRIES: Final[Carries] = {"REDTEAM_RUN": always(adds("redteam_reports"))}
