"""What the command line does on a local system's database and chain: proofs, verification, first people."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from fintokenx import audit
from fintokenx.app import assembly, base, catalogue, outside, wiring
from fintokenx.app.checkpoint_signer import VaultSigner
from fintokenx.app.local import LocalSystem
from fintokenx.app.trails import auditor
from fintokenx.kernel.caller import Caller, Role, WrongRole, system
from fintokenx.kernel.db import Tx
from fintokenx.kernel.sealing import Sealer
from fintokenx.lifecycle import tokenisation
from fintokenx.parties import auth, compliance


async def proof(of: LocalSystem, entry_id: str) -> tuple[audit.Bundle, bool]:
    """The proof of an entry, and whether it holds against the checkpoint and the chain."""
    settings = of.settings()
    async with wiring.base(settings, pool_size=2) as on, outside.network(settings, on.vault) as to:
        async with auditor(of) as connection:
            tenant_id = await audit.tenant_of_entry(connection, entry_id=entry_id)
        hashes = await base.pool_of(settings, on.vault, "fx_sealer", size_max=1)
        try:
            async with on.database.transaction(tenant_id, request_id="cli") as tx:
                covered = await audit.provable(tx, system(tenant_id, "cli"), entry_id=entry_id)
            log = await assembly.log_identity(settings, on.vault)
            found = await audit.prove(covered, hashes=hashes, log=log)
        finally:
            await hashes.close()
        return found, await audit.proof_holds(found, to.anchors)


class NotAnOfficer(WrongRole):
    """Sealed data is told to an active officer of the tenant whose entry it is; there is none of this id."""

    code = "NOT_AN_OFFICER"


async def bundle(
    of: LocalSystem, resource: str, fields: list[str], by: str, progress: Callable[[int, int], None]
) -> audit.Bundle:
    """Evidence of all that is recorded about a resource, in whatever tenant, with some fields in the clear: that they
    were told, and to whom, is on record before they are. Fields of the erased are left out.

    :raises NotAnOfficer, WrongRole: there are fields, and ``by`` may not see them; nothing was told
    """
    log = await assembly.log_identity(of.settings(), of.vault())
    async with auditor(of) as connection:
        found = await audit.provable_everywhere(connection, resource=resource, at=of.clock().now())
        told = await disclose(of, [entry.id for entry in found.entries], fields, by) if fields else []
        shown: dict[str, list[audit.Disclosed]] = {}
        for one in told:
            if one.value is not None and one.salt is not None:
                field = audit.Disclosed(one.pointer, one.field, one.salt, one.value)
                shown.setdefault(one.entry_id, []).append(field)
        return await audit.prove(found, hashes=connection, log=log, disclosures=shown, progress=progress)


async def log_key(of: LocalSystem) -> str:
    """The verifier key of the open log."""
    return str((await assembly.log_identity(of.settings(), of.vault())).key)


async def checkpoint(of: LocalSystem) -> str:
    """The newest signed checkpoint."""
    async with auditor(of) as connection:
        return (await audit.newest_checkpoint(connection)).checkpoint or ""


async def verify(of: LocalSystem, progress: Callable[[int, int], None]) -> audit.Verdict:
    """Check the whole record against itself, the log's key and the chain."""
    log = await assembly.log_identity(of.settings(), of.vault())
    async with auditor(of) as connection, outside.network(of.settings(), of.vault()) as to:
        total = await audit.entry_count(connection)
        return await audit.verify(connection, to.anchors, key=log.key, progress=lambda seq: progress(seq, total))


async def replay(
    of: LocalSystem, progress: Callable[[str, int, int], None], *, tenant_id: str | None, table: str | None
) -> audit.Replay:
    """Rebuild every domain table from the entries and compare it with the live one."""
    async with auditor(of) as connection:
        return await audit.replay(
            connection, tenant_id=tenant_id, table=table, sealed=catalogue.SEALED, progress=progress
        )


async def reconcile(of: LocalSystem, progress: Callable[[str, int, int], None]) -> tokenisation.Reconciliation:
    """Compare what the database says of tokens, holdings and claims with what stands on chain at one block."""
    settings, vault = of.settings(), of.vault()
    pool = await base.pool_of(settings, vault, "fx_auditor", size_max=1)
    try:
        async with outside.network(settings, vault) as to:
            return await tokenisation.reconcile(pool, to.state, now=of.clock().now(), progress=progress)
    finally:
        await pool.close()


async def anchor_now(of: LocalSystem) -> str:
    """Seal, sign and anchor on demand; says what happened."""
    settings = of.settings()
    vault, clock = of.vault(), of.clock()
    pool = await base.pool_of(settings, vault, "fx_sealer", size_max=2)
    try:
        async with outside.network(settings, vault) as to:
            sealed = await audit.seal(pool, clock.now())
            try:
                await audit.sign_sealed(pool, VaultSigner(vault), settings.log_origin, to.anchors)
                anchored = await audit.anchor_sealed(pool, to.anchors, clock.now)
            except audit.AnchorConflict as conflict:
                return f"{conflict}: run `fintokenx audit verify`"
            await audit.keep_receipts(pool, to.anchors)
    finally:
        await pool.close()
    what = f"sealed batch {sealed.id} at {sealed.tree_size} entries" if sealed else "nothing new to seal"
    return f"{what}; {anchored} batch(es) anchored"


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


async def disclose(
    of: LocalSystem, entry_ids: list[str], fields: list[str], by: str
) -> list[compliance.DisclosedValue]:
    """Sealed fields of entries with what proves them, on record under each person's id as told to ``by``.

    :raises NotAnOfficer: ``by`` is nobody active in the tenant of the entries, or they are of several; nothing was told
    :raises WrongRole: somebody else than the MLRO or a compliance officer; nothing was told
    """
    async with wiring.base(of.settings(), pool_size=2) as on:
        async with auditor(of) as connection:
            tenants = {await audit.tenant_of_entry(connection, entry_id=entry_id) for entry_id in entry_ids}
        if len(tenants) != 1:
            raise NotAnOfficer("the entries are of several tenants; an officer is of one")
        [tenant_id] = tenants
        async with on.database.transaction(tenant_id, request_id="cli") as tx:
            officer = await _officer(tx, by)
            found = await compliance.record_disclosure(
                tx, officer, entry_ids=entry_ids, fields=fields, sealed=catalogue.SEALED
            )
        return await compliance.disclose(Sealer(on.database, on.vault, os.urandom), tenant_id, found)


async def _officer(tx: Tx, subject_id: str) -> Caller:
    found = await auth.find_subject(tx, subject_id)
    if found is None or found.state is not auth.SubjectState.ACTIVE:
        raise NotAnOfficer(f"no active {subject_id} in {tx.tenant_id}")
    return Caller(found.tenant_id, found.role, found.id, subject_id=found.id)


def replay_json(found: audit.Replay) -> dict[str, Any]:
    """A replay for machines."""
    return {"equal": found.equal, "differing": found.differing, **asdict(found)}


def reconciliation_json(found: tokenisation.Reconciliation) -> dict[str, Any]:
    """A reconciliation for machines."""
    drifts = [{**asdict(drift), "kind": drift.kind.name, "told": drift.told()} for drift in found.drifts]
    return {"equal": found.equal, **asdict(found), "drifts": drifts}
