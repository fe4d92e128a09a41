"""What is given up is told of."""

from __future__ import annotations

from typing import Any

import pytest

from fintokenx.desks.operations import dead_jobs
from fintokenx.kernel.jobs import Work
from tests.modules.parties_house import HERE, open_tenant
from tests.support import World

pytestmark = pytest.mark.anyio


async def test_a_job_that_is_given_up_raises_one_alert_with_its_name_and_nothing_of_what_it_was_about(
    world: World,
) -> None:
    await open_tenant(world, HERE)
    row: Any = {"id": "job_1", "name": "notification.ask_buyer", "tenant_id": HERE, "attempts": 15, "lease": "x"}
    for _ in range(2):
        await dead_jobs.tell_dead(Work(world.database, row))
    async with world.database.transaction(HERE) as tx:
        alerts = await tx.rows("select cause, resource, severity, occurrences from app.alerts")
    assert [tuple(alert) for alert in alerts] == [("JOB_DEAD", "notification.ask_buyer:job_1", "CRITICAL", 1)]
