"""What the command line does on a local system's database and chain: trails, proofs, verification, first keys."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import asyncpg

from fintokenx import audit
from fintokenx.app import provision, wiring
from fintokenx.app.local import LocalSystem
from fintokenx.audit.http import EntryView, ProofView
from fintokenx.kernel.caller import Role, system
from fintokenx.kernel.db import RawConnection
from fintokenx.kernel.sealing import Sealer
from fintokenx.parties import auth, partner


@asynccontextmanager
async def auditor(of: LocalSystem) -> AsyncIterator[RawConnection]:
    """A connection that reads the whole record and changes nothing."""
    settings = of.settings()
    password = await of.vault().secret(provision.password_of("fx_auditor"))
    connection = await asyncpg.connect(wiring.dsn(settings, "fx_auditor"), password=password)
    await connection.set_type_codec("json", schema="pg_catalog", encoder=str, decoder=str)
    try:
        yield connection
    finally:
        await connection.close()


async def trail(of: LocalSystem, resource: str) -> list[audit.Entry]:
    """Every entry about a resource, in whatever tenant it is."""
    async with auditor(of) as connection:
        return await audit.entries_everywhere(connection, resource=resource)


async def proof(of: LocalSystem, entry_id: str) -> tuple[audit.Proof, bool]:
    """The proof of an entry, and whether it holds against the chain."""
    settings = of.settings()
    async with wiring.base(settings, pool_size=2) as on, wiring.network(settings, on.vault) as to:
        async with auditor(of) as connection:
            tenant_id = await audit.tenant_of_entry(connection, entry_id=entry_id)
        hashes = await wiring.pool_of(settings, on.vault, "fx_sealer", size_max=1)
        try:
            async with on.database.transaction(tenant_id, request_id="cli") as tx:
                found = await audit.proof_of(tx, system(tenant_id, "cli"), entry_id=entry_id, hashes=hashes)
        finally:
            await hashes.close()
        return found, await audit.proof_holds(found, to.anchors)


async def verify(of: LocalSystem, progress: Callable[[int, int], None]) -> audit.Verdict:
    """Check the whole record against itself and the chain."""
    async with auditor(of) as connection, wiring.network(of.settings(), of.vault()) as to:
        total = await audit.entry_count(connection)
        return await audit.verify(connection, to.anchors, progress=lambda seq: progress(seq, total))


async def replay(
    of: LocalSystem, progress: Callable[[str, int, int], None], *, tenant_id: str | None, table: str | None
) -> audit.Replay:
    """Rebuild every domain table from the entries and compare it with the live one."""
    async with auditor(of) as connection:
        return await audit.replay(connection, tenant_id=tenant_id, table=table, progress=progress)


async def anchor_now(of: LocalSystem) -> str:
    """Seal and anchor on demand; says what happened."""
    settings = of.settings()
    vault, clock = of.vault(), of.clock()
    pool = await wiring.pool_of(settings, vault, "fx_sealer", size_max=2)
    try:
        async with wiring.network(settings, vault) as to:
            sealed = await audit.seal(pool, clock.now())
            try:
                anchored = await audit.anchor_sealed(pool, to.anchors, clock.now)
            except audit.AnchorConflict as conflict:
                return f"{conflict}: run `fintokenx audit verify`"
    finally:
        await pool.close()
    what = f"sealed batch {sealed.id} at {sealed.tree_size} entries" if sealed else "nothing new to seal"
    return f"{what}; {anchored} batch(es) anchored"


async def create_api_key(of: LocalSystem, tenant_id: str, name: str, scopes: list[str]) -> str:
    """A fresh key; the only time that it is seen."""
    settings = of.settings()
    async with wiring.base(settings, pool_size=2) as on:
        key_id = on.ids.new("key")
        raw = await partner.raw_api_key(on.vault, settings.environment, tenant_id=tenant_id, key_id=key_id)
        async with on.database.transaction(tenant_id, request_id="cli") as tx:
            caller = system(tenant_id, "cli")
            await partner.create_api_key(tx, caller, key_id=key_id, raw=raw, name=name, scopes=scopes)
        return raw


async def create_staff(of: LocalSystem, tenant_id: str, role: str, name: str, email: str) -> str:
    """A member of staff; its subject id."""
    settings = of.settings()
    async with wiring.base(settings, pool_size=2) as on:
        sealer = Sealer(on.database, on.vault, os.urandom)
        subject_id = on.ids.new("sub")
        person = auth.SealedPerson(
            await sealer.seal(tenant_id, subject_id, "representative_name", name),
            await sealer.seal(tenant_id, subject_id, "email", email),
            await auth.email_index_of(sealer, tenant_id=tenant_id, email=email),
        )
        async with on.database.transaction(tenant_id, request_id="cli") as tx:
            await auth.create_staff(
                tx, system(tenant_id, "cli"), subject_id=subject_id, role=Role(role), employer="FinToken X",
                person=person,
            )  # fmt: skip
        return subject_id


def entry_json(entry: audit.Entry) -> dict[str, Any]:
    """An entry as the API spells it."""
    return EntryView.of(entry).model_dump(mode="json")


def proof_json(found: audit.Proof) -> dict[str, Any]:
    """A proof as the API spells it."""
    return ProofView.of(found).model_dump(mode="json")


def replay_json(found: audit.Replay) -> dict[str, Any]:
    """A replay for machines."""
    return {"equal": found.equal, "differing": found.differing, **asdict(found)}
