"""Forward-only migrations in plain SQL, repeatable functions and policies, and the tables of code loaded as data."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import asyncpg

from fintokenx.app import catalogue
from fintokenx.app.migration_files import (
    MigrationFile,
    MigrationRefused,
    check_ownership,
    is_repeatable,
    once,
    repeatable,
)
from fintokenx.audit import Action, Carries
from fintokenx.kernel.db import PinSigner, RawConnection
from fintokenx.kernel.machine import AnyMachine

_LOCK = 4_242_002
_NEEDS_TABLES: Final = "50"
"""Repeatable files from here on need tables of modules."""


class MigrationChanged(MigrationRefused):
    """A migration that has already run was edited; write a new one instead."""


class MigrationOutOfOrder(MigrationRefused):
    """A new migration's name sorts before one that has run here: elsewhere they would run the other way round."""


class MigrationMissing(MigrationRefused):
    """A migration that has run here is not in the folder: an older release, or a database of other files."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the database is to become."""

    folder: Path
    machines: Sequence[AnyMachine]
    actions: Sequence[Action]
    pins: PinSigner
    carries: Carries
    entry_tolerance: timedelta | None = None
    """How far an entry's time may be from the database's clock; None where business time may stand anywhere."""
    modules: Collection[str] = catalogue.TABLE_OWNERS
    """Who may own a table."""


ENTRY_TOLERANCE: Final = timedelta(minutes=5)
"""Where there is no sandbox clock: as long as a pin holds, so no transaction is older."""


async def bootstrap(admin: RawConnection, folder: Path, passwords: dict[str, str]) -> None:
    """As superuser, once per database and harmless again: roles, their passwords, the DDL guard."""
    async with admin.transaction():
        await admin.execute("select pg_advisory_xact_lock($1)", _LOCK)
        await admin.execute((folder / "bootstrap.sql").read_text())
        for role, password in passwords.items():
            statement = await admin.fetchval(
                "select format('alter role %I password %L', $1::text, $2::text)", role, password
            )
            await admin.execute(statement)


async def migrate(migrator: RawConnection, plan: Plan) -> list[str]:
    """As fx_migrator: run what has not run, re-apply what changed, load machines, actions and the pin key.

    :returns: the names of the files that ran
    :raises MigrationRefused: a file is misnamed, of no or an unknown module, changes a table of another one, was edited
        after it ran, or sorts before one that ran; one that ran is missing
    """
    files, again = once(plan.folder), repeatable(plan.folder)
    check_ownership([*files, *again], plan.modules)
    ran: list[str] = []
    async with migrator.transaction():
        await migrator.execute("select pg_advisory_xact_lock($1)", _LOCK)
        await migrator.execute("set local role fx_owner")
        await migrator.execute(
            "create schema if not exists migrations authorization fx_owner;"
            "create table if not exists migrations.applied"
            " (name text primary key, sha256 text not null, applied_at timestamptz not null default clock_timestamp())"
        )
        rows = await migrator.fetch("select name, sha256 from migrations.applied")
        applied: dict[str, str] = {row["name"]: row["sha256"] for row in rows}
        _refuse_another_order(files, applied)
        for file in files:
            ran += await _run(migrator, file, applied, again=False)
            if file.then_functions:  # fx.protect must exist before the modules' tables
                for early in again:
                    ran += await _run(migrator, early, applied, again=True) if early.name < _NEEDS_TABLES else []
        for file in again:
            ran += await _run(migrator, file, applied, again=True)
        await _load(migrator, plan)
    return ran


def _refuse_another_order(files: Sequence[MigrationFile], applied: Collection[str]) -> None:
    """What runs next comes after all that ran, and all that ran is here."""
    ran_once = {name for name in applied if not is_repeatable(name)}
    missing = ran_once - {file.name for file in files}
    if missing:
        raise MigrationMissing(min(missing))
    for file in files:
        if file.name not in ran_once and ran_once and file.name < max(ran_once):
            raise MigrationOutOfOrder(f"{file.name}, after {max(ran_once)}")


async def _run(migrator: RawConnection, file: MigrationFile, applied: dict[str, str], *, again: bool) -> list[str]:
    digest = hashlib.sha256(file.text.encode()).hexdigest()
    known = applied.get(file.name)
    if known == digest:
        return []
    if known is not None and not again:
        raise MigrationChanged(file.name)
    try:
        await migrator.execute(file.text)
    except asyncpg.PostgresError as fault:
        fault.add_note(f"in {file.name}")
        raise
    await migrator.execute(
        "insert into migrations.applied (name, sha256) values ($1, $2)"
        " on conflict (name) do update set sha256 = excluded.sha256, applied_at = clock_timestamp()",
        file.name,
        digest,
    )
    applied[file.name] = digest
    return [file.name]


async def _load(migrator: RawConnection, plan: Plan) -> None:
    """Make the data tables equal to the code's tables."""
    await migrator.execute("delete from fx.machine_transitions")
    await migrator.executemany(
        "insert into fx.machine_transitions (machine, from_state, event, to_state, action) values ($1, $2, $3, $4, $5)",
        [(m.name, t.source, t.event, t.target, t.action) for m in plan.machines for t in m.transitions],
    )
    await migrator.executemany(
        """insert into app.audit_actions (action, customer_facing, actor_roles, on_behalf_of_rule, staff_only)
           values ($1, $2, $3, $4, $5)
           on conflict (action) do update set customer_facing = excluded.customer_facing,
             actor_roles = excluded.actor_roles, on_behalf_of_rule = excluded.on_behalf_of_rule,
             staff_only = excluded.staff_only""",
        [
            (a.name, a.customer_facing, [str(role) for role in a.roles], a.on_behalf_of, a.staff_only)
            for a in plan.actions
        ],
    )
    await migrator.execute("update fx.entry_window set tolerance = $1", plan.entry_tolerance)
    await load_carries(migrator, plan.carries)
    inner, outer = plan.pins.pads()
    await migrator.execute(
        "insert into fx.pin_keys (key_id, inner_pad, outer_pad) values (1, $1, $2)"
        " on conflict (key_id) do update set inner_pad = excluded.inner_pad, outer_pad = excluded.outer_pad",
        inner,
        outer,
    )


async def load_carries(migrator: RawConnection, carries: Carries) -> None:
    """Make fx.action_carries equal to what the modules say; within a transaction of fx_owner."""
    await migrator.execute("delete from fx.action_carries")
    await migrator.executemany(
        "insert into fx.action_carries (action, table_name, op, columns, needed) values ($1, $2, $3, $4, $5)",
        [
            (action, row.table, row.op, sorted(row.columns), "always" if row.always else "one of")
            for action, rows in carries.items()
            for row in rows
        ],
    )
