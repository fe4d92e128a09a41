"""What somebody with all rights over the database can do, and how it is found out (AD-03)."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.audit.ports import AnchorOnChain
from fintokenx.audit.types import GENESIS_HASH, Entry
from fintokenx.kernel.merkle import Frontier
from fintokenx.kernel.notes import Checkpoint, signed_note
from tests.database.things import A, B, make, verify
from tests.support import World, world_from
from tests.support.fakes.anchors import AnchorsInMemory
from tests.support.fakes.signer import ORIGIN, SignerInMemory, with_another_signature

pytestmark = pytest.mark.anyio
ENTRIES, VICTIM = 12, 5


async def seal_and_anchor(world: World, anchors: AnchorsInMemory) -> None:
    pool = await world.pool("fx_sealer", 1)
    await audit.seal(pool, world.clock.now())
    await audit.sign_sealed(pool, SignerInMemory(), ORIGIN, AnchorsInMemory())
    await audit.anchor_sealed(pool, anchors, world.clock.now)
    await pool.close()


class Scene:
    """A record of twelve entries in three anchored batches, and a superuser who has put the guards to sleep, in a
    transaction that is rolled back after the test."""

    def __init__(self, anchors: AnchorsInMemory, superuser: asyncpg.Connection) -> None:
        self.anchors, self.superuser = anchors, superuser

    async def faults(self, *, ask_the_chain: bool = True, with_key: bool = True) -> tuple[str, ...]:
        """What verification finds."""
        key = SignerInMemory().key if with_key else None
        return (await audit.verify(self.superuser, self.anchors if ask_the_chain else None, key=key)).faults


@asynccontextmanager
async def recorded(cluster: str, things_template: str) -> AsyncIterator[tuple[World, AnchorsInMemory]]:
    async with world_from(cluster, things_template) as world:
        anchors = AnchorsInMemory()
        for batch in range(3):
            for number in range(ENTRIES // 3):
                await make(world, (A, B)[number % 2], f"t{batch}-{number}", note="x")
            await seal_and_anchor(world, anchors)
            world.clock.set(world.clock.now() + timedelta(minutes=10))
        yield world, anchors


@pytest.fixture(scope="module")
async def stage(cluster: str, things_template: str) -> AsyncIterator[Scene]:
    async with recorded(cluster, things_template) as (world, anchors):
        superuser = await world.connect("postgres")
        await superuser.set_type_codec("json", schema="pg_catalog", encoder=str, decoder=str)
        yield Scene(anchors, superuser)
        await superuser.close()


@pytest.fixture
async def scene(stage: Scene) -> AsyncIterator[Scene]:
    transaction = stage.superuser.transaction()
    await transaction.start()
    for table in ("app.audit_entries", "app.merkle_batches", "app.chain_anchors", "ops.log_tiles"):
        await stage.superuser.execute(f"alter table {table} disable trigger all")
    anchors = AnchorsInMemory()
    anchors.standing = dict(stage.anchors.standing)
    yield Scene(anchors, stage.superuser)
    await transaction.rollback()


async def test_an_untouched_record_is_sound(scene: Scene) -> None:
    verdict = await audit.verify(scene.superuser, scene.anchors, key=SignerInMemory().key)
    assert (verdict.sound, verdict.entries, verdict.batches, verdict.anchors) == (True, ENTRIES, 3, 3)


COLUMNS = {
    "id": "'aud_other'",
    "timestamp": "\"timestamp\" + interval '1 microsecond'",
    "action": "'THING_NOTE'",
    "actor": "actor || ' '",
    "actor_role": "'seller'",
    "on_behalf_of": "''",
    "tenant_id": "'tnt_c'",
    "resource": "upper(resource)",
    "request_id": "'x'",
    "diff": "replace(diff::text, '100', '101')::json",
    "prev_hash": "set_byte(prev_hash, 31, get_byte(prev_hash, 31) # 1)",
    "hash": "set_byte(hash, 0, get_byte(hash, 0) # 1)",
    "merkle_batch_id": "1",
}


def test_every_column_of_an_entry_is_in_the_list_above() -> None:
    assert set(COLUMNS) | {"seq"} == set(Entry.__dataclass_fields__)


@pytest.mark.parametrize("column", COLUMNS)
async def test_one_changed_byte_in_any_column_names_its_entry(scene: Scene, column: str) -> None:
    done = await scene.superuser.execute(
        f'update app.audit_entries set "{column}" = {COLUMNS[column]} where seq = {VICTIM}'
    )
    assert done == "UPDATE 1"
    faults = await scene.faults(ask_the_chain=False)
    assert faults[0].startswith(f"entry {VICTIM} (")


async def test_white_space_in_a_diff_is_a_changed_byte(scene: Scene) -> None:
    """The text that was hashed is what is stored; jsonb would have hidden this."""
    await scene.superuser.execute(f"update app.audit_entries set diff = (diff::text || ' ')::json where seq = {VICTIM}")
    assert (await scene.faults())[0].startswith(f"entry {VICTIM} (")


async def test_a_renumbered_entry_is_named(scene: Scene) -> None:
    await scene.superuser.execute(f"update app.audit_entries set seq = 99 where seq = {ENTRIES}")
    assert (await scene.faults())[0].startswith(f"entry {ENTRIES}: missing")


async def test_an_entry_taken_out_of_the_middle_is_named(scene: Scene) -> None:
    await scene.superuser.execute(f"delete from app.audit_entries where seq = {VICTIM}")
    assert (await scene.faults())[0].startswith(f"entry {VICTIM}: missing")


async def test_two_entries_that_changed_places_are_named(scene: Scene) -> None:
    await scene.superuser.execute("update app.audit_entries set seq = 1000 where seq = 5")
    await scene.superuser.execute("update app.audit_entries set seq = 5 where seq = 6")
    await scene.superuser.execute("update app.audit_entries set seq = 6 where seq = 1000")
    assert (await scene.faults())[0].startswith("entry 5 (")


async def test_a_deleted_tail_is_missed_by_its_batch(scene: Scene) -> None:
    await scene.superuser.execute("delete from app.audit_entries where seq > 10")
    assert await scene.faults() == (
        f"batch 3: covers entry {ENTRIES}, but the record ends at 10",
        f"tiles: they hold {ENTRIES} leaves, but the record ends at 10",
    )


async def test_a_tail_deleted_with_its_batch_is_missed_by_its_anchor(scene: Scene) -> None:
    await scene.superuser.execute("delete from app.audit_entries where seq > 8")
    await scene.superuser.execute("delete from app.chain_anchors where batch_id = 3")
    await scene.superuser.execute("delete from app.merkle_batches where id >= 3")
    await scene.superuser.execute("update ops.log_tiles set hashes = substring(hashes from 1 for 8 * 32)")
    assert await scene.faults(ask_the_chain=False) == ()
    assert await scene.faults() == (f"batch 3: anchored on chain at {ENTRIES} entries, unknown to the database",)


async def rewrite(superuser: asyncpg.Connection, from_seq: int, signer: SignerInMemory) -> None:
    """Change one entry and recompute every hash, link, tile and root after it, and sign every checkpoint anew, as a
    thorough forger would. ``signer`` is the forger's own, unless he has the vault in hand as well."""
    frontier, previous, leaves = Frontier(), GENESIS_HASH, b""
    roots = {}
    for row in await superuser.fetch("select * from app.audit_entries order by seq"):
        entry = Entry(**dict(row))
        if entry.seq >= from_seq:
            actor = "sub_innocent" if entry.seq == from_seq else entry.actor
            entry = replace(entry, actor=actor, prev_hash=previous)
            entry = replace(entry, hash=entry.recomputed_hash())
            await superuser.execute(
                "update app.audit_entries set actor = $2, prev_hash = $3, hash = $4 where seq = $1",
                entry.seq,
                entry.actor,
                entry.prev_hash,
                entry.hash,
            )
        frontier.extend([entry.hash])
        previous = entry.hash
        roots[frontier.size] = frontier.root()
        leaves += entry.hash
    for batch in await superuser.fetch("select id, tree_size from app.merkle_batches where state <> 'COLLECTING'"):
        root = roots[batch["tree_size"]]
        text = Checkpoint(ORIGIN, batch["tree_size"], root).text()
        note = signed_note(text, signer.key, await signer.sign(text.encode()))
        await superuser.execute(
            "update app.merkle_batches set root = $2, checkpoint = $3 where id = $1", batch["id"], root, note
        )
        await superuser.execute("update app.chain_anchors set root = $2 where batch_id = $1", batch["id"], root)
    await superuser.execute("update ops.log_tiles set hashes = $1", leaves)


