"""Batches: sealed cheaply and once, anchored when the chain answers, and any entry provable from them
(AD-06, AD-07, AD-09, AD-11, AD-13)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from fintokenx import audit
from fintokenx.audit.jobs import AuditJobs
from fintokenx.kernel.db import Pool
from fintokenx.kernel.errors import Unavailable
from fintokenx.kernel.merkle import root_of
from tests.database.things import ACTOR, A, B, all_entries, make, verify
from tests.support import World
from tests.support.fakes.anchors import AnchorsInMemory
from tests.support.fakes.signer import ORIGIN, SignerInMemory

pytestmark = pytest.mark.anyio


@pytest.fixture
async def sealer(world: World) -> AsyncIterator[Pool]:
    pool = await world.pool("fx_sealer", 4)
    yield pool
    await pool.close()


@pytest.fixture
def anchors() -> AnchorsInMemory:
    return AnchorsInMemory()


async def test_a_seal_closes_what_is_recorded_and_opens_the_next_batch(world: World, sealer: Pool) -> None:
    for batch_id, names in enumerate((["a", "b", "c"], ["d"], ["e", "f"]), start=1):
        await make(world, A, *names)
        batch = await audit.seal(sealer, world.clock.now())
        assert batch is not None
        hashes = [entry["hash"] for entry in await all_entries(world)]
        assert (batch.id, batch.tree_size, batch.root) == (batch_id, len(hashes), root_of(hashes))
    assert [entry["merkle_batch_id"] for entry in await all_entries(world)] == [1, 1, 1, 2, 3, 3]
    assert (await verify(world)).batches == 3


async def test_a_seal_reads_only_what_came_since_the_last_one(world: World, sealer: Pool) -> None:
    """O(batch): with the old entries out of reach the root still comes out right, from the tiles."""
    await make(world, A, *(f"t{n}" for n in range(11)))
    await audit.seal(sealer, world.clock.now())
    await make(world, A, "new")
    hashes = [entry["hash"] for entry in await all_entries(world)]
    superuser = await world.connect("postgres")
    await superuser.execute(
        "drop policy sealer_sees_hashes on app.audit_entries;"
        "create policy sealer_sees_hashes on app.audit_entries for select to fx_sealer using (seq > 11)"
    )
    await superuser.close()
    batch = await audit.seal(sealer, world.clock.now())
    assert batch is not None
    assert batch.root == root_of(hashes)


async def test_nothing_recorded_is_nothing_sealed(world: World, sealer: Pool) -> None:
    assert await audit.seal(sealer, world.clock.now()) is None
    await make(world, A, "t1")
    assert await audit.seal(sealer, world.clock.now()) is not None
    assert await audit.seal(sealer, world.clock.now()) is None


async def test_sealers_at_once_make_one_batch(world: World, sealer: Pool) -> None:
    await make(world, A, "t1", "t2")
    sealed = await asyncio.gather(*(audit.seal(sealer, world.clock.now()) for _ in range(4)))
    assert len([batch for batch in sealed if batch]) == 1
    assert (await verify(world)).batches == 1


async def test_sealing_while_writers_write_puts_every_entry_in_one_batch(world: World, sealer: Pool) -> None:
    async def write(writer: int) -> None:
        await make(world, (A, B)[writer % 2], *(f"{writer}-{n}" for n in range(15)))

    async def seal_often() -> None:
        for _ in range(25):
            await audit.seal(sealer, world.clock.now())

    await asyncio.gather(seal_often(), *(write(writer) for writer in range(4)))
    await audit.seal(sealer, world.clock.now())
    verdict = await verify(world)
    assert (verdict.sound, verdict.entries) == (True, 60)
    superuser = await world.connect("postgres")
    outside = await superuser.fetchval(
        "select count(*) from app.audit_entries e where not exists (select from app.merkle_batches b"
        " where b.id = e.merkle_batch_id and e.seq between b.first_seq and b.last_seq)"
    )
    await superuser.close()
    assert outside == 0


async def test_an_anchors_transaction_is_written_back(world: World, sealer: Pool, anchors: AnchorsInMemory) -> None:
    """AD-07."""
    await make(world, A, "t1")
    await audit.seal(sealer, world.clock.now())
    assert await audit.anchor_sealed(sealer, anchors, world.clock.now) == 1
    rows = await sealer.fetch(
        "select b.id, b.state, b.tx_hash, b.block_number, a.tx_hash as of_anchor, a.root = b.root as same"
        " from app.merkle_batches b join app.chain_anchors a on a.batch_id = b.id"
    )
    tx_hash = anchors.standing[1].tx_hash
    assert [tuple(row) for row in rows] == [(1, "ANCHORED", tx_hash, 100, tx_hash, True)]
    assert await audit.anchor_sealed(sealer, anchors, world.clock.now) == 0


async def test_while_the_chain_is_down_batches_queue_and_then_catch_up(
    world: World, sealer: Pool, anchors: AnchorsInMemory
) -> None:
    """AD-11: an hour without a network is six batches later."""
    jobs = AuditJobs(sealer, anchors, world.clock, SignerInMemory(), ORIGIN)
    anchors.away = True
    for slot in range(6):
        await make(world, A, f"t{slot}")
        with pytest.raises(Unavailable):
            await jobs.anchor(None, {})  # type: ignore[arg-type]
        world.clock.set(world.clock.now() + timedelta(minutes=10))
    anchors.away = False
    await jobs.anchor(None, {})  # type: ignore[arg-type]
    assert sorted(anchors.standing) == [1, 2, 3, 4, 5, 6]
    verdict = await verify(world, anchors)
    assert (verdict.sound, verdict.entries, verdict.anchors) == (True, 6, 6)


async def test_an_anchor_whose_answer_was_lost_is_not_made_twice(
    world: World, sealer: Pool, anchors: AnchorsInMemory
) -> None:
    await make(world, A, "t1")
    await audit.seal(sealer, world.clock.now())
    anchors.lose_answers = True
    with pytest.raises(Unavailable):
        await audit.anchor_sealed(sealer, anchors, world.clock.now)
    anchors.lose_answers = False
    assert await audit.anchor_sealed(sealer, anchors, world.clock.now) == 1
    assert len(anchors.standing) == 1
    assert (await verify(world, anchors)).sound


async def proofs_of(world: World, sealer: Pool, tenant: str) -> list[audit.Bundle]:
    async with world.database.transaction(tenant) as tx:
        mine = [entry["id"] for entry in await all_entries(world) if entry["tenant_id"] == tenant]
        log = SignerInMemory().log
        return [await audit.proof_of(tx, ACTOR[tenant], entry_id=one, hashes=sealer, log=log) for one in mine]


async def test_every_entry_is_provable_and_no_proof_fits_another(
    world: World, sealer: Pool, anchors: AnchorsInMemory
) -> None:
    """AD-09."""
    for batch in range(3):
        await make(world, A, f"a{batch}", f"c{batch}")
        await make(world, B, f"b{batch}")
        await audit.seal(sealer, world.clock.now())
        await audit.sign_sealed(sealer, SignerInMemory(), ORIGIN, AnchorsInMemory())
        await audit.anchor_sealed(sealer, anchors, world.clock.now)
    bundles = await proofs_of(world, sealer, A)
    assert [[batch.id for batch in bundle.checkpoints] for bundle in bundles] == [[1], [1], [2], [2], [3], [3]]
    for bundle in bundles:
        assert await audit.proof_holds(bundle, anchors)
        for other in bundles:
            if other is not bundle:
                assert not await audit.proof_holds(of_another(bundle, other.entries[0].entry), anchors)
    forged = replace(bundles[0].entries[0].entry, actor="sub_innocent")
    assert not await audit.proof_holds(of_another(bundles[0], forged), anchors)
    rehashed = replace(forged, hash=forged.recomputed_hash())
    assert not await audit.proof_holds(of_another(bundles[0], rehashed), anchors)
    assert not await audit.proof_holds(replace(bundles[0], checkpoints=bundles[2].checkpoints), anchors)
    assert not await audit.proof_holds(replace(bundles[0], anchors=bundles[2].anchors), anchors)
    assert not await audit.proof_holds(replace(bundles[0], anchors=()), anchors)
    other_key = replace(bundles[0].log, key=SignerInMemory(b"another" + bytes(25)).key)
    assert not await audit.proof_holds(replace(bundles[0], log=other_key), anchors)


def of_another(bundle: audit.Bundle, entry: audit.Entry) -> audit.Bundle:
    """The bundle with its one entry changed for another."""
    return replace(bundle, entries=(replace(bundle.entries[0], entry=entry),))


async def test_a_proof_is_not_given_before_the_checkpoint_nor_to_another_tenant(
    world: World, sealer: Pool, anchors: AnchorsInMemory
) -> None:
    """AD-13."""
    await make(world, A, "t1")
    with pytest.raises(audit.ProofPending):
        await proofs_of(world, sealer, A)
    await audit.seal(sealer, world.clock.now())
    with pytest.raises(audit.ProofPending) as pending:
        await proofs_of(world, sealer, A)
    assert pending.value.members == {"pending_until": "2026-06-02T09:10:00.000000Z"}
    await audit.sign_sealed(sealer, SignerInMemory(), ORIGIN, AnchorsInMemory())
    [unanchored] = await proofs_of(world, sealer, A)
    assert unanchored.anchors == ()
    await audit.anchor_sealed(sealer, anchors, world.clock.now)
    [entry] = await all_entries(world)
    for tenant, entry_id in ((B, entry["id"]), (A, "aud_none")):
        with pytest.raises(audit.UnknownEntry):
            async with world.database.transaction(tenant) as tx:
                await audit.proof_of(tx, ACTOR[tenant], entry_id=entry_id, hashes=sealer, log=SignerInMemory().log)
    [proof] = await proofs_of(world, sealer, A)
    assert await audit.proof_holds(proof, anchors)
