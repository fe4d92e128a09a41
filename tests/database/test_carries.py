"""An entry fits its rows: of each action the database takes the tables and columns that its module declares, and no
entry without the rows that it must have (issue 9 A25, P-05)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from fintokenx.app import catalogue
from fintokenx.app.docs import tables
from fintokenx.audit import Carried, Carries, adds, always, changes, together
from fintokenx.kernel.caller import Role
from tests.support import ROOT, World, hold_to_declared_rows, world_from

pytestmark = pytest.mark.anyio
TENANT = "tnt_a"
ACTIONS = {action.name: action for action in catalogue.ACTIONS}
CHANGE = "select fx.change($1, now(), $2, 'system:x', $3, null, 'r', '', $4::text::json)"


@pytest.fixture(scope="module")
async def world(cluster: str, template: str) -> AsyncIterator[World]:
    """As the product loads it."""
    async with world_from(cluster, template) as fresh:
        await hold_to_declared_rows(fresh)
        yield fresh


@pytest.fixture
async def injected(world: World) -> AsyncIterator[asyncpg.Connection]:
    """SQL that came in as fx_app, under the tenant's valid pin."""
    connection = await world.connect("fx_app")
    transaction = connection.transaction()
    await transaction.start()
    await connection.fetchval("select set_config('fx.pin', $1, true)", world.pins.pin(TENANT))
    yield connection
    await transaction.rollback()
    await connection.close()


async def answer(connection: asyncpg.Connection, action: str, *rows: dict[str, Any]) -> str:
    """The SQLSTATE of recording these rows under an action; FX013 and FX014 are this file's."""
    diff = json.dumps({"facts": [], "rows": list(rows)}, sort_keys=True, separators=(",", ":"))
    role = next(
        role for role in ACTIONS[action].roles if role is not Role.PLATFORM_ADMIN or len(ACTIONS[action].roles) == 1
    )
    nested = connection.transaction()
    await nested.start()
    try:
        await connection.execute(CHANGE, "aud_1", action, str(role), diff)
    except asyncpg.PostgresError as fault:
        return str(fault.sqlstate)
    finally:
        await nested.rollback()
    return ""


def row_of(carried: Carried, *more: str) -> dict[str, Any]:
    """A row that fits, as far as the action is concerned; ``more`` columns change too."""
    if carried.op == "insert":
        return {"op": "insert", "table": carried.table, "row": {"tenant_id": TENANT}}
    columns = dict.fromkeys((*carried.columns, *more))
    return {"op": "update", "table": carried.table, "key": {"id": "x"}, "before": columns, "after": columns}


def fitting(action: str) -> list[dict[str, Any]]:
    rows = catalogue.CARRIES.get(action, ())
    return [row_of(row) for row in rows if row.always] or [row_of(row) for row in rows[:1]]


# What got through before.


@pytest.mark.parametrize(
    ("action", "table", "columns"),
    [
        ("MAIL_SENT", "designated_accounts", ["account_number"]),
        ("MAIL_SENT", "payment_instructions", ["amount_pence", "creditor_account_number"]),
        ("MAIL_SENT", "sessions", ["aal"]),
        ("MAIL_SENT", "email_sends", ["to_sealed"]),
        ("SESSION_END", "sessions", ["state", "revoked_at", "aal"]),
        ("FIAT_OUT", "payment_instructions", ["state", "sent_at", "amount_pence"]),
        ("BUYER_PAGE_VIEW", "invoices", ["state"]),
    ],
)
async def test_an_entry_changes_nothing_that_its_action_does_not_declare(
    injected: asyncpg.Connection, action: str, table: str, columns: list[str]
) -> None:
    wider = {
        "op": "update",
        "table": table,
        "key": {"id": "x"},
        **dict.fromkeys(("before", "after"), dict.fromkeys(columns)),
    }
    assert await answer(injected, action, *fitting(action), wider) == "FX013"


async def test_a_freeze_without_its_row_is_refused(injected: asyncpg.Connection) -> None:
    assert await answer(injected, "SUBJECT_FREEZE") == "FX014"
    ended = row_of(changes("sessions", "state", "revoked_at"))
    assert await answer(injected, "SUBJECT_FREEZE", ended) == "FX014"


async def test_what_carries_facts_only_carries_no_row(injected: asyncpg.Connection) -> None:
    for action in sorted(ACTIONS.keys() - catalogue.CARRIES.keys()):
        if set(ACTIONS[action].roles) == {Role.PLATFORM_ADMIN}:
            continue  # refused for want of an admin session before anything else
        assert await answer(injected, action, row_of(changes("subjects", "state"))) == "FX013", action
    assert await answer(injected, "STATE_DRIFT") == ""


# Every action, by its own declaration.


