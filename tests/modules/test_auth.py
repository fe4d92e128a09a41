"""Who is calling right now: subjects, sign-in, access tokens, API keys beside them, magic links (AU-01 … AU-13)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fintokenx import audit
from fintokenx.kernel.bus import Afterwards, Reactions
from fintokenx.kernel.caller import Caller, Role, WrongRole, WrongTenant, system
from fintokenx.kernel.clock import to_wire
from fintokenx.kernel.jobs import Worker
from fintokenx.kernel.machine import NOTHING, IllegalTransition, Machine
from fintokenx.kernel.vault import VaultUnavailable
from fintokenx.parties import auth
from fintokenx.parties.auth import events
from fintokenx.parties.auth.jobs import JOBS
from fintokenx.parties.auth.transitions import MACHINES, SUBJECT
from tests.modules.parties_house import HERE, ISSUER, THERE, House, away, house
from tests.support import World, names, world_from

pytestmark = pytest.mark.anyio
SEED = system(HERE, "seed")
MLRO = Caller(HERE, Role.MLRO, "sub_mlro", subject_id="sub_mlro")
ADA, EVE = "Ada@example.co.uk", "eve@example.co.uk"
INVOICE, OTHER_INVOICE = "FXI-0000001", "FXI-0000002"
WEEK = timedelta(days=7)
E = auth.SubjectEvent


@pytest.fixture
async def at_home(cluster: str, template: str, tmp_path: Path) -> AsyncIterator[House]:
    reactions = Reactions(afterwards=[Afterwards(events.LoginCodeWanted, "notification.send_login_code")])
    async with world_from(cluster, template, reactions=reactions) as world:
        made = house(world, tmp_path)
        await made.open_tenants()
        async with made.client:
            yield made


async def trail(world: World, resource: str) -> list[str]:
    async with world.database.transaction(HERE) as tx:
        return names(await audit.entries_of(tx, SEED, resources=[resource]))


async def moved(world: World, subject_id: str, *path: auth.SubjectEvent) -> auth.Subject:
    """Walk a subject along its machine, each step an entry of its own, as the modules above do."""
    for event in path:
        caller = MLRO if event in (E.APPROVE, E.DECLINE, E.FREEZE, E.UNFREEZE) else SEED
        async with world.database.transaction(HERE) as tx:
            move = await auth.advance(tx, caller, subject_id=subject_id, event=event, reason="CH_STALE")
            await audit.change(tx, caller, action=auth.action_of(event), resource=subject_id, move=move)
    async with world.database.transaction(HERE) as tx:
        return await auth.subject(tx, subject_id)


TO_ACTIVE = (E.OPEN_ONBOARDING, E.SUBMIT, E.GATE_1_CLEAR, E.GATE_2_DONE, E.APPROVE)


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
                await audit.change(tx, MLRO, action="MLRO_APPROVE", resource=ada.id, move=audit.Move((forged,)))


async def test_a_role_never_changes(at_home: House) -> None:
    """AU-04, whoever asks: the trigger stands beside the missing privilege."""
    ada = await at_home.subject(Role.SELLER, ADA)
    forged = audit.update(
        "subjects", key={"tenant_id": HERE, "id": ada.id}, before={"role": "seller"}, after={"role": "lender"}
    )
    with pytest.raises(asyncpg.PostgresError, match=r"the role of .* is fixed"):
        async with at_home.world.database.transaction(HERE) as tx:
            await audit.change(tx, SEED, action="GATE_RESULT", resource=ada.id, move=audit.Move((forged,)))


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
            with pytest.raises(VaultUnavailable):
                await ask()
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


# --- access tokens and API keys


def spelled(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def read(part: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=="))
    return found


async def resigned(at_home: House, token: str, *, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """The token with some things changed, and signed by the vault's own key."""
    head, body, _ = token.split(".")
    signed = f"{spelled(read(head) | header)}.{spelled(read(body) | claims)}"
    signature = await at_home.vault.sign_ed25519("auth/jwt/1", signed.encode())
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


async def accepted(at_home: House, token: str) -> bool:
    answer = await at_home.client.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code in (200, 401), answer.text
    return answer.status_code == 200


