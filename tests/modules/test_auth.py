"""Who is calling right now: subjects, sign-in, access tokens, API keys beside them, magic links (AU-01 … AU-13)."""

from __future__ import annotations

import json
from datetime import timedelta

import asyncpg
import httpx
import pytest

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role, WrongRole, WrongTenant
from fintokenx.kernel.clock import to_wire
from fintokenx.kernel.machine import NOTHING, IllegalTransition, Machine
from fintokenx.parties import auth
from fintokenx.parties.auth.transitions import MACHINES, SUBJECT
from tests.modules.auth_house import ADA, EVE, MLRO, SEED, TO_ACTIVE, E, at_home, moved, trail
from tests.modules.parties_house import HERE, THERE, House, away

pytestmark = pytest.mark.anyio
__all__ = ["at_home"]

# --- subjects


async def test_a_subject_is_created_once_per_company_and_role(at_home: House) -> None:
    ada = await at_home.subject(Role.SELLER, ADA)
    assert await trail(at_home.world, ada.id) == ["SUBJECT_CREATE"]
    assert ada.company_number is not None

    async def again(role: Role) -> auth.Subject:
        async with at_home.world.database.transaction(HERE) as tx:
            return await auth.create_subject(
                tx,
                SEED,
                subject_id=tx.ids.new("sub"),
                role=role,
                legal_name="Ada Byron Engines Ltd",
                company_number=ada.company_number or "",
                person=None,
            )

    with pytest.raises(auth.SubjectExists):
        await again(Role.SELLER)
    assert (await again(Role.BUYER)).role is Role.BUYER
    with pytest.raises(auth.NotASubjectRole):
        await again(Role.MLRO)


async def test_an_administrator_creates_no_subject_in_its_own_name(at_home: House) -> None:
    """AD-16: neither the service nor the database; tests/modules/test_admin.py has it on somebody's behalf."""
    admin = Caller(HERE, Role.PLATFORM_ADMIN, "sub_admin", subject_id="sub_admin")
    with pytest.raises(WrongRole):
        async with at_home.world.database.transaction(HERE) as tx:
            await auth.create_subject(
                tx,
                admin,
                subject_id=tx.ids.new("sub"),
                role=Role.SELLER,
                legal_name="A Ltd",
                company_number="99999999",
                person=None,
            )


async def test_no_personal_data_stands_in_the_clear_anywhere(at_home: House) -> None:
    ada = await at_home.subject(Role.SELLER, ADA)
    await at_home.token(ada, ADA)
    superuser = await at_home.world.connect("postgres")
    try:
        for schema, table in (
            ("app", "subjects"),
            ("app", "audit_entries"),
            ("ops", "jobs"),
            ("ops", "idempotency_keys"),
        ):
            found = await superuser.fetchval(
                f"select count(*) from {schema}.{table} t where t::text ilike '%{ADA}%' or t::text like '%Ada Byron\"%'"
            )
            assert found == 0, table
    finally:
        await superuser.close()


async def test_a_subject_goes_through_its_gates_to_active(at_home: House) -> None:
    ada = await at_home.subject(Role.SELLER, ADA)
    active = await moved(at_home.world, ada.id, *TO_ACTIVE)
    assert active.state == "ACTIVE"
    assert await trail(at_home.world, ada.id) == [
        "SUBJECT_CREATE",
        "ONBOARDING_OPEN",
        "ONBOARDING_SUBMIT",
        "GATE_RESULT",
        "GATE_RESULT",
        "MLRO_APPROVE",
    ]


async def test_a_suspension_has_a_reason_and_ends(at_home: House) -> None:
    ada = await at_home.subject(Role.SELLER, ADA)
    suspended = await moved(at_home.world, ada.id, *TO_ACTIVE, E.SUSPEND)
    assert (suspended.state, suspended.suspension_reason) == ("SUSPENDED", "CH_STALE")
    resumed = await moved(at_home.world, ada.id, E.RESUME)
    assert (resumed.state, resumed.suspension_reason) == ("ACTIVE", None)
    async with at_home.world.database.transaction(HERE) as tx:
        with pytest.raises(auth.ReasonRequired):
            await auth.advance(tx, SEED, subject_id=ada.id, event=E.SUSPEND)


