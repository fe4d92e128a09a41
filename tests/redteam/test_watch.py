"""The daily watch: a run that is overdue raises an alert, once (TI-09)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fintokenx import audit
from fintokenx.app import provision, wiring
from fintokenx.desks.operations import watch
from fintokenx.kernel.caller import HOME_TENANT, Caller, Role, WrongRole, system
from fintokenx.kernel.jobs import Work
from tests.support import World

pytestmark = pytest.mark.anyio
HOME = HOME_TENANT


def work(world: World) -> Work:
    """A turn of the job that nobody has claimed; its checks do not ask."""
    row: Any = {"id": "job_x", "name": watch.JOB, "tenant_id": HOME, "attempts": 1, "lease": "ls_x"}
    return Work(world.database, row)


def pass_days(world: World, days: int) -> None:
    world.clock.set(world.clock.now() + timedelta(days=days))


async def look(world: World) -> None:
    await watch.Watch((watch.REDTEAM_OVERDUE,)).look(work(world), {})


async def alerts(world: World) -> list[tuple[str, int]]:
    async with world.database.transaction(HOME) as tx:
        rows = await tx.rows("select cause, occurrences from app.alerts order by cause")
    return [(row["cause"], row["occurrences"]) for row in rows]


def run(world: World, *, broken: int = 0) -> audit.RedteamRun:
    """A run of today's."""
    return audit.RedteamRun(
        id=world.ids.new("rtr"), run_at=world.clock.now(), attacks=90, broken=broken, outcome=int(broken > 0),
        report_sha256="0" * 64, signature="0" * 128, signed_by_key="k", storage_ref="tnt_fintokenx/x/y",
    )  # fmt: skip


async def record(world: World, kept: audit.RedteamRun) -> None:
    async with world.database.transaction(HOME) as tx:
        await audit.record_redteam_run(tx, system(HOME, "redteam"), run=kept)


async def test_a_young_system_owes_no_run(world: World) -> None:
    await provision.tenants(world.database)
    pass_days(world, 92)
    await look(world)
    assert await alerts(world) == []


async def test_a_system_that_was_never_attacked_for_a_quarter_raises_one_alert(world: World) -> None:
    await provision.tenants(world.database)
    pass_days(world, 93)
    await look(world)
    await look(world)
    assert await alerts(world) == [("REDTEAM_OVERDUE", 1)]


async def test_a_good_run_is_good_for_a_quarter_and_a_broken_one_for_nothing(world: World) -> None:
    await provision.tenants(world.database)
    pass_days(world, 60)
    await record(world, run(world))
    pass_days(world, 91)
    await record(world, run(world, broken=1))
    await look(world)
    assert await alerts(world) == []
    pass_days(world, 2)
    await look(world)
    assert await alerts(world) == [("REDTEAM_OVERDUE", 1)]


async def test_a_good_run_ends_the_alert(world: World) -> None:
    await provision.tenants(world.database)
    pass_days(world, 93)
    await look(world)
    await record(world, run(world))
    await look(world)
    async with world.database.transaction(HOME) as tx:
        assert await tx.value("select state from app.alerts") == "AUTO_CLEARED"


async def test_a_check_that_could_not_look_ends_no_alert(world: World) -> None:
    await provision.tenants(world.database)
    pass_days(world, 93)
    await look(world)

    async def fails(_work: Work) -> list[watch.Found]:
        raise RuntimeError("what now")

    with pytest.raises(ExceptionGroup):
        await watch.Watch((watch.Check(("REDTEAM_OVERDUE",), fails),)).look(work(world), {})
    async with world.database.transaction(HOME) as tx:
        assert await tx.value("select state from app.alerts") == "RAISED"


async def test_runs_are_listed_newest_first_to_staff_alone(world: World) -> None:
    await provision.tenants(world.database)
    first = run(world)
    await record(world, first)
    pass_days(world, 1)
    second = run(world, broken=2)
    await record(world, second)
    async with world.database.transaction(HOME) as tx:
        assert await audit.redteam_runs(tx, system(HOME, "x")) == [second, first]
        with pytest.raises(WrongRole):
            await audit.redteam_runs(tx, Caller(HOME, Role.PARTNER_ADMIN, "key"))


async def test_a_check_that_fails_does_not_keep_the_others_from_looking(world: World) -> None:
    looked = []

    async def fails(_work: Work) -> list[watch.Found]:
        raise RuntimeError("what now")

    async def looks(done: Work) -> list[watch.Found]:
        looked.append(done.tenant_id)
        return []

    with pytest.raises(ExceptionGroup):
        await watch.Watch((watch.Check((), fails), watch.Check((), looks))).look(work(world), {})
    assert looked == [HOME]


def test_the_watch_is_due_once_a_day() -> None:
    [due] = [job for job in wiring.periodic() if job.name == watch.JOB]
    assert (due.every, due.tenant_id) == (timedelta(days=1), HOME)
