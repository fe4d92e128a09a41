"""What a life costs: N e-invoices from upload to settlement through the public API, eight at once, on a fresh system.

The system is started as ``make up`` starts it, in a folder of its own: Postgres, anvil, mock servers, the platform. The
cast (a seller, a buyer, a lender, all through gates 1 to 3) is made first and not counted. Then every invoice is
uploaded, confirmed by its buyer on the page behind the mailed link, minted, listed, bought and paid out; the clock is
moved to maturity, the buyers pay, and all is settled. Clients look every quarter of a second, as a partner's would.

Processor time is read from /proc and counts a process with all its children; the clients share the machine and are
shown, too. ``bare_insert_lives_per_minute`` replays what the lives wrote (entries, rows, jobs) as plain statements on
the same Postgres, without platform, guards and chain. ``isolation_overhead_ms`` is an isolated reading's processor
time, platform and worker together, over that of the reading itself. Last line: ``RESULT {json}``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import uvloop
from rich.console import Console

from bench.bare_life import Recorded, replayed_per_minute
from bench.processor_time import seconds_of_tree
from fintokenx.adapters.documents import IsolatedReader, TextReader
from fintokenx.app import provision
from fintokenx.app.api_client import Api, eventually
from fintokenx.app.demo import TENANT, Paper, Story, email_of, seal_in, wallet_of
from fintokenx.app.local import DATABASE, LocalSystem
from fintokenx.sandbox.processes import Child

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "samples/invoices/millrace-foods.xml"
SYSTEM = "bench-life"
LIVES_DEFAULT = 100
AT_ONCE_DEFAULT = 8
READINGS = 60
PAYER = {"sort_code": "990888", "account_number": "20000099"}
"""The buyers' account, at the mock bank."""
BARS = {"platform_cpu_s_per_life": 0.25, "isolation_overhead_ms": 15.0}
"""At most; on any machine that is not slower than the one of the figures in docs/adr/0019."""


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


@dataclass
class Measured:
    """Seconds by phase and by command."""

    phases: dict[str, float] = field(default_factory=dict)
    commands: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    waits: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    async def timed(self, name: str, call: Awaitable[Any], *, wait: bool = False) -> Any:
        """What it gives, its time noted."""
        begun = time.perf_counter()
        given = await call
        (self.waits if wait else self.commands)[name].append(time.perf_counter() - begun)
        return given


