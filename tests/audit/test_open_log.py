"""The open log: tiles that only grow, checkpoints that are signed once, and what anybody may fetch
(AD-06, AD-09 … AD-11, AD-13)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.audit.jobs import AuditJobs
from fintokenx.audit.store import tiles
from fintokenx.kernel.db import Pool
from fintokenx.kernel.errors import Unavailable
from fintokenx.kernel.merkle import root_of
from fintokenx.kernel.notes import signed_checkpoint
from fintokenx.kernel.tiles import Tile, hash_of
from fintokenx.kernel.vault import VaultUnavailable
from tests.audit.log_house import anchors, jobs, sealer, signer, slot, stuff, superuser
from tests.database.things import ACTOR, A, all_entries, make, verify
from tests.support import World
from tests.support.fakes.anchors import AnchorsInMemory
from tests.support.fakes.signer import ORIGIN, SignerInMemory

pytestmark = pytest.mark.anyio
__all__ = ["anchors", "jobs", "sealer", "signer", "superuser"]


async def stored(superuser: asyncpg.Connection) -> dict[Tile, bytes]:
    rows = await superuser.fetch("select level, index, hashes from ops.log_tiles")
    return {Tile(row["level"], row["index"]): row["hashes"] for row in rows}


# ── Tiles


async def test_sealing_writes_the_tiles_of_the_tree(sealer: Pool, superuser: asyncpg.Connection, world: World) -> None:
    for count in (3, 255, 1, 300, 2):
        hashes = await stuff(superuser, count)
        batch = await audit.seal(sealer, world.clock.now())
        assert batch is not None
        assert batch.root == root_of(hashes) == hash_of((0, len(hashes)), await stored(superuser))
    held = await stored(superuser)
    assert {tile: len(content) // 32 for tile, content in held.items()} == {
        Tile(0, 0): 256, Tile(0, 1): 256, Tile(0, 2): 49, Tile(1, 0): 2,
    }  # fmt: skip
    assert held[Tile(0, 1)] == b"".join(hashes[256:512])


async def test_a_database_from_before_tiles_gets_them_at_its_first_seal_and_a_crash_between_is_harmless(
    world: World, sealer: Pool, superuser: asyncpg.Connection, signer: SignerInMemory
) -> None:
    """Batches were sealed and anchored then; their tiles come in steps, and their checkpoints after them."""
    hashes = await stuff(superuser, tiles.LEAVES_PER_STEP + 5)
    await superuser.execute(
        """update app.merkle_batches set state = 'SEALED', sealed_at = now(), first_seq = 1, last_seq = $1,
                  tree_size = $1, root = $2""",
        len(hashes),
        root_of(hashes),
    )
    await superuser.execute("insert into app.merkle_batches (id, opened_at, state) values (2, now(), 'COLLECTING')")
    with pytest.raises(audit.LogInconsistent, match="tile"):
        await audit.sign_sealed(sealer, signer, ORIGIN, AnchorsInMemory())
    assert await tiles.grow(sealer) == (tiles.LEAVES_PER_STEP, True)
    assert await tiles.size(superuser) == tiles.LEAVES_PER_STEP, "and then the power went"
    assert await audit.seal(sealer, world.clock.now()) is None, "nothing new to seal"
    assert hash_of((0, len(hashes)), await stored(superuser)) == root_of(hashes)
    assert await audit.sign_sealed(sealer, signer, ORIGIN, AnchorsInMemory()) == 1


async def test_a_seal_that_fails_leaves_no_tile_of_its_own_and_no_batch(
    world: World, sealer: Pool, superuser: asyncpg.Connection
) -> None:
    """Whatever tiles hold beyond the last batch is true all the same: the next seal goes on from there."""
    await make(world, A, "t1", "t2")
    await superuser.execute("alter table app.merkle_batches add constraint full_disk check (id < 2)")
    with pytest.raises(asyncpg.CheckViolationError):
        await audit.seal(sealer, world.clock.now())
    assert await superuser.fetchval("select state from app.merkle_batches") == "COLLECTING"
    await superuser.execute("alter table app.merkle_batches drop constraint full_disk")
    batch = await audit.seal(sealer, world.clock.now())
    assert batch is not None
    assert batch.root == root_of([entry["hash"] for entry in await all_entries(world)])


async def test_no_tree_is_made_over_a_gap(world: World, sealer: Pool, superuser: asyncpg.Connection) -> None:
    await make(world, A, "t1", "t2", "t3")
    await superuser.execute("alter table app.audit_entries disable trigger all")
    await superuser.execute("delete from app.audit_entries where seq = 2")
    with pytest.raises(ValueError, match="entry 2 is missing"):
        await audit.seal(sealer, world.clock.now())


REWRITES = (
    "update ops.log_tiles set hashes = overlay(hashes placing '\\x00'::bytea from 5)",
    "update ops.log_tiles set hashes = substring(hashes from 1 for 32)",
    "update ops.log_tiles set hashes = sha256('x') || hashes",
    "update ops.log_tiles set hashes = hashes",
    "update ops.log_tiles set index = 7",
    "delete from ops.log_tiles",
    "truncate ops.log_tiles",
)


@pytest.mark.parametrize("statement", REWRITES)
@pytest.mark.parametrize("mode", ["origin", "replica"])
async def test_a_tile_is_never_rewritten_by_anybody(
    world: World, sealer: Pool, superuser: asyncpg.Connection, statement: str, mode: str
) -> None:
    await make(world, A, "t1", "t2")
    await audit.seal(sealer, world.clock.now())
    before = await stored(superuser)
    await superuser.execute(f"set session_replication_role = {mode}")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await superuser.execute(statement)
    assert await stored(superuser) == before


@pytest.mark.parametrize("statement", [text for text in REWRITES if not text.endswith("hashes = hashes")])
async def test_with_its_guards_asleep_a_tile_can_be_rewritten_and_verification_finds_it(
    world: World, sealer: Pool, superuser: asyncpg.Connection, statement: str
) -> None:
    """The planted twin: it is the triggers that stop the statements above."""
    await make(world, A, "t1", "t2")
    await audit.seal(sealer, world.clock.now())
    await audit.sign_sealed(sealer, SignerInMemory(), ORIGIN, AnchorsInMemory())
    await superuser.execute("alter table ops.log_tiles disable trigger all")
    await superuser.execute(statement)
    assert not (await verify(world)).sound


async def test_a_tile_takes_no_more_than_its_width(superuser: asyncpg.Connection) -> None:
    await superuser.execute("insert into ops.log_tiles values (0, 0, decode(repeat('00', 8192), 'hex'))")
    with pytest.raises(asyncpg.CheckViolationError):
        await superuser.execute("update ops.log_tiles set hashes = hashes || sha256('x')")
    with pytest.raises(asyncpg.CheckViolationError):
        await superuser.execute("insert into ops.log_tiles values (0, 1, 'seven b')")


@pytest.mark.parametrize("role", ["fx_app", "fx_worker", "fx_platform", "fx_auditor"])
async def test_only_the_sealer_writes_tiles(world: World, role: str) -> None:
    connection = await world.connect(role)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("insert into ops.log_tiles values (0, 0, sha256('x'))")
    await connection.close()


# ── Checkpoints


async def test_every_sealed_batch_is_signed_and_each_continues_the_one_before(
    world: World, jobs: AuditJobs, sealer: Pool, signer: SignerInMemory
) -> None:
    for batch in range(4):
        await make(world, A, *(f"{batch}-{number}" for number in range(batch + 1)))
        await slot(jobs)
    hashes = [entry["hash"] for entry in await all_entries(world)]
    notes = [row["checkpoint"] for row in await sealer.fetch(
        "select checkpoint from app.merkle_batches where state <> 'COLLECTING' order by id"
    )]  # fmt: skip
    said = [signed_checkpoint(note, signer.key) for note in notes]
    assert [(one.size, one.root) for one in said] == [(size, root_of(hashes[:size])) for size in (1, 3, 6, 10)]
    assert len(signer.signed) == 4


async def test_while_the_vault_is_down_batches_queue_and_then_catch_up(
    world: World, jobs: AuditJobs, signer: SignerInMemory, anchors: AnchorsInMemory
) -> None:
    signer.away = True
    for batch in range(3):
        await make(world, A, f"t{batch}")
        with pytest.raises(VaultUnavailable):
            await slot(jobs)
        world.clock.set(world.clock.now() + timedelta(minutes=10))
    assert not signer.signed
    signer.away = False
    await slot(jobs)
    assert [text.split(b"\n")[1] for text in signer.signed] == [b"1", b"2", b"3"]
    assert sorted(anchors.standing) == [1, 2, 3]
    assert (await verify(world, anchors)).sound


async def test_while_the_chain_is_down_nothing_is_signed_and_then_all_of_it(
    world: World, jobs: AuditJobs, signer: SignerInMemory, anchors: AnchorsInMemory, sealer: Pool
) -> None:
    """An hour (AD-11): only the chain knows whether this database is the newest life of the record."""
    anchors.away = True
    for batch in range(6):
        await make(world, A, f"t{batch}")
        with pytest.raises(Unavailable):
            await slot(jobs)
        world.clock.set(world.clock.now() + timedelta(minutes=10))
    assert not signer.signed
    [first, *_] = await all_entries(world)
    with pytest.raises(audit.ProofPending):
        await proof(world, sealer, signer, first["id"])
    anchors.away = False
    assert await audit.sign_sealed(sealer, signer, ORIGIN, anchors) == 6
    bundle = await proof(world, sealer, signer, first["id"])
    assert (len(bundle.checkpoints), bundle.anchors) == (1, ())
    await slot(jobs)
    later = await proof(world, sealer, signer, first["id"])
    assert [anchor.batch_id for anchor in later.anchors] == [1]
    assert later.entries == bundle.entries, "an old proof never goes stale"
    assert await audit.proof_holds(later, anchors)


@pytest.mark.parametrize("forgotten", [0, 1])
async def test_a_backup_that_was_put_back_signs_no_second_history(
    world: World, jobs: AuditJobs, signer: SignerInMemory, anchors: AnchorsInMemory, sealer: Pool, forgotten: int
) -> None:
    """By itself it looks perfect, and it has forgotten what it signed after the backup; the chain has not."""
    await make(world, A, "t1")
    await slot(jobs)
    await anchors.publish(2 + forgotten, 7, b"\7" * 32)  # the life after the backup
    await make(world, A, "t2")
    for _ in range(2):
        with pytest.raises(audit.AnchorConflict):
            await slot(jobs)
    assert len(signer.signed) == 1
    assert sorted(anchors.standing) == [1, 2 + forgotten], "and anchors none"


async def proof(world: World, sealer: Pool, signer: SignerInMemory, entry_id: str) -> audit.Bundle:
    async with world.database.transaction(A) as tx:
        return await audit.proof_of(tx, ACTOR[A], entry_id=entry_id, hashes=sealer, log=signer.log)


async def test_a_checkpoint_is_signed_once_and_never_changed(
    world: World, jobs: AuditJobs, sealer: Pool, superuser: asyncpg.Connection
) -> None:
    await make(world, A, "t1")
    await slot(jobs)
    before = await sealer.fetchval("select checkpoint from app.merkle_batches where id = 1")
    other = SignerInMemory(b"another key of thirty-two bytes.")
    assert await audit.sign_sealed(sealer, other, ORIGIN, AnchorsInMemory()) == 0
    for value in ("'other bytes'", "null"):
        for connection in (sealer, superuser):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="stays as it is"):
                await connection.execute(f"update app.merkle_batches set checkpoint = {value} where id = 1")
    assert await sealer.fetchval("select checkpoint from app.merkle_batches where id = 1") == before
    await superuser.execute("alter table app.merkle_batches disable trigger a_checkpoint_once")
    await superuser.execute("update app.merkle_batches set checkpoint = 'other bytes' where id = 1")


async def test_two_signers_at_once_make_one_checkpoint(world: World, sealer: Pool, signer: SignerInMemory) -> None:
    for batch in range(3):
        await make(world, A, f"t{batch}")
        await audit.seal(sealer, world.clock.now())
    done = await asyncio.gather(*(audit.sign_sealed(sealer, signer, ORIGIN, AnchorsInMemory()) for _ in range(3)))
    assert sum(done) == 3
    assert (await verify(world)).sound


@pytest.mark.parametrize(
    "statement",
    [
        "update app.merkle_batches set root = sha256('x') where id = 2",
        "update ops.log_tiles set hashes = overlay(hashes placing sha256('x') from 1)",
    ],
)
async def test_a_tree_that_does_not_continue_the_signed_one_is_not_signed(
    world: World, jobs: AuditJobs, sealer: Pool, superuser: asyncpg.Connection, signer: SignerInMemory, statement: str
) -> None:
    """tlog-checkpoint: a log must not sign two that are inconsistent."""
    await make(world, A, "t1")
    await slot(jobs)
    await make(world, A, "t2")
    await audit.seal(sealer, world.clock.now())
    await superuser.execute("alter table ops.log_tiles disable trigger all")
    await superuser.execute(statement)
    with pytest.raises(audit.LogInconsistent, match="batch 2"):
        await audit.sign_sealed(sealer, signer, ORIGIN, AnchorsInMemory())
    assert len(signer.signed) == 1


# ── Receipts


async def test_an_anchors_receipt_is_kept_once_and_asked_for_again_until_a_node_gives_it(
    world: World, jobs: AuditJobs, sealer: Pool, anchors: AnchorsInMemory, signer: SignerInMemory
) -> None:
    await make(world, A, "t1")
    await audit.seal(sealer, world.clock.now())
    await audit.sign_sealed(sealer, signer, ORIGIN, AnchorsInMemory())
    await audit.anchor_sealed(sealer, anchors, world.clock.now)
    [entry] = await all_entries(world)
    [without] = (await proof(world, sealer, signer, entry["id"])).wire()["anchors"]
    assert (without["block_hash"], without["header"], without["receipt_index"], without["receipt_proof"]) == (None,) * 4
    anchors.away = True
    assert await audit.keep_receipts(sealer, anchors) == 0
    anchors.away = False
    await slot(jobs)
    [anchor] = (await proof(world, sealer, signer, entry["id"])).wire()["anchors"]
    assert anchor["header"]
    assert anchor["receipt_proof"]
    assert await audit.keep_receipts(sealer, anchors) == 0
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="stays as it is"):
        await sealer.execute("update app.chain_anchors set receipt = '{}'")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
        await sealer.execute("update app.chain_anchors set root = sha256('x')")
