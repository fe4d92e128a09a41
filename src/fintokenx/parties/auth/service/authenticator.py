"""Who is calling right now: the credentials of a request, turned into a Caller or refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from fintokenx.kernel.caller import HOME_TENANT, Caller, Role
from fintokenx.kernel.clock import Clock
from fintokenx.kernel.db import Database, Tx
from fintokenx.kernel.errors import Unauthenticated
from fintokenx.kernel.sealing import Sealer
from fintokenx.kernel.settings import Environment
from fintokenx.kernel.vault import Vault
from fintokenx.parties import partner
from fintokenx.parties.auth import store
from fintokenx.parties.auth.ports import BlindIndex
from fintokenx.parties.auth.service.magic_links import is_magic_link
from fintokenx.parties.auth.service.page_links import is_page_link
from fintokenx.parties.auth.service.tokens import Tokens
from fintokenx.parties.auth.transitions import AdminSessionState, SubjectState
from fintokenx.parties.auth.types import Claims, Purpose
from fintokenx.parties.auth.types.refusals import (
    AdminTokenRefused,
    ApiKeyRequired,
    MagicLinkOutOfScope,
    ScopeMissing,
    SessionEnded,
    SessionRequired,
    TenantsDiffer,
    TokenRefused,
)

API_KEY_HEADER: Final = "FX-Api-Key"
LOOKUPS_PATH: Final = "/v1/admin/lookups"
AAL_OF_ADMINISTRATORS: Final = 2
_READING: Final = frozenset({"GET", "HEAD"})
_UNSCOPED: Final = frozenset({"me"})
"""Any credential may ask whose it is."""


@dataclass(frozen=True, slots=True)
class AuthServices:
    """What the routes need."""

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

        The token of an admin session gives the administrator in that session's tenant, for the subject it names, with
        that subject's guards (AD-16).

        :raises Unauthenticated: none, or none that holds (TokenRefused, SessionEnded, ApiKeyRefused)
        :raises TenantsDiffer, ScopeMissing, AdminTokenRefused: known, but not like this
        :raises MagicLinkOutOfScope: a link to a page, which is no credential for anything else (AU-06, AU-07)
        """
        given = {name.lower(): value for name, value in headers.items()}
        raw_key = given.get(API_KEY_HEADER.lower())
        bearer = given.get("authorization")
        if any(_is_link(each.rpartition(" ")[2]) for each in (raw_key, bearer) if each):
            raise MagicLinkOutOfScope
        claims = await self.tokens.verify(_token(bearer)) if bearer is not None else None
        of_key = partner.tenant_of_api_key(raw_key, self._environment) if raw_key is not None else None
        tenant_id = claims.tenant_id if claims else of_key
        if tenant_id is None:
            raise Unauthenticated("give a bearer token or an API key")
        if of_key is not None and of_key != tenant_id:
            raise TenantsDiffer
        if claims is not None and claims.admin_session_id is not None:
            return replace(await self._administrator(claims, path), ip=ip)
        async with self._database.transaction(tenant_id) as tx:
            key = await _key(tx, raw_key, method, path) if raw_key is not None else None
            if claims is not None:
                caller = await _signed_in(tx, claims)
                return replace(caller, has_api_key=key is not None, ip=ip)
        if key is None:
            raise Unauthenticated
        return Caller(tenant_id=tenant_id, role=Role.PARTNER_ADMIN, actor=key.id, has_api_key=True, ip=ip)

    async def _administrator(self, claims: Claims, path: str) -> Caller:
        """Alive while three things are: the administrator's own sign-in, the administrator, and the admin session."""
        async with self._database.transaction(HOME_TENANT) as tx:
            own = await store.live_session(tx, claims.session_id)
            who = await store.subject(tx, own.subject_id) if own else None
        if who is None or who.state != SubjectState.ACTIVE:
            raise SessionEnded
        if own is None or own.aal < AAL_OF_ADMINISTRATORS or own.subject_id != claims.subject_id:
            raise SessionEnded
        if own.role is not Role.PLATFORM_ADMIN:
            raise SessionEnded
        async with self._database.transaction(claims.tenant_id) as tx:
            admin = await store.admin_session(tx, claims.admin_session_id or "")
            if (
                admin is None
                or admin.state != AdminSessionState.OPEN
                or admin.expires_at is None
                or admin.expires_at <= tx.at
            ):
                raise SessionEnded
            if (admin.requested_by, admin.on_behalf_of) != (own.subject_id, claims.on_behalf_of):
                raise SessionEnded
            party = await store.subject(tx, admin.on_behalf_of)
        if party is None or party.is_barred:
            raise SessionEnded
        if (admin.purpose is Purpose.BYPASS) != (path == LOOKUPS_PATH):
            raise AdminTokenRefused
        return Caller(
            tenant_id=admin.tenant_id,
            role=Role.PLATFORM_ADMIN,
            actor=own.subject_id,
            subject_id=party.id,
            on_behalf_of=party.id,
            session_id=admin.id,
            acts_as=party.role if admin.purpose is Purpose.ACT else None,
            admin_session_id=admin.id,
            aal=own.aal,
        )


def require_both(caller: Caller) -> None:
    """For routes that move money or change who may act (AU-09). An administrator in an admin session has had a second
    pair of eyes and a second factor instead of the tenant's key, which is not the administrator's to hold.

    :raises SessionRequired: an API key alone
    :raises ApiKeyRequired: a session alone
    """
    if caller.subject_id is None:
        raise SessionRequired
    if not caller.has_api_key and caller.admin_session_id is None:
        raise ApiKeyRequired


def _is_link(credential: str) -> bool:
    """By its form alone: no database is asked, so the answer tells nothing of whether there is such a link."""
    return is_magic_link(credential) or is_page_link(credential)


def _token(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise TokenRefused("use the Bearer scheme")
    return token.strip()


@dataclass(frozen=True, slots=True)
class ScopeNeeded:
    """What an API key must be allowed."""

    resource: str
    writing: bool

    def __str__(self) -> str:
        return f"{self.resource}:{'write' if self.writing else 'read'}"


def scope_needed(method: str, path: str) -> ScopeNeeded | None:
    """The scope that an API key needs for a method on a path; None where any key will do."""
    words = [word for word in path.split("/") if word and word != "v1"]
    resource = words[0] if words else "*"
    return None if resource in _UNSCOPED else ScopeNeeded(resource, method.upper() not in _READING)


async def _key(tx: Tx, raw: str, method: str, path: str) -> partner.ApiKey:
    key = await partner.authenticate_api_key(tx, raw)
    needed = scope_needed(method, path)
    if needed is not None and not key.allows(needed.resource, writing=needed.writing):
        raise ScopeMissing(needed.resource)
    return key


async def _signed_in(tx: Tx, claims: Claims) -> Caller:
    session = await store.live_session(tx, claims.session_id)
    if session is None or (session.subject_id, session.role) != (claims.subject_id, claims.role):
        raise SessionEnded
    return session.caller
