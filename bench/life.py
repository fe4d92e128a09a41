"""What a life costs: N e-invoices from upload to settlement through the public API, eight at once, on a fresh system.

The system is started as ``make up`` starts it, in a folder of its own: Postgres, anvil, mock servers, the platform. The
cast (a seller, a buyer, a lender, all through gates 1 to 3) is made first and not counted. Then every invoice is
uploaded, confirmed by its buyer on the page behind the mailed link, minted, listed, bought and paid out; the clock is
moved to maturity, the buyers pay, and all is settled. Eight clients send commands; whoever waits looks every quarter of
a second.

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
from fintokenx.app.demo import TENANT, Story, seal_in, wallet_of
from fintokenx.app.demo_paper import Paper
from fintokenx.app.local import DATABASE, LocalSystem
from fintokenx.sandbox.processes import Child

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "samples/invoices/millrace-foods.xml"
SYSTEM = "bench-life"
LIVES_DEFAULT = 100
AT_ONCE_DEFAULT = 8
READINGS = 60
COLLECTED_EVERY_SECONDS = 5.0
"""How often the platform looks at the collections account (app/wiring.py)."""
PAYER = {"sort_code": "990888", "account_number": "20000099"}
"""The buyers' account, at the mock bank."""
BARS = {"platform_cpu_s_per_life": 0.25, "isolation_overhead_ms": 15.0}
"""At most; on any machine that is not slower than the one of the figures in docs/adr/0019."""


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


@dataclass
class Life:
    """One invoice on its way."""

    number: int
    reference: str = ""
    payment_id: str = ""


