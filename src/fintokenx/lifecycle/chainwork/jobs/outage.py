"""An outage of the chain or the vault is waiting and not failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fintokenx.kernel.jobs import TryAgain
from fintokenx.kernel.vault import VaultUnavailable
from fintokenx.lifecycle.chainwork.ports import ChainUnavailable

AWAY_SECONDS: Final = 5.0


class Away(TryAgain):
    """The network or the vault does not answer. Not a failure of the job: it waits as long as that takes (IX-09)."""


@contextmanager
def waiting_while_away() -> Iterator[None]:
    """Turn an outage into waiting, so that no outage, however long, ends a job."""
    try:
        yield
    except (ChainUnavailable, VaultUnavailable) as fault:
        raise Away(f"{fault.system} is not available", seconds=AWAY_SECONDS) from fault
