"""The life of one invoice, played through the public API by a seller, a buyer, a lender and the buyer's bank."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
from rich.console import Console
from rich.table import Table

from fintokenx.app import assembly, first_keys, inspect, outside, provision
from fintokenx.app.api_client import Api, ApiRefused, GaveUp, eventually
from fintokenx.app.cast import Cast, CastFailed, Company
from fintokenx.app.demo_paper import DISCOUNT_BPS, Paper, StoryFailed
from fintokenx.app.local import LocalSystem, project_root
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.merkle import leaf_hash, verify_inclusion
from fintokenx.kernel.money import ZERO, Pence
from fintokenx.kernel.notes import VerifierKey, signed_checkpoint

TENANT: Final = "tnt_fintokenx"
LENDER: Final = ("Castlegate Capital Ltd", "19955501", "990555", "20000055")
CHAPTERS: Final = ("people", "upload", "confirm", "mint_and_list", "fund", "mature_and_pay", "settle", "prove")
FUNDED_WITH: Final = 100_000_000_00  # pence on the lender's account


def default_invoice() -> Path:
    """The sample that the demo plays when none is given."""
    return project_root() / "samples" / "invoices" / "harbour-signage.pdf"


@dataclass
class Outcome:
    """How the story ended."""

    invoice_reference: str = ""
    token_reference: str = ""
    invoice_state: str = ""
    token_state: str = ""
    trial_difference: Pence = ZERO
    entries: int = 0
    entries_proved: int = 0


class Story(Cast):
    """The story on one system, chapter by chapter. Every step can be told again: keys make it happen once."""

    def __init__(self, system: LocalSystem, paper: Paper, console: Console) -> None:
        super().__init__(system, tenant_id=TENANT, name="demo")
        self.paper = paper
        self.console = console
        self.outcome = Outcome()
        self._chapter = 0

    async def tell(self, *, since: str = CHAPTERS[0], until: str = CHAPTERS[-1]) -> Outcome:
        """Play the chapters from ``since`` to ``until``, each in its turn. :raises StoryFailed: it went another way"""
        try:
            for chapter in CHAPTERS[CHAPTERS.index(since) : CHAPTERS.index(until) + 1]:
                await getattr(self, f"_{chapter}")()
        except (ApiRefused, CastFailed, GaveUp) as fault:
            raise StoryFailed(f"in chapter {self._chapter}: {fault}") from fault
        return self.outcome

    # ── The cast ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _people(self) -> None:
        self.chapter("The cast: three companies pass gates 1 to 3")
        await self.open(await first_keys.create_api_key(self.system, TENANT, "demo", ["*"]))
        await inspect.create_staff(self.system, TENANT, "mlro", self.person_of("mlro"), self.email_of("mlro"))
        self.mlro = await self.signed_in("mlro")
        cast = [
            Company("seller", "seller", *self.paper.seller, *self.paper.seller_account),
            Company("buyer", "buyer", *self.paper.buyer, "990888", "20000088", self.paper.total.value * 2),
            Company("lender", "lender", *LENDER, FUNDED_WITH),
        ]
        await self.enrol(*cast)
        self.seller = await self.signed_in("seller")
        self.lender = await self.signed_in("lender")
        for company in cast:
            self.say(f"{company.who:<7} {company.name} ({company.number}) is [green]ACTIVE[/]")

    # ── The invoice ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _upload(self) -> None:
        self.chapter(f"The seller uploads {self.paper.path.name}")
        invoice = await self.seller.upload(
            "/v1/invoices",
            name=self.paper.path.name,
            content=self.paper.path.read_bytes(),
            declared=self.paper.declaration(self.subjects["buyer"]),
            key="demo-upload",
        )
        self.reference = self.outcome.invoice_reference = str(invoice["reference"])
        self.say(f"{self.reference}: {self.paper.number} over {self.paper.total}, due {self.paper.due:%-d %B %Y}")
        state = await self._state_among("AWAITING_BUYER", "IN_REVIEW", "REJECTED")
        if state == "REJECTED":
            raise StoryFailed("the document was refused by the reader; see `fintokenx audit show`")
        if state == "IN_REVIEW":
            await self._review()
        self.say("read, compared with what was declared: the buyer is asked")

    async def _review(self) -> None:
        async def case() -> Any:
            cases = await self.mlro.get("/v1/cases", limit=100)
            mine = [c for c in cases["items"] if c["resource"] == self.reference and c["state"] == "OPEN"]
            return mine[0] if mine else None

        found = await eventually("the review case", case)
        self.say(f"[yellow]in review[/]: {found['reason']}; the compliance officer looks and approves")
        decision = {"decision": "APPROVE", "rationale": "Compared the document by eye; it is as declared."}
        await self.mlro.post(f"/v1/cases/{found['id']}/decision", decision, key="demo-review")
        await self._state_among("AWAITING_BUYER")

    async def _confirm(self) -> None:
        self.chapter("The buyer confirms with one click")
        reader = self.api(bare=True)

        async def confirmed() -> Any:
            if await self._state() not in ("AWAITING_BUYER",):
                return True
            link = await self.mail("buyer", r"https?://\S+/confirm/\S+")
            if link is None:
                return None
            try:
                page = await reader.page(link)
                answer = await reader.page(link, {"decision": "confirm", "seal": seal_in(page.text)})
            except (httpx.TransportError, ApiRefused):
                return None  # the platform is away, or this link was replaced by a newer mail: look again
            self.say(f"saw the page ({len(page.content):,} bytes, hash {page.headers['fx-page-hash'][:16]}…)")
            return answer.status_code == 200 or None

        await eventually("the buyer's confirmation", confirmed)
        self.say("pressed [bold]Confirm this invoice[/]")

    async def _mint_and_list(self) -> None:
        self.chapter("The invoice becomes a token, and is listed")
        await self._state_among("LISTED")
        token = await self.seller.get(f"/v1/invoices/{self.reference}/token")
        self.outcome.token_reference = str(token["reference"])
        self.say(f"{token['reference']} [green]{token['state']}[/] at {token['contract_address']}")
        await self._show_transactions()

    async def _fund(self) -> None:
        self.chapter("A lender funds it")
        filters = {"concentration_cap_pence": self.paper.total.value * 2}
        await self.lender.put("/v1/listing-filters/me", filters, key="demo-filter")

        async def listing() -> Any:
            listings = await self.lender.get("/v1/listings/primary", limit=100)
            mine = [item for item in listings["items"] if item["invoice_reference"] == self.reference]
            return mine[0] if mine else None

        found = await eventually("the listing", listing)
        await eventually("the lender's wallet", partial(wallet_of, self.lender))
        payment = await self.lender.post("/v1/payments", {"listing_id": found["id"]}, key="demo-payment")
        self.say(
            f"pays {_pence(payment['net_advance_pence'])} for {self.paper.total} (discount {DISCOUNT_BPS} basis points)"
        )
        await self._state_among("FUNDED", "DUE")

        async def closed() -> Any:
            now = await self.lender.get(f"/v1/payments/{payment['id']}")
            return now if now["state"] == "CLOSED" else None

        done = await eventually("the seller's credit", closed)
        self.say(f"token moved: {done['chain_tx_hash']}")
        self.say(f"the seller's bank shows the credit: disbursement [green]{done['state']}[/]")

    # ── The money ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _mature_and_pay(self) -> None:
        maturity = datetime.combine(self.paper.due, time(9), UTC)
        self.chapter(f"{self.paper.due:%-d %B %Y}: the buyer pays")
        await self._move_clock(maturity)
        collections = provision.TENANTS[TENANT].collections
        payment = {
            "from": {"sort_code": "990888", "account_number": "20000088"},
            "to": {"sort_code": collections.sort_code, "account_number": collections.account_number},
            "amount_pence": self.paper.total.value,
            "reference": self.reference,
            "end_to_end_id": f"BUYER-{self.reference}",
        }
        async with httpx.AsyncClient(timeout=10, trust_env=False) as http:
            answer = await http.post(f"{self.bank}/control/payments", json=payment)
            if answer.status_code >= 400 and answer.status_code != 409:
                raise StoryFailed(f"the buyer's bank did not pay: {answer.text[:200]}")
        self.say(f"{self.paper.total} to {collections.name}, reference {self.reference}")

    async def _settle(self) -> None:
        self.chapter("Everyone is paid to the penny, and the token burns")
        await self._state_among("SETTLED")
        self.outcome.invoice_state = await self._state()
        token = await self.seller.get(f"/v1/invoices/{self.reference}/token")
        self.outcome.token_state = str(token["state"])
        self.say(f"invoice [green]{self.outcome.invoice_state}[/], token [green]{token['state']}[/]")
        await self._show_transactions()
        await self._show_books()

    async def _show_books(self) -> None:
        balance = await self.partner.get("/v1/ledger/trial-balance")
        self.outcome.trial_difference = Pence(int(balance["difference_pence"]))
        table = Table("account", "debit", "credit", title="Trial balance", title_justify="left")
        for account in balance["accounts"]:
            table.add_row(account["code"], _pence(account["debit_pence"]), _pence(account["credit_pence"]))
        table.add_row("[bold]difference[/]", "", f"[bold]{_pence(balance['difference_pence'])}[/]")
        self.console.print(table)

    async def _show_transactions(self) -> None:
        token = self.outcome.token_reference
        found = await self.seller.get(f"/v1/tokens/{token}/transactions")
        for transaction in found["items"]:
            block = transaction.get("block_number")
            where = f"block {block}" if block else transaction["state"]
            self.say(f"{transaction['kind']:<9} {transaction['tx_hash']}  {where}")

    # ── The proof ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _prove(self) -> None:
        self.chapter("Every entry, proved against the chain")
        await self._move_clock(self.system.clock().now() + timedelta(minutes=10))
        entries: list[dict[str, Any]] = []
        page: dict[str, Any] = {"next": 0}
        while page["next"] is not None:
            page = await self.partner.get("/v1/audit/entries", resource=self.reference, after=page["next"], limit=100)
            entries += page["items"]
        table = Table("#", "action", "by", "time", "proof", title=self.reference, title_justify="left")
        log = await assembly.log_identity(self.settings, self.system.vault())
        async with outside.network(self.settings, self.system.vault()) as to:
            for entry in entries:
                bundle = await eventually(f"the anchor of {entry['id']}", partial(self._proof, entry["id"]))
                [said] = bundle["anchors"]
                anchor = await to.anchors.read(said["batch_id"])
                holds = anchor is not None and _holds(entry, bundle, log.key, anchor.tree_size, anchor.root)
                self.outcome.entries_proved += holds
                where = f"batch {said['batch_id']}, block {said['block_number']}"
                mark = f"[green]✓[/] {where}" if holds else "[red]✗[/]"
                table.add_row(
                    str(entry["seq"]), entry["action"], entry["actor_role"],
                    entry["timestamp"][:19].replace("T", " "), mark,
                )  # fmt: skip
        self.outcome.entries = len(entries)
        self.console.print(table)

    async def _proof(self, entry_id: str) -> Any:
        """The bundle of an entry, once it is anchored."""
        try:
            bundle = await self.partner.get(f"/v1/audit/entries/{entry_id}/proof")
            return bundle if bundle["anchors"] else None
        except ApiRefused as refused:
            if refused.code == "PROOF_PENDING":
                return None
            raise

    # ── Small things ────────────────────────────────────────────────────────────────────────────────────────────

    async def _state(self) -> str:
        return str((await self.seller.get(f"/v1/invoices/{self.reference}"))["state"])

    async def _state_among(self, *states: str) -> str:
        async def look() -> Any:
            state = await self._state()
            return state if state in states else None

        return str(await eventually(f"invoice {' or '.join(states)}", look))

    async def _move_clock(self, to: Instant) -> None:
        if to <= self.system.clock().now():
            return
        try:
            await self.partner.post("/v1/sandbox/clock", {"to": to.isoformat()}, key="unused")
        except ApiRefused as refused:
            if refused.code != "CLOCK_BACKWARDS":  # said once more after a lost answer: it is there already
                raise
        # Sessions end after a while of business time: sign in again where the story goes on with one.
        self.seller = await self.signed_in_again("seller")

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self._chapter += 1
        self.console.print(f"\n[bold]{self._chapter}. {title}[/]", highlight=False)

    def say(self, text: str) -> None:
        """One line of it."""
        self.console.print(f"   {text}", highlight=False)


async def wallet_of(holder: Api) -> Any:
    """The holder's wallet as soon as the network knows it: before, no purchase is taken."""
    try:
        wallet = await holder.get("/v1/wallets/me")
    except ApiRefused as refused:
        if refused.status != 404:
            raise
        return None
    return wallet if wallet["state"] == "REGISTERED" else None


