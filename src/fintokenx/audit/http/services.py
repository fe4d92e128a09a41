"""What the record's routes need beside a transaction."""

from __future__ import annotations

from dataclasses import dataclass

from fintokenx.audit.ports import Own
from fintokenx.audit.types import LogIdentity
from fintokenx.kernel.db import Pool


@dataclass(frozen=True, slots=True)
class AuditServices:
    """``hashes`` logs in as fx_sealer: it sees hashes, and no tenant's rows. ``own`` tells which entries are a holder's
    own; without it none is."""

    hashes: Pool
    log: LogIdentity
    own: Own | None = None
