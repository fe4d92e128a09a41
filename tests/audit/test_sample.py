"""Each hour a sample of the tables is compared with the record, and a drift is somebody's business (P-06)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.app import provision, wiring
from fintokenx.audit.jobs import SampleJob
from fintokenx.audit.service.sampling import RowDrift, sample
from fintokenx.kernel.db import Database, Pool
from fintokenx.kernel.jobs import Work
from tests.database.things import A, B, change, make, moved, noted
from tests.support import World

pytestmark = pytest.mark.anyio


@pytest.fixture
async def auditor(world: World) -> AsyncIterator[Pool]:
    pool = await world.pool("fx_auditor", 1)
    yield pool
    await pool.close()


async def beside_the_record(world: World, statement: str) -> None:
    """As only a superuser can who has put the guards to sleep."""
    superuser = await world.connect("postgres")
    for word in ("disable trigger all", "enable trigger all"):
        await superuser.execute(f"alter table app.things {word}")
        if word.startswith("disable"):
            await superuser.execute(statement)
    await superuser.execute("alter table app.things enable always trigger a_guard_change")
    await superuser.close()


async def test_what_was_recorded_is_what_is_there(world: World, auditor: Pool) -> None:
    await make(world, A, "t1", "t2", raw=b"\x00\xff", made_at=world.clock.now(), extra={"deep": [1, None, "é"]})
    await make(world, B, "t1")
    async with world.database.transaction(A) as tx:
        await change(tx, "THING_OPEN", moved(A, "t1", "SHUT", "OPEN"), noted(A, "t1", None, "x"))
        await change(tx, "THING_NOTE", audit.delete("things", key={"tenant_id": A, "id": "t2"}, before={}))
    assert await sample(auditor) == []


@pytest.mark.parametrize(
    ("statement", "columns"),
    [
        ("update app.things set note = 'lie' where id = 't1' and tenant_id = 'tnt_a'", ("note",)),
        ("update app.things set amount_pence = 1, raw = null where id = 't1' and tenant_id = 'tnt_a'",
         ("amount_pence", "raw")),
        ("delete from app.things where id = 't1' and tenant_id = 'tnt_a'", ()),
    ],
)  # fmt: skip
async def test_a_change_beside_the_record_is_found_and_its_columns_named(
    world: World, auditor: Pool, statement: str, columns: tuple[str, ...]
) -> None:
    await make(world, A, "t1", note="x", raw=b"\x01")
    await make(world, B, "t1", note="x", raw=b"\x01")
    await beside_the_record(world, statement)
    assert await sample(auditor) == [RowDrift("things", A, '{"tenant_id": "tnt_a", "id": "t1"}', columns)]


async def test_a_row_that_came_back_is_found(world: World, auditor: Pool) -> None:
    await make(world, A, "t1")
    async with world.database.transaction(A) as tx:
        await change(tx, "THING_NOTE", audit.delete("things", key={"tenant_id": A, "id": "t1"}, before={}))
    await beside_the_record(
        world, "insert into app.things (tenant_id, id, state, amount_pence) values ('tnt_a', 't1', 'SHUT', 1)"
    )
    assert [(drift.table, drift.columns) for drift in await sample(auditor)] == [("things", ())]


async def test_the_sample_is_bounded_and_judges_only_what_its_entries_named(world: World, auditor: Pool) -> None:
    await make(world, A, "t1", note="x")
    async with world.database.transaction(A) as tx:
        await change(tx, "THING_OPEN", moved(A, "t1", "SHUT", "OPEN"))
    await beside_the_record(world, "update app.things set note = 'lie'")
    assert await sample(auditor, entries_max=1) == []
    assert [drift.columns for drift in await sample(auditor, entries_max=2)] == [("note",)]


async def test_a_drift_is_recorded_in_its_tenant_and_is_one_alert_while_it_is_open(
    cluster: str, template: str, world: World
) -> None:
    """With the platform's own reactions, on its own tables."""
    database = Database(world.app, pins=world.pins, clock=world.clock, ids=world.ids, reactions=wiring.reactions())
    await provision.tenants(database)
    superuser = await world.connect("postgres")
    await superuser.execute("alter table app.tenants disable trigger all")
    await superuser.execute("update app.tenants set plan = 'gold' where tenant_id = 'tnt_mercia'")
    await superuser.execute("alter table app.tenants enable trigger all")
    await superuser.execute("alter table app.tenants enable always trigger a_guard_change")
    pool = await world.pool("fx_auditor", 1)
    row: Any = {"id": "job_x", "name": "audit.replay_sample", "tenant_id": "tnt_fintokenx", "attempts": 1, "lease": "l"}
    for _ in range(2):
        await SampleJob(pool, database).look(Work(database, row), {})
    await pool.close()
    alerts = await superuser.fetch("select tenant_id, cause, resource, severity, occurrences from app.alerts")
    entries = await superuser.fetch("select tenant_id, diff from app.audit_entries where action = 'STATE_DRIFT'")
    await superuser.close()
    assert [tuple(alert) for alert in alerts] == [
        ("tnt_mercia", "STATE_DRIFT", 'tenants {"tenant_id": "tnt_mercia"}', "CRITICAL", 2)
    ]
    assert [entry["tenant_id"] for entry in entries] == ["tnt_mercia"] * 2
    assert '"columns":"plan"' in entries[0]["diff"]


async def test_the_auditor_cannot_mend_what_it_finds(world: World, auditor: Pool) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await auditor.execute("update app.things set note = 'x'")