@dataclass
class Lives:
    """The lives on one system. A life is known by its number until the platform has named it."""

    story: Story
    at_once: int
    number: int
    measured: Measured = field(default_factory=Measured)
    references: dict[int, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    async def all(self, phase: str, step: Callable[[int], Awaitable[None]]) -> None:
        """One step of every life, so many at once."""
        begun, slots, done = time.perf_counter(), asyncio.Semaphore(self.at_once), 0

        async def one(number: int) -> None:
            nonlocal done
            async with slots:
                await step(number)
            done += 1
            if done % max(1, self.number // 10) == 0:
                say(f"  {phase:<32} {done:>5} of {self.number}")

        async with asyncio.TaskGroup() as group:
            for number in range(self.number):
                group.create_task(one(number))
        self.measured.phases[phase] = time.perf_counter() - begun

    async def bought(self, number: int) -> None:
        """Upload, confirm, mint, list, buy, pay the seller out."""
        story, timed = self.story, self.measured.timed
        content, fields = invoice(number)
        declared = {**story.paper.declaration(story.subjects["buyer"]), **fields}
        upload = story.seller.upload(
            "/v1/invoices", name="invoice.xml", content=content, declared=declared, key=f"life-upload-{number}"
        )
        reference = self.references[number] = str((await timed("upload", upload))["reference"])
        await timed("read and compared", self._state(reference, "AWAITING_BUYER"), wait=True)
        link = await timed("mail", eventually(f"the mail about {reference}", partial(self._link, reference)), wait=True)
        page = await timed("page", self.reader.page(link))
        form = {"decision": "confirm", "seal": seal_in(page.text)}
        await timed("confirm", self.reader.page(link, form))
        await timed("minted and listed", self._state(reference, "LISTED"), wait=True)
        listing = await timed("listings", story.lender.get("/v1/listings/primary", limit=100))
        [mine] = [item for item in listing["items"] if item["invoice_reference"] == reference]
        order = story.lender.post("/v1/payments", {"listing_id": mine["id"]}, key=f"life-payment-{number}")
        payment = await timed("payment", order)

        async def closed() -> bool:
            return bool((await story.lender.get(f"/v1/payments/{payment['id']}"))["state"] == "CLOSED")

        await timed("funded and paid out", eventually(f"the credit of {reference}", closed), wait=True)

    async def settled(self, number: int) -> None:
        """The buyer pays at its bank; all is split, and the token burns."""
        reference, story = self.references[number], self.story
        collections = provision.TENANTS[TENANT].collections
        payment = {
            "from": PAYER,
            "to": {"sort_code": collections.sort_code, "account_number": collections.account_number},
            "amount_pence": invoice(number)[1]["face_value_pence"],
            "reference": reference,
            "end_to_end_id": f"BUYER-{reference}",
        }
        (await self.http.post(f"{story.bank}/control/payments", json=payment)).raise_for_status()
        await self.measured.timed("collected and settled", self._state(reference, "SETTLED"), wait=True)

    async def _state(self, reference: str, wanted: str) -> None:
        async def reached() -> bool:
            state = (await self.story.seller.get(f"/v1/invoices/{reference}"))["state"]
            if state in ("REJECTED", "IN_REVIEW"):
                raise SystemExit(f"{reference} is {state}")
            return bool(state == wanted)

        await eventually(f"{reference} {wanted}", reached)

    async def _link(self, reference: str) -> str | None:
        """From the mailbox, which is read for all who wait and not once for each."""
        if reference not in self.links:
            address = f"{self.story.settings.sandbox_control_urls['mailbox']}/messages"
            box = await self.http.get(address, params={"to": email_of("buyer")})
            for message in box.json()["messages"]:
                lines = message["text"].split()
                found = [word for word in lines if "/confirm/" in word]
                if found:
                    self.links[lines[-1]] = found[0]
            await self.http.delete(address)
        return self.links.get(reference)

    @asynccontextmanager
    async def clients(self) -> AsyncIterator[None]:
        """The buyer's browser, and a client of the mock servers, at which the buyers' account is opened."""
        self.reader = Api(self.story.settings.public_url)
        account = {**PAYER, "name": self.story.paper.buyer[0], "balance_pence": 10_000_00 * self.number}
        async with aclosing(self.reader), httpx.AsyncClient(timeout=60, trust_env=False) as self.http:
            (await self.http.post(f"{self.story.bank}/control/accounts", json=account)).raise_for_status()
            yield


def invoice(number: int) -> tuple[bytes, dict[str, Any]]:
    """The e-invoice of the life with this number, and what its seller declares that no other says: a number, and a sum,
    since the same buyer, sum and date would be a duplicate. The unit price grows by a penny from life to life."""
    text = SAMPLE.read_text()
    fields = {"invoice_number": f"LIFE-{number:06}", "face_value_pence": 7063_20 + 144 * number}
    changes = {"MF-70093": fields["invoice_number"], "7063.20": _pounds(7063_20 + 144 * number)}
    for printed, step in (("24.75", 1), ("2970.00", 120), ("5886.00", 120), ("1177.20", 24)):
        changes[printed] = _pounds(int(printed.replace(".", "")) + step * number)
    for printed, told in changes.items():
        text = text.replace(f">{printed}<", f">{told}<")
    return text.encode(), fields


def _pounds(pence: int) -> str:
    return f"{pence // 100}.{pence % 100:02}"


@dataclass
class Machine:
    """The processes of the system and the sum of their processor time since it was asked first."""

    system: LocalSystem
    postmaster: int | None
    before: dict[str, float] = field(default_factory=dict)

    def now(self) -> dict[str, float]:
        """Seconds by part."""
        run = self.system.folder / "run"
        pids = {name: Child(name, run).pid for name in ("platform", "mocks", "anvil")}
        return {
            **{name: seconds_of_tree(pid) for name, pid in pids.items()},
            "postgres": seconds_of_tree(self.postmaster),
            "clients": time.process_time(),
        }

    def used(self) -> dict[str, float]:
        """Since ``before`` was noted."""
        return {name: seconds - self.before[name] for name, seconds in self.now().items()}


def isolation() -> dict[str, float]:
    """Processor milliseconds of one isolated reading over the reading itself, for an e-invoice and for a page."""
    overheads = {}
    for name, path in (("xml", SAMPLE), ("pdf", ROOT / "samples/invoices/harbour-signage.pdf")):
        content = path.read_bytes()
        reader, itself = IsolatedReader(), TextReader()
        reader.read(content)
        itself.read(content)
        begun = seconds_of_tree(os.getpid())
        for _ in range(READINGS):
            reader.read(content)
        isolated = seconds_of_tree(os.getpid()) - begun
        begun_itself = time.process_time()
        for _ in range(READINGS):
            itself.read(content)
        overheads[name] = (isolated - (time.process_time() - begun_itself)) / READINGS * 1e3
        reader.close()
    return overheads


async def measure(number: int, at_once: int, *, profile: str) -> dict[str, Any]:
    """All of it, on a system that is gone afterwards."""
    system = LocalSystem(SYSTEM)
    paper = Paper.read(SAMPLE)
    start = datetime.combine(paper.issued + timedelta(days=1), time_of_day(9), UTC)
    await system.destroy()
    try:
        await system.up(lambda what: say(f"starting {what} …"), start_at=start)
        async with aclosing(Story(system, paper, Console(file=StringIO()))) as story:
            say("the cast passes gates 1 to 3 …")
            await story.tell(until="people")
            await eventually("the lender's wallet", partial(wallet_of, story.lender))
            filters = {"concentration_cap_pence": paper.total.value * (number + 1)}
            await story.lender.put("/v1/listing-filters/me", filters, key="life-filter")
            return await _lived(Lives(story, at_once, number), await _superuser_dsn(system), profile)
    finally:
        await system.destroy()


async def _superuser_dsn(system: LocalSystem) -> str:
    password = await system.vault().secret(provision.password_of(provision.SUPERUSER))
    return (await system.postgres()).dsn(provision.SUPERUSER, password, DATABASE)


async def _lived(lives: Lives, superuser_dsn: str, profile: str) -> dict[str, Any]:
    system, measured = lives.story.system, lives.measured
    superuser = await asyncpg.connect(superuser_dsn)
    machine = Machine(system, (await system.postgres())._postmaster_pid())
    recorded = await Recorded.since_now(superuser)
    machine.before = machine.now()
    if profile:
        await _profiler(machine, profile)
    async with lives.clients():
        await lives.all("uploaded, bought, paid out", lives.bought)
        used = machine.used()
        await lives.story._move_clock(datetime.combine(lives.story.paper.due, time_of_day(9), UTC))
        machine.before = machine.now()
        await lives.all("collected, settled", lives.settled)
        used = {name: seconds + used[name] for name, seconds in machine.used().items()}
    difference = (await lives.story.partner.get("/v1/ledger/trial-balance"))["difference_pence"]
    if difference:
        raise SystemExit(f"the books are off by {difference} pence")
    transactions = await recorded.end(superuser)
    say("the same statements, bare …")
    bare = await replayed_per_minute(recorded, superuser, dsn=superuser_dsn, at_once=lives.at_once, lives=lives.number)
    await superuser.close()
    say("documents, isolated and not …")
    isolated = await asyncio.to_thread(isolation)
    minutes = sum(measured.phases.values()) / 60
    _print(lives, used, transactions, recorded)
    return {
        "lives": lives.number,
        "at_once": lives.at_once,
        "lives_per_minute": round(lives.number / minutes, 1),
        "platform_cpu_s_per_life": round(used["platform"] / lives.number, 4),
        "postgres_cpu_s_per_life": round(used["postgres"] / lives.number, 4),
        "upload_p50_ms": round(statistics.median(measured.commands["upload"]) * 1e3, 1),
        "payment_p50_ms": round(statistics.median(measured.commands["payment"]) * 1e3, 1),
        "isolation_overhead_ms": round(max(isolated.values()), 2),
        "isolation_overhead_xml_ms": round(isolated["xml"], 2),
        "isolation_overhead_pdf_ms": round(isolated["pdf"], 2),
        "transactions_per_life": round(transactions / lives.number, 1),
        "bare_insert_lives_per_minute": round(bare),
        "life_to_bare_ratio": round(lives.number / minutes / bare, 4),
    }


async def _profiler(machine: Machine, profile: str) -> None:
    """Let py-spy, if it is installed, watch the platform; its result is written when the platform ends."""
    pid = Child("platform", machine.system.folder / "run").pid
    command = ("record", "--pid", str(pid), "--rate", "200", "--gil", "--format", "raw", "--output", profile)
    await asyncio.create_subprocess_exec(str(Path(sys.executable).parent / "py-spy"), *command)


def _print(lives: Lives, used: dict[str, float], transactions: int, recorded: Recorded) -> None:
    measured = lives.measured
    for phase, seconds in measured.phases.items():
        print(f"{phase:<32}{seconds:>8.1f} s")
    print(f"\n{'command':<32}{'p50':>8}{'p95':>8}")
    for title, times in (*measured.commands.items(), *((f"… {name}", told) for name, told in measured.waits.items())):
        print(f"{title:<32}{_quantile(times, 50):>8.0f}{_quantile(times, 95):>8.0f} ms")
    print(f"\n{'processor':<32}{'seconds':>8}{'a life':>8}")
    for name, seconds in used.items():
        print(f"{name:<32}{seconds:>8.1f}{seconds / lives.number:>8.3f} s")
    entries, jobs = len(recorded.entries) / lives.number, len(recorded.jobs) / lives.number
    print(f"\na life has {entries:.1f} entries, {jobs:.1f} jobs, {transactions / lives.number:.0f} transactions")


def _quantile(times: list[float], percent: int) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1e3


def main() -> int:
    """Print; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lives", type=int, default=LIVES_DEFAULT)
    parser.add_argument("--at-once", type=int, default=AT_ONCE_DEFAULT)
    parser.add_argument("--profile", default="", help="let py-spy write the platform's stacks into this file")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fx-bench-life-") as home:
        os.environ["FX_HOME"] = home
        result = uvloop.run(measure(chosen.lives, chosen.at_once, profile=chosen.profile))
    faults = [f"{name} is {result[name]}, at most {bar} wanted" for name, bar in BARS.items() if result[name] > bar]
    for fault in faults:
        print(f"missed: {fault}")
    print(f"RESULT {json.dumps({**result, 'ok': not faults, 'cpus': os.cpu_count()})}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
