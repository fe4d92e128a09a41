"""The platform is killed in the middle of its work, five times, and the story ends as if nothing had been."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from fintokenx.app import inspect
from fintokenx.app.demo import default_invoice
from fintokenx.app.demo_paper import Paper, StoryFailed
from fintokenx.app.local import LocalSystem
from fintokenx.sandbox.processes import ChildFailed
from tests.story.house import (
    count_of,
    mints_and_burns,
    payments,
    running,
    story_of,
    superuser,
    the_day_after,
    token_moves,
)

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

WHERE = (("entries", 8, 44), ("entries", 8, 44), ("entries", 45, 84), ("orders", 1, 3), ("moves", 1, 3))
"""Two kills while the cast gathers (their entries of the record are the 8th to 44th), one while the invoice lives, one
just after the bank has taken one of our three orders, one just after the chain has moved the token one of three times:
the outside knows, we do not yet."""
LATEST_MILLISECONDS = {"entries": 400, "orders": 30, "moves": 30}


@dataclass(frozen=True, slots=True)
class Moment:
    """So long after so many entries are recorded, orders taken by the bank, or moves of tokens mined."""

    kind: str
    count: int
    milliseconds: int


def moments_of(draw: random.Random) -> list[Moment]:
    """Five of them; the same seed draws the same."""
    return [
        Moment(kind, draw.randint(first, last), draw.randrange(LATEST_MILLISECONDS[kind]))
        for kind, first, last in WHERE
    ]


@pytest.fixture(scope="module")
async def paper() -> Paper:
    """What the story is about."""
    return Paper.read(default_invoice())


@pytest.fixture(scope="module")
async def system(paper: Paper) -> AsyncIterator[LocalSystem]:
    """A system of this module's own."""
    async with running(the_day_after(paper)) as fresh:
        yield fresh


async def test_a_platform_killed_five_times_tells_the_same_story(system: LocalSystem, paper: Paper) -> None:
    """Must-show 5. The moments are drawn from a seed; FX_TEST_SEED repeats a run."""
    seed = int(os.environ.get("FX_TEST_SEED") or secrets.randbits(32))
    moments = moments_of(random.Random(seed))
    print(f"FX_TEST_SEED={seed}: killed at {moments}")
    story = story_of(system, paper)
    try:
        # Together: a platform that does not start again must not look like a story that stands still.
        async with asyncio.TaskGroup() as group:
            telling = group.create_task(story.tell())
            group.create_task(_kill_at(system, moments))
        outcome = telling.result()
        token = await story.partner.get(f"/v1/tokens/{outcome.token_reference}")
    except* (StoryFailed, ChildFailed):
        await _print_what_waits(system)
        raise
    finally:
        await story.aclose()

    assert system.platform.log.read_text().count('"event": "started"') == 1 + len(moments)
    assert (outcome.invoice_state, outcome.token_state) == ("SETTLED", "BURNED")
    assert outcome.entries == outcome.entries_proved > 0
    assert not outcome.trial_difference
    assert await mints_and_burns(system, token["token_id"]) == (1, 1)
    for action in ("FUND_INVOICE", "TOKEN_MINT", "TOKEN_BURN", "RECEIVE_SETTLEMENT", "ONWARD_PAID"):
        assert await count_of(system, action) == 1, action
    done = await payments(system)
    net = paper.total.value - (paper.total.value * 150 + 9_999) // 10_000
    assert sorted((row["effects"], row["amount_pence"]) for row in done) == sorted(
        [(1, net), (1, net), (1, paper.total.value)]
    )
    assert (await inspect.verify(system, lambda _seq, _total: None)).faults == ()


async def _print_what_waits(system: LocalSystem) -> None:
    """A story that stands still must be understood afterwards, and its system is gone then."""
    async with superuser(system) as connection:
        for row in await connection.fetch(
            "select name, state, attempts, run_at, leased_until, last_error from ops.jobs"
            " where state <> 'DONE' order by run_at limit 40"
        ):
            print(tuple(row))
        for row in await connection.fetch("select kind, state, nonce, block_number from app.chain_tx order by id"):
            print(tuple(row))
    print("\n".join(system.platform.log.read_text().splitlines()[-80:]))


async def _kill_at(system: LocalSystem, moments: list[Moment]) -> None:
    """Kill at each moment, in whatever order they come."""
    left = list(moments)
    async with superuser(system) as connection:
        while left:
            seen = {
                "entries": await connection.fetchval("select max(seq) from app.audit_entries"),
                "orders": len(await payments(system)),
                "moves": await token_moves(system),
            }
            now = next((moment for moment in left if seen[moment.kind] >= moment.count), None)
            if now is None:
                await asyncio.sleep(0.01)
                continue
            left.remove(now)
            await asyncio.sleep(now.milliseconds / 1000)
            await asyncio.to_thread(system.platform.kill)
            await asyncio.to_thread(system.restart_platform)
