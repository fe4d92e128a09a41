"""What every process of the platform begins with: the vault, the clock, the database. Knows no module."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from fintokenx.app import vaults
from fintokenx.app.provision import password_of, pin_signer
from fintokenx.kernel.bus import Reactions
from fintokenx.kernel.clock import Clock, SystemClock
from fintokenx.kernel.credentials import fetch
from fintokenx.kernel.db import Database, PinSigner, Pool, open_pool
from fintokenx.kernel.ids import Ids
from fintokenx.kernel.settings import Settings
from fintokenx.kernel.vault import Vault
from fintokenx.sandbox.clock import SandboxClock


def open_vault(settings: Settings) -> Vault:
    """The vault that the settings name. :raises BadSettings: a kind that is not built in"""
    return vaults.opened(settings.vault)


def open_clock(settings: Settings) -> Clock:
    """The sandbox clock where there is one, else the machine's."""
    return SandboxClock(Path(settings.sandbox_clock)) if settings.sandbox_clock else SystemClock()


def dsn(settings: Settings, role: str) -> str:
    """The address of the database for a role; the password travels apart."""
    url = urlsplit(settings.database_url)
    return f"postgresql://{role}@{url.netloc}{url.path}"


@dataclass(frozen=True, slots=True)
class Base:
    """What every process of the platform needs: vault, clock, and a database to open transactions on."""

    settings: Settings
    vault: Vault
    clock: Clock
    ids: Ids
    database: Database
    pins: PinSigner


@asynccontextmanager
async def connected(settings: Settings, reactions: Reactions, *, pool_size: int) -> AsyncIterator[Base]:
    """Fetch credentials from the vault and connect; facts go to these reactions.

    :raises VaultUnavailable, UnsafeRole: refuses to start
    """
    vault, clock = open_vault(settings), open_clock(settings)
    ids = Ids(clock, os.urandom)
    pool = await pool_of(settings, vault, "fx_app", size_max=pool_size)
    pins = await pin_signer(vault)
    database = Database(pool, pins=pins, clock=clock, ids=ids, reactions=reactions)
    try:
        yield Base(settings, vault, clock, ids, database, pins)
    finally:
        await database.close()


async def pool_of(settings: Settings, vault: Vault, role: str, *, size_max: int) -> Pool:
    """A pool that logs in as ``role``."""
    return await open_pool(dsn(settings, role), await fetch(vault, password_of(role)), size_max=size_max)
