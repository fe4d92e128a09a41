"""The platform is killed in the middle of its work, five times, and the story ends as if nothing had been."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections.abc import AsyncIterator

import pytest

from fintokenx.app import inspect
from fintokenx.app.demo import Paper, default_invoice
from fintokenx.app.local import LocalSystem
from tests.story.house import count_of, mints_and_burns, payments, running, story_of, superuser, the_day_after

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

KILLS = 5
ENTRIES = range(8, 84)
"""Numbers of the story's entries: from the first registration up to the burn."""
LATEST_MILLISECONDS = 400


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
    """Moments are drawn from a seed: some milliseconds after an entry. FX_TEST_SEED repeats a run."""
    seed = int(os.environ.get("FX_TEST_SEED") or secrets.randbits(32))
    draw = random.Random(seed)
    moments = [(entry, draw.randrange(LATEST_MILLISECONDS)) for entry in sorted(draw.sample(ENTRIES, KILLS))]
    print(f"FX_TEST_SEED={seed}: killed after (entry, milliseconds) {moments}")
    story = story_of(system, paper)
    killing = asyncio.create_task(_kill_at(system, moments))
    try:
        outcome = await story.tell()
        await asyncio.wait_for(killing, 60)
        token = await story.partner.get(f"/v1/tokens/{outcome.token_reference}")
    finally:
        killing.cancel()
        await story.aclose()

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


async def _kill_at(system: LocalSystem, moments: list[tuple[int, int]]) -> None:
    for entry, milliseconds in moments:
        await _recorded(system, entry)
        await asyncio.sleep(milliseconds / 1000)
        await asyncio.to_thread(system.platform.kill)
        await _let_leases_run_out(system)
        await asyncio.to_thread(system.restart_platform)


async def _recorded(system: LocalSystem, entry: int) -> None:
    """Return when the record has grown to this entry."""
    async with superuser(system) as connection:
        while (await connection.fetchval("select max(seq) from app.audit_entries")) < entry:
            await asyncio.sleep(0.005)


async def _let_leases_run_out(system: LocalSystem) -> None:
    """The dead worker's jobs are free after two minutes; we do not want to wait for them five times."""
    async with superuser(system) as connection:
        await connection.execute("update ops.jobs set leased_until = clock_timestamp() where leased_until is not null")