async def test_an_unfreeze_leads_back_to_where_the_freeze_came_from(at_home: House) -> None:
    ada = await at_home.subject(Role.SELLER, ADA)
    frozen = await moved(at_home.world, ada.id, E.OPEN_ONBOARDING, E.SUBMIT, E.FREEZE)
    assert (frozen.state, frozen.frozen_from, frozen.shown_state) == ("FROZEN", "VERIFYING", "SUSPENDED")
    assert (await moved(at_home.world, ada.id, E.UNFREEZE)).state == "VERIFYING"


async def test_the_times_of_the_latest_runs_are_kept(at_home: House) -> None:
    """KY-18, in one entry with the move that the run causes."""
    ada = await at_home.subject(Role.SELLER, ADA)
    await moved(at_home.world, ada.id, E.OPEN_ONBOARDING, E.SUBMIT)
    async with at_home.world.database.transaction(HERE) as tx:
        move = await auth.advance(tx, SEED, subject_id=ada.id, event=E.GATE_1_CLEAR)
        move += await auth.gate_ran(tx, SEED, subject_id=ada.id, kyc_run_at=tx.at)
        await audit.change(tx, SEED, action="GATE_RESULT", resource=ada.id, move=move)
        found = await auth.subject(tx, ada.id)
    assert (found.state, found.last_kyc_run_at, found.last_screening_at) == ("SCREENING", tx.at, None)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_what_no_machine_lists_does_not_happen(machine: Machine) -> None:
    listed = {(t.source, t.event) for t in machine.transitions}
    for state in (NOTHING, *machine.states):
        for event in machine.events:
            if (state, event) not in listed:
                with pytest.raises(IllegalTransition):
                    machine.next(state, event)


async def test_the_database_refuses_every_move_that_the_subject_machine_does_not_list(at_home: House) -> None:
    """KY-19: no door, no administrator and no SQL of ours makes anybody ACTIVE past the gates."""
    ada = await at_home.subject(Role.SELLER, ADA)
    listed = {(t.source, t.target) for t in SUBJECT.transitions}
    for target in SUBJECT.states:
        if target == "CREATED" or ("CREATED", target) in listed:
            continue
        forged = audit.update(
            "subjects",
            key={"tenant_id": HERE, "id": ada.id},
            before={"state": "CREATED"},
            after={"state": target},
        )
        with pytest.raises(asyncpg.PostgresError, match="may not go from CREATED"):
            async with at_home.world.database.transaction(HERE) as tx:
                await audit.change(tx, MLRO, action="MLRO_APPROVE", resource=ada.id, move=audit.Changes((forged,)))


async def test_a_role_never_changes(at_home: House) -> None:
    """AU-04, whoever asks: the trigger stands beside the missing privilege."""
    ada = await at_home.subject(Role.SELLER, ADA)
    forged = audit.update(
        "subjects", key={"tenant_id": HERE, "id": ada.id}, before={"role": "seller"}, after={"role": "lender"}
    )
    with pytest.raises(asyncpg.PostgresError, match=r"the role of .* is fixed"):
        async with at_home.world.database.transaction(HERE) as tx:
            await audit.change(tx, SEED, action="GATE_RESULT", resource=ada.id, move=audit.Changes((forged,)))


@pytest.mark.parametrize(
    ("event", "role"),
    [
        (E.APPROVE, Role.PLATFORM_ADMIN),
        (E.FREEZE, Role.PLATFORM_ADMIN),
        (E.ACTIVATE, Role.MLRO),
        (E.SUBMIT, Role.AGENT),
    ],
)
async def test_a_move_needs_the_role_of_its_action(at_home: House, event: auth.SubjectEvent, role: Role) -> None:
    """AD-17: refused before any SQL, so the subject need not even exist."""
    async with at_home.world.database.transaction(HERE) as tx:
        with pytest.raises(WrongRole):
            await auth.advance(tx, Caller(HERE, role, "sub_x", subject_id="sub_x"), subject_id="sub_x", event=event)
        with pytest.raises(WrongTenant):
            await auth.advance(tx, Caller(THERE, role, "sub_x"), subject_id="sub_x", event=event)


async def test_a_customer_moves_nobody_but_itself(at_home: House) -> None:
    ada, eve = await at_home.subject(Role.SELLER, ADA), await at_home.subject(Role.SELLER, EVE)
    caller = Caller(HERE, Role.SELLER, eve.id, subject_id=eve.id)
    async with at_home.world.database.transaction(HERE) as tx:
        with pytest.raises(auth.UnknownSubject):
            await auth.advance(tx, caller, subject_id=ada.id, event=E.OPEN_ONBOARDING)


