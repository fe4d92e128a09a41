"""A whole system of a test module's own, what its outside systems say was done, and the command line beside it."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from rich.console import Console

from fintokenx.adapters.chain import Deployment
from fintokenx.app import provision
from fintokenx.app.demo import Story
from fintokenx.app.demo_paper import Paper
from fintokenx.app.local import DATABASE, LocalSystem
from fintokenx.kernel.clock import Instant
from fintokenx.sandbox.anvil import ChainControl

SAMPLES = Path(__file__).resolve().parents[2] / "samples" / "invoices"
NOBODY = "0x" + "00" * 32
TRANSFER_SINGLE = "0xc3d58168c5ae7397731d063d5bbf3d657854427343f4c083240f7aacaa2d0f62"
"""keccak256 of TransferSingle(address,address,address,uint256,uint256), the event of ERC-1155."""


@asynccontextmanager
async def running(start_at: Instant) -> AsyncIterator[LocalSystem]:
    """A system in a folder of its own; stopped and deleted whatever happens."""
    before = os.environ.get("FX_HOME")
    folder = tempfile.mkdtemp(prefix="fx-story-")
    os.environ["FX_HOME"] = folder
    system = LocalSystem(f"test-{secrets.token_hex(3)}")
    try:
        await system.up(lambda _what: None, start_at=start_at)
        yield system
    finally:
        await system.destroy()
        shutil.rmtree(folder, ignore_errors=True)
        if before is None:
            del os.environ["FX_HOME"]
        else:
            os.environ["FX_HOME"] = before


def the_day_after(paper: Paper) -> Instant:
    """When the story of an invoice begins: at nine, the day after its date."""
    return datetime.combine(paper.issued + timedelta(days=1), time(9), UTC)


@dataclass(frozen=True, slots=True)
class Told:
    """A story that ended (or stopped where it was told to), and the system that it left behind."""

    system: LocalSystem
    story: Story
    paper: Paper


@asynccontextmanager
async def told(paper: Paper, *, until: str = "prove") -> AsyncIterator[Told]:
    """The story of ``paper`` on a fresh system, up to and with a chapter."""
    async with running(the_day_after(paper)) as system:
        story = story_of(system, paper)
        try:
            await story.tell(until=until)
            yield Told(system, story, paper)
        finally:
            await story.aclose()


def story_of(system: LocalSystem, paper: Paper) -> Story:
    """A story told to nobody."""
    return Story(system, paper, Console(file=StringIO()))


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The real command line, in a process of its own. It means the system that was started last: ours."""
    command = [sys.executable, "-m", "fintokenx.app.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@asynccontextmanager
async def superuser(system: LocalSystem) -> AsyncIterator[asyncpg.Connection]:
    """Somebody with all power over the database, and none over the chain."""
    postgres = await system.postgres()
    password = await system.vault().secret(provision.password_of(provision.SUPERUSER))
    connection = await asyncpg.connect(postgres.dsn(provision.SUPERUSER, password, DATABASE))
    try:
        yield connection
    finally:
        await connection.close()


async def count_of(system: LocalSystem, action: str) -> int:
    """How many entries of the whole record have this action."""
    async with superuser(system) as connection:
        return int(await connection.fetchval("select count(*) from app.audit_entries where action = $1", action))


async def balance_pence(system: LocalSystem, sort_code: str, account_number: str) -> int:
    """What the mock bank holds on an account."""
    async with httpx.AsyncClient(timeout=10) as http:
        answer = await http.get(
            f"{system.settings().sandbox_control_urls['bank']}/control/accounts/{sort_code}/{account_number}"
        )
    return int(answer.raise_for_status().json()["balance_pence"])


async def payments(system: LocalSystem) -> list[dict[str, Any]]:
    """What the mock bank did on our orders: one row per end-to-end id, with how often it was told and what it did."""
    async with httpx.AsyncClient(timeout=10) as http:
        answer = await http.get(f"{system.settings().sandbox_control_urls['bank']}/control/instructions")
    rows: list[dict[str, Any]] = answer.raise_for_status().json()["instructions"]
    return rows


async def mints_and_burns(system: LocalSystem, token_id: str) -> tuple[int, int]:
    """How often a token was made and destroyed, as the chain's own log has it."""
    made = await _transfers(system, NOBODY)
    gone = await _transfers(system, None, NOBODY)
    return sum(log["data"][:66] == token_id for log in made), sum(log["data"][:66] == token_id for log in gone)


async def token_moves(system: LocalSystem) -> int:
    """How often the chain has made, moved or destroyed any token."""
    return len(await _transfers(system))


async def _transfers(system: LocalSystem, *parties: str | None) -> list[dict[str, Any]]:
    """The token contract's logged transfers, from and to these."""
    settings = system.settings()
    contract = Deployment.load(Path(settings.chain_deployment)).token
    topics = [TRANSFER_SINGLE, None, *parties]
    wanted = {"fromBlock": "0x0", "address": contract, "topics": topics}
    logs: list[dict[str, Any]] = await ChainControl(settings.chain_rpc_urls[0]).call("eth_getLogs", wanted)
    return logs
