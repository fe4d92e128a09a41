"""Whatever happens, state is the fold of the record; and whatever happens beside the record is named (P-06)."""

from __future__ import annotations

import random
from typing import Any

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.app import catalogue
from fintokenx.kernel.caller import HOME_TENANT
from tests.database.administrators import administrators
from tests.properties.walk import KINDS, Walk
from tests.support import World

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

TENANTS = ("tnt_walk", "tnt_other")
TRANSITIONS_MIN = 2_000
LINES = {(machine.name, line) for machine in catalogue.MACHINES for line in machine.transitions}


async def replayed(world: World, **wanted: Any) -> audit.Replay:
    connection = await world.connect("fx_auditor")
    try:
        return await audit.replay(connection, **wanted)
    finally:
        await connection.close()


@pytest.mark.parametrize("seed", [20260602])
async def test_after_thousands_of_transitions_over_all_machines_nothing_differs_and_each_lie_is_named(
    world: World, seed: int
) -> None:
    """Issue 3, must-show 2."""
    people = await administrators(world)
    walks = [
        Walk(world, tenant_id, random.Random(seed + n), people, numbers=n * 1_000_000)
        for n, tenant_id in enumerate(TENANTS)
    ]
    at_home = Walk(world, HOME_TENANT, random.Random(seed), people, numbers=len(TENANTS) * 1_000_000)
    await at_home.confirm_list()
    steps = 0
    while sum(walk.transitions for walk in walks) < TRANSITIONS_MIN or (_untaken([*walks, at_home]) and steps < 20_000):
        await walks[steps % len(walks)].step()
        steps += 1
    assert sum(walk.transitions for walk in walks) >= TRANSITIONS_MIN
    assert {name for walk in walks for name, _line in walk.taken} == {machine.name for machine in catalogue.MACHINES}
    assert _untaken([*walks, at_home]) == []

    found = await replayed(world)
    assert (found.equal, found.differing, found.faults) == (True, 0, ())
    assert found.entries >= TRANSITIONS_MIN
    await _each_lie_is_named(world)
    assert (await replayed(world)).equal


def _untaken(walks: list[Walk]) -> list[str]:
    taken = {key for walk in walks for key in walk.taken}
    return sorted(f"{name}: {line.source or 'nothing'} → {line.target} by {line.event}" for name, line in LINES - taken)


LIES = {
    ("invoices", "collected_pence"): "collected_pence + 1",
    ("subjects", "state"): "'ACTIVE'",
    ("chain_tx", "arguments"): "arguments || '{\"amount\": 1}'",
    ("chain_tx", "raw"): "raw || '\\x00'",
    ("primary_listings", "visible_to_lender_subject_ids"): "array['sub_x']",
    ("alerts", "occurrences"): "occurrences + 1",
    ("sessions", "revoked_at"): "revoked_at + interval '1 microsecond'",
    ("invoices", "maturity_date"): "maturity_date + 1",
    ("review_queue", "rationale_sealed"): "rationale_sealed || 'x'",
}


async def _each_lie_is_named(world: World) -> None:
    superuser = await world.connect("postgres")
    await superuser.execute("set session_replication_role = replica")
    try:
        for (table, column), lie in LIES.items():
            await _lie_is_named(world, superuser, table, column, lie)
    finally:
        await superuser.close()


async def _lie_is_named(world: World, superuser: asyncpg.Connection, table: str, column: str, lie: str) -> None:
    """One cell changed as only a superuser can, with every guard and check asleep; then all of it undone."""
    keys = KINDS[next(name for name, kind in KINDS.items() if kind.table == table)].key
    checks = await superuser.fetch(
        "select conname, pg_get_constraintdef(oid) as def from pg_constraint"
        " where contype = 'c' and conrelid = $1::regclass",
        f"app.{table}",
    )
    always = await superuser.fetch(
        "select tgname from pg_trigger where tgenabled = 'A' and tgrelid = $1::regclass", f"app.{table}"
    )
    for name in always:
        await superuser.execute(f"alter table app.{table} disable trigger {name['tgname']}")
    for check in checks:
        await superuser.execute(f"alter table app.{table} drop constraint {check['conname']}")
    row = await superuser.fetchrow(
        f"select * from app.{table} where ({lie}) is distinct from {column} and {column} is not null limit 1"
    )
    assert row is not None, f"no row of {table} to lie about"
    where = " and ".join(f"{key} = ${number}" for number, key in enumerate(keys, start=1))
    await superuser.execute(f"update app.{table} set {column} = {lie} where {where}", *(row[key] for key in keys))
    found = await replayed(world)
    await superuser.execute(
        f"update app.{table} set {column} = ${len(keys) + 1} where {where}", *(row[key] for key in keys), row[column]
    )
    for check in checks:
        await superuser.execute(f"alter table app.{table} add constraint {check['conname']} {check['def']}")
    for name in always:
        await superuser.execute(f"alter table app.{table} enable always trigger {name['tgname']}")
    assert (found.equal, found.differing) == (False, 1)
    [drift] = [drift for compared in found.tables for drift in compared.drifts]
    assert (drift.table, [cell.column for cell in drift.cells]) == (table, [column])
    assert all(str(row[key]) in drift.key for key in keys)
