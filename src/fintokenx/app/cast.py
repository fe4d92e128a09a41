"""The people of one tenant on a local system, as a partner would bring them in: registered, through their gates, signed
in with the code that the mock mailbox shows. The demo and `fintokenx seed` are played by such a cast.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any, Final

import httpx

from fintokenx.app.api_client import Api, ApiRefused, eventually
from fintokenx.app.local import LocalSystem

PEOPLE: Final = {"seller": "Sana Seller", "buyer": "Bruno Buyer", "lender": "Lena Lender", "mlro": "Mira Officer"}
_CODE: Final = r"\b[0-9]{8}\b"


class CastFailed(Exception):
    """Somebody could not be brought in; the message says who and why."""


@dataclass(frozen=True, slots=True)
class Company:
    """A member of the cast: ``who`` is its name in keys and addresses, ``role`` what it is to the platform."""

    who: str
    role: str
    name: str
    number: str
    sort_code: str
    account: str
    balance_pence: int = 0


class Cast:
    """People of ``tenant_id``. Everything can be asked for again: keys, named after ``name``, make it happen once.

    ``api_key`` is the tenant's; ``mlro`` decides its cases and must be signed in before companies are enrolled.
    """

    partner: Api
    mlro: Api

    def __init__(self, system: LocalSystem, *, tenant_id: str, name: str) -> None:
        self.system = system
        self.tenant_id = tenant_id
        self.name = name
        self.api_key = ""
        self.subjects: dict[str, str] = {}
        self._apis: list[Api] = []

    async def open(self, api_key: str) -> None:
        """Work with this key of the tenant from now on."""
        self.settings = self.system.settings()
        self.bank = self.settings.sandbox_control_urls["bank"]
        self.api_key = api_key
        self.partner = self.api()

    async def aclose(self) -> None:
        """Close the connections of everybody in it."""
        for api in self._apis:
            await api.aclose()

    def api(self, token: str = "", *, bare: bool = False) -> Api:
        """A client with the tenant's key and this token; ``bare``: with neither."""
        api = Api(self.settings.public_url, api_key="" if bare else self.api_key, token=token)
        self._apis.append(api)
        return api

    def person_of(self, who: str) -> str:
        """The name of whoever acts for them."""
        return PEOPLE.get(who, f"{who.replace('-', ' ').title()} Director")

    def email_of(self, who: str) -> str:
        """The address of somebody in the cast; the mock mailbox keeps what is sent there."""
        return f"{who}@{self.name}.example"

    async def enrol(self, *companies: Company) -> None:
        """Register companies and see them through gates 1 to 3; ``subjects`` then knows their ids."""
        for company in companies:
            await self._open_account(company)
            self.subjects[company.who] = await self.register(company)
            await self._apply(company)
        await asyncio.gather(*(self._pass_gates(company.who) for company in companies))

    async def register(self, company: Company) -> str:
        """Register somebody under the tenant; the subject's id."""
        subject = await self.partner.post(
            "/v1/subjects",
            {
                "role": company.role,
                "legal_name": company.name,
                "company_number": company.number,
                "representative_name": self.person_of(company.who),
                "email": self.email_of(company.who),
            },
            key=f"{self.name}-subject-{company.who}",
        )
        return str(subject["id"])

    async def _apply(self, company: Company) -> None:
        director = {
            "name": self.person_of(company.who),
            "born_on": "1980-02-29",
            "roles": ["director", "representative", "ubo"],
        }
        account = {
            "account_name": company.name,
            "sort_code": company.sort_code,
            "account_number": company.account,
        }
        form = {
            "form_version": "2026-06",
            "company_number": company.number,
            "persons": [director],
            "designated_account": account,
        }
        path = f"/v1/subjects/{self.subjects[company.who]}/onboarding"
        await self.partner.post(path, form, key=f"{self.name}-onboarding-{company.who}")

    async def _pass_gates(self, who: str) -> None:
        subject_id = self.subjects[who]

        async def active() -> bool:
            return bool((await self.partner.get(f"/v1/subjects/{subject_id}"))["state"] == "ACTIVE")

        async def case_unless_active() -> Any:
            if await active():
                return True
            cases = await self.mlro.get("/v1/cases", limit=100)
            mine = [c for c in cases["items"] if c["subject_id"] == subject_id and c["state"] == "OPEN"]
            return mine[0] if mine else None

        case = await eventually(f"{who}: gates 1 and 2", case_unless_active)
        if case is not True:
            decision = {"decision": "APPROVE", "rationale": "Identity verified, no hits, plausible business."}
            await self.mlro.post(f"/v1/cases/{case['id']}/decision", decision, key=f"{self.name}-approve-{who}")
        await eventually(f"{who}: activation", active)

    async def signed_in(self, who: str) -> Api:
        """Ask for a code by mail, read the mailbox, sign in."""
        return self.api((await self.session_of(who))["access_token"])

    async def signed_in_again(self, who: str) -> Api:
        """The same later, when the first session has ended."""
        stamp = f"-{self.system.clock().now():%Y%m%d%H%M%S}"
        return self.api((await self.session_of(who, stamp=stamp, not_this=await self.mail(who, _CODE)))["access_token"])

    async def session_of(self, who: str, *, stamp: str = "", not_this: str | None = None) -> dict[str, Any]:
        """A new session, with its token. A mail that is sent again, because the platform died in between, carries a new
        code and voids the old."""
        body = {"email": self.email_of(who)}
        await self.partner.post("/v1/sessions/codes", body, key=f"{self.name}-code-{who}{stamp}")
        tried = {not_this}

        async def session() -> Any:
            code = await self.mail(who, _CODE)
            if code is None or code in tried:
                return None
            tried.add(code)
            try:
                key = f"{self.name}-signin-{who}{stamp}{code}"
                opened = await self.partner.post("/v1/sessions", {**body, "code": code}, key=key)
            except ApiRefused as refused:
                if refused.code != "SIGN_IN_REFUSED":
                    raise
                return None
            if opened["access_token"] is not None:
                return opened
            # The first answer was lost, and the token with it: it is in no store.
            await self.partner.post("/v1/sessions/codes", body, key=f"{key}-again")
            return None

        found: dict[str, Any] = await eventually(f"the sign-in mail of {who}", session)
        return found

    async def mail(self, who: str, pattern: str) -> str | None:
        """What the newest matching mail to somebody says."""
        async with httpx.AsyncClient(timeout=10, trust_env=False) as http:
            box = await http.get(
                f"{self.settings.sandbox_control_urls['mailbox']}/messages", params={"to": self.email_of(who)}
            )
        for message in reversed(box.json()["messages"]):
            if found := re.search(pattern, message["text"]):
                return found.group(0)
        return None

    async def _open_account(self, company: Company) -> None:
        body = {
            "sort_code": company.sort_code,
            "account_number": company.account,
            "name": company.name,
            "balance_pence": company.balance_pence,
        }
        async with httpx.AsyncClient(timeout=10, trust_env=False) as http:
            answer = await http.post(f"{self.bank}/control/accounts", json=body)
            if answer.status_code not in (200, 201, 409):
                raise CastFailed(f"the mock bank did not open an account for {company.who}: {answer.text[:200]}")
