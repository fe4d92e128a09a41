"""The trail of a resource, read from a local system's database. Loads no module that it does not need."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from fintokenx import audit
from fintokenx.app.base import dsn
from fintokenx.app.local import LocalSystem
from fintokenx.app.provision import password_of
from fintokenx.kernel.db import RawConnection


@asynccontextmanager
async def auditor(of: LocalSystem) -> AsyncIterator[RawConnection]:
    """A connection that reads the whole record and changes nothing."""
    settings = of.settings()
    password = await of.vault().secret(password_of("fx_auditor"))
    connection = await asyncpg.connect(dsn(settings, "fx_auditor"), password=password)
    await connection.set_type_codec("json", schema="pg_catalog", encoder=str, decoder=str)
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
    try:
        yield connection
    finally:
        await connection.close()


async def trail(of: LocalSystem, resource: str) -> list[audit.Entry]:
    """Every entry about a resource, in whatever tenant it is."""
    async with auditor(of) as connection:
        return await audit.entries_everywhere(connection, resource=resource)


def entry_json(entry: audit.Entry) -> dict[str, Any]:
    """An entry as the API spells it."""
    from fintokenx.audit.http.views import EntryView  # here: the API's models take longer to load than the trail

    return EntryView.of(entry).model_dump(mode="json")
