"""Open tenants, keep their API keys, and say whose a key is."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Pool, RawConnection, Tx, database_answers
from fintokenx.kernel.machine import NOTHING
from fintokenx.kernel.settings import Environment
from fintokenx.kernel.vault import Vault
from fintokenx.parties.partner import store
from fintokenx.parties.partner.events import ApiKeyRevoked, TenantOpened
from fintokenx.parties.partner.transitions import API_KEY, KEEPERS, TENANT, ApiKeyEvent, TenantEvent
from fintokenx.parties.partner.types import (
    ASKING_DISCOUNT_BPS_MAX,
    KEY_NAME_LENGTH_MAX,
    ApiKey,
    ApiKeyRefused,
    BadKeyName,
    BadScope,
    BadTerms,
    Feature,
    OutOfScope,
    Tenant,
    TenantExists,
    TenantTerms,
    UnknownApiKey,
    UnknownTenant,
)
from fintokenx.web.inputs import printable

_RAW: Final = re.compile(r"fxk_([a-z-]{1,20})_([a-z0-9_]{1,40})_([0-9a-f]{64})")
_SCOPE: Final = re.compile(r"\*|[a-z-]{2,40}:(read|write)")
_VAULT_KEY: Final = "partner/api-keys/1"


@dataclass(frozen=True, slots=True)
class PartnerServices:
    """What the routes need."""

    vault: Vault
    environment: Environment


async def open_tenant(tx: Tx, caller: Caller, *, terms: TenantTerms) -> Tenant:
    """Open the tenant that ``tx`` is pinned to.

    :raises BadTerms: they are not such as can be agreed
    :raises TenantExists: it is open already
    """
    caller.must_be(Role.PLATFORM_ADMIN, Role.SYSTEM, tenant_id=tx.tenant_id)
    _refuse_bad(terms)
    await store.lock(tx, "tenants")
    if await store.tenant(tx) is not None:
        raise TenantExists(tx.tenant_id)
    opening = TENANT.next(NOTHING, TenantEvent.OPEN)
    opened = Tenant(tx.tenant_id, terms, opening.target, tx.at)
    move = audit.Changes((store.tenant_opened(opened),), (TenantOpened(tx.tenant_id),))
    await audit.change(tx, caller, action=opening.action, resource=tx.tenant_id, move=move)
    return opened


async def tenant(tx: Tx) -> Tenant:
    """The tenant that ``tx`` is pinned to. :raises UnknownTenant: never opened"""
    found = await store.tenant(tx)
    if found is None:
        raise UnknownTenant
    return found


def _refuse_bad(terms: TenantTerms) -> None:
    collections = terms.collections
    said = {
        "the name has 1 to 120 visible characters": (terms.display_name, r"(?=.*\S).{1,120}"),
        "the address of its mail reads name@domain": (terms.mail_from, r"[^@\s]{1,64}@[^@\s]{3,190}"),
        "the account's name has 1 to 140 visible characters": (collections.name, r"(?=.*\S).{1,140}"),
        "a sort code has six digits": (collections.sort_code, r"[0-9]{6}"),
        "an account number has eight digits": (collections.account_number, r"[0-9]{8}"),
    }
    for rule, (text, pattern) in said.items():
        if not text.isprintable() or not re.fullmatch(pattern, text):
            raise BadTerms(rule)
    if not 1 <= terms.asking_discount_bps <= ASKING_DISCOUNT_BPS_MAX:
        raise BadTerms(f"the discount it asks for lies between 1 and {ASKING_DISCOUNT_BPS_MAX} basis points")


async def tenants_everywhere(auditor: RawConnection) -> list[Tenant]:
    """All tenants with their terms, oldest first, as the auditor sees them."""
    return await store.tenants_everywhere(auditor)


async def open_tenants(worker: Pool) -> tuple[str, ...]:
    """Ids of the tenants that are open now, for the platform's own work in all of them; as the table says at this
    moment, so that one that is opened while the platform runs is served.

    :raises DatabaseUnavailable: the database does not answer
    """
    with database_answers():
        return await store.open_tenants(worker)


async def require_feature(tx: Tx, feature: Feature) -> None:
    """:raises OutOfScope: the tenant's scope rules do not switch the feature on (PA-02)"""
    if (await tenant(tx)).terms.scope_rules.get(feature.value) is not True:
        raise OutOfScope(f"{feature.value} is not part of the agreement")


