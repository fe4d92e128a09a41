"""A running system for the failure matrix, used as a partner would: over HTTP, with the mocks' control surfaces beside.

Everything that the tests ask of it is here: people, invoices and payments made quickly, faults switched on and off,
and what the outside saw.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from fintokenx.app import first_keys, inspect, provision
from fintokenx.app.api_client import Api, ApiRefused, eventually
from fintokenx.app.demo import seal_in, wallet_of
from fintokenx.app.local import LocalSystem
from fintokenx.kernel.settings import Settings
from fintokenx.sandbox.anvil import Anvil
from fintokenx.sandbox.postgres import EmbeddedPostgres

TENANT: Final = "tnt_fintokenx"
START: Final = datetime(2026, 6, 10, 9, tzinfo=UTC)
ISSUED, DUE = "2026-06-08", "2026-07-08"
STOCK: Final = 5
SESSION_MINUTES: Final = 20
"""A session lives thirty minutes of business time; a test that moves the clock signs in again before that."""
_INVOICE: Final = (Path(__file__).parent / "invoice.xml").read_text()
_CODE: Final = re.compile(r"\b[0-9]{8}\b")


@dataclass(frozen=True, slots=True)
class Company:
    """A subject with a bank account of its own."""

    subject_id: str
    role: str
    name: str
    number: str
    sort_code: str
    account_number: str
    email: str


@dataclass(frozen=True, slots=True)
class Paper:
    """An uploaded invoice."""

    reference: str
    number: str
    face_pence: int


@dataclass
class House:
    """One running system and the people in it. Its parts are looked up once: the environment may change later."""

    system: LocalSystem
    home: Path
    folder: Path
    postgres: EmbeddedPostgres
    anvil: Anvil
    url: str
    controls: dict[str, str]
    api_key: str
    partner: Api
    http: httpx.AsyncClient
    _serial: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _sessions: dict[str, tuple[Api, datetime]] = field(default_factory=dict)
    _cast: dict[str, Company] = field(default_factory=dict)
    stock: list[Paper] = field(default_factory=list)
    """Invoices on the market that a test may use up."""
    _taking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _signing: asyncio.Lock = field(default_factory=asyncio.Lock)

    # ── People ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def apply(self, role: str, *, words: str = "Trading") -> Company:
        """A fresh company with a bank account that has handed in its onboarding form; nothing is decided yet."""
        serial = next(self._serial)
        name, number = f"{words} {serial:04d} Limited", f"{17000000 + serial}"
        account, email = f"{30000000 + serial}", f"{role}{serial}@failures.example"
        body = {"sort_code": "990600", "account_number": account, "name": name, "balance_pence": 900_000_000}
        opened = await self.http.post(f"{self.controls['bank']}/control/accounts", json=body)
        opened.raise_for_status()
        subject = await self.partner.post(
            "/v1/subjects",
            {
                "role": role,
                "legal_name": name,
                "company_number": number,
                "representative_name": f"Robin Person{_letters(serial)}",
                "email": email,
            },
            key=f"subject-{serial}",
        )
        form = {
            "form_version": "2026-06",
            "company_number": number,
            "persons": [
                {
                    "name": f"Robin Person{_letters(serial)}",
                    "born_on": "1980-02-29",
                    "roles": ["director", "representative", "ubo"],
                }
            ],
            "designated_account": {"account_name": name, "sort_code": "990600", "account_number": account},
        }
        await self.partner.post(f"/v1/subjects/{subject['id']}/onboarding", form, key=f"onboarding-{serial}")
        return Company(subject["id"], role, name, number, "990600", account, email)

    async def gate(self, company: Company, number: int) -> str:
        """State of a gate."""
        gates = (await self.partner.get(f"/v1/subjects/{company.subject_id}/gates"))["gates"]
        return str(next(gate["state"] for gate in gates if gate["gate"] == number))

    async def gate_is(self, company: Company, number: int, *states: str, seconds: float = 60) -> str:
        """Wait until a gate is in one of these states."""
        return await self.sees(
            f"gate {number} {' or '.join(states)}", lambda: self.gate(company, number), *states, seconds=seconds
        )

    async def subject_state(self, company: Company) -> str:
        """State of a subject."""
        return str((await self.partner.get(f"/v1/subjects/{company.subject_id}"))["state"])

    async def approve(self, company: Company) -> None:
        """The compliance officer approves the review of gate 3; the subject becomes ACTIVE."""

        async def case() -> Any:
            cases = (await (await self.mlro()).get("/v1/cases", state="OPEN", limit=200))["items"]
            return next((case for case in cases if case["subject_id"] == company.subject_id), None)

        found = await eventually(f"the review of {company.name}", case, seconds=60)
        decision = {"decision": "APPROVE", "rationale": "Identity verified, no hits, plausible business."}
        await (await self.mlro()).post(f"/v1/cases/{found['id']}/decision", decision, key=f"approve-{found['id']}")
        await self.sees(f"{company.name} active", lambda: self.subject_state(company), "ACTIVE")

    async def company(self, role: str) -> Company:
        """The active seller, buyer or lender of this house; made when first asked for."""
        if role not in self._cast:
            made = await self.apply(role)
            await self.approve(made)
            if role == "lender":
                await eventually("the lender's wallet", partial(wallet_of, await self.signed_in(made.email)))
            self._cast[role] = made
        return self._cast[role]

    async def cast(self) -> None:
        """Seller, buyer and lender, at once."""
        await asyncio.gather(*(self.company(role) for role in ("seller", "buyer", "lender")))

    async def mlro(self) -> Api:
        """The compliance officer, signed in."""
        return await self.signed_in("mlro@failures.example")

    async def signed_in(self, email: str) -> Api:
        """A session that is good for a while of business time."""
        async with self._signing:  # a second code would void the first
            return await self._session(email)

    async def _session(self, email: str, attempt: int = 1) -> Api:
        api, since = self._sessions.get(email, (None, START))
        now = await self.now()
        if api is not None and now - since < timedelta(minutes=SESSION_MINUTES):
            return api
        before = await self._newest_code(email)
        stamp = f"{email}-{now.isoformat()}-{attempt}"
        await self.partner.post("/v1/sessions/codes", {"email": email}, key=f"code-{stamp}")

        async def fresh() -> str | None:
            code = await self._newest_code(email)
            return code if code != before else None

        code = await eventually(f"a sign-in mail to {email}", fresh, seconds=60)
        session = await self.partner.post("/v1/sessions", {"email": email, "code": code}, key=f"in-{stamp}")
        if session["access_token"] is None:  # the first answer was lost, and the token with it
            return await self._session(email, attempt + 1)
        opened = Api(self.url, api_key=self.api_key, token=session["access_token"])
        self._sessions[email] = (opened, now)
        return opened

    async def mails(self, email: str) -> list[dict[str, Any]]:
        """What has arrived, oldest first."""
        answer = await self.http.get(f"{self.controls['mailbox']}/messages", params={"to": email})
        return list(answer.json()["messages"])

    async def _newest_code(self, email: str) -> str | None:
        found = [_CODE.search(mail["text"]) for mail in await self.mails(email) if "Your code" in mail["subject"]]
        return found[-1].group(0) if found and found[-1] else None

    async def leave(self) -> None:
        """Close every connection of ours."""
        for api in (self.partner, *(session for session, _ in self._sessions.values())):
            await api.aclose()

    # ── Invoices ────────────────────────────────────────────────────────────────────────────────────────────────

    async def upload(self) -> Paper:
        """A fresh invoice of the seller to the buyer, as UBL; no two are alike."""
        seller, buyer = await self.company("seller"), await self.company("buyer")
        serial = next(self._serial)
        number, net_pence = f"FM-{serial:05d}", 100_000 + serial * 1_010
        face_pence = net_pence + net_pence // 5
        content = _INVOICE.format(
            number=number, issued=ISSUED, due=DUE, net=_decimal(net_pence), vat=_decimal(net_pence // 5),
            total=_decimal(face_pence), seller=seller.name, seller_number=seller.number, buyer=buyer.name,
            buyer_number=buyer.number, sort_code=seller.sort_code, account_number=seller.account_number,
        )  # fmt: skip
        declared = {
            "obligor_id": buyer.subject_id, "invoice_number": number, "issue_date": ISSUED, "maturity_date": DUE,
            "face_value_pence": face_pence, "asking_discount_bps": 150,
        }  # fmt: skip
        invoice = await (await self.signed_in(seller.email)).upload(
            "/v1/invoices", name=f"{number}.xml", content=content.encode(), declared=declared, key=f"upload-{number}"
        )
        return Paper(invoice["reference"], number, face_pence)

    async def state(self, paper: Paper) -> str:
        """State of an invoice."""
        return str((await self.partner.get(f"/v1/invoices/{paper.reference}"))["state"])

    async def token_state(self, paper: Paper) -> str:
        """State of its token, empty before there is one."""
        try:
            return str((await self.partner.get(f"/v1/invoices/{paper.reference}/token"))["state"])
        except ApiRefused as refused:
            if refused.status == 404:
                return ""
            raise

    async def invoice_is(self, paper: Paper, *states: str, seconds: float = 90) -> str:
        """Wait until an invoice is in one of these states."""
        what = f"{paper.reference} {' or '.join(states)}"
        return await self.sees(what, lambda: self.state(paper), *states, seconds=seconds)

    async def links(self, paper: Paper) -> list[str]:
        """The links that the buyer got for an invoice, oldest first."""
        buyer = await self.company("buyer")
        mine = [mail["text"] for mail in await self.mails(buyer.email) if paper.reference in mail["text"]]
        found = [re.search(r"https?://\S+/confirm/\S+", text) for text in mine]
        return [match.group(0) for match in found if match]

    async def links_or_none(self, paper: Paper) -> list[str] | None:
        """The same, None while there are none."""
        return await self.links(paper) or None

    async def answer(self, link: str) -> int:
        """Open a link and press Confirm; the status of the answer."""
        shown = await self.http.get(link)
        if shown.status_code != 200:
            return shown.status_code
        form = {"decision": "confirm", "seal": seal_in(shown.text)}
        return (await self.http.post(link, data=form)).status_code

    async def confirm(self, paper: Paper) -> None:
        """The buyer answers its newest mail."""

        async def confirmed() -> bool:
            links = await self.links(paper)
            return bool(links) and await self.answer(links[-1]) == 200

        await eventually(f"the confirmation of {paper.reference}", confirmed, seconds=60)

    async def confirmed(self) -> Paper:
        """A fresh invoice that its buyer has confirmed."""
        paper = await self.upload()
        await self.invoice_is(paper, "AWAITING_BUYER")
        await self.confirm(paper)
        return paper

    async def listed(self, count: int = 1) -> list[Paper]:
        """Fresh invoices, minted and on the market."""
        papers = await asyncio.gather(*(self.confirmed() for _ in range(count)))
        await asyncio.gather(*(self.invoice_is(paper, "LISTED") for paper in papers))
        return list(papers)

    async def take_listed(self) -> Paper:
        """An invoice on the market: one that an earlier test left over, else a fresh one of a batch."""
        async with self._taking:
            if not self.stock:
                await self.cast()
                self.stock += await self.listed(STOCK)
            return self.stock.pop()

    # ── Money ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def listing(self, paper: Paper) -> str | None:
        """The id of its listing, while it is open to our lender."""
        lender = await self.signed_in((await self.company("lender")).email)
        listings = (await lender.get("/v1/listings/primary", limit=200))["items"]
        return next((item["id"] for item in listings if item["invoice_reference"] == paper.reference), None)

    async def fund(self, paper: Paper) -> str:
        """The lender commits; the id of the payment."""
        listing_id = await eventually(f"the listing of {paper.reference}", lambda: self.listing(paper), seconds=60)
        lender = await self.signed_in((await self.company("lender")).email)
        key = f"fund-{paper.reference}-{next(self._serial)}"
        return str((await lender.post("/v1/payments", {"listing_id": listing_id}, key=key))["id"])

    async def payment(self, payment_id: str) -> dict[str, Any]:
        """A disbursement."""
        found: dict[str, Any] = await self.partner.get(f"/v1/payments/{payment_id}")
        return found

    async def payment_is(self, payment_id: str, *states: str, seconds: float = 90) -> str:
        """Wait until a disbursement is in one of these states."""

        async def state() -> str:
            return str((await self.payment(payment_id))["state"])

        return await self.sees(f"{payment_id} {' or '.join(states)}", state, *states, seconds=seconds)

    async def buyer_pays(self, paper: Paper) -> None:
        """The buyer pays the whole face at its own bank."""
        buyer, collections = await self.company("buyer"), provision.TENANTS[TENANT].collections
        order = {
            "from": {"sort_code": buyer.sort_code, "account_number": buyer.account_number},
            "to": {"sort_code": collections.sort_code, "account_number": collections.account_number},
            "amount_pence": paper.face_pence,
            "reference": paper.reference,
            "end_to_end_id": f"BUYER-{paper.reference}",
        }
        (await self.http.post(f"{self.controls['bank']}/control/payments", json=order)).raise_for_status()

    async def instructions(self) -> list[dict[str, Any]]:
        """What the bank knows of our payments: how often each arrived, how often it moved money."""
        answer = await self.http.get(f"{self.controls['bank']}/control/instructions")
        return list(answer.json()["instructions"])

    async def fate(self, code: str) -> None:
        """What becomes of the next payment that the bank accepts."""
        answer = await self.http.post(f"{self.controls['bank']}/control/fates", json={"fate": code})
        answer.raise_for_status()

    async def books_agree(self) -> None:
        """Debits equal credits, and the bank holds for us what the books say that it does (once all is settled)."""
        collections = provision.TENANTS[TENANT].collections
        place = f"{self.controls['bank']}/control/accounts/{collections.sort_code}/{collections.account_number}"

        async def agree() -> bool:
            balance = await self.partner.get("/v1/ledger/trial-balance")
            assert balance["difference_pence"] == 0, balance
            ours = [row for row in balance["accounts"] if row["code"] == "bank:collections"]
            held = (await self.http.get(place)).json()["balance_pence"]
            return bool(held == sum(row["debit_pence"] - row["credit_pence"] for row in ours))

        await eventually("the bank and the books agree", agree, seconds=60)

    # ── Faults ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def switch(self, provider: str, mode: str, **how: Any) -> None:
        """Switch a mock's mode."""
        answer = await self.http.post(f"{self.controls[provider]}/control/mode", json={"mode": mode, **how})
        assert answer.status_code == 200, answer.text

    @asynccontextmanager
    async def failing(self, provider: str, mode: str, **how: Any) -> AsyncIterator[None]:
        """A mock in a mode; up again afterwards, whatever happens."""
        await self.switch(provider, mode, **how)
        try:
            yield
        finally:
            await self.switch(provider, "up")

    async def heal(self) -> None:
        """Everything up again."""
        for provider in self.controls:
            await self.switch(provider, "up")
        (self.folder / "vault" / "down").unlink(missing_ok=True)
        await self.anvil.control.resume()

    async def log(self, provider: str) -> dict[str, list[dict[str, Any]]]:
        """What a mock has received, done and sent."""
        answer = await self.http.get(f"{self.controls[provider]}/control/log")
        found: dict[str, list[dict[str, Any]]] = answer.json()
        return found

    async def chain(self, *, paused: bool) -> None:
        """Stop or resume the making of blocks."""
        await self.partner.post("/v1/sandbox/chain", {"paused": paused}, key="unused")

    async def now(self) -> datetime:
        """Business time."""
        return datetime.fromisoformat((await self.partner.get("/v1/sandbox/clock"))["now"])

    @property
    def anvil_pid(self) -> int:
        """The chain's process."""
        return _pid(self.folder / "run" / "anvil.pid")

    @property
    def platform_pid(self) -> int:
        """The platform's process."""
        return _pid(self.folder / "run" / "platform.pid")

    def at_home(self) -> AbstractContextManager[None]:
        """While it lasts, commands of the product mean the systems of this house."""
        return _at_home(self.home)

    async def record_verifies(self) -> list[str]:
        """What is wrong with the record when all its hashes, links and anchors are checked; nothing, that is."""
        with _at_home(self.home):
            verdict = await inspect.verify(self.system, lambda _done, _total: None)
        return [str(fault) for fault in verdict.faults]

    async def pass_time(self, **units: float) -> None:
        """Move everybody's clock forward."""
        to = await self.now() + timedelta(**units)
        await self.partner.post("/v1/sandbox/clock", {"to": to.isoformat()}, key="unused")

    async def ready(self) -> tuple[int, dict[str, str]]:
        """Status of /readyz, and each component's state."""
        answer = await self.http.get(f"{self.url}/readyz")
        return answer.status_code, {name: view["state"] for name, view in answer.json()["components"].items()}

    async def provider(self, name: str) -> dict[str, Any]:
        """The health row of a provider."""
        rows = (await (await self.mlro()).get("/v1/ops/providers"))["items"]
        return dict(next(row for row in rows if row["name"] == name))

    async def provider_is(self, name: str, state: str, *, seconds: float = 60) -> None:
        """Wait until the health row of a provider says that it is in this state."""

        async def now() -> str:
            return str((await self.provider(name))["state"])

        await self.sees(f"{name} {state}", now, state, seconds=seconds)

    async def rested(self, name: str) -> None:
        """Wait until a provider's circuit lets a call through again. What is due before that is refused, and goes back
        for as long as after any failure: of business time, and a test has to move that."""

        async def circuit() -> str:
            return str((await self.provider(name))["circuit"])

        await self.sees(f"{name} rested", circuit, "closed", "half_open", seconds=20)

    async def reasons(self) -> dict[str, str]:
        """What /readyz says of why a component is down."""
        answer = await self.http.get(f"{self.url}/readyz")
        return {name: view["reason"] for name, view in answer.json()["components"].items() if view["reason"]}

    async def alerts(self, resource: str) -> list[str]:
        """Causes of the alerts about something."""
        page = await (await self.mlro()).get("/v1/alerts", limit=200)
        return sorted(alert["cause"] for alert in page["items"] if alert["resource"] == resource)

    async def trail(self, resource: str) -> list[str]:
        """The actions recorded about something, in order."""
        page = await self.partner.get("/v1/audit/entries", resource=resource, limit=200)
        return [entry["action"] for entry in page["items"]]

    async def sees_in_trail(self, resource: str, action: str, *, times: int = 1) -> None:
        """Wait until an action was recorded about something so often."""

        async def there() -> bool:
            return (await self.trail(resource)).count(action) >= times

        await eventually(f"{action} of {resource}", there, seconds=60)

    @staticmethod
    async def sees(what: str, look: Callable[[], Awaitable[str]], *states: str, seconds: float = 60) -> str:
        """Wait until ``look`` gives one of these states; the one that it gave last stands in the error."""
        last = ""

        async def there() -> str | None:
            nonlocal last
            last = await look()
            return last if last in states else None

        try:
            return str(await eventually(what, there, seconds=seconds, every=0.2))
        except Exception as fault:
            raise AssertionError(f"{what}: it is {last}") from fault


