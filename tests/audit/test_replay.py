"""State is the fold of the record (P-06): carried out anew, the entries give the tables; what they do not is named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.app import catalogue
from fintokenx.app.provision import TENANTS
from fintokenx.audit.service import replaying
from fintokenx.kernel.caller import Role, system
from fintokenx.parties import auth, partner
from tests.database.things import A, B, change, make, moved, noted
from tests.support import START, World

pytestmark = pytest.mark.anyio

RICH = {
    "note": "  'quoted' \"and\" \\ back ☃ \n\t",
    "raw": b"\x00\xff\\x",
    "made_at": START.replace(microsecond=1),
    "extra": {"b": [1, True, None, {"u": "ü"}], "a": "\\x00", "z": 9007199254740991},
}


async def replayed(world: World, **wanted: Any) -> audit.Replay:
    connection = await world.connect("fx_auditor")
    try:
        return await audit.replay(connection, **wanted)
    finally:
        await connection.close()


def drifts(found: audit.Replay) -> list[audit.Drift]:
    return [drift for table in found.tables for drift in table.drifts]


@asynccontextmanager
async def behind_the_record(world: World) -> AsyncIterator[asyncpg.Connection]:
    """A superuser with every guard asleep."""
    connection = await world.connect("postgres")
    for table in ("things", "parts"):
        await connection.execute(f"alter table app.{table} disable trigger user")
    try:
        yield connection
    finally:
        for table in ("things", "parts"):
            await connection.execute(f"alter table app.{table} enable always trigger a_guard_change")
        await connection.close()


async def a_life(world: World, tenant_id: str = A) -> None:
    """Two things made, changed in every way, one of them gone again."""
    await make(world, tenant_id, "kept", **RICH)
    await make(world, tenant_id, "gone", note=None)
    part = {"tenant_id": tenant_id, "id": "p1", "thing_id": "kept"}
    gone = {"tenant_id": tenant_id, "id": "gone"}
    async with world.database.transaction(tenant_id) as tx:
        await change(tx, "THING_OPEN", moved(tenant_id, "kept", "SHUT", "OPEN"), audit.insert("parts", part))
        await change(tx, "THING_NOTE", noted(tenant_id, "kept", RICH["note"], None))
        await change(tx, "THING_NOTE", noted(tenant_id, "kept", None, ""))
        await change(tx, "THING_NOTE", audit.delete("things", key=gone, before={"note": None, "amount_pence": 100}))
        await change(tx, "THING_NOTE")


async def test_carried_out_anew_the_entries_give_the_tables(world: World) -> None:
    await a_life(world, A)
    await a_life(world, B)
    told: list[tuple[str, int, int]] = []
    found = await replayed(world, progress=lambda *step: told.append(step))
    assert (found.equal, found.differing, found.faults) == (True, 0, ())
    assert (found.entries, found.operations) == (14, 14)
    by_table = {table.table: (table.replayed_rows, table.live_rows) for table in found.tables}
    assert (by_table["things"], by_table["parts"]) == ((2, 2), (2, 2))
    assert told[0] == ("entries", 14, 14)
    assert told[-1] == ("tables", len(by_table), len(by_table))


async def test_every_domain_table_of_the_catalogue_is_rebuilt_and_none_is_listed_by_hand(world: World) -> None:
    superuser = await world.connect("postgres")
    wanted = await superuser.fetch("select table_name from fx.tables where kind = 'tenant'")
    await superuser.close()
    found = await replayed(world)
    assert {table.table for table in found.tables} == {row["table_name"] for row in wanted} - {"audit_entries"}
    assert {"things", "parts", "invoices", "subjects"} <= {table.table for table in found.tables}


@pytest.mark.parametrize(
    ("column", "lie", "recorded", "live"),
    [
        ("amount_pence", "101", "100", "101"),
        ("state", "'SHUT'", "OPEN", "SHUT"),
        ("note", "null", "", None),
        ("raw", "'\\x00'", "\\x00ff5c78", "\\x00"),
        (
            "made_at",
            "made_at + interval '1 microsecond'",
            "2026-06-02 09:00:00.000001+00",
            "2026-06-02 09:00:00.000002+00",
        ),
        ("extra", "extra || '{\"z\": 9007199254740991.0}'", None, None),
    ],
)
async def test_a_changed_live_cell_is_named(
    world: World, column: str, lie: str, recorded: str | None, live: str | None
) -> None:
    await a_life(world)
    async with behind_the_record(world) as superuser:
        await superuser.execute(f"update app.things set {column} = {lie} where id = 'kept'")
    found = await replayed(world)
    assert (found.equal, found.differing) == (False, 1)
    [drift] = drifts(found)
    assert (drift.table, drift.tenant_id, drift.kind) == ("things", A, "CHANGED")
    assert drift.key == '{"id": "kept", "tenant_id": "tnt_a"}'
    assert [cell.column for cell in drift.cells] == [column]
    if column != "extra":
        assert (drift.cells[0].replayed, drift.cells[0].live) == (recorded, live)
    assert drift.key in drift.told()
    assert column in drift.told()


async def test_rows_deleted_and_inserted_behind_the_records_back_are_named(world: World) -> None:
    await a_life(world)
    async with behind_the_record(world) as superuser:
        await superuser.execute("delete from app.parts")
        await superuser.execute(
            "insert into app.things (tenant_id, id, state, amount_pence) values ('tnt_a','new','SHUT',1)"
        )
    found = await replayed(world)
    assert {(d.table, d.kind, d.key) for d in drifts(found)} == {
        ("parts", "MISSING", '{"id": "p1", "tenant_id": "tnt_a"}'),
        ("things", "UNEXPLAINED", '{"id": "new", "tenant_id": "tnt_a"}'),
    }
    assert all(drift.cells == () for drift in drifts(found))


async def test_a_sealed_value_is_not_shown_whole(world: World) -> None:
    await make(world, A, "t", note="sealed:v1:" + "a" * 64 + ":" + "b" * 40)
    async with behind_the_record(world) as superuser:
        await superuser.execute(
            "update app.things set note = 'sealed:v1:' || repeat('c', 64) || ':' || repeat('d', 40)"
        )
    [drift] = drifts(await replayed(world))
    assert drift.cells == (audit.Cell("note", "sealed:v1:" + "a" * 16 + "…", "sealed:v1:" + "c" * 16 + "…"),)


async def test_an_entry_that_cannot_be_carried_out_is_named_and_the_others_still_are(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(world, A, "one", "two", "three")
    superuser = await world.connect("postgres")
    await superuser.execute("alter table app.audit_entries disable trigger user")
    await superuser.execute(
        'update app.audit_entries set diff = \'{"facts":[],"rows":[{"op":"insert","row":{"id":"x"},'
        '"table":"nowhere"}]}\' where seq = 2'
    )
    await superuser.execute("alter table app.audit_entries enable always trigger a_append_only_rows")
    await superuser.close()
    found = await replayed(world)
    assert not found.equal
    [fault] = found.faults
    assert "entry 2: cannot be carried out" in fault
    assert "nowhere" in fault
    assert [(drift.kind, drift.key) for drift in drifts(found)] == [
        ("UNEXPLAINED", '{"id": "two", "tenant_id": "tnt_a"}')
    ]
    monkeypatch.setattr(replaying, "FAULTS_MAX", 1)
    stopped = await replayed(world)
    assert (stopped.entries, stopped.tables, len(stopped.faults)) == (2, (), 2)


async def test_the_comparison_can_be_narrowed_to_a_tenant_and_a_table(world: World) -> None:
    await a_life(world, A)
    await a_life(world, B)
    async with behind_the_record(world) as superuser:
        await superuser.execute("update app.things set amount_pence = 7 where tenant_id = 'tnt_b'")
    assert (await replayed(world, tenant_id=A)).equal
    assert [table.table for table in (await replayed(world, table="parts")).tables] == ["parts"]
    assert (await replayed(world, table="parts")).equal
    assert (await replayed(world, tenant_id=B, table="things")).differing == 1
    with pytest.raises(audit.NoSuchTable):
        await replayed(world, table="jobs")


async def test_of_many_differing_rows_the_first_are_named_and_all_are_counted(world: World) -> None:
    await make(world, A, *(f"t{number}" for number in range(9)))
    async with behind_the_record(world) as superuser:
        await superuser.execute("update app.things set amount_pence = 7")
    found = await replayed(world, drifts_max=2)
    assert found.differing == 9
    assert [drift.key for drift in drifts(found)] == [f'{{"id": "t{n}", "tenant_id": "tnt_a"}}' for n in (0, 1)]


async def test_it_is_right_while_others_write(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bulk is read before the snapshot of the comparison; entries that come in between belong to it or do not."""
    monkeypatch.setattr(replaying, "CHUNK", 3)
    done = asyncio.Event()

    async def write(writer: int) -> None:
        number = 0
        while not done.is_set():
            name = f"{writer}-{number}"
            await make(world, A, name)
            async with world.database.transaction(A) as tx:
                await change(tx, "THING_OPEN", moved(A, name, "SHUT", "OPEN"))
            number += 1

    writers = [asyncio.create_task(write(writer)) for writer in range(3)]
    try:
        seen = [await replayed(world) for _ in range(5)]
    finally:
        done.set()
        await asyncio.gather(*writers)
    assert all(found.equal for found in seen)
    assert seen[-1].entries > seen[0].entries > 0
    assert (await replayed(world)).equal