async def test_a_token_signed_by_us_for_us_is_accepted(at_home: House) -> None:
    token = await at_home.token(await at_home.subject(Role.SELLER, ADA), ADA)
    assert await accepted(at_home, token)
    assert await accepted(at_home, await resigned(at_home, token, header={}, claims={}))


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        ({"alg": "HS256"}, {}),
        ({"alg": "none"}, {}),
        ({"kid": "somebody-elses"}, {}),
        ({}, {"aud": "another-api"}),
        ({}, {"iss": "https://elsewhere.example"}),
        ({}, {"env": "production"}),
        ({}, {"exp": 1}),
        ({}, {"nbf": 9_999_999_999}),
        ({}, {"sid": "ses_unknown"}),
        ({}, {"sub": "sub_somebody_else"}),
        ({}, {"role": "platform_admin"}),
        ({}, {"role": "emperor"}),
        ({}, {"tnt": THERE}),
        ({}, {"exp": None}),
    ],
)
async def test_a_token_that_says_something_else_is_refused(
    at_home: House, header: dict[str, Any], claims: dict[str, Any]
) -> None:
    """AU-08, with a good signature of the right key: nothing but the changed word can be the reason."""
    token = await at_home.token(await at_home.subject(Role.SELLER, ADA), ADA)
    assert not await accepted(at_home, await resigned(at_home, token, header=header, claims=claims))


async def test_a_token_that_is_not_signed_by_our_key_is_refused(at_home: House) -> None:
    """Tampered, unsigned, and signed with the public key as an HMAC secret (HS/EdDSA confusion)."""
    token = await at_home.token(await at_home.subject(Role.SELLER, ADA), ADA)
    head, body, signature = token.split(".")
    assert not await accepted(at_home, f"{head}.{spelled(read(body) | {'role': 'mlro'})}.{signature}")
    assert not await accepted(at_home, f"{spelled(read(head) | {'alg': 'none'})}.{body}.")
    public = await at_home.vault.ensure_ed25519("auth/jwt/1")
    confused = f"{spelled(read(head) | {'alg': 'HS256'})}.{body}"
    mac = hmac.new(public, confused.encode(), hashlib.sha256).digest()
    assert not await accepted(at_home, f"{confused}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")
    for rubbish in ("", "a.b.c", "é", "." * 5000):
        with pytest.raises(auth.TokenRefused):
            await at_home.authenticator.caller({"Authorization": f"Bearer {rubbish}"}, None)


async def test_a_token_dies_with_its_half_hour(at_home: House) -> None:
    token = await at_home.token(await at_home.subject(Role.SELLER, ADA), ADA)
    at_home.world.clock.set(at_home.world.clock.now() + timedelta(minutes=29))
    assert await accepted(at_home, token)
    at_home.world.clock.set(at_home.world.clock.now() + timedelta(minutes=1))
    assert not await accepted(at_home, token)


async def test_anybody_can_check_a_token_with_the_published_key(at_home: House) -> None:
    token = await at_home.token(await at_home.subject(Role.SELLER, ADA), ADA)
    published = (await at_home.client.get("/.well-known/jwks.json")).json()["keys"]
    head, body, signature = token.split(".")
    (key,) = [key for key in published if key["kid"] == read(head)["kid"]]
    assert "d" not in key
    thumbprint = hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{key["x"]}"}}'.encode()).digest()
    assert key["kid"] == base64.urlsafe_b64encode(thumbprint).rstrip(b"=").decode()
    public = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(key["x"] + "=="))
    public.verify(base64.urlsafe_b64decode(signature + "=="), f"{head}.{body}".encode())
    assert (read(body)["iss"], read(body)["env"]) == (ISSUER, "local")


async def test_sensitive_routes_want_the_session_and_the_key(at_home: House) -> None:
    """AU-09."""
    token = await at_home.token(await at_home.subject(Role.SELLER, ADA), ADA)
    bearer, key = {"Authorization": f"Bearer {token}"}, {"FX-Api-Key": await at_home.api_key()}
    with pytest.raises(auth.ApiKeyRequired):
        auth.require_both(await at_home.authenticator.caller(bearer, None))
    with pytest.raises(auth.SessionRequired):
        auth.require_both(await at_home.authenticator.caller(key, None))
    both = await at_home.authenticator.caller({**bearer, **key}, "192.0.2.1")
    auth.require_both(both)
    assert (both.role, both.ip) == (Role.SELLER, "192.0.2.1")
    foreign = {"FX-Api-Key": await at_home.api_key(THERE)}
    with pytest.raises(auth.TenantsDiffer):
        await at_home.authenticator.caller({**bearer, **foreign}, None)


async def test_a_key_does_what_its_scopes_say(at_home: House) -> None:
    headers = {"FX-Api-Key": await at_home.api_key(HERE, "invoices:write", "subjects:read")}

    async def may(method: str, path: str) -> bool:
        try:
            await at_home.authenticator.caller(headers, None, method=method, path=path)
        except auth.ScopeMissing:
            return False
        return True

    assert await may("POST", "/v1/invoices")
    assert await may("GET", "/v1/invoices/FXI-0000001")
    assert await may("GET", "/v1/subjects")
    assert not await may("POST", "/v1/subjects")
    assert not await may("GET", "/v1/payments")
    assert await may("GET", "/v1/me")


