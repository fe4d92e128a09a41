"""Administrators of the platform: how they come in, what they may do there, and what is left behind (AD-15 … AD-19,
TI-07, TI-08, AU-11). The real routes, tokens and database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fintokenx.kernel.caller import Role
from fintokenx.parties import auth
from tests.modules.admin_office import REASON, Office, office, said, signed_in
from tests.modules.parties_house import HERE, THERE
from tests.modules.signed_in import Person

pytestmark = pytest.mark.anyio
__all__ = ["office"]

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
