"""The closed taxonomy in the database: each action × each role × with and without on_behalf_of (AD-15 … AD-22)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from fintokenx.app.catalogue import ACTIONS
from fintokenx.audit import Action
from fintokenx.kernel.caller import Role
from tests.database.administrators import People, admin_session, settle
from tests.database.things import A
from tests.support import World

pytestmark = pytest.mark.anyio

ALLOWED = ""


@pytest.fixture
async def settled(world: World) -> AsyncIterator[tuple[World, People, asyncpg.Connection]]:
    people = await settle(world)
    connection = await world.connect("fx_app")
    yield world, people, connection
    await connection.close()


def expected(action: Action, role: Role, *, on_behalf_of: bool, acting: bool) -> str:
    """What the table says of an entry: the SQLSTATE of its refusal, or that it stands. ``acting``: in an open ACT
    session for that very customer."""
    if role not in action.roles:
        return "FX006"
    from_admin = role is Role.PLATFORM_ADMIN
    misfits = {
        "forbidden": on_behalf_of,
        "required": not on_behalf_of,
        "required_from_admin": from_admin and not on_behalf_of,
        "optional": False,
    }
    if misfits[action.on_behalf_of] or (on_behalf_of and not from_admin):
        return "FX007"
    if on_behalf_of and (not acting or action.name == "RBAC_BYPASS"):  # that one is written by fx.open_bypass alone
        return "FX031"
    return ALLOWED


async def answer(
    world: World, connection: asyncpg.Connection, action: Action, role: Role, actor: str, on_behalf_of: str | None
) -> str:
    """What the database says of an entry; nothing of it remains."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.fetchval("select set_config('fx.pin', $1, true)", world.pins.pin(A))
        await connection.fetchval(
            "select fx.change('aud_x', $1, $2, $3, $4, $5, 'r', '', '{\"facts\":[],\"rows\":[]}')",
            world.clock.now(), action.name, actor, role.value, on_behalf_of,
        )  # fmt: skip
    except asyncpg.PostgresError as refusal:
        # Without its rows it is not taken either (test_carries); what is asked here is who may record it at all.
        return ALLOWED if refusal.sqlstate == "FX014" else str(refusal.sqlstate)
    finally:
        await transaction.rollback()
    return ALLOWED


async def differences(
    world: World, people: People, connection: asyncpg.Connection, role: Role, *, acting: bool
) -> list[str]:
    """Where the database and the table of the code do not agree."""
    found = []
    actor = people.ann if role is Role.PLATFORM_ADMIN else "sub_somebody"
    for action in ACTIONS:
        for whom in (None, people.seller[A]):
            said = await answer(world, connection, action, role, actor, whom)
            wanted = expected(action, role, on_behalf_of=whom is not None, acting=acting)
            if said != wanted:
                found.append(f"{action.name} by {role} for {whom}: {said or 'allowed'}, not {wanted or 'allowed'}")
    return found


@pytest.mark.parametrize("role", Role)
async def test_the_database_refuses_exactly_what_the_table_says(
    settled: tuple[World, People, asyncpg.Connection], role: Role
) -> None:
    assert await differences(*settled, role, acting=False) == []


async def test_in_an_open_session_an_administrator_may_do_what_the_table_says(
    settled: tuple[World, People, asyncpg.Connection],
) -> None:
    world, people, _ = settled
    await admin_session(world, people, purpose="ACT")
    assert await differences(*settled, Role.PLATFORM_ADMIN, acting=True) == []


async def test_an_action_that_is_not_in_the_table_is_refused(
    settled: tuple[World, People, asyncpg.Connection],
) -> None:
    world, _, connection = settled
    unknown = Action("SUBMIT_INVOICES", (Role.SYSTEM,))
    assert await answer(world, connection, unknown, Role.SYSTEM, "system:x", None) == "FX005"


@pytest.mark.parametrize(
    ("loosened", "role"),
    [
        ("on_behalf_of_rule = 'optional' where action = 'SUBJECT_CREATE'", Role.PLATFORM_ADMIN),
        ("actor_roles = actor_roles || '{seller}' where action = 'TOKEN_MINT'", Role.SELLER),
        ("on_behalf_of_rule = 'required' where action = 'SAR_FILE'", Role.MLRO),
    ],
)
async def test_a_table_that_says_otherwise_is_found(
    settled: tuple[World, People, asyncpg.Connection], loosened: str, role: Role
) -> None:
    superuser = await settled[0].connect("postgres")
    await superuser.execute(f"update app.audit_actions set {loosened}")
    await superuser.close()
    assert await differences(*settled, role, acting=False) != []
