"""A network without a quorum: people are told once, no purchase begins, and it all goes on by itself (CH-01, IX-09)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import typer
from rich.console import Console

from fintokenx.adapters.chain import ChainClient, Deployment
from fintokenx.app import health, outside, provision, wiring
from fintokenx.app.cli import common, systems
from fintokenx.desks.operations import halt
from fintokenx.kernel.caller import HOME_TENANT
from fintokenx.kernel.jobs import Work
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.chainwork.jobs.blocks import BlockWatch, ChainHalted
from tests.sandbox.front_house import Network, network, until
from tests.support import World

pytestmark = pytest.mark.anyio

STALL_SECONDS = 2.5
"""Two blocks and a half of the test's chain."""
NOWHERE = Deployment(1981, *[""] * 8, rules={})
HOME = HOME_TENANT


class Willing:
    """Settlement's look at a token that may always move."""

    async def minting_wallet(self) -> str:
        return "0x"

    async def can_transfer(self, from_wallet: str, to_wallet: str, token_id: int, amount: Pence) -> tuple[bool, str]:
        return True, "ok"


class Watched:
    """The network as the platform watches it."""

    def __init__(self, world: World, net: Network, *, stall_seconds: float = STALL_SECONDS) -> None:
        chain = ChainClient(net.rpc(), net.vault, NOWHERE)
        self.blocks = BlockWatch(chain, stall_seconds=stall_seconds, machine_seconds=time.monotonic)
        self.watch = halt.HaltWatch(self.blocks)
        self.tokens = halt.OnlyWhileBlocksCome(Willing(), self.blocks)
        self._world = world

    async def look(self) -> None:
        """One turn of the periodic job."""
        row: Any = {"id": "job_x", "name": halt.JOB, "tenant_id": HOME, "attempts": 1, "lease": "ls_x"}
        await self.watch.look(Work(self._world.database, row), {})

    async def told(self) -> list[tuple[str, int]]:
        """The alerts and how often each was seen."""
        async with self._world.database.transaction(HOME) as tx:
            rows = await tx.rows("select cause, occurrences from app.alerts order by cause")
        return [(row["cause"], row["occurrences"]) for row in rows]

    async def states(self) -> list[str]:
        """States of the alerts."""
        async with self._world.database.transaction(HOME) as tx:
            return sorted(row["state"] for row in await tx.rows("select state from app.alerts"))

    async def sees_the_end(self) -> None:
        async def seen() -> bool:
            await self.look()
            return "RAISED" not in await self.states()

        await until(seen)

    async def may_buy(self) -> bool:
        """Whether a purchase may begin now."""
        try:
            return (await self.tokens.can_transfer("0xa", "0xb", 1, Pence(1)))[0]
        except ChainHalted:
            return False

    async def sees_a_halt(self, *states: str) -> None:
        async def seen() -> bool:
            await self.look()
            return await self.states() == list(states)

        await until(seen)


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    async with network() as running:
        yield running


async def test_a_halt_is_told_once_stops_purchases_and_ends_by_itself(world: World, net: Network) -> None:
    await provision.tenants(world.database)
    watched, names = Watched(world, net), net.front.names
    await watched.look()
    assert await watched.may_buy()
    await net.front.switch_off(*names[:3])
    await watched.sees_a_halt("RAISED")
    await watched.look()
    assert await watched.told() == [(halt.CAUSE, 1)]
    with pytest.raises(ChainHalted, match=r"chain: halted: no new block for 2\.5 s"):
        await watched.tokens.can_transfer("0xa", "0xb", 1, Pence(1))

    waiting = [await net.rpc().send((await net.signed(nonce)).raw) for nonce in range(2)]
    assert await net.count() == 0
    await net.front.switch_on(names[0])
    await until(watched.may_buy)
    await watched.sees_the_end()
    for tx_hash in waiting:
        await net.mined(tx_hash)
    assert await net.count() == 2
    assert await watched.states() == ["AUTO_CLEARED"]

    await net.front.switch_off(names[0])
    await watched.sees_a_halt("AUTO_CLEARED", "RAISED")


async def test_a_platform_that_starts_after_a_halt_clears_its_alert_once_it_has_seen_a_block(
    world: World, net: Network
) -> None:
    """Not before: that nothing is known to stand still is no sign that it goes on."""
    await provision.tenants(world.database)
    before = Watched(world, net)
    await net.front.switch_off(*net.front.names[:3])
    await before.sees_a_halt("RAISED")
    after = Watched(world, net)
    await after.look()
    await after.look()
    assert await after.states() == ["RAISED"]
    await net.front.switch_on(net.front.names[0])
    await after.sees_the_end()
    assert await after.states() == ["AUTO_CLEARED"]


async def test_readiness_calls_a_halted_chain_down_and_says_why(world: World, net: Network) -> None:
    watched = Watched(world, net)
    parts = {"chain": health.Component(watched.blocks.healthy, needed=False)}
    assert (await health.look_at(parts)).components["chain"].state == "up"
    await net.front.switch_off(*net.front.names[:3])

    async def seen() -> bool:
        return (await health.look_at(parts)).status == "degraded"

    await until(seen)
    chain = (await health.look_at(parts)).components["chain"]
    assert (chain.state, chain.reason) == ("down", "halted: no new block for 2.5 s")


async def test_a_platform_that_starts_during_a_halt_buys_nothing_before_it_has_seen_a_block(
    world: World, net: Network
) -> None:
    await net.front.switch_off(*net.front.names[:3])
    watched = Watched(world, net, stall_seconds=1.2)
    begun = time.monotonic()
    assert not await watched.may_buy()
    assert time.monotonic() - begun >= 1.2


@pytest.mark.usefixtures("logs_untouched")
def test_the_command_line_shows_a_halted_chain_as_such_and_sends_nobody_to_start_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its process runs, and it answers."""
    running = {"running": True, "url": "http://x", "urls": {}}
    found = {
        "system": "local", "clock": "2026-06-02", "platform": running, "mock_servers": running, "chain": running,
        "readiness": {"components": {"chain": {"state": "down", "needed": False, "reason": "halted: no new block"}}},
    }  # fmt: skip
    Console(width=140).print(systems.status_table(found))
    shown = capsys.readouterr().out
    assert "running, but halted: no new block" in shown
    assert "down: halted: no new block" in shown

    async def halted() -> None:
        raise ChainHalted(10)

    with pytest.raises(typer.Exit):
        common.run(halted())
    told = capsys.readouterr().err
    assert "halted" in told
    assert "make up" not in told


def test_the_watch_looks_often_enough_to_know() -> None:
    [due] = [job for job in wiring.periodic() if job.name == halt.JOB]
    assert due.every.total_seconds() < outside.STALL_SECONDS
    assert due.tenant_id == HOME
