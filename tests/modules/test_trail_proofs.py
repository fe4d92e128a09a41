"""How an entry is proved without the whole log, and what an anchor conflict does (AD-09, AD-11, AD-13)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from fintokenx import audit
from fintokenx.audit import http as audit_http
from fintokenx.audit.jobs import AuditJobs
from fintokenx.kernel.caller import Role
from fintokenx.kernel.db import Pool
from fintokenx.kernel.jobs import Worker
from fintokenx.kernel.merkle import inclusion_proof, root_of
from fintokenx.kernel.notes import signed_checkpoint
from tests.modules.trail_archive import HERE, PLATFORM, SUBJECT, Archive, archive
from tests.support import names
from tests.support.fakes.anchors import AnchorsInMemory
from tests.support.fakes.signer import ORIGIN, SignerInMemory

pytestmark = pytest.mark.anyio
__all__ = ["archive"]

# ── Proofs


async def test_every_proof_is_the_one_of_the_whole_tree(archive: Archive) -> None:
    """Batches of all small sizes, so that the right edge of the tree has every shape."""
    made: list[str] = []
    ends: list[int] = []
    for size in (1, 2, 3, 1, 5, 4, 1, 7, 2):
        made += await archive.record(*["MAIL_QUEUE"] * size)
        ends.append(len(made))
        await archive.anchored()
    leaves = [row["hash"] for row in await archive.sealer.fetch("select hash from app.audit_entries order by seq")]
    for index, entry_id in enumerate(made):
        bundle = (await archive.get(f"/v1/audit/entries/{entry_id}/proof", Role.PARTNER_ADMIN)).json()
        [proof] = bundle["entries"]
        tree_size = next(end for end in ends if end > index)
        assert (proof["leaf_index"], proof["tree_size"]) == (index, tree_size)
        assert proof["path"] == [node.hex() for node in inclusion_proof(leaves[:tree_size], index)]
        [checkpoint] = bundle["checkpoints"]
        assert signed_checkpoint(checkpoint["note"], SignerInMemory().key).root == root_of(leaves[:tree_size])


async def test_a_proof_reads_tiles_and_no_entries(archive: Archive) -> None:
    """With every entry out of the sealer's reach it still holds."""
    await archive.record(*["MAIL_QUEUE"] * 11)
    await archive.anchored()
    made = await archive.record(*["MAIL_QUEUE"] * 3)
    await archive.anchored()
    await archive.record("MAIL_QUEUE")
    superuser = await archive.world.connect("postgres")
    await superuser.execute(
        "drop policy sealer_sees_hashes on app.audit_entries;"
        "create policy sealer_sees_hashes on app.audit_entries for select to fx_sealer using (false)"
    )
    await superuser.close()
    for entry_id in made:
        async with archive.world.database.transaction(HERE) as tx:
            found = await audit.provable(tx, PLATFORM, entry_id=entry_id)
        bundle = await audit.prove(found, hashes=archive.sealer, log=SignerInMemory().log)
        assert await audit.proof_holds(bundle, archive.anchors)


@dataclass
class Watched:
    """The sealer's pool, which counts the application's open transactions whenever it is used."""

    pool: Pool
    superuser: asyncpg.Connection
    seen: list[int] = field(default_factory=list)

    async def fetchrow(self, *arguments: Any) -> Any:
        await self._look()
        return await self.pool.fetchrow(*arguments)

    async def fetch(self, *arguments: Any) -> Any:
        await self._look()
        return await self.pool.fetch(*arguments)

    async def _look(self) -> None:
        self.seen.append(
            await self.superuser.fetchval(
                "select count(*) from pg_stat_activity where datname = current_database() and usename = 'fx_app'"
                " and state like 'idle in transaction%'"
            )
        )


async def test_while_a_proof_is_worked_out_no_transaction_is_open(archive: Archive) -> None:
    """Reading a large batch with a connection of the application in hand would starve the others."""
    [entry_id] = await archive.record("MAIL_QUEUE")
    await archive.anchored()
    superuser = await archive.world.connect("postgres")
    watched = Watched(archive.sealer, superuser)
    archive.app.state.services = archive.app.state.services.instead(
        audit_http.AuditServices(watched, SignerInMemory().log)  # type: ignore[arg-type]
    )
    try:
        answer = await archive.get(f"/v1/audit/entries/{entry_id}/proof", Role.PARTNER_ADMIN)
    finally:
        await superuser.close()
    assert answer.status_code == 200
    assert watched.seen == [0], "one query"


# ── Anchors


async def _restored(archive: Archive) -> None:
    """Three batches sealed; of them the chain knows the second with another root, from before a restore."""
    for _ in range(3):
        await archive.record("MAIL_QUEUE")
        await audit.seal(archive.sealer, archive.world.clock.now())
    await archive.anchors.publish(2, 2, b"\7" * 32)