async def raw_api_key(vault: Vault, environment: Environment, *, tenant_id: str, key_id: str) -> str:
    """The secret of a key: ``fxk_<environment>_<tenant without tnt_>_<64 hex>``. Call it outside a transaction.

    The 256 bits are an HMAC of the key's id under a key that never leaves the vault. So the secret need not be kept
    anywhere, and yet a replayed creation answers with the same bytes (P-11, AU-10).
    """
    digest = await vault.hmac_sha256(_VAULT_KEY, f"{tenant_id}\0{key_id}".encode())
    return f"fxk_{environment.value}_{tenant_id.removeprefix('tnt_')}_{digest.hex()}"


async def create_api_key(tx: Tx, caller: Caller, *, key_id: str, raw: str, name: str, scopes: Sequence[str]) -> ApiKey:
    """Let calls in that carry ``raw`` (made by :func:`raw_api_key` for this fresh ``key_id``). Its hash is stored.

    :raises WrongRole: a partner admin without a session: a key must not make keys that may do more than itself
    :raises BadKeyName: it says nothing, or too much
    :raises BadScope: not in the form of a scope
    """
    _must_keep_keys(tx, caller)
    try:
        name = printable(name)
    except ValueError as fault:
        raise BadKeyName(str(fault)) from fault
    if len(name) > KEY_NAME_LENGTH_MAX:
        raise BadKeyName(f"{len(name)} characters")
    for scope in scopes:
        if not _SCOPE.fullmatch(scope):
            raise BadScope(scope)
    creation = API_KEY.next(NOTHING, ApiKeyEvent.CREATE)
    key = ApiKey(
        tx.tenant_id, key_id, name, tuple(dict.fromkeys(scopes)), creation.target, tx.at, created_by=caller.actor
    )
    move = audit.Changes((store.key_created(key, key_sha256=_sha256(raw)),))
    await audit.change(tx, caller, action=creation.action, resource=key_id, move=move)
    return key


async def revoke_api_key(tx: Tx, caller: Caller, *, key_id: str) -> ApiKey:
    """End a key; the next call with it is refused.

    :raises UnknownApiKey: none in this tenant
    :raises IllegalTransition: revoked before
    """
    _must_keep_keys(tx, caller)
    await store.lock(tx, f"api_keys:{key_id}")
    key = await store.api_key(tx, key_id)
    if key is None:
        raise UnknownApiKey
    revocation = API_KEY.next(key.state, ApiKeyEvent.REVOKE)
    move = audit.Changes((store.key_revoked(tx, key, state=revocation.target),), (ApiKeyRevoked(key_id),))
    await audit.change(tx, caller, action=revocation.action, resource=key_id, move=move)
    return replace(key, state=revocation.target)


async def api_keys(tx: Tx, caller: Caller, *, after: str = "", limit: int = 50) -> list[ApiKey]:
    """The tenant's keys, oldest first, revoked ones too."""
    _must_keep_keys(tx, caller)
    return await store.api_keys(tx, after=after, limit=min(limit, 200))


def _must_keep_keys(tx: Tx, caller: Caller) -> None:
    caller.must_be(*KEEPERS, tenant_id=tx.tenant_id)
    if caller.party_role is Role.PARTNER_ADMIN:
        caller.must_be_subject()


def tenant_of_api_key(raw: str, environment: Environment) -> str:
    """Whose key this says it is; nothing is proved yet. Reads no database.

    :raises ApiKeyRefused: not in the form of a key, or one of another environment (EN-06)
    """
    parts = _RAW.fullmatch(raw)
    if parts is None:
        raise ApiKeyRefused("not an API key")
    if parts[1] != environment.value:
        raise ApiKeyRefused("a key of another environment")
    return f"tnt_{parts[2]}"


async def authenticate_api_key(tx: Tx, raw: str) -> ApiKey:
    """The active key with this secret, in the tenant that ``tx`` is pinned to; its use is noted.

    Looked up by hash: what the comparison's time tells is about a hash that nobody can steer.

    :raises ApiKeyRefused: unknown or revoked
    """
    key = await store.live_api_key(tx, _sha256(raw))
    if key is None:
        raise ApiKeyRefused
    await store.note_use(tx, key.id)
    return key


def _sha256(raw: str) -> str:
    return hashlib.sha256(raw.encode()).hexdigest()
