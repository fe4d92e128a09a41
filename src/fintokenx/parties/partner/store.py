"""All SQL of partner."""

from __future__ import annotations

from typing import Any, Final

from fintokenx import audit
from fintokenx.kernel.db import Pool, RawConnection, Row, Tx
from fintokenx.parties.partner.transitions import ApiKeyState, TenantState
from fintokenx.parties.partner.types import ApiKey, CollectionsAccount, Tenant, TenantTerms

_TENANT: Final = (
    "tenant_id, display_name, custom_domain, theme, plan, scope_rules, mail_from, collections_account_name,"
    " collections_sort_code, collections_account_number, asking_discount_bps, state, opened_at"
)
_KEY: Final = "k.tenant_id, k.id, k.name, k.scopes, k.state, k.created_at, k.created_by, u.last_used_at"
_KEYS: Final = "app.api_keys k left join ops.api_key_use u on u.tenant_id = k.tenant_id and u.key_id = k.id"


async def lock(tx: Tx, thing: str) -> None:
    """Serialise the commands on one thing until this transaction ends."""
    await tx.lock(thing)


async def tenant(tx: Tx) -> Tenant | None:
    """The pinned tenant."""
    row = await tx.row(f"select {_TENANT} from app.tenants")
    return _tenant(row) if row else None


async def tenants_everywhere(connection: RawConnection) -> list[Tenant]:
    """All tenants, oldest first, for a login that may read all of them."""
    rows = await connection.fetch(f"select {_TENANT} from app.tenants order by opened_at, tenant_id")
    return [_tenant(row) for row in rows]


def _tenant(row: Row) -> Tenant:
    terms = TenantTerms(
        display_name=row["display_name"],
        custom_domain=row["custom_domain"],
        theme=row["theme"],
        plan=row["plan"],
        scope_rules=row["scope_rules"],
        mail_from=row["mail_from"],
        collections=CollectionsAccount(
            row["collections_account_name"], row["collections_sort_code"], row["collections_account_number"]
        ),
        asking_discount_bps=row["asking_discount_bps"],
    )
    return Tenant(row["tenant_id"], terms, TenantState(row["state"]), row["opened_at"])


def tenant_opened(tenant: Tenant) -> audit.RowChange:
    """The row of a new tenant."""
    terms = tenant.terms
    return audit.insert(
        "tenants",
        {
            "tenant_id": tenant.id,
            "display_name": terms.display_name,
            "custom_domain": terms.custom_domain,
            "theme": dict(terms.theme),
            "plan": terms.plan,
            "scope_rules": dict(terms.scope_rules),
            "mail_from": terms.mail_from,
            "collections_account_name": terms.collections.name,
            "collections_sort_code": terms.collections.sort_code,
            "collections_account_number": terms.collections.account_number,
            "asking_discount_bps": terms.asking_discount_bps,
            "state": tenant.state,
            "opened_at": tenant.opened_at,
        },
    )


async def open_tenants(pool: Pool) -> tuple[str, ...]:
    """Ids of the tenants that are served, for a login that may read all of them."""
    rows = await pool.fetch("select tenant_id from app.tenants where state = 'ACTIVE' order by tenant_id")
    return tuple(row["tenant_id"] for row in rows)


async def api_key(tx: Tx, key_id: str) -> ApiKey | None:
    """One key of the pinned tenant, in any state."""
    row = await tx.row(f"select {_KEY} from {_KEYS} where k.id = $1", key_id)
    return _api_key(row) if row else None


async def live_api_key(tx: Tx, key_sha256: str) -> ApiKey | None:
    """The active key with this hash."""
    row = await tx.row(f"select {_KEY} from {_KEYS} where k.key_sha256 = $1 and k.state = 'ACTIVE'", key_sha256)
    return _api_key(row) if row else None


async def api_keys(tx: Tx, *, after: str, limit: int) -> list[ApiKey]:
    """Keys in the order in which they were made, from the one after ``after``."""
    rows = await tx.rows(f"select {_KEY} from {_KEYS} where k.id > $1 order by k.id limit $2", after, limit)
    return [_api_key(row) for row in rows]


def _api_key(row: Row) -> ApiKey:
    values: dict[str, Any] = dict(row)
    return ApiKey(**{**values, "scopes": tuple(values["scopes"]), "state": ApiKeyState(values["state"])})


def key_created(key: ApiKey, *, key_sha256: str) -> audit.RowChange:
    """The row of a new key."""
    return audit.insert(
        "api_keys",
        {
            "tenant_id": key.tenant_id,
            "id": key.id,
            "name": key.name,
            "key_sha256": key_sha256,
            "scopes": key.scopes,
            "state": key.state,
            "created_at": key.created_at,
            "created_by": key.created_by,
            "revoked_at": None,
        },
    )


def key_revoked(tx: Tx, key: ApiKey, *, state: str) -> audit.RowChange:
    """An active key ends."""
    return audit.update(
        "api_keys",
        key={"tenant_id": key.tenant_id, "id": key.id},
        before={"state": key.state, "revoked_at": None},
        after={"state": state, "revoked_at": tx.at},
    )


async def note_use(tx: Tx, key_id: str) -> None:
    """Remember the use, once a minute. Read as a value on purpose: ``tx.write`` would make every read that a key
    authenticates wait for the disk, for a time stamp that may be lost. In between nothing is locked: an upsert locks
    the row even where it leaves it alone, and the requests of one key would wait for each other."""
    await tx.value(
        """insert into ops.api_key_use as u (tenant_id, key_id, last_used_at) select $1::text, $2::text, $3::timestamptz
            where not exists (select from ops.api_key_use
                               where tenant_id = $1 and key_id = $2 and last_used_at >= $3 - interval '1 minute')
           on conflict (tenant_id, key_id) do update set last_used_at = excluded.last_used_at
            where u.last_used_at < excluded.last_used_at - interval '1 minute' returning 1""",
        tx.tenant_id,
        key_id,
        tx.at,
    )
