"""Alerts that end when their cause does (issue 9 A16, statemachines §12), and those of refused sign-ins (AU-13)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.kernel.bus import Reactions
from fintokenx.kernel.caller import Caller, Role, WrongRole, system
from fintokenx.kernel.jobs import Worker
from fintokenx.parties import compliance
from fintokenx.parties.auth.jobs import JOBS
from fintokenx.parties.compliance import reactions
from tests.modules.parties_house import HERE, House, house
from tests.support import World, world_from

pytestmark = pytest.mark.anyio

ADA = "ada@engines.example"
PLATFORM = system(HERE, "test")
MLRO = Caller(HERE, Role.MLRO, "sub_mlro", subject_id="sub_mlro")


@pytest.fixture
async def at_home(cluster: str, template: str, tmp_path: Path) -> AsyncIterator[House]:
    async with world_from(cluster, template, reactions=Reactions(reactions.IN_STEP)) as world:
        made = house(world, tmp_path)
        await made.open_tenants()
        yield made
        await made.client.aclose()


async def raised(world: World, cause: str = "THING_AMISS", resource: str = "thing") -> None:
    async with world.database.transaction(HERE) as tx:
        move = await compliance.raise_alert(
            tx, PLATFORM, cause=cause, resource=resource, severity=compliance.Severity.WARNING
        )
        await audit.change(tx, PLATFORM, action="ALERT_RAISE", resource=resource, move=move)


async def cleared(world: World, caller: Caller = PLATFORM, resource: str = "thing") -> None:
    async with world.database.transaction(HERE) as tx:
        await compliance.clear_alert(tx, caller, cause="THING_AMISS", resource=resource)


async def alerts(world: World) -> list[compliance.Alert]:
    async with world.database.transaction(HERE) as tx:
        return await compliance.alerts(tx, MLRO, state=None, after="", limit=50)


async def test_an_alert_whose_cause_is_gone_ends_with_an_entry_and_without_a_finding(at_home: House) -> None:
    await raised(at_home.world)
    await cleared(at_home.world)
    await cleared(at_home.world)
    [alert] = await alerts(at_home.world)
    assert (alert.state, alert.finding, alert.closed_by) == ("AUTO_CLEARED", None, PLATFORM.actor)
    superuser = await at_home.world.connect("postgres")
    recorded = await superuser.fetch("select action from app.audit_entries where resource = 'thing' order by seq")
    await superuser.close()
    assert [row["action"] for row in recorded] == ["ALERT_RAISE", "ALERT_CLEAR"]


async def test_the_same_cause_raises_a_new_alert_afterwards(at_home: House) -> None:
    await raised(at_home.world)
    await cleared(at_home.world)
    await raised(at_home.world)
    found = await alerts(at_home.world)  # of one instant: their ids are in no order
    assert sorted((alert.state, alert.occurrences) for alert in found) == [("AUTO_CLEARED", 1), ("RAISED", 1)]


async def test_an_alert_that_somebody_has_taken_up_stays_with_them(at_home: House) -> None:
    await raised(at_home.world)
    [alert] = await alerts(at_home.world)
    async with at_home.world.database.transaction(HERE) as tx:
        await compliance.acknowledge_alert(tx, MLRO, alert_id=alert.id)
    await cleared(at_home.world)
    assert [alert.state for alert in await alerts(at_home.world)] == ["ACKED"]


async def test_whoever_sees_all_clears_what_is_no_more_and_nothing_else(at_home: House) -> None:
    for resource in ("one", "two"):
        await raised(at_home.world, resource=resource)
    await raised(at_home.world, cause="OTHER_THING", resource="two")
    async with at_home.world.database.transaction(HERE) as tx:
        await compliance.clear_alerts_but(tx, PLATFORM, cause="THING_AMISS", standing={"one"})
    states = {(alert.cause, alert.resource): alert.state for alert in await alerts(at_home.world)}
    assert states == {
        ("THING_AMISS", "one"): "RAISED",
        ("THING_AMISS", "two"): "AUTO_CLEARED",
        ("OTHER_THING", "two"): "RAISED",
    }


async def test_only_the_platform_clears(at_home: House) -> None:
    await raised(at_home.world)
    with pytest.raises(WrongRole):
        await cleared(at_home.world, MLRO)


@pytest.mark.parametrize("ending", ["finding = 'FALSE_ALARM'", "closed_at = null, closed_by = null"])
async def test_the_database_knows_what_a_cleared_alert_holds(at_home: House, ending: str) -> None:
    await raised(at_home.world)
    await cleared(at_home.world)
    superuser = await at_home.world.connect("postgres")
    await superuser.execute("alter table app.alerts disable trigger all")
    with pytest.raises(asyncpg.CheckViolationError):
        await superuser.execute(f"update app.alerts set {ending}")
    await superuser.close()


# ── Refused sign-ins


async def tried(at_home: House, times: int, code: str = "00000000") -> list[int]:
    key = await at_home.api_key()
    body = {"email": ADA, "code": code}
    return [(await at_home.post("/v1/sessions", body, fx_api_key=key)).status_code for _ in range(times)]


async def told(at_home: House) -> list[tuple[str, str, int]]:
    """Let the promised job run; the alerts that there are then."""
    world = at_home.world
    world.clock.set(world.clock.now() + timedelta(seconds=11))
    claims = await world.pool("fx_worker", 2)
    worker = Worker(
        claims=claims, database=world.database, jobs=JOBS, periodic=(), clock=world.clock, ids=world.ids,
        poll_seconds=0.02,
    )  # fmt: skip
    running = asyncio.create_task(worker.run())
    superuser = await world.connect("postgres")
    async with asyncio.timeout(20):
        while await superuser.fetchval("select count(*) from ops.jobs where state = 'READY' and name like 'auth.%'"):
            await asyncio.sleep(0.02)
    await superuser.close()
    worker.stop()
    await running
    await claims.close()
    return [(alert.cause, alert.resource, alert.occurrences) for alert in await alerts(world)]


async def test_five_refused_sign_ins_of_an_account_raise_one_alert_in_a_window(at_home: House) -> None:
    ada = await at_home.subject(Role.SELLER, ADA)
    await at_home.code(ada)
    assert await tried(at_home, 5) == [401] * 5
    assert await told(at_home) == [("SIGN_INS_REFUSED", ada.id, 1)]
    assert await tried(at_home, 4) == [429] * 4
    assert await told(at_home) == [("SIGN_INS_REFUSED", ada.id, 1)], "no more than one per window"
    at_home.world.clock.set(at_home.world.clock.now() + timedelta(minutes=15))
    await tried(at_home, 7)
    assert await told(at_home) == [("SIGN_INS_REFUSED", ada.id, 2)]


async def test_four_refusals_are_nothing_nor_is_a_fifth_try_that_goes_well(at_home: House) -> None:
    ada = await at_home.subject(Role.SELLER, ADA)
    right = await at_home.code(ada)
    await tried(at_home, 4, "00000000" if right != "00000000" else "11111111")
    assert await told(at_home) == []
    assert await tried(at_home, 1, right) == [201]
    assert await told(at_home) == []


async def test_of_an_address_that_nobody_has_nobody_is_told(at_home: House) -> None:
    await at_home.subject(Role.SELLER, "eve@engines.example")
    assert await tried(at_home, 5) == [401] * 5
    assert await told(at_home) == []


async def test_that_it_was_promised_long_ago_hides_no_refusals(at_home: House) -> None:
    """The platform was down for an hour; the throttle has begun anew since."""
    ada = await at_home.subject(Role.SELLER, ADA)
    await at_home.code(ada)
    await tried(at_home, 5)
    at_home.world.clock.set(at_home.world.clock.now() + timedelta(hours=1))
    await tried(at_home, 1)
    assert await told(at_home) == [("SIGN_INS_REFUSED", ada.id, 1)]


async def test_both_accounts_of_one_address_are_told_of(at_home: House) -> None:
    both = [await at_home.subject(role, ADA) for role in (Role.SELLER, Role.BUYER)]
    for one in both:
        await at_home.code(one)
    await tried(at_home, 5)
    assert sorted(resource for _, resource, _ in await told(at_home)) == sorted(one.id for one in both)
