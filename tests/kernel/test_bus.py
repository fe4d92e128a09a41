"""Facts go up: in step within the writer's transaction, afterwards by durable job, and never on their own."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from fintokenx import audit
from fintokenx.kernel.bus import Afterwards, Fact, InStep, Reactions
from fintokenx.kernel.db import Tx
from fintokenx.kernel.errors import Refused
from fintokenx.kernel.money import Pence
from tests.database.things import A, ThingOpened, all_entries, change, make, moved, thing
from tests.support import world_from

pytestmark = pytest.mark.anyio


@dataclass(frozen=True, slots=True)
class ThingPriced(Fact):
    """A thing got a price."""

    thing_id: str
    price_pence: Pence


class NotToday(Refused):
    """Not today."""

    code = "NOT_TODAY"


async def refuse(_tx: Tx, _fact: ThingOpened) -> None:
    raise NotToday


async def note(tx: Tx, fact: ThingOpened) -> None:
    await tx.write("select set_config('fx.seen', $1, false)", fact.thing_id)


async def test_a_reaction_in_step_runs_in_the_writers_transaction_and_may_refuse(
    cluster: str, things_template: str
) -> None:
    reactions = Reactions(in_step=[InStep(ThingOpened, refuse)], afterwards=[Afterwards(ThingOpened, "later")])
    async with world_from(cluster, things_template, reactions=reactions) as world:
        await make(world, A, "t1")
        with pytest.raises(NotToday):
            async with world.database.transaction(A) as tx:
                await change(tx, "THING_OPEN", moved(A, "t1", "SHUT", "OPEN"), facts=(ThingOpened("t1"),))
        async with world.database.transaction(A) as tx:
            assert await tx.value("select state from app.things") == "SHUT"
            assert await tx.value("select count(*) from ops.jobs") == 0
        assert len(await all_entries(world)) == 1


async def test_a_reaction_afterwards_is_a_job_of_the_same_transaction_with_the_facts_fields(
    cluster: str, things_template: str
) -> None:
    reactions = Reactions(afterwards=[Afterwards(ThingPriced, "one"), Afterwards(ThingPriced, "two")])
    async with world_from(cluster, things_template, reactions=reactions) as world:
        facts = (ThingPriced("t1", Pence(5)), ThingPriced("t1", Pence(6)), ThingOpened("t1"))
        async with world.database.transaction(A) as tx:
            await change(tx, "THING_MAKE", audit.insert("things", thing(A, "t1")), facts=facts)
        async with world.database.transaction(A) as tx:
            jobs = await tx.rows("select name, payload from ops.jobs order by name, payload ->> 'price_pence'")
        assert [(job["name"], job["payload"]) for job in jobs] == [
            (name, {"thing_id": "t1", "price_pence": price}) for name in ("one", "two") for price in (5, 6)
        ]
        [entry] = await all_entries(world)
        told = json.loads(entry["diff"])["facts"]
        assert told[0] == {"fact": "ThingPriced", "thing_id": "t1", "price_pence": 5}
        assert [fact["fact"] for fact in told] == ["ThingPriced", "ThingPriced", "ThingOpened"]


def test_reactions_are_found_by_the_kind_of_fact_in_the_order_of_the_page() -> None:
    first, second = InStep(ThingOpened, note), InStep(ThingOpened, refuse)
    reactions = Reactions(in_step=[first, InStep(ThingPriced, note), second])
    assert reactions.in_step_with(ThingOpened("t1")) == [first, second]
    assert reactions.after(ThingOpened("t1")) == []