async def test_a_consistent_rewrite_of_the_whole_tail_is_found_by_the_anchors_and_by_nothing_else(scene: Scene) -> None:
    """The forger has the database and the vault; he does not have the chain."""
    await rewrite(scene.superuser, VICTIM, SignerInMemory())
    assert await scene.faults(ask_the_chain=False) == (), "the database alone looks perfect"
    assert await scene.faults() == tuple(
        f"batch {number}: its root differs from the anchor on chain; the record was rewritten" for number in (2, 3)
    )


async def test_without_the_vault_a_consistent_rewrite_is_found_by_the_logs_key(scene: Scene) -> None:
    await rewrite(scene.superuser, VICTIM, SignerInMemory(b"the forger's own key, 32 bytes.."))
    assert await scene.faults(ask_the_chain=False, with_key=False) == ()
    assert await scene.faults(ask_the_chain=False) == tuple(
        f"batch {number}: its checkpoint does not hold: the log's key has not signed it" for number in (1, 2, 3)
    )


# ── The open log


async def test_a_checkpoint_with_another_signature_is_named(scene: Scene) -> None:
    note = await scene.superuser.fetchval("select checkpoint from app.merkle_batches where id = 2")
    await scene.superuser.execute(
        "update app.merkle_batches set checkpoint = $1 where id = 2", with_another_signature(note)
    )
    assert await scene.faults() == ("batch 2: its checkpoint does not hold: the signature is not the log's",)
    assert await scene.faults(with_key=False) == ()


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        (
            "update app.merkle_batches set checkpoint = checkpoints.first from checkpoints where id = 2",
            "batch 2: its checkpoint is over 4 entries and not 8",
        ),
        ("update app.merkle_batches set checkpoint = 'x' where id = 2", "batch 2: its checkpoint does not hold: this"),
        ("update app.merkle_batches set checkpoint = null where id = 2", "batch 2: has no checkpoint, but a later one"),
        (
            "update ops.log_tiles set hashes = overlay(hashes placing '\\x00'::bytea from 100)",
            "tile 0/0: its hashes are not those of the entries",
        ),
        (
            "update ops.log_tiles set hashes = hashes || substring(hashes from 1 for 32)",
            "tiles: they hold 13 leaves, but the record ends at 12",
        ),
        (
            "update ops.log_tiles set hashes = substring(hashes from 1 for 11 * 32)",
            "tiles: they end at entry 11, but a checkpoint covers 12",
        ),
        ("delete from ops.log_tiles", "tiles: they end at entry 0, but a checkpoint covers 12"),
        (
            "insert into ops.log_tiles select 1, 0, hashes from ops.log_tiles",
            "tiles: there are 2, and 1 belong to the tree",
        ),
    ],
)
async def test_a_changed_tile_or_checkpoint_is_named(scene: Scene, statement: str, named: str) -> None:
    await scene.superuser.execute(
        "create temporary view checkpoints as select checkpoint as first from app.merkle_batches where id = 1"
    )
    await scene.superuser.execute(statement)
    assert any(fault.startswith(named) for fault in await scene.faults())


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("update app.merkle_batches set root = sha256('x') where id = 2", "batch 2: its root is not the root"),
        ("update app.merkle_batches set first_seq = 4 where id = 2", "batch 2: does not begin where"),
        ("update app.merkle_batches set tx_hash = '0xfeed' where id = 2", "batch 2: names another transaction"),
        (
            """insert into app.merkle_batches (id, opened_at, sealed_at, state, first_seq, last_seq, tree_size, root)
               values (99, now(), now(), 'SEALED', 9, 12, 12, sha256('x'))""",
            "batch 99:",
        ),
    ],
)
async def test_a_changed_batch_is_named(scene: Scene, statement: str, named: str) -> None:
    await scene.superuser.execute(statement)
    assert any(fault.startswith(named) for fault in await scene.faults())