async def test_no_header_makes_an_administrator_act_for_somebody(at_home: House) -> None:
    """That takes an admin session (AD-16)."""
    ada, admin = await at_home.subject(Role.SELLER, ADA), await at_home.subject(Role.PLATFORM_ADMIN, EVE)
    as_admin = {"Authorization": f"Bearer {await at_home.token(admin, EVE)}"}
    caller = await at_home.authenticator.caller({**as_admin, "FX-On-Behalf-Of": ada.id}, None)
    assert (caller.actor, caller.on_behalf_of, caller.party_role) == (admin.id, None, Role.PLATFORM_ADMIN)


async def test_administrators_of_the_platform_are_staff_of_its_own_tenant(at_home: House) -> None:
    with pytest.raises(auth.NotOfThePlatform):
        await at_home.subject(Role.PLATFORM_ADMIN, EVE, THERE)


async def test_one_address_is_one_person_in_a_role(at_home: House) -> None:
    """Or one person with two ids would be four eyes."""
    await at_home.subject(Role.MLRO, EVE)
    with pytest.raises(auth.StaffExists):
        await at_home.subject(Role.MLRO, EVE)
    await at_home.subject(Role.COMPLIANCE, EVE)


async def test_no_credentials_and_strange_ones_are_refused(at_home: House) -> None:
    assert (await at_home.client.get("/v1/me")).json()["code"] == "UNAUTHENTICATED"
    basic = await at_home.client.get("/v1/me", headers={"Authorization": "Basic YTpi"})
    assert (basic.status_code, basic.json()["code"]) == (401, "TOKEN_INVALID")


@pytest.mark.parametrize("kind", ["Authorization", "FX-Api-Key"])
async def test_two_credentials_of_one_kind_are_refused(at_home: House, kind: str) -> None:
    """A28: which of the two counts was a matter of luck."""
    key = await at_home.api_key()
    ada = await at_home.subject(Role.SELLER, ADA)
    value = {"Authorization": f"Bearer {await at_home.token(ada, ADA)}", "FX-Api-Key": key}[kind]
    assert (await at_home.client.get("/v1/me", headers=[(kind, value)])).status_code == 200
    for other in (value, "", "Bearer x"):
        answer = await at_home.client.get("/v1/me", headers=[(kind, value), (kind.lower(), other)])
        assert (answer.status_code, answer.json()["code"]) == (400, "CREDENTIAL_TWICE")


@pytest.mark.parametrize("link", ["tnt_fintokenx." + "0" * 64, f"tnt_fintokenx.pgl_{'0' * 26}.{'0' * 64}"])
async def test_a_link_used_elsewhere_is_forbidden(at_home: House, link: str) -> None:
    """A17, AU-06: it opens its own page; any other route is 403, not 401."""
    for headers in ({"Authorization": f"Bearer {link}"}, {"Authorization": link}, {"FX-Api-Key": link}):
        answer = await at_home.client.get("/v1/me", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "MAGIC_LINK_SCOPE")


# --- magic links


async def link_for(at_home: House, buyer: auth.Subject, reference: str = INVOICE) -> str:
    async with at_home.world.database.transaction(HERE) as tx:
        return await auth.issue_magic_link(tx, SEED, invoice_reference=reference, subject_id=buyer.id, life=WEEK)


async def opened(at_home: House, raw: str) -> Caller:
    async with at_home.world.database.transaction(auth.tenant_of_magic_link(raw)) as tx:
        return await auth.open_magic_link(tx, raw)


async def confirmed(at_home: House, caller: Caller, raw: str) -> None:
    async with at_home.world.database.transaction(HERE) as tx:
        move = await auth.consume_magic_link(tx, caller, raw=raw)
        await audit.change(tx, caller, action="CONFIRM_INVOICE", resource=caller.scope or "", move=move)


async def test_a_link_is_opened_often_and_used_once(at_home: House) -> None:
    """AU-07: a mail scanner's GET uses nothing up."""
    buyer = await at_home.subject(Role.BUYER, ADA)
    raw = await link_for(at_home, buyer)
    for _ in range(3):
        caller = await opened(at_home, raw)
    assert (caller.role, caller.subject_id, caller.scope) == (Role.BUYER, buyer.id, INVOICE)
    await confirmed(at_home, caller, raw)
    assert await trail(at_home.world, INVOICE) == ["MAGIC_LINK_ISSUE", "MAGIC_LINK_OPEN", "CONFIRM_INVOICE"]
    with pytest.raises(auth.MagicLinkUsed):
        await confirmed(at_home, caller, raw)
    with pytest.raises(auth.MagicLinkUsed):
        await opened(at_home, raw)


