"""Wrap again, under the tenant's own key, the data keys that the vault's shared key had wrapped (ADR 0022)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import structlog

from fintokenx.kernel.jobs import Job, Lane, Payload, Work
from fintokenx.kernel.sealing import KeyTable, wrapping_key_of
from fintokenx.kernel.vault import Vault, WrappingKeyDestroyed

log = structlog.get_logger("fintokenx.keys")

JOB: Final = "keys.rewrap"
EVERY: Final = timedelta(hours=1)
RESTING: Final = timedelta(days=1)
AT_ONCE: Final = 100


class Rewrapping:
    """The job of each tenant. It may be killed anywhere: a key is wrapped by the old or by the new, and opens."""

    def __init__(self, vault: Vault, tables: Sequence[KeyTable]) -> None:
        self._vault = vault
        self._tables = tables

    def jobs(self) -> tuple[Job, ...]:
        """Periodic, for each tenant."""
        return (Job(JOB, self._run, Lane.OUTBOUND, seconds_max=900),)

    async def _run(self, work: Work, _payload: Payload) -> None:
        for table in self._tables:
            after = ""
            while rows := await self._next(work, table, after):
                for row in rows:
                    await self._wrap_again(work, table, row)
                after = rows[-1]["name"]
        work.may_rest()

    async def _next(self, work: Work, table: KeyTable, after: str) -> list[Any]:
        async with work.transaction() as tx:
            return await tx.rows(
                f"""select {table.column} as name, wrapped_key, wrapped_by from {table.name}
                     where tenant_id = $1 and {table.column} > $2 and wrapped_by <> $3 and shredded_at is null
                     order by {table.column} limit $4""",
                work.tenant_id,
                after,
                wrapping_key_of(work.tenant_id),
                AT_ONCE,
            )

    async def _wrap_again(self, work: Work, table: KeyTable, row: Any) -> None:
        tenant_id, name, before, fresh = work.tenant_id, row["name"], row["wrapped_by"], wrapping_key_of(work.tenant_id)
        try:
            key = await self._vault.unwrap(before, row["wrapped_key"], context=table.context(before, tenant_id, name))
            wrapped = await self._vault.wrap(fresh, key, context=table.context(fresh, tenant_id, name))
        except (KeyError, ValueError, WrappingKeyDestroyed) as fault:  # it opens nothing as it is; the others go on
            log.error("key_not_rewrapped", table=table.name, key=name, fault=type(fault).__name__)
            return
        async with work.transaction() as tx:
            await tx.write(
                f"""update {table.name} set wrapped_key = $4, wrapped_by = $5
                     where tenant_id = $1 and {table.column} = $2 and wrapped_by = $3 and shredded_at is null""",
                tenant_id,
                name,
                before,
                wrapped,
                fresh,
            )
