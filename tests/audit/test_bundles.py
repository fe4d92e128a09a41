"""Bundles of a resource: all its entries, tied to all its checkpoints (AD-09, AD-10)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from fintokenx import audit
from fintokenx.app import http as app_http
from fintokenx.audit import http as audit_http
from fintokenx.audit.jobs import AuditJobs
from fintokenx.audit.service.proving import next_slot
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Pool
from fintokenx.kernel.merkle import verify_consistency
from fintokenx.kernel.notes import checkpoint_of
from fintokenx.web.edge import Edge
from fintokenx.web.services import Services
from tests.audit.log_house import anchors, jobs, sealer, signer, slot, stuff, superuser
from tests.database.things import ACTOR, A, B, all_entries, make
from tests.support import START, World
from tests.support.fakes.anchors import AnchorsInMemory
from tests.support.fakes.signer import SignerInMemory

pytestmark = pytest.mark.anyio
__all__ = ["anchors", "jobs", "sealer", "signer", "superuser"]

# ── Bundles


async def test_a_bundle_of_a_resource_holds_all_its_entries_and_ties_all_its_checkpoints(
    world: World, jobs: AuditJobs, sealer: Pool, anchors: AnchorsInMemory, signer: SignerInMemory
) -> None:
    for batch in range(5):
        await make(world, A, f"noise-{batch}")
        if batch % 2 == 0:
            async with world.database.transaction(A) as tx:
                await audit.change(tx, ACTOR[A], action="THING_NOTE", resource="FXI-1", move=audit.Changes())
        await slot(jobs)
    shown = {"x": [audit.Disclosed("/diff", "email", "00", "a@b")]}
    async with world.database.transaction(A) as tx:
        found = await audit.provable_of_resource(tx, ACTOR[A], resource="FXI-1")
    seen: list[tuple[int, int]] = []
    shown = {found.entries[1].id: shown["x"]}
    bundle = await audit.prove(
        found, hashes=sealer, log=signer.log, disclosures=shown, progress=lambda done, total: seen.append((done, total))
    )
    assert [checkpoint.id for checkpoint in bundle.checkpoints] == [1, 3, 5]
    assert [(step.old_size, step.new_size) for step in bundle.consistency] == [(2, 5), (5, 8)]
    assert [proof.entry.seq for proof in bundle.entries] == [2, 5, 8]
    assert [len(proof.disclosed) for proof in bundle.entries] == [0, 1, 0]
    assert seen[-1] == (3, 3)
    assert await audit.proof_holds(bundle, anchors)
    roots = {said.size: said.root for said in (checkpoint_of(batch.checkpoint or "") for batch in bundle.checkpoints)}
    for step in bundle.consistency:
        old, new = roots[step.old_size], roots[step.new_size]
        assert verify_consistency(step.old_size, step.new_size, old, new, step.path)
    wire = json.loads(json.dumps(bundle.wire()))
    assert wire["subject_matter"] == {"resource": "FXI-1", "made_at": "2026-06-02T09:00:00.000000Z"}
    assert wire["entries"][1]["disclosed"] == [{"pointer": "/diff", "field": "email", "salt": "00", "value": "a@b"}]
    again = await audit.prove(found, hashes=sealer, log=signer.log, disclosures=shown)
    assert again.wire() == bundle.wire(), "the order is the log's"


async def test_a_bundle_of_many_entries_reads_tiles_in_bounded_portions(
    world: World, jobs: AuditJobs, superuser: asyncpg.Connection, signer: SignerInMemory, anchors: AnchorsInMemory
) -> None:
    await stuff(superuser, 700)
    await slot(jobs)
    auditor = await world.pool("fx_auditor", 1)
    try:
        found = await audit.provable_everywhere(auditor, resource="bulk", at=world.clock.now())
        seen: list[int] = []
        bundle = await audit.prove(
            found, hashes=auditor, log=signer.log, progress=lambda done, _total: seen.append(done)
        )
    finally:
        await auditor.close()
    assert seen == [*range(64, 700, 64), 700]
    assert len(bundle.entries) == 700


async def test_a_resource_of_another_tenant_looks_like_one_that_is_not_there(world: World, jobs: AuditJobs) -> None:
    await make(world, B, "theirs")
    await slot(jobs)
    for resource in ("theirs", "nobody's"):
        async with world.database.transaction(A) as tx:
            with pytest.raises(audit.NothingRecorded):
                await audit.provable_of_resource(tx, ACTOR[A], resource=resource)


async def test_a_bundle_waits_for_the_last_entry_of_its_resource(world: World, jobs: AuditJobs) -> None:
    await make(world, A, "t1")
    await slot(jobs)
    async with world.database.transaction(A) as tx:
        await audit.change(tx, ACTOR[A], action="THING_NOTE", resource="t1", move=audit.Changes())
    world.clock.set(world.clock.now() + timedelta(minutes=3))
    async with world.database.transaction(A) as tx:
        with pytest.raises(audit.ProofPending) as pending:
            await audit.provable_of_resource(tx, ACTOR[A], resource="t1")
    assert pending.value.members == {"pending_until": "2026-06-02T09:10:00.000000Z"}


async def test_the_routes_of_bundles_answer_what_the_record_holds(
    world: World, jobs: AuditJobs, sealer: Pool, signer: SignerInMemory
) -> None:
    async def authenticate(_request: Any) -> Caller:
        return Caller(A, Role.PARTNER_ADMIN, "key:test")

    app = app_http.create(ids=world.ids, routers=[audit_http.router], title="t", version="1", environment="local")
    app.state.services = Services(
        Edge(world.database, world.ids, authenticate, b"key"), audit_http.AuditServices(sealer, signer.log)
    )
    superuser = await world.connect("postgres")
    await superuser.execute("update app.audit_actions set staff_only = false where action = 'THING_MAKE'")
    await superuser.close()
    await make(world, A, "t1")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
        pending = await client.get("/v1/audit/bundle", params={"resource": "t1"})
        assert (pending.status_code, pending.json()["code"]) == (409, "PROOF_PENDING")
        assert pending.json()["pending_until"] == "2026-06-02T09:10:00.000000Z"
        await slot(jobs)
        [entry] = await all_entries(world)
        whole = (await client.get("/v1/audit/bundle", params={"resource": "t1"})).json()
        one = (await client.get(f"/v1/audit/entries/{entry['id']}/proof")).json()
        assert whole == one
        assert set(one) == {
            "format", "log", "subject_matter", "checkpoints", "anchors", "consistency", "entries",
        }  # fmt: skip
        missing = await client.get("/v1/audit/bundle", params={"resource": "t2"})
        assert (missing.status_code, missing.json()["code"]) == (404, "NOT_FOUND")


def test_the_next_slot_is_the_one_in_which_the_job_falls_due() -> None:
    assert next_slot(START) == START + timedelta(minutes=10)
    assert next_slot(START + timedelta(minutes=9, seconds=59, microseconds=1)) == START + timedelta(minutes=10)