def seal_in(page: str) -> str:
    """The hidden field of the buyer's page that its form posts; empty when there is none."""
    found = re.search(r'name="seal" value="([0-9a-f]{64})"', page)
    return found.group(1) if found else ""


def _pence(value: int) -> str:
    return str(Pence(int(value)))


def _holds(entry: dict[str, Any], bundle: dict[str, Any], key: VerifierKey, tree_size: int, root: bytes) -> bool:
    """As an outsider would check it: the canonical bytes say what the entry says, hash to the leaf, lead to the root
    that the checkpoint signs and the chain holds."""
    [proof] = bundle["entries"]
    [checkpoint] = bundle["checkpoints"]
    signed = signed_checkpoint(checkpoint["note"], key)
    said = json.loads(proof["canonical"])
    same = all(said[name] == entry[name] for name in ("id", "seq", "action", "actor", "resource", "diff", "prev_hash"))
    leaf = leaf_hash(proof["canonical"].encode())
    path = [bytes.fromhex(sibling) for sibling in proof["path"]]
    anchored = (signed.size, signed.root) == (tree_size, root)
    return same and anchored and verify_inclusion(leaf, proof["leaf_index"], tree_size, path, root)


async def play(invoice: Path, console: Console, *, name: str = "demo") -> Outcome:
    """Make a fresh system whose clock starts the day after the invoice, tell the story on it, leave it running.

    :raises StoryFailed: the story ended otherwise than SETTLED, BURNED, balanced and proved
    """
    paper = Paper.read(invoice)
    start_at = datetime.combine(paper.issued + timedelta(days=1), time(9), UTC)
    if paper.due <= start_at.date():
        raise StoryFailed(f"{invoice.name} is due on {paper.due}, too soon after its date to be financed")
    system = LocalSystem(name)
    console.print(f"[bold]The life of one invoice[/] — {invoice.name}, on {start_at:%-d %B %Y}", highlight=False)
    await system.destroy()
    await system.up(_starting(console), start_at=start_at)
    async with aclosing(Story(system, paper, console)) as story:
        outcome = await story.tell()
    ended_well = (
        outcome.invoice_state == "SETTLED"
        and outcome.token_state == "BURNED"
        and not outcome.trial_difference
        and outcome.entries == outcome.entries_proved > 0
    )
    console.print(
        f"\ninvoice {outcome.invoice_reference} [bold]{outcome.invoice_state}[/], token {outcome.token_reference} "
        f"[bold]{outcome.token_state}[/], trial balance {outcome.trial_difference}, "
        f"{outcome.entries_proved} of {outcome.entries} entries proved against the chain",
        highlight=False,
    )
    if not ended_well:
        raise StoryFailed("this is not how it should end")
    console.print(
        "\nThe system is still running for you to look inside:\n"
        f"  .venv/bin/fintokenx audit show {outcome.invoice_reference}\n"
        "  .venv/bin/fintokenx audit verify\n"
        f"  .venv/bin/fintokenx audit bundle {outcome.invoice_reference}   (evidence for an outsider)\n"
        f"  .venv/bin/fintokenx keys create --tenant {TENANT} --name me   (an API key, header FX-Api-Key)\n"
        f"  {system.settings().public_url}/docs\n"
        "Stop it with: make down",
        highlight=False,
    )
    return outcome


def _starting(console: Console) -> Callable[[str], None]:
    return lambda what: console.print(f"   [dim]starting {what} …[/]", highlight=False)
