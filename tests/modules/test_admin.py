"""Administrators of the platform: how they come in, what they may do there, and what is left behind (AD-15 … AD-19,
TI-07, TI-08, AU-11). The real routes, tokens and database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from fintokenx import audit
from fintokenx.audit import http as audit_http
from fintokenx.desks import operations
from fintokenx.desks.buyer import page_content
from fintokenx.kernel.bypass import Bypass, BypassRefused, Question
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.jobs import Worker
from fintokenx.lifecycle.invoice import http as invoice_http
from fintokenx.parties import auth
from fintokenx.parties.auth.jobs import JOBS
from fintokenx.parties.kyc import http as kyc_http
from tests.database.things import all_entries
from tests.modules.invoice_house import HARBOUR, OneAtATime, invoice_house
from tests.modules.invoice_house import House as InvoiceHouse
from tests.modules.parties_house import HERE, NUMBERS, THERE, House, house
from tests.modules.signed_in import Person
from tests.support import World

pytestmark = pytest.mark.anyio
REASON = "The customer asked by phone, ticket 4711"
NOW = datetime.fromisoformat("2026-06-16T09:00:00Z")


@dataclass
class Office:
    """Two administrators, signed in with two factors, and an installation with customers in two tenants."""

    invoices: InvoiceHouse
    house: House
    bypass: Bypass
    ann: Person
    bob: Person

    @property
    def world(self) -> World:
        return self.house.world

    async def post(self, bearer: str, path: str, body: object = None) -> httpx.Response:
        return await self.house.post(path, body, authorization=f"Bearer {bearer}")

    async def get(self, bearer: str, path: str) -> httpx.Response:
        return await self.house.client.get(path, headers={"authorization": f"Bearer {bearer}"})

    async def request(self, subject: auth.Subject, purpose: str = "ACT", **changes: Any) -> httpx.Response:
        body = {"tenant_id": subject.tenant_id, "on_behalf_of": subject.id, "purpose": purpose, "reason": REASON}
        return await self.ann.post("/v1/admin/sessions", body | changes)

    async def step(self, who: Person, session: dict[str, Any], step: str) -> httpx.Response:
        return await who.post(f"/v1/admin/sessions/{session['id']}/{step}", {"tenant_id": session["tenant_id"]})

    async def approved(self, subject: auth.Subject, purpose: str = "ACT") -> dict[str, Any]:
        session: dict[str, Any] = (await self.request(subject, purpose)).json()
        answer = await self.step(self.bob, session, "approve")
        assert answer.status_code == 200, answer.text
        return session

    async def opened(self, subject: auth.Subject, purpose: str = "ACT") -> dict[str, Any]:
        """An open session of ann's with its token."""
        answer = await self.step(self.ann, await self.approved(subject, purpose), "open")
        assert answer.status_code == 200, answer.text
        session: dict[str, Any] = answer.json()
        return session

    async def look_up(self, bearer: str, question: str, reference: str) -> httpx.Response:
        return await self.post(bearer, "/v1/admin/lookups", {"question": question, "reference": reference})

    async def entries(self, *actions: str) -> list[Any]:
        return [row for row in await all_entries(self.world) if row["action"] in actions]

    async def work(self) -> None:
        """Let the jobs of auth that are due run."""
        claims = await self.world.pool("fx_worker")
        worker = Worker(
            claims=claims, database=self.world.database, jobs=JOBS, periodic=(), clock=self.world.clock,
            ids=self.world.ids, poll_seconds=0.02,
        )  # fmt: skip
        running = asyncio.create_task(worker.run())
        try:
            async with asyncio.timeout(30):
                while await self.invoices.rows(_DUE, self.world.clock.now()):
                    await asyncio.sleep(0.05)
        finally:
            worker.stop()
            await running
            await claims.close()

    def time_passes(self, **much: int) -> None:
        self.world.clock.set(self.world.clock.now() + timedelta(**much))


