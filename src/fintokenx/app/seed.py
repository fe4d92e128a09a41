"""A cast in every role in every tenant, ready to act: what a newcomer needs before the first request of their own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Final

import pyotp

from fintokenx.app import first_keys, inspect
from fintokenx.app.api_client import Api, ApiRefused, GaveUp, eventually
from fintokenx.app.cast import Cast, CastFailed, Company
from fintokenx.app.local import LocalSystem
from fintokenx.app.provision import TENANTS
from fintokenx.kernel.caller import HOME_TENANT
from fintokenx.parties import auth

STAFF: Final = ("mlro", "compliance", "platform-admin")
SECONDS_BETWEEN_CODES: Final = 15.0
FUNDED_WITH: Final = 100_000_000_00  # pence on the account of whoever buys
_COMPANIES: Final = (
    ("seller", "seller", "Harbour Signage Ltd", "19922001", "990666", 0),
    ("buyer", "buyer", "Northwater Retail Group plc", "19900317", "990888", FUNDED_WITH),
    ("lender", "lender", "Castlegate Capital Ltd", "19955501", "990555", FUNDED_WITH),
    ("investor", "investor", "Weir Street Investors Ltd", "19955502", "990555", FUNDED_WITH),
    ("broker", "broker", "Quayside Broking Ltd", "19955503", "990555", 0),
    ("partner-admin", "partner_admin", "", "19955504", "990555", 0),
)


class SeedFailed(Exception):
    """Somebody of the cast could not be brought in; the message says who and why."""


@dataclass(frozen=True, slots=True)
class Seat:
    """Somebody who is signed in. ``token`` goes into the header Authorization: Bearer, for half an hour of the system's
    clock."""

    tenant_id: str
    role: str
    legal_name: str
    subject_id: str
    email: str
    token: str
    totp_secret: str = ""
    """Base32, of the second factor that lifted the session; administrators need one (AU-11)."""


@dataclass(frozen=True, slots=True)
class Seeded:
    """All who are there now, and each tenant's API key (header FX-Api-Key)."""

    api_keys: dict[str, str]
    seats: tuple[Seat, ...]


async def seed(system: LocalSystem, progress: Callable[[str], None]) -> Seeded:
    """Bring the cast in where it is not there yet, and sign everybody in. Each call makes fresh sessions.

    :raises SeedFailed: somebody was refused, or did not become active in time
    """
    keys: dict[str, str] = {}
    seats: list[Seat] = []
    for number, tenant_id in enumerate(TENANTS):
        cast = Cast(system, tenant_id=tenant_id, name=f"seed-{tenant_id.removeprefix('tnt_')}")
        async with aclosing(cast):
            try:
                keys[tenant_id] = await _api_key(system, tenant_id)
                await cast.open(keys[tenant_id])
                seats += await _staff(cast, progress)
                seats += await _companies(cast, number, progress)
            except (ApiRefused, CastFailed, GaveUp) as fault:
                raise SeedFailed(f"{tenant_id}: {fault}") from fault
    return Seeded(keys, tuple(seats))


async def _api_key(system: LocalSystem, tenant_id: str) -> str:
    """The tenant's key of an earlier call, or a new one: what the cast has done before is known by its key."""
    vault, name = system.vault(), f"seed/{tenant_id}/api-key"
    try:
        return await vault.secret(name)
    except KeyError:
        key = await first_keys.create_api_key(system, tenant_id, "seed", ["*"])
        await vault.put_secret(name, key)
        return key


async def _staff(cast: Cast, progress: Callable[[str], None]) -> list[Seat]:
    seats = []
    for who in STAFF:
        role = who.replace("-", "_")
        if role == "platform_admin" and cast.tenant_id != HOME_TENANT:
            continue
        progress(f"{cast.tenant_id}: {role}")
        with suppress(auth.StaffExists):  # from an earlier call
            await inspect.create_staff(cast.system, cast.tenant_id, role, cast.person_of(who), cast.email_of(who))
        seats.append(await _seat(cast, who))
        if who == "mlro":
            cast.mlro = cast.api(seats[-1].token)
    return seats


async def _companies(cast: Cast, number: int, progress: Callable[[str], None]) -> list[Seat]:
    """A company is one legal entity in each tenant that it is in; its bank account is another in each."""
    progress(f"{cast.tenant_id}: {', '.join(who for who, *_ in _COMPANIES)} pass gates 1 to 3")
    companies = [
        Company(who, role, name or TENANTS[cast.tenant_id].display_name, company, sort_code, f"3{number}{at:06}", pence)
        for at, (who, role, name, company, sort_code, pence) in enumerate(_COMPANIES)
    ]
    await cast.enrol(*companies)
    progress(f"{cast.tenant_id}: everybody signs in")
    return [await _seat(cast, company.who) for company in companies]


async def _seat(cast: Cast, who: str) -> Seat:
    api = await cast.signed_in_again(who)
    secret = ""
    if who == "platform-admin":
        api, secret = await _stepped_up(cast, api)
    me = await api.get("/v1/me")
    return Seat(
        cast.tenant_id, me["role"], me["legal_name"], me["subject_id"], cast.email_of(who), api.token, secret
    )  # fmt: skip


async def _stepped_up(cast: Cast, api: Api) -> tuple[Api, str]:
    """A session at assurance level 2. The factor is made once; its secret stays in the system's vault, for the next
    call."""
    vault, name = cast.system.vault(), f"seed/{cast.tenant_id}/totp"
    stamp = f"{cast.name}-{cast.system.clock().now():%Y%m%d%H%M%S}"
    try:
        secret = await vault.secret(name)
    except KeyError:
        made = await api.post("/v1/mfa/factors", {}, key=f"{stamp}-factor")
        _must_be_shown(made["otpauth_uri"])
        secret = pyotp.parse_uri(made["otpauth_uri"]).secret
        code = pyotp.TOTP(secret).at(cast.system.clock().now())
        await api.post(f"/v1/mfa/factors/{made['id']}/confirm", {"code": code}, key=f"{stamp}-confirm")
        await vault.put_secret(name, secret)

    async def stepped_up() -> Any:
        code = pyotp.TOTP(secret).at(cast.system.clock().now(), 1)  # the next one: this one may have been used
        try:
            return await api.post("/v1/sessions/step-up", {"code": code}, key=f"{stamp}-step-up-{code}")
        except ApiRefused as refused:
            if refused.code != "MFA_REFUSED":
                raise
            return None

    found = await eventually("the administrator's second factor", stepped_up, every=SECONDS_BETWEEN_CODES)
    _must_be_shown(found["access_token"])
    return cast.api(found["access_token"]), secret


def _must_be_shown(secret: str | None) -> None:
    if secret is None:
        raise SeedFailed("an answer with a secret was lost, and is in no store; run it again")
