"""What a new installation needs before it can start: credentials in the vault, a migrated database, its tenants."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import asyncpg

from fintokenx.kernel.caller import system
from fintokenx.kernel.credentials import fetch
from fintokenx.kernel.db import Database, PinSigner
from fintokenx.kernel.settings import Environment
from fintokenx.kernel.vault import Vault
from fintokenx.parties import partner

ROLES: Final = ("fx_migrator", "fx_app", "fx_worker", "fx_sealer", "fx_auditor", "fx_platform")
SUPERUSER: Final = "postgres"

PROVIDER_SECRETS: Final = (
    "sumsub/app-token", "sumsub/app-secret", "sumsub/webhook-secret", "complyadvantage/api-key",
    "bank/clearbank-token", "bank/open-banking-token",
)  # fmt: skip
CLEARBANK_SIGNING_KEY: Final = "bank/clearbank-signing"
CHAIN_CLIENT_KEY: Final = "chain/client-key"
"""Of the certificate that the nodes know us by (PEM); only where the settings name one."""
PIN_KEY: Final = "db/pin-key"
REFERENCE_KEY: Final = "references/key"
FINGERPRINT_KEY: Final = "idempotency/key"

ALL_FEATURES: Final = {"invoices": True, "funding": True, "secondary": True, "stablecoin": False}

TENANTS: Final[Mapping[str, partner.TenantTerms]] = {
    "tnt_fintokenx": partner.TenantTerms(
        display_name="FinToken X",
        custom_domain=None,
        theme={},
        plan="own",
        scope_rules=ALL_FEATURES,
        mail_from="invoices@fintokenx.example",
        collections=partner.CollectionsAccount("FinToken X Client Money", "990001", "10000001"),
        asking_discount_bps=150,
    ),
    "tnt_mercia": partner.TenantTerms(
        display_name="Mercia Bank",
        custom_domain="receivables.mercia.example",
        theme={},
        plan="partner",
        scope_rules=ALL_FEATURES,
        mail_from="receivables@mercia.example",
        collections=partner.CollectionsAccount("Mercia Receivables Client Money", "990002", "10000002"),
        asking_discount_bps=150,
    ),
}


async def secret_or_new(vault: Vault, name: str) -> str:
    """The stored secret, or a fresh one that is stored from now on (local provisioning only)."""
    try:
        return await vault.secret(name)
    except KeyError:
        await vault.put_secret(name, secrets.token_hex(32))
        return await vault.secret(name)


async def credentials(vault: Vault) -> None:
    """Make every credential that a local system needs; those that exist stay."""
    for name in (*PROVIDER_SECRETS, PIN_KEY, REFERENCE_KEY, FINGERPRINT_KEY):
        await secret_or_new(vault, name)
    for role in (SUPERUSER, *ROLES):
        await secret_or_new(vault, password_of(role))
    await vault.ensure_rsa(CLEARBANK_SIGNING_KEY)


def password_of(role: str) -> str:
    """The name of a database role's password in the vault."""
    return f"db/password/{role}"


async def pin_signer(vault: Vault) -> PinSigner:
    """The signer of tenant pins."""
    return PinSigner(bytes.fromhex(await fetch(vault, PIN_KEY)))


async def database(
    superuser_dsn: str, name: str, vault: Vault, migrations: Path, environment: Environment
) -> list[str]:
    """Create the database if it is not there, its roles, and migrate it; the files that ran."""
    from fintokenx.app import catalogue
    from fintokenx.app.migrate import ENTRY_TOLERANCE, Plan, bootstrap, migrate

    admin = await asyncpg.connect(superuser_dsn)
    try:
        if not await admin.fetchval("select true from pg_database where datname = $1", name):
            await admin.execute(f'create database "{name}"')
    finally:
        await admin.close()
    base = superuser_dsn.rsplit("/", 1)[0]
    admin = await asyncpg.connect(f"{base}/{name}")
    try:
        passwords = {role: await vault.secret(password_of(role)) for role in ROLES}
        await bootstrap(admin, migrations, passwords)
    finally:
        await admin.close()
    address = base.rsplit("@", 1)[1]
    migrator = await asyncpg.connect(
        f"postgresql://fx_migrator@{address}/{name}", password=await vault.secret(password_of("fx_migrator"))
    )
    try:
        tolerance = None if environment.has_sandbox_controls else ENTRY_TOLERANCE
        plan = Plan(
            migrations, catalogue.MACHINES, catalogue.ACTIONS, await pin_signer(vault), catalogue.CARRIES,
            catalogue.LANES, tolerance,
        )  # fmt: skip
        return await migrate(migrator, plan)
    finally:
        await migrator.close()


async def tenants(database: Database) -> list[str]:
    """Open the two tenants that exist from the start (PA-01); those opened now."""
    opened = []
    for tenant_id, terms in TENANTS.items():
        try:
            await open_tenant(database, tenant_id, terms)
        except partner.TenantExists:
            continue
        opened.append(tenant_id)
    return opened


async def open_tenant(database: Database, tenant_id: str, terms: partner.TenantTerms) -> None:
    """Open one. :raises partner.TenantExists, partner.BadTerms:"""
    async with database.transaction(tenant_id, request_id="provision") as tx:
        await partner.open_tenant(tx, system(tenant_id, "provision"), terms=terms)
