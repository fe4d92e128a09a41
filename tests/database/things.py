"""Two small domain tables with a machine, so that kernel and record are tested without any business module."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.kernel.bus import Fact
from fintokenx.kernel.caller import system
from fintokenx.kernel.db import Tx
from fintokenx.kernel.machine import NOTHING, Machine, transitions
from tests.support import PASSWORD, World, may_carry_anything, world_from

A, B = "tnt_a", "tnt_b"
ACTOR = {tenant: system(tenant, "test") for tenant in (A, B)}

THING = Machine(
    "thing",
    transitions(
        [
            (NOTHING, "make", "SHUT", "THING_MAKE"),
            ("SHUT", "open", "OPEN", "THING_OPEN"),
            ("OPEN", "shut", "SHUT", "THING_SHUT"),
        ]
    ),
)
ACTIONS = (*dict.fromkeys(line.action for line in THING.transitions), "THING_NOTE", "PART_ADD")

SCHEMA = """
set local role fx_owner;
create table app.things (
  tenant_id text not null, id text not null, state text not null, amount_pence bigint not null,
  check (amount_pence >= 0), note text, raw bytea, made_at timestamptz, extra jsonb, primary key (tenant_id, id));
select fx.protect('things', 'things', 'thing');
select fx.may_be_asked('thing', 'things', 'id');
create table app.parts (
  tenant_id text not null, id text not null, thing_id text not null, primary key (tenant_id, id),
  foreign key (tenant_id, thing_id) references app.things (tenant_id, id));
create index parts_of_thing on app.parts (tenant_id, thing_id);
select fx.protect('parts', 'things');
"""


@dataclass(frozen=True, slots=True)
class ThingOpened(Fact):
    """A thing was opened."""

    thing_id: str


async def lay(dsn: str) -> None:
    """Make the tables, their machine and their actions, as the migrator does."""
    migrator = await asyncpg.connect(dsn)
    async with migrator.transaction():
        await migrator.execute(SCHEMA)
        await migrator.executemany(
            "insert into fx.machine_transitions (machine, from_state, event, to_state, action) values ($1,$2,$3,$4,$5)",
            [(THING.name, t.source, t.event, t.target, t.action) for t in THING.transitions],
        )
        await migrator.executemany(
            "insert into app.audit_actions values ($1, false, '{system,seller}', 'forbidden')",
            [(action,) for action in ACTIONS],
        )
        await may_carry_anything(migrator, *ACTIONS)
    await migrator.close()


async def _things_template(cluster: str, template: str) -> str:
    name = f"fx_things_{secrets.token_hex(4)}"
    admin = await asyncpg.connect(cluster)
    await admin.execute(f"create database {name} template {template}")
    await admin.execute(f"grant connect on database {name} to fx_migrator")
    await admin.close()
    host = cluster.rsplit("@", 1)[1].rsplit("/", 1)[0]
    await lay(f"postgresql://fx_migrator:{PASSWORD}@{host}/{name}")
    return name


@pytest.fixture(scope="session")
def things_template(cluster: str, template: str) -> str:
    """The migrated database, with things and parts."""
    return asyncio.run(_things_template(cluster, template))


@pytest.fixture
async def world(cluster: str, things_template: str) -> AsyncIterator[World]:
    """A database of this test's own, with things and parts."""
    async with world_from(cluster, things_template) as fresh:
        yield fresh


def thing(tenant_id: str, thing_id: str, **values: Any) -> dict[str, Any]:
    """A row of app.things."""
    return {"tenant_id": tenant_id, "id": thing_id, "state": "SHUT", "amount_pence": 100, **values}


def noted(tenant_id: str, thing_id: str, before: str | None, after: str | None) -> audit.RowChange:
    """The row operation that changes a note."""
    return audit.update(
        "things", key={"tenant_id": tenant_id, "id": thing_id}, before={"note": before}, after={"note": after}
    )


def moved(tenant_id: str, thing_id: str, before: str, after: str) -> audit.RowChange:
    """The row operation that changes a state."""
    return audit.update(
        "things", key={"tenant_id": tenant_id, "id": thing_id}, before={"state": before}, after={"state": after}
    )


async def change(tx: Tx, action: str, *rows: audit.RowChange, resource: str = "t", facts: tuple[Fact, ...] = ()) -> str:
    """One entry in the transaction's tenant."""
    return await audit.change(
        tx, system(tx.tenant_id, "test"), action=action, resource=resource, move=audit.Changes(rows=rows, facts=facts)
    )


async def make(world: World, tenant_id: str, *thing_ids: str, **values: Any) -> None:
    """Make things, one entry and one transaction each."""
    for thing_id in thing_ids:
        async with world.database.transaction(tenant_id) as tx:
            row = audit.insert("things", thing(tenant_id, thing_id, **values))
            await change(tx, "THING_MAKE", row, resource=thing_id)


async def verify(world: World, anchors: Any = None) -> audit.Verdict:
    """What the auditor finds."""
    pool = await world.pool("fx_auditor", 1)
    try:
        return await audit.verify(pool, anchors)
    finally:
        await pool.close()


async def all_entries(world: World) -> list[asyncpg.Record]:
    """The whole record, as the superuser sees it."""
    superuser = await world.connect("postgres")
    try:
        return await superuser.fetch("select * from app.audit_entries order by seq")
    finally:
        await superuser.close()