_DUE = "select id from ops.jobs where state = 'READY' and name = 'auth.expire_admin_session' and run_at <= $1"


async def signed_in(at: House, name: str) -> Person:
    """An administrator at assurance level 2."""
    email = f"{name}@fintokenx.example"
    subject = await at.subject(Role.PLATFORM_ADMIN, email)
    person = Person(at, subject, await at.token(subject, email))
    await person.add()
    assert (await person.confirm(person.code())).status_code == 200
    answer = await person.step_up(person.code(steps=1))
    assert answer.status_code == 201
    person.bearer = answer.json()["access_token"]
    return person


@pytest.fixture
async def office(cluster: str, template: str, tmp_path: Path) -> AsyncIterator[Office]:
    async with invoice_house(cluster, template, tmp_path, OneAtATime()) as invoices:
        world = invoices.world
        world.clock.set(NOW)
        platform = await world.pool("fx_platform", 1)
        bypass = Bypass(platform, pins=world.pins, clock=world.clock, ids=world.ids)
        at = house(
            world, tmp_path, invoice_http.router, kyc_http.router, audit_http.router, operations.router,
            services=(
                invoice_http.InvoiceServices(
                    invoices.blobs, invoices.reader, invoices.sealer, b"test" * 8, page_content
                ),
                bypass,
            ),
        )  # fmt: skip
        at.keys = 1000  # the other house counts from one
        yield Office(invoices, at, bypass, await signed_in(at, "ann"), await signed_in(at, "bob"))
        await platform.close()
        await at.client.aclose()


