"""Tenants open once, features are off unless agreed, API keys are shown once and die at once (PA-01 … PA-06, AU-10)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role, WrongRole, WrongTenant, system
from fintokenx.kernel.machine import NOTHING, IllegalTransition, Machine
from fintokenx.kernel.settings import Environment
from fintokenx.parties import partner
from fintokenx.parties.partner.transitions import MACHINES
from tests.modules.parties_house import HERE, THERE, House, house, terms
from tests.support import World, names

pytestmark = pytest.mark.anyio
SEED = system(HERE, "seed")


@pytest.fixture
async def at_home(world: World, tmp_path: Path) -> AsyncIterator[House]:
    made = house(world, tmp_path)
    await made.open_tenants()
    async with made.client:
        yield made


async def test_a_tenant_opens_once_and_is_recorded(at_home: House) -> None:
    async with at_home.world.database.transaction(HERE) as tx:
        opened = await partner.tenant(tx)
        trail = await audit.entries_of(tx, SEED, resources=[HERE])
        with pytest.raises(partner.TenantExists):
            await partner.open_tenant(tx, SEED, terms=terms())
    assert (opened.id, opened.state, opened.terms) == (HERE, "ACTIVE", terms())
    assert names(trail) == ["TENANT_OPEN"]


async def test_a_tenant_sees_only_itself(at_home: House) -> None:
    """PA-01: the platform's own tenant is under row-level security like the rest."""
    async with at_home.world.database.transaction(THERE) as tx:
        assert (await partner.tenant(tx)).id == THERE
    async with at_home.world.database.transaction("tnt_nobody") as tx:
        with pytest.raises(partner.UnknownTenant):
            await partner.tenant(tx)


async def test_a_feature_that_was_not_agreed_is_refused(at_home: House) -> None:
    async with at_home.world.database.transaction(HERE) as tx:
        await partner.require_feature(tx, partner.Feature.INVOICES)
        with pytest.raises(partner.OutOfScope):
            await partner.require_feature(tx, partner.Feature.SECONDARY)


async def test_a_key_is_kept_as_a_hash_only(at_home: House) -> None:
    raw = await at_home.api_key()
    assert raw.startswith("fxk_local_fintokenx_")
    secret = raw.rsplit("_", 1)[1]
    superuser = await at_home.world.connect("postgres")
    try:
        tables = await superuser.fetch(
            "select schemaname, tablename from pg_tables where schemaname in ('app', 'ops', 'fx')"
        )
        for table in tables:
            found = await superuser.fetchval(
                f"select count(*) from {table['schemaname']}.{table['tablename']} t where t::text like $1",
                f"%{secret}%",
            )
            assert found == 0, table["tablename"]
    finally:
        await superuser.close()


async def test_a_revoked_key_is_refused_at_the_next_call(at_home: House) -> None:
    raw = await at_home.api_key()
    assert (await at_home.client.get("/v1/tenant", headers={"FX-Api-Key": raw})).json()["id"] == HERE
    async with at_home.world.database.transaction(HERE) as tx:
        key = await partner.authenticate_api_key(tx, raw)
        assert (await partner.revoke_api_key(tx, SEED, key_id=key.id)).state == "REVOKED"
    async with at_home.world.database.transaction(HERE) as tx:
        assert names(await audit.entries_of(tx, SEED, resources=[key.id])) == ["API_KEY_CREATE", "API_KEY_REVOKE"]
        with pytest.raises(IllegalTransition):
            await partner.revoke_api_key(tx, SEED, key_id=key.id)
    refused = await at_home.client.get("/v1/tenant", headers={"FX-Api-Key": raw})
    assert (refused.status_code, refused.json()["code"]) == (401, "API_KEY_INVALID")


async def test_a_key_works_in_its_own_tenant_only(at_home: House) -> None:
    raw = await at_home.api_key()
    forged = raw.replace("_fintokenx_", "_mercia_")
    assert (await at_home.client.get("/v1/tenant", headers={"FX-Api-Key": forged})).status_code == 401


@pytest.mark.parametrize(
    "raw",
    [
        "fxk_sandbox_fintokenx_" + "0" * 64,
        "fxk_local_fintokenx_" + "0" * 63,
        "fxk_local_fin';drop_" + "0" * 64,
        "FXK_local_fintokenx_" + "0" * 64,
        "",
    ],
)
def test_what_is_no_key_of_this_environment_is_refused_unread(raw: str) -> None:
    """EN-06: a key with a foreign prefix never reaches the database."""
    with pytest.raises(partner.ApiKeyRefused):
        partner.tenant_of_api_key(raw, Environment.LOCAL)


async def test_the_last_use_of_a_key_is_known_to_the_minute(at_home: House) -> None:
    raw = await at_home.api_key()
    seen = []
    for later_seconds in (0, 30, 90):
        at_home.world.clock.set(at_home.world.clock.now() + timedelta(seconds=later_seconds))
        async with at_home.world.database.transaction(HERE) as tx:
            await partner.authenticate_api_key(tx, raw)
            seen.append((await partner.api_keys(tx, SEED))[0].last_used_at)
    assert seen[0] == seen[1]
    assert seen[2] == at_home.world.clock.now()


