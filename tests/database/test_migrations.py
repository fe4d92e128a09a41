"""Migrations go forward only: run twice they do nothing, edited they are refused, unfinished they leave nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import asyncpg
import pytest

from fintokenx.app import catalogue
from fintokenx.app.migrate import (
    MigrationChanged,
    MigrationMissing,
    MigrationOutOfOrder,
    MigrationRefused,
    Plan,
    bootstrap,
    migrate,
)
from fintokenx.app.migration_files import (
    MigrationMisnamed,
    MigrationOfForeignTable,
    MigrationOfUnknownModule,
    MigrationWithoutModule,
)
from fintokenx.kernel.db import PinSigner
from tests.support import ROOT, World

pytestmark = pytest.mark.anyio

NEXT = "20991231T2359_x.sql"


def plan(folder: Path) -> Plan:
    return Plan(folder, catalogue.MACHINES, catalogue.ACTIONS, PinSigner(b"p" * 32), catalogue.CARRIES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the migrations that a test may spoil."""
    return Path(shutil.copytree(ROOT / "migrations", tmp_path / "migrations"))


async def run(world: World, folder: Path) -> list[str]:
    migrator = await world.connect("fx_migrator")
    try:
        return await migrate(migrator, plan(folder))
    finally:
        await migrator.close()


async def fingerprint(world: World) -> list[tuple[object, ...]]:
    """Everything that a migration makes: relations, columns, functions, policies, triggers, grants."""
    superuser = await world.connect("postgres")
    rows = await superuser.fetch(
        """select 'r', c.oid::regclass::text, c.relacl::text || c.relrowsecurity || c.relforcerowsecurity
             from pg_class c
             join pg_namespace n on n.oid = c.relnamespace where n.nspname in ('app', 'ops', 'fx')
           union all select 'a', a.attrelid::regclass::text, a.attname || a.atttypid::regtype || a.attnotnull
             from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
            where n.nspname in ('app', 'ops', 'fx')
           union all select 'f', p.oid::regprocedure::text, md5(p.prosrc) || p.proowner::regrole || p.proacl::text
             from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'fx'
           union all select 'p', p.polrelid::regclass::text, p.polname || pg_get_expr(p.polqual, p.polrelid)
             from pg_policy p
           union all select 't', t.tgrelid::regclass::text, t.tgname || t.tgenabled::text
             from pg_trigger t where not t.tgisinternal
           union all select 'm', m.machine, m.from_state || m.event || m.to_state || m.action
             from fx.machine_transitions m where m.machine <> 'thing'
           order by 1, 2, 3"""
    )
    await superuser.close()
    return [tuple(row) for row in rows]


async def test_run_twice_they_do_nothing(world: World) -> None:
    before = await fingerprint(world)
    assert len(before) > 300
    assert await run(world, ROOT / "migrations") == []
    assert await fingerprint(world) == before


async def test_functions_and_policies_may_be_applied_again_and_change_nothing(world: World, folder: Path) -> None:
    before = await fingerprint(world)
    for path in (folder / "repeatable").glob("*.sql"):
        path.write_text(path.read_text() + "\n-- touched\n")
    assert await run(world, folder) == sorted(path.name for path in (folder / "repeatable").glob("*.sql"))
    assert await fingerprint(world) == before


async def test_bootstrap_again_is_harmless(world: World) -> None:
    superuser = await world.connect("postgres")
    await bootstrap(superuser, ROOT / "migrations", {})
    await superuser.close()
    assert await run(world, ROOT / "migrations") == []


async def test_an_edited_migration_is_refused(world: World, folder: Path) -> None:
    path = folder / "20261201T1001_audit.sql"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(MigrationChanged, match=r"1001_audit\.sql"):
        await run(world, folder)


async def test_a_new_migration_that_sorts_before_one_that_ran_is_refused(world: World, folder: Path) -> None:
    (folder / "20261201T1001_aaa.sql").write_text("-- module: kyc\ncreate table app.late (a text);")
    with pytest.raises(MigrationOutOfOrder, match=r"20261201T1001_aaa\.sql, after 20\d{6}T\d{4}_"):
        await run(world, folder)
    assert await run(world, ROOT / "migrations") == []


async def test_a_migration_that_ran_and_is_gone_is_refused(world: World, folder: Path) -> None:
    (folder / "20261201T1014_notification.sql").unlink()
    with pytest.raises(MigrationMissing, match="1014_notification"):
        await run(world, folder)