def said(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, str(answer.json().get("code", ""))


# --- coming in


async def test_a_session_is_asked_for_approved_opened_and_closed_and_the_partner_sees_it_all(office: Office) -> None:
    seller = await office.invoices.subject(Role.SELLER, tenant_id=THERE)
    session = await office.opened(seller)
    assert (session["state"], session["tenant_id"], session["on_behalf_of"]) == ("OPEN", THERE, seller.id)
    assert (session["requested_by"], session["approved_by"]) == (office.ann.subject.id, office.bob.subject.id)
    assert session["expires_at"] == "2026-06-16T09:15:00Z"
    assert (await office.step(office.ann, session, "close")).json()["state"] == "CLOSED"
    key = await office.house.api_key(THERE)
    seen = (await office.house.client.get("/v1/admin/sessions", headers={"fx-api-key": key})).json()["items"]
    assert [(one["id"], one["state"], one["reason"]) for one in seen] == [(session["id"], "CLOSED", REASON)]
    trail = await office.house.client.get(f"/v1/audit/entries?resource={session['id']}", headers={"fx-api-key": key})
    assert [entry["action"] for entry in trail.json()["items"]] == [
        f"ADMIN_SESSION_{step}" for step in ("REQUEST", "APPROVE", "OPEN", "CLOSE")
    ]
    assert (await office.get(office.ann.bearer, "/v1/admin/sessions")).json()["items"] == []
    listed = await office.get(office.ann.bearer, f"/v1/admin/sessions?tenant_id={THERE}")
    assert [one["id"] for one in listed.json()["items"]] == [session["id"]]


async def test_an_administrator_outside_sees_what_waits_for_an_answer_and_its_own(office: Office) -> None:
    """Nothing is recorded of this look, so it shows no more than the work needs."""
    eve = await signed_in(office.house, "eve")

    async def sees(person: Person) -> list[str]:
        answer = await office.get(person.bearer, f"/v1/admin/sessions?tenant_id={THERE}")
        return [one["id"] for one in answer.json()["items"]]

    session = (await office.request(await office.invoices.subject(Role.SELLER, tenant_id=THERE))).json()
    assert await sees(eve) == [session["id"]]
    assert (await office.step(office.bob, session, "approve")).status_code == 200
    assert [await sees(person) for person in (office.ann, office.bob, eve)] == [[session["id"]], [session["id"]], []]


async def test_whoever_asked_does_not_approve(office: Office) -> None:
    session = (await office.request(await office.invoices.subject(Role.SELLER))).json()
    assert said(await office.step(office.ann, session, "approve")) == (403, "FOUR_EYES")
    assert said(await office.step(office.ann, session, "open")) == (409, "ILLEGAL_TRANSITION")
    assert (await office.step(office.bob, session, "approve")).status_code == 200


async def test_whoever_approved_does_not_open(office: Office) -> None:
    session = await office.approved(await office.invoices.subject(Role.SELLER))
    assert said(await office.step(office.bob, session, "open")) == (404, "NOT_FOUND")


async def test_an_administrator_may_say_no(office: Office) -> None:
    session = await office.approved(await office.invoices.subject(Role.SELLER))
    assert (await office.step(office.bob, session, "refuse")).json()["state"] == "REFUSED"
    assert said(await office.step(office.ann, session, "open")) == (409, "ILLEGAL_TRANSITION")


async def test_one_factor_is_not_enough(office: Office) -> None:
    """AU-11."""
    seller = await office.invoices.subject(Role.SELLER)
    session = (await office.request(seller)).json()
    email = "cat@fintokenx.example"
    cat = await office.house.subject(Role.PLATFORM_ADMIN, email)
    lazy = Person(office.house, cat, await office.house.token(cat, email))
    body = {"tenant_id": HERE, "on_behalf_of": seller.id, "purpose": "ACT", "reason": REASON}
    assert said(await lazy.post("/v1/admin/sessions", body)) == (403, "MFA_REQUIRED")
    for step in ("approve", "refuse", "open", "close"):
        assert said(await office.step(lazy, session, step)) == (403, "MFA_REQUIRED")
    assert said(await office.get(lazy.bearer, "/v1/admin/sessions")) == (403, "MFA_REQUIRED")


@pytest.mark.parametrize("role", [Role.MLRO, Role.COMPLIANCE, Role.SELLER, Role.PARTNER_ADMIN])
async def test_nobody_else_has_admin_sessions(office: Office, role: Role) -> None:
    seller = await office.invoices.subject(Role.SELLER)
    session = (await office.request(seller)).json()
    email = "eve@somewhere.example"
    eve = await office.house.subject(role, email)
    other = Person(office.house, eve, await office.house.token(eve, email))
    body = {"tenant_id": HERE, "on_behalf_of": seller.id, "purpose": "ACT", "reason": REASON}
    assert said(await other.post("/v1/admin/sessions", body)) == (403, "ROLE_FORBIDDEN")
    for step in ("approve", "refuse", "open", "close"):
        assert said(await office.step(other, session, step)) == (403, "ROLE_FORBIDDEN")


@pytest.mark.parametrize(
    "wrong",
    [
        {"reason": "too short"}, {"reason": " " * 40}, {"purpose": "LOOK"}, {"on_behalf_of": None},
        {"tenant_id": "tnt_nowhere"},
    ],
)  # fmt: skip
async def test_a_request_says_for_whom_and_why(office: Office, wrong: dict[str, Any]) -> None:
    answer = await office.request(await office.invoices.subject(Role.SELLER), **wrong)
    assert answer.status_code in (404, 422)
    assert await office.entries("ADMIN_SESSION_REQUEST") == []


@pytest.mark.parametrize("role", [Role.MLRO, Role.COMPLIANCE, Role.PLATFORM_ADMIN])
async def test_nobody_acts_for_staff(office: Office, role: Role) -> None:
    officer = await office.house.subject(role, "officer@fintokenx.example")
    session = await office.approved(officer)
    assert said(await office.step(office.ann, session, "open")) == (422, "NOT_A_CUSTOMER")


async def test_a_request_does_not_tell_whether_there_is_such_a_customer(office: Office) -> None:
    """A10. What another administrator has approved is refused alike for nobody and for staff."""
    seller = await office.invoices.subject(Role.SELLER)
    officer = await office.house.subject(Role.MLRO, "officer@fintokenx.example")
    nobody, elsewhere = "sub_" + "0" * 26, (await office.invoices.subject(Role.SELLER, tenant_id=THERE)).id
    told = []
    for on_behalf_of in (seller.id, officer.id, nobody, elsewhere):
        answer = await office.request(seller, on_behalf_of=on_behalf_of)
        told.append((answer.status_code, {**answer.json(), "id": "", "on_behalf_of": ""}))
    assert told[0][0] == 201
    assert told == [told[0]] * 4
    assert len(await office.entries("ADMIN_SESSION_REQUEST")) == 4, "whoever asks around is seen to"
    for on_behalf_of in (officer.id, nobody, elsewhere):
        session = (await office.request(seller, on_behalf_of=on_behalf_of)).json()
        assert (await office.step(office.bob, session, "approve")).status_code == 200
        assert said(await office.step(office.ann, session, "open")) == (422, "NOT_A_CUSTOMER")


async def test_a_request_lapses_after_an_hour(office: Office) -> None:
    session = await office.approved(await office.invoices.subject(Role.SELLER))
    office.time_passes(minutes=25)
    await office.work()
    assert (await office.step(office.ann, session, "open")).status_code == 200
    late = await office.approved(await office.invoices.subject(Role.SELLER))
    ann = office.ann
    office.time_passes(minutes=61)
    ann.bearer = await office.house.token(ann.subject, "ann@fintokenx.example")  # her own sign-in is over too
    ann.bearer = (await ann.step_up(ann.code())).json()["access_token"]
    assert said(await office.step(ann, late, "open")) == (409, "ADMIN_SESSION_OVER")
    await office.work()
    assert said(await office.step(ann, late, "open")) == (409, "ADMIN_SESSION_OVER")
    states = [row["state"] for row in await office.invoices.rows("select state from app.admin_sessions order by id")]
    assert states == ["EXPIRED", "EXPIRED"]


async def test_opening_again_with_the_same_key_says_that_the_token_was_shown(office: Office) -> None:
    """A14."""
    session = await office.approved(await office.invoices.subject(Role.SELLER))
    first = await office.step(office.ann, session, "open")
    again = await office.ann.post(
        f"/v1/admin/sessions/{session['id']}/open", {"tenant_id": HERE}, fx_idempotency_key=f"k{office.house.keys}"
    )
    shown_again = {**first.json(), "access_token": None, "secret_shown_once": True}
    assert (again.status_code, again.json()) == (200, shown_again)
    assert again.headers["FX-Idempotent-Replay"] == "true"
    kept = await office.invoices.rows("select convert_from(body, 'UTF8') as body from ops.idempotency_keys")
    assert all(first.json()["access_token"] not in row["body"] for row in kept)


# --- the token


async def closed(office: Office, session: dict[str, Any]) -> None:
    await office.step(office.ann, session, "close")


async def out_of_time(office: Office, session: dict[str, Any]) -> None:
    office.time_passes(minutes=15)


async def signed_out(office: Office, session: dict[str, Any]) -> None:
    answer = await office.house.client.delete(
        "/v1/sessions/current", headers={"authorization": f"Bearer {office.ann.bearer}", "fx-idempotency-key": "out"}
    )
    assert answer.status_code == 200


async def stepped_up_again(office: Office, session: dict[str, Any]) -> None:
    office.time_passes(minutes=1)
    assert (await office.ann.step_up(office.ann.code())).status_code == 201


async def administrator_frozen(office: Office, session: dict[str, Any]) -> None:
    await office.invoices.moved(office.ann.subject, auth.SubjectEvent.FREEZE)


async def customer_frozen(office: Office, session: dict[str, Any]) -> None:
    async with office.world.database.transaction(session["tenant_id"]) as tx:
        party = await auth.subject(tx, session["on_behalf_of"])
    await office.invoices.moved(party, auth.SubjectEvent.FREEZE)


@pytest.mark.parametrize(
    "end", [closed, out_of_time, signed_out, stepped_up_again, administrator_frozen, customer_frozen]
)
async def test_the_token_dies_with_what_it_rests_on(office: Office, end: Callable[..., Any]) -> None:
    session = await office.opened(await office.invoices.subject(Role.SELLER, tenant_id=THERE))
    bearer = session["access_token"]
    assert (await office.get(bearer, "/v1/invoices")).status_code == 200
    await end(office, session)
    assert (await office.get(bearer, "/v1/invoices")).status_code == 401


async def test_the_token_is_the_administrator_in_that_tenant_with_the_customers_guards(office: Office) -> None:
    seller = await office.invoices.subject(Role.SELLER, tenant_id=THERE)
    bearer = (await office.opened(seller))["access_token"]
    me = (await office.get(bearer, "/v1/me")).json()
    assert (me["tenant_id"], me["actor"], me["role"]) == (THERE, office.ann.subject.id, "platform_admin")
    assert me["on_behalf_of"] == seller.id
    caller = await office.house.authenticator.caller({"authorization": f"Bearer {bearer}"}, None)
    assert (caller.party_role, caller.subject_id, caller.aal) == (Role.SELLER, seller.id, 2)
    # What the seller may not, its administrator may not either.
    assert said(await office.get(bearer, f"/v1/audit/entries?resource={seller.id}")) == (403, "ROLE_FORBIDDEN")
    body = {"tenant_id": HERE, "on_behalf_of": seller.id, "purpose": "ACT", "reason": REASON}
    assert said(await office.post(bearer, "/v1/admin/sessions", body)) == (403, "ROLE_FORBIDDEN")
    other = await office.invoices.subject(Role.SELLER, tenant_id=THERE)
    assert (await office.get(bearer, f"/v1/subjects/{other.id}")).status_code == 404
    assert (await office.get(bearer, f"/v1/subjects/{seller.id}")).status_code == 200
    assert said(await office.post(bearer, "/v1/sessions/step-up", {"code": "123456"})) == (401, "SESSION_ENDED")


async def test_an_administrators_own_token_sees_no_other_tenant(office: Office) -> None:
    there = await office.invoices.subject(Role.SELLER, tenant_id=THERE)
    assert (await office.get(office.ann.bearer, f"/v1/subjects/{there.id}")).status_code == 404


# --- customer actions (AD-16)


def new_subject(role: str = "seller") -> dict[str, str]:
    return {
        "role": role, "legal_name": "New Engines Ltd", "company_number": next(NUMBERS),
        "representative_name": "Ada Byron", "email": "ada@new.example",
    }  # fmt: skip


async def test_a_subject_is_created_for_the_partner_and_the_entry_names_both(office: Office) -> None:
    partner = await office.invoices.subject(Role.PARTNER_ADMIN, tenant_id=THERE)
    body = new_subject()
    assert said(await office.post(office.ann.bearer, "/v1/subjects", body)) == (403, "ROLE_FORBIDDEN")
    for_seller = (await office.opened(await office.invoices.subject(Role.SELLER, tenant_id=THERE)))["access_token"]
    assert said(await office.post(for_seller, "/v1/subjects", body)) == (403, "ROLE_FORBIDDEN")
    answer = await office.post((await office.opened(partner))["access_token"], "/v1/subjects", body)
    assert answer.status_code == 201, answer.text
    entry = (await office.entries("SUBJECT_CREATE"))[-1]
    assert (entry["resource"], entry["tenant_id"]) == (answer.json()["id"], THERE)
    assert (entry["actor"], entry["actor_role"], entry["on_behalf_of"]) == (
        office.ann.subject.id, "platform_admin", partner.id,
    )  # fmt: skip


async def submit(office: Office, bearer: str, declared: dict[str, Any]) -> httpx.Response:
    office.house.keys += 1
    return await office.house.client.post(
        "/v1/invoices",
        headers={"authorization": f"Bearer {bearer}", "fx-idempotency-key": f"k{office.house.keys}"},
        data={"declared": json.dumps(declared)},
        files={"file": ("invoice.pdf", HARBOUR.content, "application/pdf")},
    )


async def test_an_invoice_is_submitted_and_confirmed_for_its_parties(office: Office) -> None:
    parties = await office.invoices.parties()
    declared = parties.declared(HARBOUR)
    assert said(await submit(office, office.ann.bearer, declared)) == (422, "ON_BEHALF_OF_REQUIRED")
    for_buyer = (await office.opened(parties.buyer))["access_token"]
    assert said(await submit(office, for_buyer, declared)) == (403, "ROLE_FORBIDDEN")
    for_seller = (await office.opened(parties.seller))["access_token"]
    answer = await submit(office, for_seller, declared)
    assert (answer.status_code, answer.json()["originator_id"]) == (201, parties.seller.id)
    reference = answer.json()["reference"]
    await office.invoices.work()
    link = await office.invoices.link(reference)

    path = f"/v1/invoices/{reference}/confirmation"
    hashed = {"page_hash": "0" * 64}
    assert said(await office.post(for_seller, path, hashed)) == (403, "ROLE_FORBIDDEN")
    assert said(await office.post(office.ann.bearer, path, hashed)) == (403, "ROLE_FORBIDDEN")
    assert said(await office.post(for_buyer, path, hashed))[0] == 409
    page = (await office.post(for_buyer, f"{path}-page")).json()
    assert reference in page["html"]
    answer = await office.post(for_buyer, path, {"page_hash": page["page_hash"]})
    assert (answer.status_code, answer.json()["state"]) == (200, "CONFIRMED"), answer.text
    entries = await office.entries("SUBMIT_INVOICE", "BUYER_PAGE_VIEW", "CONFIRM_INVOICE")
    assert [(entry["action"], entry["actor"], entry["actor_role"], entry["on_behalf_of"]) for entry in entries] == [
        ("SUBMIT_INVOICE", office.ann.subject.id, "platform_admin", parties.seller.id),
        ("BUYER_PAGE_VIEW", office.ann.subject.id, "platform_admin", parties.buyer.id),
        ("CONFIRM_INVOICE", office.ann.subject.id, "platform_admin", parties.buyer.id),
    ]
    assert (await office.invoices.client.get(link)).status_code == 410
    assert said(await office.post(for_buyer, path, {"page_hash": page["page_hash"]})) == (409, "ALREADY_CONFIRMED")


async def test_a_buyer_that_is_signed_in_confirms_by_its_link_only(office: Office) -> None:
    parties = await office.invoices.parties()
    reference = await office.invoices.awaiting(parties)
    for suffix in ("confirmation", "confirmation-page"):
        office.invoices.keys += 1
        answer = await office.invoices.client.post(
            f"/v1/invoices/{reference}/{suffix}",
            json={"page_hash": "0" * 64},
            headers={"Authorization": f"Bearer {parties.buyer.id}", "FX-Idempotency-Key": f"x{office.invoices.keys}"},
        )
        assert answer.status_code in (403, 404), answer.text


async def test_an_administrator_passes_the_guards_of_the_customer(office: Office) -> None:
    parties = await office.invoices.parties()
    for_seller = (await office.opened(parties.seller))["access_token"]
    await office.invoices.moved(parties.seller, auth.SubjectEvent.SUSPEND)
    assert said(await submit(office, for_seller, parties.declared(HARBOUR))) == (403, "SUBJECT_NOT_ACTIVE")


async def test_a_session_that_ends_in_the_middle_of_a_request_is_a_refusal(office: Office) -> None:
    """The database has the last word: the token was good when the request came in."""
    parties = await office.invoices.parties()
    session = await office.opened(parties.seller)
    caller = await office.house.authenticator.caller({"authorization": f"Bearer {session['access_token']}"}, None)
    await office.step(office.ann, session, "close")
    office.invoices.callers["stale"] = caller
    answer = await office.invoices.submit("stale", HARBOUR.content, parties.declared(HARBOUR))
    assert said(answer) == (403, "ADMIN_SESSION_REQUIRED")
    assert await office.invoices.count("app.invoices") == 0


async def test_onboarding_is_handed_in_for_the_customer_it_is_about(office: Office) -> None:
    seller = await office.invoices.subject(Role.SELLER, active=False)
    ann = office.ann.subject.id
    bare = Caller(HERE, Role.PLATFORM_ADMIN, ann, subject_id=ann, aal=2)
    async with office.world.database.transaction(HERE) as tx:
        with pytest.raises(auth.UnknownSubject):
            await auth.advance(
                tx, system_for(bare, seller.id, Role.BUYER), subject_id="sub_other",
                event=auth.SubjectEvent.OPEN_ONBOARDING,
            )  # fmt: skip
    await office.opened(seller)
    acting = system_for(bare, seller.id, Role.SELLER)
    async with office.world.database.transaction(HERE) as tx:
        move = await auth.advance(tx, acting, subject_id=seller.id, event=auth.SubjectEvent.OPEN_ONBOARDING)
        await audit.change(tx, acting, action="ONBOARDING_OPEN", resource=seller.id, move=move)
    [entry] = [entry for entry in await office.entries("ONBOARDING_OPEN") if entry["resource"] == seller.id]
    assert (entry["actor"], entry["on_behalf_of"]) == (ann, seller.id)


def system_for(admin: Caller, subject_id: str, role: Role) -> Caller:
    """An administrator at work for a customer."""
    return replace(admin, subject_id=subject_id, on_behalf_of=subject_id, acts_as=role)


# --- looking across tenants (TI-07, TI-08)


async def test_a_lookup_finds_it_in_any_tenant_and_leaves_an_entry_in_both_trails(office: Office) -> None:
    """Invariant 15: foreign rows seen, so there is an entry RBAC_BYPASS for it."""
    here, there = await office.invoices.parties(), await office.invoices.subject(Role.SELLER, tenant_id=THERE)
    reference = await office.invoices.submitted(here)
    bearer = (await office.opened(there, "BYPASS"))["access_token"]
    [entry] = await office.invoices.entries(reference)
    answers = {
        ("invoice", reference): {"state": "SUBMITTED", "originator_id": here.seller.id},
        ("subject", here.buyer.id): {"role": "buyer", "legal_name": here.buyer.legal_name},
        ("entry", entry.id): {"action": "SUBMIT_INVOICE", "resource": reference},
    }
    for (question, asked), told in answers.items():
        answer = await office.look_up(bearer, question, asked)
        assert (answer.status_code, answer.json()["tenant_id"]) == (200, HERE), answer.text
        assert answer.json()["columns"].items() >= told.items()
        assert not {"diff", "email_sealed", "representative_name_sealed"} & answer.json()["columns"].keys()
    marks = await office.entries("RBAC_BYPASS")
    facts = [json.loads(mark["diff"])["facts"][0] for mark in marks]
    # Each question twice: in the trail of the session's tenant, and in that of the tenant whose rows were read.
    assert [(fact["question"], fact["reference"]) for fact in facts] == [asked for asked in answers for _ in range(2)]
    assert [mark["tenant_id"] for mark in marks] == [THERE, HERE] * len(answers)
    assert {(mark["actor"], mark["on_behalf_of"]) for mark in marks} == {(office.ann.subject.id, there.id)}
    assert {(fact["reason"], *fact["tenants"]) for fact in facts} == {(REASON, HERE)}


async def test_a_lookup_that_finds_nothing_is_on_record_too(office: Office) -> None:
    seller = await office.invoices.subject(Role.SELLER)
    bearer = (await office.opened(seller, "BYPASS"))["access_token"]
    assert said(await office.look_up(bearer, "token", "FXR-INV-00000")) == (404, "NOT_FOUND")
    assert len(await office.entries("RBAC_BYPASS")) == 1


async def test_a_question_is_one_of_those_that_are_offered_and_its_text_is_data(office: Office) -> None:
    seller = await office.invoices.subject(Role.SELLER)
    bearer = (await office.opened(seller, "BYPASS"))["access_token"]
    for question, asked in (
        ("sql", "select 1"), ("subject", "x' or '1'='1"), ("subject", ""), ("subject", "é"), ("subject", "a" * 65),
    ):  # fmt: skip
        assert (await office.look_up(bearer, question, asked)).status_code == 422
    assert await office.entries("RBAC_BYPASS") == []


async def test_each_token_is_for_its_purpose(office: Office) -> None:
    seller = await office.invoices.subject(Role.SELLER)
    to_act = (await office.opened(seller, "ACT"))["access_token"]
    to_read = (await office.opened(seller, "BYPASS"))["access_token"]
    assert said(await office.look_up(to_act, "subject", seller.id)) == (403, "ADMIN_SESSION_PURPOSE")
    for path in ("/v1/invoices", "/v1/me", f"/v1/subjects/{seller.id}", "/v1/admin/sessions"):
        assert said(await office.get(to_read, path)) == (403, "ADMIN_SESSION_PURPOSE")
    assert said(await office.look_up(office.ann.bearer, "subject", seller.id)) == (403, "BYPASS_REFUSED")
    key = await office.house.api_key()
    body = {"question": "subject", "reference": seller.id}
    answer = await office.house.post("/v1/admin/lookups", body, fx_api_key=key)
    assert said(answer) == (403, "ROLE_FORBIDDEN")
    assert await office.entries("RBAC_BYPASS") == []


async def test_the_connection_is_clean_after_a_lookup_and_after_a_fault(office: Office) -> None:
    """The pool has one connection, so the next user has the very same."""
    seller = await office.invoices.subject(Role.SELLER)
    session = await office.opened(seller, "BYPASS")
    question = Question(HERE, session["id"], "subject", seller.id, "req_test")

    class Fault(Exception):
        pass

    for fault in (None, Fault):
        try:
            async with office.bypass.reading(question) as connection:
                assert await connection.fetchval("select count(*) from app.subjects") >= 3
                if fault:
                    raise fault
        except Fault:
            pass
        async with office.bypass._pool.acquire() as after:
            assert await after.fetchval("select current_user") == "fx_platform"
            assert await after.fetchval("select coalesce(current_setting('fx.bypass_rls', true), '')") == ""
            async with after.transaction(readonly=True):
                await after.execute("set local fx.bypass_rls = true; set local role fx_bypass")
                assert await after.fetchval("select count(*) from app.subjects") == 0
    assert len(await office.entries("RBAC_BYPASS")) == 2


async def test_a_closed_session_reads_nothing(office: Office) -> None:
    seller = await office.invoices.subject(Role.SELLER)
    session = await office.opened(seller, "BYPASS")
    await office.step(office.ann, session, "close")
    assert (await office.look_up(session["access_token"], "subject", seller.id)).status_code == 401
    with pytest.raises(BypassRefused):
        async with office.bypass.reading(Question(HERE, session["id"], "subject", seller.id, "req_test")):
            pass
    assert await office.entries("RBAC_BYPASS") == []


# --- the taxonomy


async def test_the_taxonomy_is_shown_to_whoever_is_known(office: Office) -> None:
    """AD-15."""
    key = await office.house.api_key(THERE)
    by_key = await office.house.client.get("/v1/audit/actions", headers={"fx-api-key": key})
    shown = {line["name"]: line for line in by_key.json()["items"]}
    assert shown["SUBMIT_INVOICE"] == {
        "name": "SUBMIT_INVOICE", "customer_facing": True, "roles": ["seller", "platform_admin"],
        "on_behalf_of": "required_from_admin",
    }  # fmt: skip
    assert shown["RBAC_BYPASS"]["on_behalf_of"] == "required"
    assert (await office.get(office.ann.bearer, "/v1/audit/actions")).json() == by_key.json()
    assert (await office.house.client.get("/v1/audit/actions")).status_code == 401
