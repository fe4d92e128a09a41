"""Access tokens and the API keys beside them: what is accepted, where, and how long (AU-03, AU-08 … AU-10)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fintokenx.kernel.caller import Role
from fintokenx.parties import auth
from tests.modules.auth_house import ADA, EVE, at_home
from tests.modules.parties_house import HERE, ISSUER, THERE, House

pytestmark = pytest.mark.anyio
__all__ = ["at_home"]

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
