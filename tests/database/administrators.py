"""Two administrators, two tenants with customers and things, and admin sessions between them, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role, system
from fintokenx.kernel.db import AdministratorRefused
from tests.database.things import A, B, make
from tests.support import World, rows

HOME = "tnt_fintokenx"
REASON = "The customer asked by phone, ticket 4711"


@dataclass(frozen=True)
class People:
    """Subject ids. ``bob`` approves what ``ann`` asks for."""

    ann: str
    bob: str
    seller: dict[str, str]
    """A customer of each tenant, by tenant."""


async def record(world: World, caller: Caller, action: str, *rows: audit.RowChange, resource: str = "r") -> str:
    """One entry in a transaction of its own, in the caller's tenant."""
    try:
        async with world.database.transaction(caller.tenant_id) as tx:
            return await audit.change(tx, caller, action=action, resource=resource, move=audit.Changes(rows))
    except AdministratorRefused as refusal:  # what the database said is what these tests are about
        raise refusal.__cause__ or refusal from None


def tenant_row(world: World, tenant_id: str) -> audit.RowChange:
    """A tenant's row."""
    return rows.tenant(tenant_id, at=world.clock.now(), display_name=tenant_id, plan="own")


def subject_row(world: World, tenant_id: str, role: Role, state: str, company: str | None = None) -> audit.RowChange:
    """A subject's row."""
    one = world.ids.new("sub")
    return rows.subject(
        tenant_id, one, role.value, at=world.clock.now(), company_number=company, state=state, cleared_at=None
    )


async def settle(world: World) -> People:
    """Three tenants: the platform's own with its administrators, A and B with a seller and two things each."""
    ann, bob = await administrators(world)
    for tenant_id in (A, B):
        await record(world, system(tenant_id, "test"), "TENANT_OPEN", tenant_row(world, tenant_id))
    sellers = {}
    for tenant_id in (A, B):
        one = subject_row(world, tenant_id, Role.SELLER, "CREATED", "12345678")
        await record(world, system(tenant_id, "test"), "SUBJECT_CREATE", one)
        sellers[tenant_id] = one.values["row"]["id"]
        await make(world, tenant_id, f"{tenant_id}_1", f"{tenant_id}_2")
    return People(ann, bob, sellers)


async def administrators(world: World) -> tuple[str, str]:
    """The platform's own tenant with two administrators; their subject ids."""
    await record(world, system(HOME, "test"), "TENANT_OPEN", tenant_row(world, HOME))
    staff = [subject_row(world, HOME, Role.PLATFORM_ADMIN, "ACTIVE") for _ in range(2)]
    for one in staff:
        await record(world, system(HOME, "test"), "STAFF_CREATE", one)
    ann, bob = (str(one.values["row"]["id"]) for one in staff)
    return ann, bob


def administrator(tenant_id: str, actor: str, on_behalf_of: str | None = None) -> Caller:
    """An administrator at work in a tenant."""
    return Caller(tenant_id, Role.PLATFORM_ADMIN, actor, on_behalf_of=on_behalf_of)


async def admin_session(
    world: World, people: People, *, tenant_id: str = A, purpose: str = "BYPASS", until: str = "OPEN", **other: Any
) -> str:
    """An admin session of ``ann``, approved by ``bob``, brought to the state ``until``; its id."""
    session_id = world.ids.new("ads")
    row = {
        "tenant_id": tenant_id, "id": session_id, "purpose": purpose, "on_behalf_of": people.seller[tenant_id],
        "reason": REASON, "state": "REQUESTED", "requested_by": people.ann, "requested_at": world.clock.now(), **other,
    }  # fmt: skip
    ann, bob = administrator(tenant_id, people.ann), administrator(tenant_id, people.bob)
    await record(world, ann, "ADMIN_SESSION_REQUEST", audit.insert("admin_sessions", row), resource=session_id)
    now = world.clock.now()
    steps = {
        "APPROVED": (bob, "ADMIN_SESSION_APPROVE", {"approved_by": people.bob, "approved_at": now}),
        "OPEN": (ann, "ADMIN_SESSION_OPEN", {"opened_at": now, "expires_at": now + timedelta(minutes=15)}),
        "CLOSED": (ann, "ADMIN_SESSION_CLOSE", {"closed_at": now}),
    }
    state = "REQUESTED"
    for target, (who, action, after) in steps.items():
        if state == until:
            break
        await record(world, who, action, moved(tenant_id, session_id, state, target, **after), resource=session_id)
        state = target
    return session_id


def moved(tenant_id: str, session_id: str, state: str, target: str, **after: Any) -> audit.RowChange:
    """An admin session changes state."""
    return audit.update(
        "admin_sessions",
        key={"tenant_id": tenant_id, "id": session_id},
        before={"state": state, **dict.fromkeys(after)},
        after={"state": target, **after},
    )


async def open_bypass(
    world: World,
    connection: asyncpg.Connection,
    session_id: str,
    *,
    tenant_id: str = A,
    question: str = "thing",
    reference: str = "tnt_b_1",
) -> str:
    """Step 1 within whatever transaction the connection is in; the entry's id."""
    entry_id = world.ids.new("aud")
    await connection.execute("select set_config('fx.pin', $1, $2)", world.pins.pin(tenant_id), True)
    await connection.execute(
        "select fx.open_bypass($1, $2, $3, $4, $5, 'req_test')",
        entry_id,
        world.clock.now(),
        session_id,
        question,
        reference,
    )
    return entry_id


SEEN = "select count(*) from app.things"


async def seen(connection: asyncpg.Connection, *, guc: str | None = "TRUE", role: bool = True) -> int:
    """How many things of whatever tenant a reading transaction shows (four exist, two of them B's)."""
    async with connection.transaction(readonly=True):
        if guc is not None:
            await connection.execute(f"set local fx.bypass_rls = {guc}")
        if role:
            await connection.execute("set local role fx_bypass")
        return int(await connection.fetchval(SEEN))