async def test_a_conflict_over_one_batch_does_not_keep_later_ones_from_being_anchored(archive: Archive) -> None:
    await archive.record("MAIL_QUEUE")
    await archive.anchored()
    await archive.record("MAIL_QUEUE")
    await audit.seal(archive.sealer, archive.world.clock.now())
    await archive.anchors.publish(2, 2, b"\7" * 32)
    await archive.record("MAIL_QUEUE")
    await audit.seal(archive.sealer, archive.world.clock.now())
    with capture_logs() as logged, pytest.raises(audit.AnchorConflict, match="batches 2"):
        await audit.anchor_sealed(archive.sealer, archive.anchors, archive.world.clock.now)
    assert [line["batch_id"] for line in logged if line["log_level"] == "error"] == [2]
    states = await archive.sealer.fetch("select state from app.merkle_batches order by id")
    assert [row["state"] for row in states] == ["ANCHORED", "SEALED", "ANCHORED", "COLLECTING"]


async def test_entries_of_a_batch_in_conflict_are_tied_to_the_anchor_of_the_next_one(archive: Archive) -> None:
    await _restored(archive)
    await audit.sign_sealed(archive.sealer, SignerInMemory(), ORIGIN, AnchorsInMemory())
    with pytest.raises(audit.AnchorConflict):
        await audit.anchor_sealed(archive.sealer, archive.anchors, archive.world.clock.now)
    async with archive.world.database.transaction(HERE) as tx:
        trail = await audit.entries_of(tx, PLATFORM, resources=[SUBJECT])
        bundle = await audit.proof_of(
            tx, PLATFORM, entry_id=trail[1].id, hashes=archive.sealer, log=SignerInMemory().log
        )
    assert [batch.id for batch in bundle.checkpoints] == [2, 3], "its own, and the one that leads to an anchor"
    assert [anchor.batch_id for anchor in bundle.anchors] == [3]
    assert [(step.old_size, step.new_size) for step in bundle.consistency] == [(2, 3)]
    assert await audit.proof_holds(bundle, archive.anchors)


class StrictAnchors(AnchorsInMemory):
    """Takes growing numbers and trees only, as the contract does; a refusal looks like a node that fails."""

    async def publish(self, batch_id: int, tree_size: int, root: bytes) -> Any:
        latest = await self.latest()
        known = batch_id in self.standing or latest is None
        if not known and latest and (batch_id <= latest.batch_id or tree_size <= latest.tree_size):
            raise AssertionError("asked for what the contract refuses")
        return await super().publish(batch_id, tree_size, root)


async def test_what_the_contract_would_refuse_is_a_conflict_and_not_asked_for(archive: Archive) -> None:
    """Batches 1 and 2 of the database are overtaken by the chain's batch 3, which the restored record has not yet."""
    archive.anchors = StrictAnchors()
    await archive.anchors.publish(1, 5, b"\7" * 32)
    for _ in range(2):
        await archive.record("MAIL_QUEUE")
        await audit.seal(archive.sealer, archive.world.clock.now())
    for _ in range(2):
        with pytest.raises(audit.AnchorConflict, match="batches 1, 2"):
            await audit.anchor_sealed(archive.sealer, archive.anchors, archive.world.clock.now)
    await archive.record(*["MAIL_QUEUE"] * 5)
    await audit.seal(archive.sealer, archive.world.clock.now())
    for _ in range(2):
        with pytest.raises(audit.AnchorConflict, match="batches 1, 2"):
            await audit.anchor_sealed(archive.sealer, archive.anchors, archive.world.clock.now)
    assert sorted(archive.anchors.standing) == [1, 3]


async def test_a_conflict_shows_as_a_failed_job(archive: Archive) -> None:
    await _restored(archive)
    world = archive.world
    async with world.database.transaction(HERE) as tx:
        tx.enqueue("audit.anchor", {}, dedupe_key="1")
    claims = await world.pool("fx_worker")
    worker = Worker(
        claims=claims,
        database=world.database,
        jobs=AuditJobs(archive.sealer, archive.anchors, world.clock, SignerInMemory(), ORIGIN).jobs(),
        periodic=(),
        clock=world.clock,
        ids=world.ids,
        poll_seconds=0.02,
    )
    running = asyncio.create_task(worker.run())
    try:
        async with asyncio.timeout(10):
            while (failed := await claims.fetchval("select last_error from ops.jobs")) is None:
                await asyncio.sleep(0.02)
    finally:
        worker.stop()
        await running
        await claims.close()
    assert failed == "ANCHOR_CONFLICT"


async def test_the_command_line_reads_every_trail(archive: Archive) -> None:
    """As fx_auditor, past the roles: an operator at the machine."""
    await archive.record("MAIL_QUEUE", "SUBJECT_FREEZE")
    auditor = await archive.world.connect("fx_auditor")
    try:
        found = await audit.entries_everywhere(auditor, resource=SUBJECT)
    finally:
        await auditor.close()
    assert names(found) == ["MAIL_QUEUE", "SUBJECT_FREEZE"]
    assert archive.world.clock.now() - found[0].timestamp < timedelta(seconds=1)
