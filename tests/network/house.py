"""A running system with many confirmed invoices, watched from outside: its rows, its record and its chain's own log."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg
import httpx

from fintokenx.adapters.chain.deployment import MINTER
from fintokenx.adapters.chain.signing import address_of
from fintokenx.app import inspect, provision
from fintokenx.app.api_client import eventually
from fintokenx.app.local import DATABASE
from fintokenx.desks.operations import halt
from fintokenx.sandbox.anvil import ChainControl
from tests.failures.house import House, Paper
from tests.story.house import NOBODY, TRANSFER_SINGLE

AT_ONCE: Final = 6
"""So many people upload or confirm at the same time."""
ALIVE: Final = 180.0
"""Longer than anything here takes on a busy machine; reached only by what never comes."""
_LINK: Final = re.compile(r"https?://\S+/confirm/\S+")


@dataclass
class Crowd:
    """Invoices of one test that wait for their buyer, and what becomes of them."""

    house: House
    rows: asyncpg.Pool
    papers: list[Paper] = field(default_factory=list)

    @property
    def references(self) -> list[str]:
        """Of its invoices."""
        return [paper.reference for paper in self.papers]

    # ── What people do

    async def gather(self, count: int) -> None:
        """Sellers upload so many invoices, and the buyer has a mail about each."""
        await self.house.cast()
        self.papers += await _a_few_at_once(self.house.upload for _ in range(count))
        await eventually("the buyer's mails", self._all_asked, seconds=ALIVE, every=1.0)

    async def _all_asked(self) -> bool:
        return len(await self._links()) == len(self.papers)

    async def _links(self) -> dict[str, str]:
        """By reference."""
        buyer = await self.house.company("buyer")
        texts = [mail["text"] for mail in await self.house.mails(buyer.email)]
        mine = set(self.references)
        found = [(set(re.findall(r"FXI-[0-9A-Z-]+", text)) & mine, _LINK.search(text)) for text in texts]
        return {reference: link.group(0) for references, link in found if link for reference in references}

    async def confirm(self) -> None:
        """The buyer opens every mail and presses Confirm, again where the platform dies over it; no press is refused
        although the chain stands still."""
        links = await self._links()
        await _a_few_at_once((lambda r=r, link=link: self._pressed(r, link)) for r, link in links.items())

    async def _pressed(self, reference: str, link: str) -> None:
        async def done() -> bool:
            try:
                status = await self.house.answer(link)
            except httpx.TransportError:
                return False
            state = await self.rows.fetchval("select state from app.invoices where reference = $1", reference)
            assert status == 200 or state != "AWAITING_BUYER", (reference, status)
            return True

        await eventually(f"the confirmation of {reference}", done, seconds=ALIVE)

    # ── What befalls the platform

    async def kill_platform(self) -> None:
        """kill -9."""
        await asyncio.to_thread(self.house.system.platform.kill)

    async def start_platform(self, *, hurried: bool) -> None:
        """Start it again. What its dead predecessor worked on waits until the lease runs out, unless ``hurried``."""
        if hurried:
            await self.rows.execute(
                "update ops.jobs set leased_until = clock_timestamp() where leased_until is not null"
            )
        await asyncio.to_thread(self.house.system.restart_platform)

    # ── What is seen

    async def tokens(self) -> Counter[str]:
        """How many of their tokens are in which state; those that are not there yet count as nothing."""
        found = await self.rows.fetch(
            "select state, count(*) as n from app.tokens where invoice_reference = any($1) group by state",
            self.references,
        )
        return Counter({row["state"]: row["n"] for row in found})

    def all_in(self, state: str) -> Counter[str]:
        """What :meth:`tokens` says when each is in this state."""
        return Counter({state: len(self.papers)})

    async def all_are(self, state: str) -> None:
        """Return when each of their tokens is in this state."""
        last: Counter[str] = Counter()

        async def there() -> bool:
            nonlocal last
            last = await self.tokens()
            return last == self.all_in(state)

        try:
            await eventually(state, there, seconds=ALIVE, every=0.5)
        except Exception as fault:
            raise AssertionError(f"not all {state} but {dict(last)}\n{await self._what_waits()}") from fault

    async def signed(self) -> int:
        """How many of their mints are signed and have no receipt."""
        return await self.number(
            "select count(*) from app.chain_tx where kind = 'mint' and state = 'SIGNED' and resource = any($1)",
            self.references,
        )

    async def number(self, sql: str, *arguments: Any) -> int:
        """One number of the database."""
        return int(await self.rows.fetchval(sql, *arguments))

    async def halts_told(self) -> int:
        """How often it was recorded that the network stands still."""
        return await self.number(
            "select count(*) from app.audit_entries where action = 'ALERT_RAISE' and resource = $1", halt.RESOURCE
        )

    async def halt_is_told(self, before: int) -> None:
        """Return when it was recorded more often than ``before``."""

        async def told() -> bool:
            return await self.halts_told() > before

        await eventually("the alert", told, seconds=ALIVE)

    async def open_halts(self) -> int:
        """How many alerts about it wait for a person."""
        return await self.number("select count(*) from app.alerts where cause = $1 and closed_at is null", halt.CAUSE)

    async def alerts(self) -> list[str]:
        """Causes of alerts about the invoices themselves."""
        found = await self.rows.fetch("select cause from app.alerts where resource = any($1)", self.references)
        return [row["cause"] for row in found]

    async def mints_recorded(self) -> Counter[str]:
        """Entries TOKEN_MINT by invoice."""
        found = await self.rows.fetch(
            "select resource from app.audit_entries where action = 'TOKEN_MINT' and resource = any($1)",
            self.references,
        )
        return Counter(row["resource"] for row in found)

    async def mints_on_chain(self) -> Counter[str]:
        """Transfers out of nothing in the chain's own log, by invoice; of other tokens under their own id."""
        found = await self.rows.fetch(
            "select token_id_hex, invoice_reference, contract_address from app.tokens"
            " where invoice_reference = any($1)",
            self.references,
        )
        names = {row["token_id_hex"].removeprefix("0x"): row["invoice_reference"] for row in found}
        asked = {"fromBlock": "0x0", "address": found[0]["contract_address"], "topics": [TRANSFER_SINGLE, None, NOBODY]}
        logs = await self.chain.call("eth_getLogs", asked)
        ids = [log["data"].removeprefix("0x")[:64] for log in logs]
        return Counter(names.get(token_id, token_id) for token_id in ids)

    async def minters_transactions(self) -> int:
        """How many transactions of the minter the chain has in its blocks, succeeded or reverted."""
        minter = address_of(await self.house.system.vault().ensure_secp256k1(MINTER))
        return int(await self.chain.call("eth_getTransactionCount", minter, "latest"), 16)

    async def taken_by_the_chain(self) -> int:
        """Transactions that the node has and that no block has."""
        return int((await self.chain.call("txpool_status"))["pending"], 16)

    def platform_starts(self) -> int:
        """How often the platform was started so far."""
        return self.house.system.platform.log.read_text().count('"event": "started"')

    @property
    def chain(self) -> ChainControl:
        """The node itself, past any wire."""
        return self.house.anvil.control

    async def _what_waits(self) -> str:
        jobs = await self.rows.fetch(
            "select name, state, last_error, count(*) as n, min(run_at) as first from ops.jobs where state <> 'DONE'"
            " group by 1, 2, 3 order by 4 desc limit 20"
        )
        mints = await self.rows.fetch("select kind, state, count(*) as n from app.chain_tx group by 1, 2")
        return "\n".join([*map(str, jobs), *map(str, mints), self.house.system.platform.log_tail(40)])

    # ── What must hold in the end

    async def minted_once(self) -> None:
        """Every token is MINTED, each by one entry of the record, one event and one transaction of the chain."""
        await self.all_are("MINTED")
        once = Counter(dict.fromkeys(self.references, 1))
        assert await self.mints_recorded() == once
        on_chain = await self.mints_on_chain()
        assert Counter({name: times for name, times in on_chain.items() if name in once}) == once
        assert set(on_chain.values()) == {1}, "any token, of this test or not"
        assert await self.minters_transactions() == len(on_chain), "one transaction per business key"
        assert await self.alerts() == []
        with self.house.at_home():
            drifts = (await inspect.reconcile(self.house.system, lambda *_: None)).drifts
        assert drifts == ()
        assert await self.house.record_verifies() == []


@asynccontextmanager
async def crowd_in(house: House) -> AsyncIterator[Crowd]:
    """Nobody yet, and a look at the database past all guards."""
    password = await house.system.vault().secret(provision.password_of(provision.SUPERUSER))
    dsn = house.postgres.dsn(provision.SUPERUSER, password, DATABASE)
    async with asyncpg.create_pool(dsn, min_size=1, max_size=4) as rows:
        yield Crowd(house, rows)


async def _a_few_at_once(deeds: Iterable[Callable[[], Awaitable[Any]]]) -> list[Any]:
    """Like people: many, but not all in the same instant."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(deed: Callable[[], Awaitable[Any]]) -> Any:
        async with room:
            return await deed()

    return list(await asyncio.gather(*(one(deed) for deed in deeds)))