def _decimal(pence: int) -> str:
    return f"{pence // 100}.{pence % 100:02d}"


def _pid(file: Path) -> int:
    return int(json.loads(file.read_text())["pid"])


def _letters(serial: int) -> str:
    """A number in letters: names have no digits."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(serial))


@contextmanager
def _at_home(home: Path) -> Iterator[None]:
    """A local system finds its folder by FX_HOME; put back afterwards, for other tests have homes of their own."""
    before = os.environ.get("FX_HOME")
    os.environ["FX_HOME"] = str(home)
    try:
        yield
    finally:
        if before is None:
            del os.environ["FX_HOME"]
        else:
            os.environ["FX_HOME"] = before


@asynccontextmanager
async def _running(home: Path, system: LocalSystem) -> AsyncIterator[tuple[LocalSystem, Settings]]:
    """A system of its own; stopped and deleted afterwards, also when it did not come up whole."""
    try:
        with _at_home(home):
            settings = await system.up(lambda _what: None, start_at=START)
        yield system, settings
    finally:
        with _at_home(home):
            await system.destroy()


@asynccontextmanager
async def open_house(home: Path, system: LocalSystem | None = None) -> AsyncIterator[House]:
    """A running system with a key to it and a compliance officer."""
    system = system or LocalSystem("failures")
    async with _running(home, system) as (_, settings), httpx.AsyncClient(timeout=20) as http:
        with _at_home(home):
            api_key = await first_keys.create_api_key(system, TENANT, "failures", ["*"])
            await inspect.create_staff(system, TENANT, "mlro", "Mira Officer", "mlro@failures.example")
            folder, postgres, anvil = system.folder, await system.postgres(), system.anvil()
        partner, controls = Api(settings.public_url, api_key=api_key), dict(settings.sandbox_control_urls)
        house = House(system, home, folder, postgres, anvil, settings.public_url, controls, api_key, partner, http)
        try:
            yield house
        finally:
            await house.leave()


def in_short(rows: Sequence[Any], kept: set[str]) -> list[Any]:
    """The rows for `make test` as they are, the others marked for `make soak`: the whole matrix takes long."""
    parameters = []
    for row in rows:
        mode = row if isinstance(row, str) else row.mode
        name = row if isinstance(row, str) else row.id
        parameters.append(pytest.param(row, id=name, marks=() if mode in kept else pytest.mark.soak))
    return parameters
