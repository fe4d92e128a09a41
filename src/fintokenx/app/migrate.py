"""Forward-only migrations in plain SQL, repeatable functions and policies, and the tables of code loaded as data."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import asyncpg

from fintokenx.audit import Action, Carries
from fintokenx.kernel.db import PinSigner, RawConnection
from fintokenx.kernel.machine import AnyMachine

_LOCK = 4_242_002


class MigrationChanged(Exception):
    """A migration that has already run was edited; write a new one instead."""


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
    :raises MigrationChanged: a migration's checksum is not the recorded one
    """
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
        for path in _once(plan.folder):
            ran += await _run(migrator, path, applied, again=False)
            if path.name.startswith("0002"):  # fx.protect must exist before the modules' tables
                for repeatable in _repeatable(plan.folder, early=True):
                    ran += await _run(migrator, repeatable, applied, again=True)
        for repeatable in _repeatable(plan.folder):
            ran += await _run(migrator, repeatable, applied, again=True)
        await _load(migrator, plan)
    return ran


def _once(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql"))


def _repeatable(folder: Path, *, early: bool = False) -> list[Path]:
    """In order; ``early``: those below 50, which need no table of a module."""
    return [path for path in sorted((folder / "repeatable").glob("*.sql")) if not early or path.name < "50"]


async def _run(migrator: RawConnection, path: Path, applied: dict[str, str], *, again: bool) -> list[str]:
    text = path.read_text()
    digest = hashlib.sha256(text.encode()).hexdigest()
    known = applied.get(path.name)
    if known == digest:
        return []
    if known is not None and not again:
        raise MigrationChanged(path.name)
    try:
        await migrator.execute(text)
    except asyncpg.PostgresError as fault:
        fault.add_note(f"in {path.name}")
        raise
    await migrator.execute(
        "insert into migrations.applied (name, sha256) values ($1, $2)"
        " on conflict (name) do update set sha256 = excluded.sha256, applied_at = clock_timestamp()",
        path.name,
        digest,
    )
    applied[path.name] = digest
    return [path.name]


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
