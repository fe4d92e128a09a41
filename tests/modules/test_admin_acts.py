"""What an administrator does for a customer and looks up across tenants (AD-16, TI-07, TI-08)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from fintokenx import audit
from fintokenx.kernel.bypass import BypassRefused, Question
from fintokenx.kernel.caller import Caller, Role
from fintokenx.parties import auth
from tests.modules.admin_office import REASON, Office, office, said
from tests.modules.invoice_house import HARBOUR
from tests.modules.parties_house import HERE, NUMBERS, THERE

pytestmark = pytest.mark.anyio
__all__ = ["office"]

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
