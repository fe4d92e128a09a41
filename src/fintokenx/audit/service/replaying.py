"""State is the fold of the record: carry every entry out anew beside the live tables, and compare (P-06)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from fintokenx.audit import store
from fintokenx.audit.store import replaying as twins
from fintokenx.audit.types.replaying import Comparison, Replay
from fintokenx.kernel.errors import NotFound
from fintokenx.kernel.sealing import SealedColumn

FAULTS_MAX: Final = 100
CHUNK: Final = 1000
"""Entries per call. Between calls the twins are committed: a row that changes a thousand times leaves a thousand dead
versions until then, and each change must look at all of them."""

SealedColumns = Mapping[tuple[str, str], SealedColumn]
Progress = Callable[[str, int, int], None]
"""Called with what is being counted (entries, tables), how many are done and how many there are."""


class NoSuchTable(NotFound):
    """There is no such domain table."""


async def replay(
    connection: Any,
    *,
    tenant_id: str | None = None,
    table: str | None = None,
    sealed: SealedColumns = MappingProxyType({}),
    drifts_max: int = 100,
    progress: Progress = lambda _what, _done, _total: None,
    seconds: Callable[[], float] = time.monotonic,
) -> Replay:
    """Rebuild every domain table from the entries alone and compare each cell; ``connection`` logs in as fx_auditor.

    Right beside any number of writers: what is written never changes, so the bulk is carried out first, in steps; the
    last entries and the comparison share one snapshot, in which an entry and its rows are both there or both not.
    The work is done in the database; here is never more than the differences. ``tenant_id`` and ``table`` narrow the
    comparison, ``drifts_max`` says how many differing rows are named per table. ``sealed`` are the columns with
    personal data (``app.catalogue.SEALED``): those whose key is destroyed are counted, and are equal nevertheless.

    :raises NoSuchTable: ``table`` is none of the domain tables
    """
    begun = seconds()
    tables = await twins.open_shadow(connection)
    if table is not None and table not in tables:
        raise NoSuchTable(table)
    fold = _Fold(connection, progress)
    await fold.up_to(await store.entry_count(connection))
    async with connection.transaction(isolation="repeatable_read"):
        await fold.up_to(await store.entry_count(connection))
        applied = seconds()
        compared: list[Comparison] = []
        wanted = [table] if table else tables
        for number, name in enumerate(wanted if not fold.stopped else [], start=1):
            found = await twins.compare_shadow(connection, name, tenant_id=tenant_id, drifts_max=drifts_max)
            dead = [
                await twins.sealed_under_dead_keys(connection, name, column, how.owner, tenant_id=tenant_id)
                for (of_table, column), how in sealed.items()
                if of_table == name
            ]
            compared.append(replace(found, sealed_under_dead_keys=sum(dead)))
            progress("tables", number, len(wanted))
    await twins.close_shadow(connection)
    return Replay(fold.done, fold.operations, tuple(compared), tuple(fold.faults), applied - begun, seconds() - begun)


class _Fold:
    """How far the twins have come."""

    def __init__(self, connection: Any, progress: Progress) -> None:
        self._connection = connection
        self._progress = progress
        self.done = 0
        self.operations = 0
        self.faults: list[str] = []
        self.stopped = False

    async def up_to(self, total: int) -> None:
        """Carry out what is left; an entry that cannot be is named and passed over, a hundred of them end it."""
        while self.done < total and not self.stopped:
            last, operations, failed = await twins.replay_entries(
                self._connection, after=self.done, up_to=min(self.done + CHUNK, total)
            )
            if failed is not None:
                _, operations, _ = await twins.replay_entries(self._connection, after=self.done, up_to=last - 1)
                self.faults.append(f"entry {last}: cannot be carried out: {failed}")
                if len(self.faults) >= FAULTS_MAX:
                    self.faults.append(f"and no further: nothing after entry {last} was carried out or compared")
                    self.stopped = True
            self.done = last
            self.operations += operations
            self._progress("entries", self.done, total)
