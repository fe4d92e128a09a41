"""Who is calling right now: the credentials of a request, turned into a Caller or refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.clock import Clock
from fintokenx.kernel.db import Database, Tx
from fintokenx.kernel.errors import Unauthenticated
from fintokenx.kernel.sealing import Sealer
from fintokenx.kernel.settings import Environment
from fintokenx.kernel.vault import Vault
from fintokenx.parties import partner
from fintokenx.parties.auth import store
from fintokenx.parties.auth.ports import BlindIndex
from fintokenx.parties.auth.service.tokens import Tokens
from fintokenx.parties.auth.types import (
    ApiKeyRequired,
    Claims,
    OnBehalfOfRefused,
    ScopeMissing,
    SessionEnded,
    SessionRequired,
    TenantsDiffer,
    TokenRefused,
)

API_KEY_HEADER: Final = "FX-Api-Key"
ON_BEHALF_OF_HEADER: Final = "FX-On-Behalf-Of"
_READING: Final = frozenset({"GET", "HEAD"})
_UNSCOPED: Final = frozenset({"me"})
"""Any credential may ask whose it is."""


@dataclass(frozen=True, slots=True)
class AuthServices:
    """What the routes need; the wiring puts it on ``app.state.auth``."""

    tokens: Tokens
    index: BlindIndex
    sealer: Sealer


class Authenticator:
    """Turns headers into a Caller. ``issuer`` is the platform's public URL."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        clock: Clock,
        environment: Environment,
        issuer: str,
    ) -> None:
        self.tokens = Tokens(vault, clock, environment=environment, issuer=issuer)
        self._database = database
        self._environment = environment

    async def caller(
        self, headers: Mapping[str, str], ip: str | None, *, method: str = "POST", path: str = "/"
    ) -> Caller:
        """Whoever these credentials belong to. An API key's scope is checked against the method and the path.

        ``Authorization: Bearer`` gives a signed-in subject, ``FX-Api-Key`` a tenant's system, both together the
        subject with ``has_api_key``. A magic link is no credential here: it opens its own page and no route (AU-06).

        :raises Unauthenticated: none, or none that holds (TokenRefused, SessionEnded, ApiKeyRefused)
        :raises TenantsDiffer, ScopeMissing, OnBehalfOfRefused: known, but not like this
        """
        given = {name.lower(): value for name, value in headers.items()}
        raw_key = given.get(API_KEY_HEADER.lower())
        bearer = given.get("authorization")
        claims = await self.tokens.verify(_token(bearer)) if bearer is not None else None
        of_key = partner.tenant_of_api_key(raw_key, self._environment) if raw_key is not None else None
        tenant_id = claims.tenant_id if claims else of_key
        if tenant_id is None:
            raise Unauthenticated("give a bearer token or an API key")
        if of_key is not None and of_key != tenant_id:
            raise TenantsDiffer
        async with self._database.transaction(tenant_id) as tx:
            key = await _key(tx, raw_key, method, path) if raw_key is not None else None
            if claims is not None:
                caller = await _signed_in(tx, claims)
                caller = replace(caller, has_api_key=key is not None, ip=ip)
                return await _on_behalf(tx, caller, given.get(ON_BEHALF_OF_HEADER.lower()))
        if key is None:
            raise Unauthenticated
        if ON_BEHALF_OF_HEADER.lower() in given:
            raise OnBehalfOfRefused
        return Caller(tenant_id=tenant_id, role=Role.PARTNER_ADMIN, actor=key.id, has_api_key=True, ip=ip)


def require_both(caller: Caller) -> None:
    """For routes that move money or change who may act (AU-09).

    :raises SessionRequired: an API key alone
    :raises ApiKeyRequired: a session alone
    """
    if caller.subject_id is None:
        raise SessionRequired
    if not caller.has_api_key:
        raise ApiKeyRequired


def _token(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise TokenRefused("use the Bearer scheme")
    return token.strip()


async def _key(tx: Tx, raw: str, method: str, path: str) -> partner.ApiKey:
    key = await partner.authenticate_api_key(tx, raw)
    words = [word for word in path.split("/") if word and word != "v1"]
    resource = words[0] if words else "*"
    if resource not in _UNSCOPED and not key.allows(resource, writing=method.upper() not in _READING):
        raise ScopeMissing(resource)
    return key


async def _signed_in(tx: Tx, claims: Claims) -> Caller:
    session = await store.live_session(tx, claims.session_id)
    if session is None or (session.subject_id, session.role) != (claims.subject_id, claims.role):
        raise SessionEnded
    return Caller(
        tenant_id=tx.tenant_id,
        role=session.role,
        actor=session.subject_id,
        subject_id=session.subject_id,
        session_id=session.id,
    )


async def _on_behalf(tx: Tx, caller: Caller, subject_id: str | None) -> Caller:
    if subject_id is None:
        return caller
    if caller.role is not Role.PLATFORM_ADMIN or await store.subject(tx, subject_id) is None:
        raise OnBehalfOfRefused
    return replace(caller, on_behalf_of=subject_id)