async def test_calls_with_one_key_do_not_wait_for_each_other(at_home: House) -> None:
    """An upsert locks its row even where it leaves it alone."""
    raw = await at_home.api_key()
    async with at_home.world.database.transaction(HERE) as tx:
        await partner.authenticate_api_key(tx, raw)
    async with at_home.world.database.transaction(HERE) as slow:
        await partner.authenticate_api_key(slow, raw)
        async with at_home.world.database.transaction(HERE) as other:
            await other.value("set local lock_timeout = '1s'")
            await partner.authenticate_api_key(other, raw)


async def test_a_signed_in_partner_admin_keeps_the_keys_through_the_api(at_home: House) -> None:
    admin = await at_home.subject(Role.PARTNER_ADMIN, "admin@mercia.example")
    bearer = {"Authorization": f"Bearer {await at_home.token(admin, 'admin@mercia.example')}"}
    body = {"name": "ERP", "scopes": ["invoices:write"]}
    made = await at_home.client.post("/v1/api-keys", json=body, headers={**bearer, "FX-Idempotency-Key": "a"})
    again = await at_home.client.post("/v1/api-keys", json=body, headers={**bearer, "FX-Idempotency-Key": "a"})
    assert made.status_code == 201
    assert again.json() == {**made.json(), "key": None, "secret_shown_once": True}, "A14"
    assert (made.json()["secret_shown_once"], made.headers["cache-control"]) == (False, "no-store")
    assert again.headers["FX-Idempotent-Replay"] == "true"
    raw, key_id = made.json()["key"], made.json()["id"]
    listed = (await at_home.client.get("/v1/api-keys", headers=bearer)).json()["items"]
    assert [key["scopes"] for key in listed if key["id"] == key_id] == [["invoices:write"]]
    assert all("key" not in key for key in listed)
    assert (await at_home.client.get("/v1/me", headers={"FX-Api-Key": raw})).json()["actor"] == key_id
    ended = await at_home.client.delete(f"/v1/api-keys/{key_id}", headers={**bearer, "FX-Idempotency-Key": "b"})
    assert ended.json()["state"] == "REVOKED"
    assert (await at_home.client.get("/v1/me", headers={"FX-Api-Key": raw})).status_code == 401


async def test_a_key_cannot_make_keys(at_home: House) -> None:
    """Or a narrow key could make itself a wide one."""
    answer = await at_home.post("/v1/api-keys", {"name": "x", "scopes": ["*"]}, fx_api_key=await at_home.api_key())
    assert (answer.status_code, answer.json()["code"]) == (403, "ROLE_FORBIDDEN")


async def test_the_keys_of_another_tenant_are_not_there(at_home: House) -> None:
    raw = await at_home.api_key(THERE)
    async with at_home.world.database.transaction(THERE) as tx:
        foreign = await partner.authenticate_api_key(tx, raw)
    async with at_home.world.database.transaction(HERE) as tx:
        assert foreign.id not in {key.id for key in await partner.api_keys(tx, SEED)}
        with pytest.raises(partner.UnknownApiKey):
            await partner.revoke_api_key(tx, SEED, key_id=foreign.id)


@pytest.mark.parametrize("role", [Role.SELLER, Role.BUYER, Role.LENDER, Role.MLRO, Role.AGENT])
async def test_only_keepers_touch_keys(at_home: House, role: Role) -> None:
    async with at_home.world.database.transaction(HERE) as tx:
        stranger = Caller(HERE, role, "sub_x", subject_id="sub_x")
        with pytest.raises(WrongRole):
            await partner.revoke_api_key(tx, stranger, key_id="key_x")
        with pytest.raises(WrongTenant):
            await partner.revoke_api_key(tx, system(THERE, "seed"), key_id="key_x")


async def test_a_scope_that_means_nothing_is_refused(at_home: House) -> None:
    async with at_home.world.database.transaction(HERE) as tx:
        with pytest.raises(partner.BadScope):
            await partner.create_api_key(
                tx, SEED, key_id=tx.ids.new("key"), raw="x", name="n", scopes=["invoices:delete"]
            )


@pytest.mark.parametrize("name", ["", "  ", "x" * 81, "a\x00b", "\u202e"])
async def test_a_name_that_says_nothing_or_too_much_is_refused(at_home: House, name: str) -> None:
    async with at_home.world.database.transaction(HERE) as tx:
        with pytest.raises(partner.BadKeyName):
            await partner.create_api_key(tx, SEED, key_id=tx.ids.new("key"), raw="x", name=name, scopes=["*"])


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_what_no_machine_lists_does_not_happen(machine: Machine) -> None:
    listed = {(t.source, t.event) for t in machine.transitions}
    for state in (NOTHING, *machine.states):
        for event in machine.events:
            if (state, event) not in listed:
                with pytest.raises(IllegalTransition):
                    machine.next(state, event)


async def test_the_database_refuses_a_revoked_key_back_to_life(at_home: House) -> None:
    raw = await at_home.api_key()
    async with at_home.world.database.transaction(HERE) as tx:
        key = await partner.authenticate_api_key(tx, raw)
        await partner.revoke_api_key(tx, SEED, key_id=key.id)
    revival = audit.update(
        "api_keys",
        key={"tenant_id": HERE, "id": key.id},
        before={"state": "REVOKED", "revoked_at": at_home.world.clock.now()},
        after={"state": "ACTIVE", "revoked_at": None},
    )
    with pytest.raises(asyncpg.PostgresError, match="may not go from REVOKED to ACTIVE"):
        async with at_home.world.database.transaction(HERE) as tx:
            await audit.change(tx, SEED, action="API_KEY_CREATE", resource=key.id, move=audit.Changes((revival,)))
