"""The life that is kept: three companies pass their gates, invoices go every common way, and one is paid and settled.

Everything is asked for over HTTP as a partner would; each answer is kept with its question.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final

from fintokenx.app import provision
from fintokenx.app.demo import seal_in
from fintokenx.kernel.caller import Role, system
from fintokenx.parties import auth, partner
from tests.golden.platform import Platform
from tests.support import ROOT

TENANT: Final = "tnt_fintokenx"
START: Final = datetime(2026, 6, 16, 9, tzinfo=UTC)
SAMPLES: Final = ROOT / "samples" / "invoices"
_CODE: Final = re.compile(r"\b[0-9]{8}\b")
_LINK: Final = re.compile(r"https?://\S+/confirm/\S+")


@dataclass(frozen=True)
class Company:
    """A subject and its bank account."""

    role: str
    name: str
    number: str
    sort_code: str
    account: str
    balance_pence: int


SELLER: Final = Company("seller", "Harbour Signage Ltd", "07654321", "040404", "22222222", 0)
LENDER: Final = Company("lender", "Golden Lending Ltd", "08888888", "990600", "30000001", 90_000_000)


@dataclass
class Life:
    """One run, and what was answered on its way."""

    platform: Platform
    answers: list[dict[str, Any]] = field(default_factory=list)
    api_key: str = ""
    tokens: dict[str, str] = field(default_factory=dict)
    subjects: dict[str, str] = field(default_factory=dict)
    keys: int = 0

    async def live(self) -> None:
        """From an empty platform to a settled invoice, and the record sealed."""
        told = json.loads((SAMPLES / "harbour-signage.json").read_text())
        await self._open()
        companies = _companies(told)
        for company in companies:
            await self._enrol(company)
        for company in companies:
            await self._pass_gates(company)
        await self.sign_in("seller")
        await self.sign_in("lender")
        reference = await self._upload("harbour-signage.pdf", told)
        await self._refused_uploads(told)
        await self._confirm(reference)
        await self._fund(reference, told)
        await self._pay(reference, told)
        await self._look(reference)
        await self.platform.promise("audit.anchor", TENANT)
        await self.platform.work()

    # ── Asking

    async def ask(self, who: str, method: str, path: str, body: Any = None, **request: Any) -> Any:
        """One request; its answer is kept."""
        headers = {"X-Request-Id": f"golden-{len(self.answers):05d}"}
        if who != "nobody":
            headers["FX-Api-Key"] = self.api_key
        if who in self.tokens:
            headers["Authorization"] = f"Bearer {self.tokens[who]}"
        if method not in ("GET",):
            self.keys += 1
            headers["FX-Idempotency-Key"] = f"golden-{self.keys}"
        if body is not None:
            request["json"] = body
        answer = await self.platform.client.request(method, path, headers=headers, **request)
        kind = answer.headers.get("content-type", "").split(";")[0]
        if kind in ("application/json", "application/problem+json"):
            self.answers.append({"who": who, "asked": f"{method} {path}", "status": answer.status_code,
                                 "answer": answer.json()})  # fmt: skip
            return answer.json()
        return answer

    async def _open(self) -> None:
        platform, seed = self.platform, system(TENANT, "provision")
        terms = provision.TENANTS[TENANT]
        database, ids = platform.base.database, platform.base.ids
        async with database.transaction(TENANT, request_id="provision") as tx:
            await partner.open_tenant(tx, seed, terms=terms)
        key_id = ids.new("key")
        raw = await partner.raw_api_key(
            platform.base.vault, platform.base.settings.environment, tenant_id=TENANT, key_id=key_id
        )
        async with database.transaction(TENANT, request_id="cli") as tx:
            await partner.create_api_key(tx, system(TENANT, "cli"), key_id=key_id, raw=raw, name="golden", scopes=["*"])
        self.api_key = raw
        subject_id = ids.new("sub")
        email = email_of("mlro")
        person = auth.SealedPerson(
            await platform.sealer.seal(TENANT, subject_id, "representative_name", "Mira Officer"),
            await platform.sealer.seal(TENANT, subject_id, "email", email),
            await auth.email_index_of(platform.sealer, tenant_id=TENANT, email=email),
        )
        async with database.transaction(TENANT, request_id="cli") as tx:
            await auth.create_staff(
                tx, system(TENANT, "cli"), subject_id=subject_id, role=Role.MLRO, employer="FinToken X", person=person
            )
        account = terms.collections
        await platform.bank.control("accounts", {
            "sort_code": account.sort_code, "account_number": account.account_number, "name": account.name,
            "balance_pence": 0,
        })  # fmt: skip
        await self.sign_in("mlro")

    async def sign_in(self, who: str) -> None:
        """By the code in the mail."""
        email = email_of(who)
        await self.ask("partner", "POST", "/v1/sessions/codes", {"email": email})
        await self.platform.work()
        code = self._newest(email, _CODE)
        opened = await self.ask("partner", "POST", "/v1/sessions", {"email": email, "code": code})
        self.tokens[who] = opened["access_token"]
        # A token is a secret, and no secret lies in a file: what is compared is that there is one.
        self.answers[-1]["answer"]["access_token"] = "(a token)"

    def _newest(self, email: str, pattern: re.Pattern[str]) -> str:
        for mail in reversed(self.platform.post.mails):
            if mail.to_address == email and (found := pattern.search(mail.text)):
                return found.group(0)
        raise AssertionError(f"no such mail to {email}")

    # ── The cast

    async def _enrol(self, company: Company) -> None:
        await self.platform.bank.control("accounts", {
            "sort_code": company.sort_code, "account_number": company.account, "name": company.name,
            "balance_pence": company.balance_pence,
        })  # fmt: skip
        person = f"{company.role.title()} Director"
        subject = await self.ask("partner", "POST", "/v1/subjects", {
            "role": company.role, "legal_name": company.name, "company_number": company.number,
            "representative_name": person, "email": email_of(company.role),
        })  # fmt: skip
        self.subjects[company.role] = subject["id"]
        form = {
            "form_version": "2026-06", "company_number": company.number,
            "persons": [{"name": person, "born_on": "1980-02-29", "roles": ["director", "representative", "ubo"]}],
            "designated_account": {
                "account_name": company.name, "sort_code": company.sort_code, "account_number": company.account,
            },
        }  # fmt: skip
        await self.ask("partner", "POST", f"/v1/subjects/{subject['id']}/onboarding", form)

    async def _pass_gates(self, company: Company) -> None:
        await self.platform.work()
        subject_id = self.subjects[company.role]
        await self.ask("partner", "GET", f"/v1/subjects/{subject_id}/gates")
        await self._decide(subject_id)
        subject = await self.ask("partner", "GET", f"/v1/subjects/{subject_id}")
        assert subject["state"] == "ACTIVE", subject

    async def _decide(self, resource: str) -> None:
        cases = (await self.ask("mlro", "GET", "/v1/cases?state=OPEN&limit=100"))["items"]
        for case in cases:
            if resource in (case["subject_id"], case["resource"]):
                decision = {"decision": "APPROVE", "rationale": "Looked at; it is as declared."}
                await self.ask("mlro", "POST", f"/v1/cases/{case['id']}/decision", decision)
        await self.platform.work()

    # ── The invoice

    async def _upload(self, name: str, told: dict[str, Any], **changes: Any) -> str:
        declared = {
            "obligor_id": self.subjects["buyer"], "invoice_number": told["invoice_number"],
            "issue_date": told["issue_date"], "maturity_date": told["due_date"] or told["implied_due_date"],
            "face_value_pence": told["total_pence"], "asking_discount_bps": 150, **changes,
        }  # fmt: skip
        content = (SAMPLES / name).read_bytes()
        invoice = await self.ask(
            "seller", "POST", "/v1/invoices", files={"file": (name, content)}, data={"declared": json.dumps(declared)}
        )
        await self.platform.work()
        return str(invoice.get("reference", ""))

    async def _refused_uploads(self, told: dict[str, Any]) -> None:
        """The same again is a duplicate; an amount that is not in the document goes to a person; one is withdrawn."""
        await self._upload("harbour-signage.pdf", told)
        other = json.loads((SAMPLES / "tern-instruments.json").read_text())
        reference = await self._upload("tern-instruments.pdf", other, face_value_pence=other["total_pence"] + 1)
        await self.ask("seller", "GET", f"/v1/invoices/{reference}")
        await self._decide(reference)
        await self.ask("seller", "POST", f"/v1/invoices/{reference}/withdraw")
        await self.platform.work()

    async def _confirm(self, reference: str) -> None:
        link = self._newest_link(reference)
        page = await self.platform.client.get(link)
        assert page.status_code == 200, page.text
        done = await self.platform.client.post(link, data={"decision": "confirm", "seal": seal_in(page.text)})
        assert done.status_code == 200, done.text
        await self.platform.work()
        await self.ask("seller", "GET", f"/v1/invoices/{reference}")
        await self.ask("seller", "GET", f"/v1/invoices/{reference}/token")

    def _newest_link(self, reference: str) -> str:
        for mail in reversed(self.platform.post.mails):
            if reference in mail.text and (found := _LINK.search(mail.text)):
                return found.group(0)
        raise AssertionError(f"no link for {reference}")

    # ── The money

    async def _fund(self, reference: str, told: dict[str, Any]) -> None:
        filters = {"concentration_cap_pence": told["total_pence"] * 2}
        await self.ask("lender", "PUT", "/v1/listing-filters/me", filters)
        listings = (await self.ask("lender", "GET", "/v1/listings/primary?limit=100"))["items"]
        [listing] = [item for item in listings if item["invoice_reference"] == reference]
        payment = await self.ask("lender", "POST", "/v1/payments", {"listing_id": listing["id"]})
        await self.platform.work()
        await self.platform.promise("settlement.collect", TENANT)
        await self.platform.work()
        await self.ask("lender", "GET", f"/v1/payments/{payment['id']}")

    async def _pay(self, reference: str, told: dict[str, Any]) -> None:
        due = datetime.fromisoformat(told["due_date"] or told["implied_due_date"]).date()
        self.platform.pass_time(datetime.combine(due, time(9), UTC))
        await self.sign_in("seller")
        await self.platform.promise("invoice.fall_due", TENANT)
        await self.platform.work()
        account, buyer = provision.TENANTS[TENANT].collections, _companies(told)[1]
        await self.platform.bank.control("payments", {
            "from": {"sort_code": buyer.sort_code, "account_number": buyer.account},
            "to": {"sort_code": account.sort_code, "account_number": account.account_number},
            "amount_pence": told["total_pence"], "reference": reference, "end_to_end_id": f"BUYER-{reference}",
        })  # fmt: skip
        self.platform.pass_time(self.platform.world.clock.now() + timedelta(seconds=5))
        await self.platform.promise("settlement.collect", TENANT)
        await self.platform.work()

    async def _look(self, reference: str) -> None:
        """What the API shows of it afterwards."""
        settled = await self.ask("seller", "GET", f"/v1/invoices/{reference}")
        assert settled["state"] == "SETTLED", settled
        await self.ask("seller", "GET", f"/v1/invoices/{reference}/token")
        await self.ask("partner", "GET", "/v1/ledger/trial-balance")
        await self.ask("partner", "GET", f"/v1/audit/entries?resource={reference}&limit=100")


def _companies(told: dict[str, Any]) -> tuple[Company, Company, Company]:
    seller, buyer = told["seller"], told["buyer"]
    account = (seller["sort_code"] or "040404").replace("-", ""), seller["account_number"] or "22222222"
    return (
        Company("seller", seller["name"], seller["company_number"] or "07654321", *account, 0),
        Company("buyer", buyer["name"], buyer["company_number"] or "01234567", "990888", "20000088",
                told["total_pence"] * 2),
        LENDER,
    )  # fmt: skip


def email_of(who: str) -> str:
    """Where somebody gets mail."""
    return f"{who}@golden.example"