# --- sign-in


async def test_asking_for_a_code_tells_nobody_whether_the_address_is_known(at_home: House) -> None:
    ada = await at_home.subject(Role.SELLER, ADA)
    key = await at_home.api_key()
    known = await at_home.post("/v1/sessions/codes", {"email": ADA.upper()}, fx_api_key=key)
    unknown = await at_home.post("/v1/sessions/codes", {"email": "nobody@example.com"}, fx_api_key=key)
    assert (known.status_code, known.content) == (202, unknown.content)
    superuser = await at_home.world.connect("postgres")
    wanted = await superuser.fetch("select payload from ops.jobs where name = 'notification.send_login_code'")
    await superuser.close()
    assert [json.loads(row["payload"]) for row in wanted] == [
        {"subject_id": ada.id, "asked_at": to_wire(at_home.world.clock.now())}
    ]
    assert await trail(at_home.world, ada.id) == ["SUBJECT_CREATE", "LOGIN_CODE_REQUEST"]


async def test_who_signs_in_while_the_vault_is_away_gets_the_token_by_asking_again(
    at_home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code is used and the session open: nothing else could give its token any more."""
    ada = await at_home.subject(Role.SELLER, ADA)
    key = await at_home.api_key()
    body = {"email": ADA, "code": await at_home.code(ada)}

    async def ask() -> httpx.Response:
        return await at_home.post("/v1/sessions", body, fx_api_key=key, fx_idempotency_key="once")

    with monkeypatch.context() as outage:
        outage.setattr(at_home.vault, "sign_ed25519", away)
        for _ in range(2):
            assert (await ask()).status_code == 503
    given, later = await ask(), await ask()
    me = await at_home.client.get("/v1/me", headers={"Authorization": f"Bearer {given.json()['access_token']}"})
    assert me.json()["subject_id"] == ada.id
    assert (given.json()["secret_shown_once"], given.headers["cache-control"]) == (False, "no-store")
    assert (later.json()["id"], later.json()["access_token"]) == (given.json()["id"], None)
    assert (await trail(at_home.world, ada.id)).count("SESSION_OPEN") == 1


async def test_a_code_opens_a_session_once(at_home: House) -> None:
    ada = await at_home.subject(Role.SELLER, ADA)
    key = await at_home.api_key()
    body = {"email": ADA.upper(), "code": await at_home.code(ada)}
    first = await at_home.post("/v1/sessions", body, fx_api_key=key, fx_idempotency_key="once")
    replay = await at_home.post("/v1/sessions", body, fx_api_key=key, fx_idempotency_key="once")
    second = await at_home.post("/v1/sessions", body, fx_api_key=key)
    assert (first.status_code, first.json()["role"]) == (201, "seller")
    assert (replay.json()["id"], replay.json()["access_token"]) == (first.json()["id"], None), "A14"
    assert (first.json()["secret_shown_once"], replay.json()["secret_shown_once"]) == (False, True)
    assert (second.status_code, second.json()["code"]) == (401, "SIGN_IN_REFUSED")
    me = await at_home.client.get("/v1/me", headers={"Authorization": f"Bearer {first.json()['access_token']}"})
    assert me.json()["subject_id"] == ada.id
    assert (me.json()["aal"], me.json()["has_api_key"]) == (1, False)
    assert "SESSION_OPEN" in await trail(at_home.world, ada.id)


async def test_no_access_token_is_stored(at_home: House) -> None:
    """The stored answer of the idempotency key would be a bearer credential in the database."""
    ada = await at_home.subject(Role.SELLER, ADA)
    token = await at_home.token(ada, ADA)
    superuser = await at_home.world.connect("postgres")
    bodies = await superuser.fetch("select body from ops.idempotency_keys where route = 'POST /v1/sessions'")
    await superuser.close()
    assert len(bodies) == 1
    assert token.encode() not in bodies[0]["body"]
    assert b'"access_token":null' in bodies[0]["body"]


async def test_a_code_is_good_for_ten_minutes(at_home: House) -> None:
    ada = await at_home.subject(Role.SELLER, ADA)
    body = {"email": ADA, "code": await at_home.code(ada)}
    at_home.world.clock.set(at_home.world.clock.now() + timedelta(minutes=10))
    answer = await at_home.post("/v1/sessions", body, fx_api_key=await at_home.api_key())
    assert answer.status_code == 401


async def test_a_newer_code_voids_the_older(at_home: House) -> None:
    ada = await at_home.subject(Role.SELLER, ADA)
    older, newer = await at_home.code(ada), await at_home.code(ada)
    key = await at_home.api_key()
    assert (await at_home.post("/v1/sessions", {"email": ADA, "code": older}, fx_api_key=key)).status_code == 401
    assert (await at_home.post("/v1/sessions", {"email": ADA, "code": newer}, fx_api_key=key)).status_code == 201


@pytest.mark.parametrize("known", [True, False])
async def test_the_sixth_attempt_is_throttled_for_any_address(at_home: House, known: bool) -> None:
    """AU-13. An unknown address is throttled alike, or the 429 would tell who is here."""
    ada = await at_home.subject(Role.SELLER, ADA if known else EVE)
    right = await at_home.code(ada)
    wrong = "00000000" if right != "00000000" else "11111111"
    key = await at_home.api_key()
    answers = [await at_home.post("/v1/sessions", {"email": ADA, "code": wrong}, fx_api_key=key) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [401] * 5
    blocked = await at_home.post("/v1/sessions", {"email": ADA, "code": right}, fx_api_key=key)
    assert (blocked.status_code, blocked.json()["code"]) == (429, "TOO_MANY_ATTEMPTS")
    index = await auth.email_index_of(at_home.sealer, tenant_id=HERE, email=ADA)
    assert await trail(at_home.world, index) == ["SIGN_IN_BLOCKED"]
    at_home.world.clock.set(at_home.world.clock.now() + timedelta(minutes=15))
    body = {"email": ADA if known else EVE, "code": await at_home.code(ada)}
    assert (await at_home.post("/v1/sessions", body, fx_api_key=key)).status_code == 201


async def test_code_mails_are_throttled_too(at_home: House) -> None:
    ada = await at_home.subject(Role.SELLER, ADA)
    key = await at_home.api_key()
    for _ in range(7):
        assert (await at_home.post("/v1/sessions/codes", {"email": ADA}, fx_api_key=key)).status_code == 202
    assert (await trail(at_home.world, ada.id)).count("LOGIN_CODE_REQUEST") == 5


async def test_an_address_with_two_roles_gets_a_code_for_each(at_home: House) -> None:
    seller, buyer = await at_home.subject(Role.SELLER, ADA), await at_home.subject(Role.BUYER, ADA)
    _, code = await at_home.code(seller), await at_home.code(buyer)
    answer = await at_home.post("/v1/sessions", {"email": ADA, "code": code}, fx_api_key=await at_home.api_key())
    assert answer.json()["subject_id"] == buyer.id


async def test_signing_in_needs_an_api_key(at_home: House) -> None:
    ada = await at_home.subject(Role.SELLER, ADA)
    answer = await at_home.post("/v1/sessions", {"email": ADA, "code": await at_home.code(ada)})
    assert answer.status_code == 401


async def test_a_freeze_ends_the_session_at_the_next_call(at_home: House) -> None:
    """AU-12, and no new session either."""
    ada = await at_home.subject(Role.SELLER, ADA)
    bearer = {"Authorization": f"Bearer {await at_home.token(ada, ADA)}"}
    code = await at_home.code(ada)
    assert (await at_home.client.get("/v1/me", headers=bearer)).status_code == 200
    await moved(at_home.world, ada.id, E.FREEZE)
    assert (await at_home.client.get("/v1/me", headers=bearer)).json()["code"] == "SESSION_ENDED"
    answer = await at_home.post("/v1/sessions", {"email": ADA, "code": code}, fx_api_key=await at_home.api_key())
    assert answer.status_code == 401
    with pytest.raises(auth.SubjectFrozen):
        await at_home.code(ada)


async def test_signing_out_ends_the_session(at_home: House) -> None:
    ada = await at_home.subject(Role.SELLER, ADA)
    bearer = {"Authorization": f"Bearer {await at_home.token(ada, ADA)}"}
    ended = await at_home.client.delete("/v1/sessions/current", headers={**bearer, "FX-Idempotency-Key": "out"})
    assert ended.status_code == 200
    assert (await at_home.client.get("/v1/me", headers=bearer)).status_code == 401
    assert (await trail(at_home.world, ada.id))[-1] == "SESSION_END"