async def test_a_link_confirms_nothing_before_its_page_was_seen(at_home: House) -> None:
    raw = await link_for(at_home, buyer := await at_home.subject(Role.BUYER, ADA))
    unseen = Caller(HERE, Role.BUYER, buyer.id, subject_id=buyer.id, scope=INVOICE)
    with pytest.raises(IllegalTransition):
        await confirmed(at_home, unseen, raw)


async def test_a_new_link_revokes_the_one_before(at_home: House) -> None:
    buyer = await at_home.subject(Role.BUYER, ADA)
    first, second = await link_for(at_home, buyer), await link_for(at_home, buyer)
    with pytest.raises(auth.MagicLinkRevoked):
        await opened(at_home, first)
    assert (await opened(at_home, second)).scope == INVOICE


async def test_a_link_runs_out_and_the_job_records_it(at_home: House) -> None:
    world = at_home.world
    raw = await link_for(at_home, await at_home.subject(Role.BUYER, ADA))
    world.clock.set(world.clock.now() + WEEK)
    with pytest.raises(auth.MagicLinkExpired):
        await opened(at_home, raw)
    claims = await world.pool("fx_worker")
    worker = Worker(
        claims=claims,
        database=world.database,
        jobs=JOBS,
        periodic=(),
        clock=world.clock,
        ids=world.ids,
        poll_seconds=0.02,
    )
    await until_recorded(world, worker, INVOICE, "MAGIC_LINK_EXPIRE")
    await claims.close()
    with pytest.raises(auth.MagicLinkExpired):
        await opened(at_home, raw)


async def until_recorded(world: World, worker: Worker, resource: str, action: str) -> None:
    """Run the worker until the action stands in the record, at most ten seconds."""
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(10):
        while action not in await trail(world, resource):
            await asyncio.sleep(0.02)
    worker.stop()
    await running


async def test_a_link_of_one_invoice_confirms_no_other(at_home: House) -> None:
    buyer = await at_home.subject(Role.BUYER, ADA)
    raw, other = await link_for(at_home, buyer), await link_for(at_home, buyer, OTHER_INVOICE)
    caller = await opened(at_home, raw)
    await opened(at_home, other)
    with pytest.raises(auth.MagicLinkOutOfScope):
        await confirmed(at_home, caller, other)
    signed_in = Caller(HERE, Role.BUYER, buyer.id, subject_id=buyer.id, session_id="ses_x")
    with pytest.raises(auth.MagicLinkOutOfScope):
        await confirmed(at_home, signed_in, raw)


async def test_a_link_is_kept_as_a_hash_only_and_opens_no_route(at_home: House) -> None:
    raw = await link_for(at_home, await at_home.subject(Role.BUYER, ADA))
    superuser = await at_home.world.connect("postgres")
    for table in ("app.magic_link_tokens", "app.audit_entries", "ops.jobs"):
        assert await superuser.fetchval(f"select count(*) from {table} t where t::text like $1", f"%{raw[-64:]}%") == 0
    await superuser.close()
    for headers in ({"Authorization": f"Bearer {raw}"}, {"FX-Api-Key": raw}):
        assert (await at_home.client.get("/v1/me", headers=headers)).status_code == 403


@pytest.mark.parametrize("raw", ["", "tnt_fintokenx", f"{HERE}." + "0" * 64, f"{THERE}." + "0" * 64, "x." + "0" * 64])
async def test_a_link_that_was_never_issued_is_not_found(at_home: House, raw: str) -> None:
    with pytest.raises(auth.UnknownMagicLink):
        await opened(at_home, raw)


async def test_a_freeze_revokes_the_buyers_links(at_home: House) -> None:
    buyer = await at_home.subject(Role.BUYER, ADA)
    raw = await link_for(at_home, buyer)
    await moved(at_home.world, buyer.id, E.FREEZE)
    with pytest.raises(auth.MagicLinkRevoked):
        await opened(at_home, raw)
    with pytest.raises(auth.SubjectFrozen):
        await link_for(at_home, buyer)


async def test_a_withdrawn_invoice_takes_its_link_along(at_home: House) -> None:
    raw = await link_for(at_home, await at_home.subject(Role.BUYER, ADA))
    seller = Caller(HERE, Role.SELLER, "sub_seller", subject_id="sub_seller")
    async with at_home.world.database.transaction(HERE) as tx:
        move = await auth.withdraw_magic_links(tx, seller, invoice_reference=INVOICE)
        await audit.change(tx, seller, action="INVOICE_WITHDRAW", resource=INVOICE, move=move)
    with pytest.raises(auth.MagicLinkRevoked):
        await opened(at_home, raw)