@pytest.mark.parametrize(
    ("name", "text", "refusal"),
    [
        (NEXT, "create table app.x (a text);", MigrationWithoutModule),
        (NEXT, "\n-- module: kyc\n", MigrationWithoutModule),
        (NEXT, "-- module: attic\n", MigrationOfUnknownModule),
        (NEXT, "-- module: kyc\nalter table app.wallets add a text;", MigrationOfForeignTable),
        (NEXT, "-- module: kyc\nALTER TABLE ONLY app.wallets ADD a text;", MigrationOfForeignTable),
        (NEXT, "-- module: kyc\ndrop table if exists ops.jobs;", MigrationOfForeignTable),
        (NEXT, "-- module: kyc\ncreate index i on app.wallets (id);", MigrationOfForeignTable),
        (NEXT, "-- module: kyc\ncreate trigger t before insert\n on app.wallets execute function fx.deny();",
         MigrationOfForeignTable),
        (NEXT, "-- module: kyc\ncreate policy p on app.wallets using (true);", MigrationOfForeignTable),
        (NEXT, "-- module: kyc\ngrant select on app.gate_runs, app.wallets to fx_worker;",
         MigrationOfForeignTable),
        (NEXT, "-- module: kyc\nselect fx.protect('wallets', 'kyc');", MigrationOfForeignTable),
        (NEXT, "-- module: kyc\ncreate table app.x (a text);\nselect fx.protect('x', 'auth');",
         MigrationOfForeignTable),
        (NEXT, "-- module: kyc\ncreate table if not exists app.wallets (a text);",
         MigrationOfForeignTable),
        ("0062_x.sql", "-- module: kyc\n", MigrationMisnamed),
        ("20991331T2359_x.sql", "-- module: kyc\n", MigrationMisnamed),
        ("20991231T2459_x.sql", "-- module: kyc\n", MigrationMisnamed),
        ("20991231T2359_X.sql", "-- module: kyc\n", MigrationMisnamed),
        ("repeatable/x.sql", "-- module: kyc\n", MigrationMisnamed),
        ("repeatable/70_x.sql", "select 1;", MigrationWithoutModule),
        ("repeatable/70_x.sql", "-- module: kyc\ndrop policy tenant_only on app.wallets;", MigrationOfForeignTable),
    ],
)  # fmt: skip
async def test_a_file_that_is_not_its_modules_is_refused_before_anything_runs(
    world: World, folder: Path, name: str, text: str, refusal: type[MigrationRefused]
) -> None:
    (folder / name).write_text(text)
    with pytest.raises(refusal, match=Path(name).stem):
        await run(world, folder)


async def test_a_file_may_make_and_change_tables_of_its_own_module(world: World, folder: Path) -> None:
    (folder / "20991231T2359_x.sql").write_text(
        "-- module: kyc\n-- alter table app.wallets, says a comment\n"
        "create table app.x (a text references app.tenants (tenant_id));\ncreate index on app.gate_runs (verdict);\n"
    )
    assert await run(world, folder) == ["20991231T2359_x.sql"]


async def test_a_migration_that_fails_leaves_nothing_and_is_named(world: World, folder: Path) -> None:
    (folder / "20991231T2358_good.sql").write_text("-- module: kyc\ncreate table app.half (a text);")
    (folder / "20991231T2359_bad.sql").write_text("-- module: kyc\ncreate table app.half (a text);")
    with pytest.raises(asyncpg.PostgresError) as fault:
        await run(world, folder)
    assert fault.value.__notes__ == ["in 20991231T2359_bad.sql"]
    superuser = await world.connect("postgres")
    assert await superuser.fetchval("select to_regclass('app.half')") is None
    await superuser.close()
    (folder / "20991231T2359_bad.sql").unlink()
    assert await run(world, folder) == ["20991231T2358_good.sql"]


async def test_tables_of_migrations_belong_to_the_owner_and_not_to_the_migrator(world: World) -> None:
    superuser = await world.connect("postgres")
    owners = await superuser.fetch(
        "select distinct c.relowner::regrole::text from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname in ('app', 'ops', 'fx', 'migrations')"
    )
    await superuser.close()
    assert [row[0] for row in owners] == ["fx_owner"]
