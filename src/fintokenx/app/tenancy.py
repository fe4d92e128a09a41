"""The tenants of a local system: which there are, and a new one, while the platform runs or not (PA-01)."""

from __future__ import annotations

from fintokenx.app import provision, trails
from fintokenx.app.local import LocalSystem, open_collections_account
from fintokenx.kernel.errors import Refused
from fintokenx.parties import partner


class AccountTaken(Refused):
    """Another tenant collects on this account: a payment would be taken for both."""

    code = "COLLECTIONS_ACCOUNT_TAKEN"


async def tenants(of: LocalSystem) -> list[partner.Tenant]:
    """All of them, oldest first."""
    async with trails.auditor(of) as connection:
        return await partner.tenants_everywhere(connection)


async def create(of: LocalSystem, tenant_id: str, terms: partner.TenantTerms) -> None:
    """Open a tenant, recorded as TENANT_OPEN, with its account at the mock bank. A running platform serves it within a
    minute, for it reads its tenants from the table.

    :raises partner.TenantExists: there is one of this id
    :raises partner.BadTerms: they are not such as can be agreed
    :raises AccountTaken: its account is another tenant's
    """
    collections = terms.collections
    for other in await tenants(of):
        account = other.terms.collections
        if other.id != tenant_id and (account.sort_code, account.account_number) == (
            collections.sort_code,
            collections.account_number,
        ):
            raise AccountTaken(other.id)
    from fintokenx.app import wiring  # here: whoever lists tenants needs no module but theirs

    settings = of.settings()
    async with wiring.base(settings, pool_size=2) as on:
        await provision.open_tenant(on.database, tenant_id, terms)
    await open_collections_account(settings, collections)