async def test_a_row_that_changes_often_is_followed_to_its_last_value(world: World) -> None:
    await make(world, A, "busy", note="0")
    async with world.database.transaction(A) as tx:
        for number in range(50):
            await change(tx, "THING_NOTE", noted(A, "busy", str(number), str(number + 1)))
    assert (await replayed(world)).equal


async def test_fields_whose_key_is_destroyed_are_equal_and_counted(world: World) -> None:
    """AD-14: shredding takes the key and leaves the text."""
    subject = "sub_" + "0" * 26
    async with world.database.transaction(A) as tx:
        await make_subject_with_sealed_fields(tx, subject)
        await tx.write(
            "insert into ops.subject_keys (tenant_id, subject_id, created_at, shredded_at) values ($1, $2, $3, $3)",
            A, subject, tx.at,
        )  # fmt: skip
    found = await replayed(world, sealed=catalogue.SEALED)
    assert found.equal, found.faults
    assert {table.table: table.sealed_under_dead_keys for table in found.tables if table.sealed_under_dead_keys} == {
        "subjects": 2
    }


async def make_subject_with_sealed_fields(tx: Any, subject_id: str) -> None:
    """A tenant and a member of staff, recorded as the real modules do."""
    await partner.open_tenant(tx, system(A, "test"), terms=next(iter(TENANTS.values())))
    person = auth.SealedPerson("sealed:v1:a:b", "sealed:v1:c:d", "index")
    await auth.create_staff(
        tx, system(A, "test"), subject_id=subject_id, role=Role.MLRO, employer="FinToken X", person=person
    )


async def test_the_auditor_makes_no_temporary_objects_and_writes_no_live_row(world: World) -> None:
    """The twins come from a function of the owner's: whoever may fill pg_temp could put types there that definer
    functions would trip over."""
    await make(world, A, "t")
    connection = await world.connect("fx_auditor")
    try:
        for forbidden in (
            "create temporary table mine (x int)",
            "create domain pg_temp.text as pg_catalog.text",
            'select fx.apply(\'app\', \'[{"op":"delete","table":"things","key":{"id":"t"},"before":{}}]\')',
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(forbidden)
        await connection.fetchval("select fx.shadow_open()")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("create domain pg_temp.text as pg_catalog.text")
    finally:
        await connection.close()
    assert (await replayed(world)).equal