async def verdict(owner: asyncpg.Connection, action: str, *rows: dict[str, Any]) -> str:
    """What the check itself says; whoever may record the action and what else is asked of it is left out."""
    try:
        async with owner.transaction():
            await owner.execute("select fx.refuse_misfit($1, $2::text::jsonb)", action, json.dumps(rows))
    except asyncpg.PostgresError as fault:
        return str(fault.sqlstate)
    return ""


async def test_each_action_is_held_to_its_own_rows(world: World) -> None:
    """What it declares is taken; one table or one column more is not, nor one row less of those that must be there."""
    owner = await world.connect("postgres")
    for action, declared in catalogue.CARRIES.items():
        rows = fitting(action)
        assert await verdict(owner, action, *rows) == "", action
        assert await verdict(owner, action) == "FX014", action
        known = {(row.table, row.op) for row in declared}
        stranger = next(t.name for t in tables(ROOT / "migrations") if (t.name, "insert") not in known)
        assert await verdict(owner, action, *rows, row_of(adds(stranger))) == "FX013", action
        gone = {"op": "delete", "table": declared[0].table, "key": {}, "before": {}}
        assert await verdict(owner, action, *rows, gone) == "FX013", action
        for row in declared:
            if row.op == "update":
                assert await verdict(owner, action, *rows, row_of(row, "tenant_id")) == "FX013", (action, row)
            if row.always:
                without = [given for given in rows if (given["table"], given["op"]) != (row.table, row.op)]
                assert await verdict(owner, action, *without) == "FX014", (action, row)
    await owner.close()


async def test_without_the_check_a_wider_entry_is_taken(world: World, injected: asyncpg.Connection) -> None:
    """The planted hole."""
    await injected.execute("rollback")
    migrator = await world.connect("fx_migrator")
    async with migrator.transaction():
        await migrator.execute("set local role fx_owner")
        open_ = "create or replace function fx.refuse_misfit(entry_action text, changed jsonb) returns void"
        was = await migrator.fetchval("select pg_get_functiondef('fx.refuse_misfit(text, jsonb)'::regprocedure)")
        await migrator.execute(f"{open_} language plpgsql as $$ begin end $$")
    try:
        await injected.execute("begin")
        await injected.fetchval("select set_config('fx.pin', $1, true)", world.pins.pin(TENANT))
        assert await answer(injected, "SUBJECT_FREEZE") == ""
    finally:
        async with migrator.transaction():
            await migrator.execute("set local role fx_owner")
            await migrator.execute(was)
        await migrator.close()


# The declarations themselves.


def unfounded(carries: Carries, known: set[str], owned: set[str]) -> list[str]:
    """What is declared for an action or of a table that there is none of."""
    return sorted(
        [name for name in carries if name not in known]
        + [f"{name}: {row.table}" for name, rows in carries.items() for row in rows if row.table not in owned]
    )


def test_what_is_declared_is_there() -> None:
    owned = {table.name for table in tables(ROOT / "migrations") if table.schema == "app"}
    assert unfounded(catalogue.CARRIES, set(ACTIONS), owned) == []
    assert unfounded({"NO_ACTION": (), "MAIL_SENT": (adds("nothing"),)}, set(ACTIONS), owned) == [
        "MAIL_SENT: nothing",
        "NO_ACTION",
    ]


async def test_columns_that_are_declared_are_there(world: World) -> None:
    superuser = await world.connect("postgres")
    rows = await superuser.fetch(
        """select c.action, c.table_name, k from fx.action_carries c, unnest(c.columns) k
            where not exists (select from pg_attribute a where a.attrelid = format('app.%I', c.table_name)::regclass
                                and a.attname = k and a.attnum > 0)"""
    )
    await superuser.close()
    assert rows == []


def test_a_state_that_an_action_moves_is_among_its_rows() -> None:
    """Machines and declarations agree: whoever may move a row by its machine may change its state, or make it."""
    machine_of = {table.name: table.machine for table in tables(ROOT / "migrations") if table.machine}
    carried = {(name, row.table, row.op) for name, rows in catalogue.CARRIES.items() for row in rows}
    missing = [
        f"{line.action}: {table} {line.source or 'nothing'} to {line.target}"
        for table, machine in machine_of.items()
        for one in catalogue.MACHINES
        if one.name == machine
        for line in one.transitions
        if (line.action, table, "update" if line.source else "insert") not in carried
    ]
    assert missing == []


def test_what_several_modules_say_of_an_action_is_put_together() -> None:
    found = together([{"A": (changes("t", "x"),)}, {"A": (*always(changes("t", "y")), adds("u"))}, {}])
    assert found == {"A": (Carried("update", "t", frozenset("xy"), always=True), Carried("insert", "u"))}