@dataclass
class Lives:
    """The lives on one system, phase by phase. In a phase of commands so many are sent at once; the platform works on
    behind them, and a phase of waiting ends when the last life has come through."""

    story: Story
    at_once: int
    all: list[Life]
    seconds: dict[str, float] = field(default_factory=dict)
    commands: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    links: dict[str, str] = field(default_factory=dict)

    @asynccontextmanager
    async def phase(self, name: str) -> AsyncIterator[None]:
        """Note how long it takes."""
        say(f"  {name} …")
        begun = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - begun

    async def each(self, step: Callable[[Life], Awaitable[None]]) -> None:
        """A step of every life, so many at once."""
        slots, done = asyncio.Semaphore(self.at_once), 0

        async def one(life: Life) -> None:
            nonlocal done
            async with slots:
                await step(life)
            done += 1
            if done % max(1, len(self.all) // 5) == 0:
                say(f"    {done:>6} of {len(self.all)}")

        async with asyncio.TaskGroup() as group:
            for life in self.all:
                group.create_task(one(life))

    async def timed(self, name: str, call: Awaitable[Any]) -> Any:
        """What the call gives, its time noted."""
        begun = time.perf_counter()
        given = await call
        self.commands[name].append(time.perf_counter() - begun)
        return given

    async def none_left(self, *states: str) -> None:
        """Wait until no invoice is in one of these states."""

        async def gone() -> bool:
            pages = [await self.story.seller.get("/v1/invoices", state=state, limit=1) for state in states]
            return not any(page["items"] for page in pages)

        await eventually(f"no invoice that is {' or '.join(states)}", gone, seconds=600)

    async def bought(self) -> None:
        """From the upload until the sellers are paid."""
        async with self.phase("uploaded"):
            await self.each(self._upload)
        async with self.phase("read, compared, buyers asked"):
            await self.none_left("SUBMITTED", "EXTRACTING")
            await eventually("the mails", self._mails)
        async with self.phase("confirmed"):
            await self.each(self._confirm)
        async with self.phase("minted and listed"):
            await self.none_left("CONFIRMED", "TOKENISED")
        async with self.phase("bought"):
            listings = await self._all("/v1/listings/primary", self.story.lender)
            self._listing_ids = {listing["invoice_reference"]: listing["id"] for listing in listings}
            await self.each(self._buy)
        async with self.phase("funded, sellers paid out"):
            await self.none_left("FUNDING")
            await self.each(self._paid_out)

    async def settled(self) -> None:
        """From the buyers' payments to the burned tokens."""
        async with self.phase("paid by the buyers"):
            await self.each(self._pay)
        async with self.phase("collected, split, settled"):
            await self.none_left("FUNDED", "DUE", "PART_PAID", "PAID", "SETTLING")
        settled = {each["reference"] for each in await self._all("/v1/invoices", self.story.seller, state="SETTLED")}
        if missing := {life.reference for life in self.all} - settled:
            raise SystemExit(f"not settled: {sorted(missing)}")

    async def _all(self, path: str, who: Api, **parameters: Any) -> list[Any]:
        """Every item of a list, page by page."""
        items: list[Any] = []
        page: dict[str, Any] = {"next": None}
        while not items or page["next"]:
            cursor = {"after": page["next"]} if page["next"] else {}
            page = await who.get(path, limit=100, **parameters, **cursor)
            items += page["items"]
            if not page["items"]:
                break
        return items

    async def _upload(self, life: Life) -> None:
        content, fields = invoice(life.number)
        declared = {**self.story.paper.declaration(self.story.subjects["buyer"]), **fields}
        upload = self.story.seller.upload(
            "/v1/invoices", name="invoice.xml", content=content, declared=declared, key=f"life-upload-{life.number}"
        )
        life.reference = str((await self.timed("upload", upload))["reference"])

    async def _mails(self) -> bool:
        address = f"{self.story.settings.sandbox_control_urls['mailbox']}/messages"
        box = await self.http.get(address, params={"to": self.story.email_of("buyer")})
        for message in box.json()["messages"]:
            words = message["text"].split()
            self.links.update((words[-1], word) for word in words if "/confirm/" in word)
        return all(life.reference in self.links for life in self.all)

    async def _confirm(self, life: Life) -> None:
        link = self.links[life.reference]
        page = await self.timed("page", self.reader.page(link))
        answer = self.reader.page(link, {"decision": "confirm", "seal": seal_in(page.text)})
        (await self.timed("confirm", answer)).raise_for_status()

    async def _buy(self, life: Life) -> None:
        body, key = {"listing_id": self._listing_ids[life.reference]}, f"life-payment-{life.number}"
        life.payment_id = (await self.timed("payment", self.story.lender.post("/v1/payments", body, key=key)))["id"]

    async def _paid_out(self, life: Life) -> None:
        async def closed() -> bool:
            return bool((await self.story.lender.get(f"/v1/payments/{life.payment_id}"))["state"] == "CLOSED")

        await eventually(f"the seller's credit of {life.reference}", closed)

    async def _pay(self, life: Life) -> None:
        collections = provision.TENANTS[TENANT].collections
        payment = {
            "from": PAYER,
            "to": {"sort_code": collections.sort_code, "account_number": collections.account_number},
            "amount_pence": invoice(life.number)[1]["face_value_pence"],
            "reference": life.reference,
            "end_to_end_id": f"BUYER-{life.reference}",
        }
        (await self.http.post(f"{self.story.bank}/control/payments", json=payment)).raise_for_status()

    @asynccontextmanager
    async def clients(self) -> AsyncIterator[None]:
        """The buyers' browser, and a client of the mock servers, at which the buyers' account is opened."""
        self.reader = Api(self.story.settings.public_url)
        account = {**PAYER, "name": self.story.paper.buyer[0], "balance_pence": 10_000_00 * len(self.all)}
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


async def measure(number: int, at_once: int) -> dict[str, Any]:
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
            owed = sum(int(invoice(each)[1]["face_value_pence"]) for each in range(number + 1))
            filters = {"concentration_cap_pence": owed + paper.total.value}
            await story.lender.put("/v1/listing-filters/me", filters, key="life-filter")
            return await _lived(
                Lives(story, at_once, [Life(each) for each in range(number)]), await _superuser_dsn(system)
            )
    finally:
        await system.destroy()


async def _superuser_dsn(system: LocalSystem) -> str:
    password = await system.vault().secret(provision.password_of(provision.SUPERUSER))
    return (await system.postgres()).dsn(provision.SUPERUSER, password, DATABASE)


async def _lived(lives: Lives, superuser_dsn: str) -> dict[str, Any]:
    system, number = lives.story.system, len(lives.all)
    superuser = await asyncpg.connect(superuser_dsn)
    machine = Machine(system, (await system.postgres())._postmaster_pid())
    recorded = await Recorded.since_now(superuser)
    machine.before = machine.now()
    async with lives.clients():
        await lives.bought()
        used = machine.used()
        await lives.story._move_clock(datetime.combine(lives.story.paper.due, time_of_day(9), UTC))
        # The move makes everything due, a look at the account as well: the payments come in the middle between two.
        await asyncio.sleep(COLLECTED_EVERY_SECONDS / 2)
        machine.before = machine.now()
        await lives.settled()
        used = {name: seconds + used[name] for name, seconds in machine.used().items()}
    difference = (await lives.story.partner.get("/v1/ledger/trial-balance"))["difference_pence"]
    if difference:
        raise SystemExit(f"the books are off by {difference} pence")
    transactions = await recorded.end(superuser)
    say("the same statements, bare …")
    bare = await replayed_per_minute(recorded, superuser, dsn=superuser_dsn, at_once=lives.at_once, lives=number)
    await superuser.close()
    say("documents, isolated and not …")
    isolated = await asyncio.to_thread(isolation)
    minutes = sum(lives.seconds.values()) / 60
    _print(lives, used, transactions, recorded)
    return {
        "lives": number,
        "at_once": lives.at_once,
        "lives_per_minute": round(number / minutes, 1),
        "platform_cpu_s_per_life": round(used["platform"] / number, 4),
        "postgres_cpu_s_per_life": round(used["postgres"] / number, 4),
        "upload_p50_ms": round(statistics.median(lives.commands["upload"]) * 1e3, 1),
        "payment_p50_ms": round(statistics.median(lives.commands["payment"]) * 1e3, 1),
        "isolation_overhead_ms": round(max(isolated.values()), 2),
        "isolation_overhead_xml_ms": round(isolated["xml"], 2),
        "isolation_overhead_pdf_ms": round(isolated["pdf"], 2),
        "transactions_per_life": round(transactions / number, 1),
        "bare_insert_lives_per_minute": round(bare),
        "life_to_bare_ratio": round(number / minutes / bare, 4),
    }


def _print(lives: Lives, used: dict[str, float], transactions: int, recorded: Recorded) -> None:
    number = len(lives.all)
    print(f"{'phase':<32}{'seconds':>8}")
    for phase, seconds in lives.seconds.items():
        print(f"{phase:<32}{seconds:>8.1f}")
    print(f"\n{'command':<32}{'p50 ms':>8}{'p95 ms':>8}")
    for command, times in lives.commands.items():
        print(f"{command:<32}{_quantile(times, 50):>8.0f}{_quantile(times, 95):>8.0f}")
    print(f"\n{'processor seconds':<32}{'all':>8}{'a life':>8}")
    for name, seconds in used.items():
        print(f"{name:<32}{seconds:>8.1f}{seconds / number:>8.3f}")
    entries, jobs = len(recorded.entries) / number, len(recorded.jobs) / number
    print(f"\na life has {entries:.1f} entries, {jobs:.1f} jobs, {transactions / number:.0f} transactions")


def _quantile(times: list[float], percent: int) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1e3


def main() -> int:
    """Print; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lives", type=int, default=LIVES_DEFAULT)
    parser.add_argument("--at-once", type=int, default=AT_ONCE_DEFAULT)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fx-bench-life-") as home:
        os.environ["FX_HOME"] = home
        result = uvloop.run(measure(chosen.lives, chosen.at_once))
    faults = [f"{name} is {result[name]}, at most {bar} wanted" for name, bar in BARS.items() if result[name] > bar]
    for fault in faults:
        print(f"missed: {fault}")
    print(f"RESULT {json.dumps({**result, 'ok': not faults, 'cpus': os.cpu_count()})}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