async def test_an_anchor_that_the_chain_does_not_know_is_named(scene: Scene) -> None:
    del scene.anchors.standing[2]
    assert await scene.faults() == ("batch 2: anchored according to the database, unknown to the chain",)


async def test_a_record_that_is_all_wrong_is_reported_in_bounded_length(scene: Scene) -> None:
    await scene.superuser.execute(
        'insert into app.audit_entries select seq + 1000 * n, id || n, "timestamp", action, actor, actor_role,'
        " on_behalf_of, tenant_id, resource, request_id, diff, prev_hash, hash, merkle_batch_id"
        " from app.audit_entries, generate_series(1, 20) n"
    )
    assert 100 <= len(await scene.faults(ask_the_chain=False)) <= 110


async def test_verification_while_the_record_grows_raises_no_false_alarm(cluster: str, things_template: str) -> None:
    """A batch that is sealed and anchored in the middle of a verification is not "unknown to the database"."""
    counter = itertools.count()
    async with recorded(cluster, things_template) as (world, anchors):

        class Busy(AnchorsInMemory):
            async def read(self, batch_id: int) -> AnchorOnChain | None:
                if batch_id == 1:
                    await make(world, A, f"late-{next(counter)}")
                    await seal_and_anchor(world, anchors)
                return await super().read(batch_id)

        busy = Busy()
        busy.standing = anchors.standing
        assert (await verify(world, busy)).faults == ()
        assert len(anchors.standing) == 4
        assert (await verify(world, anchors)).faults == ()
