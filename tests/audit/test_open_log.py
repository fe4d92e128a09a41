"""The open log: tiles that only grow, checkpoints that are signed once, and what anybody may fetch
(AD-06, AD-09 … AD-11, AD-13)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from fintokenx import audit
from fintokenx.app import http as app_http
from fintokenx.audit import http as audit_http
from fintokenx.audit.jobs import AuditJobs
from fintokenx.audit.service.open_log import parsed_tile, tile_path
from fintokenx.audit.service.proving import next_slot
from fintokenx.audit.store import tiles
from fintokenx.audit.types import BadTile
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Pool
from fintokenx.kernel.errors import Unavailable
from fintokenx.kernel.merkle import root_of, verify_consistency
from fintokenx.kernel.notes import checkpoint_of, signed_checkpoint
from fintokenx.kernel.tiles import Tile, edge_of, hash_of, width_at
from fintokenx.kernel.vault import VaultUnavailable
from fintokenx.web.edge import Edge
from fintokenx.web.services import Services
from tests.database.things import ACTOR, A, B, all_entries, make, verify
from tests.support import START, World
from tests.support.fakes.anchors import AnchorsInMemory
from tests.support.fakes.signer import ORIGIN, SignerInMemory

pytestmark = pytest.mark.anyio


@pytest.fixture
async def sealer(world: World) -> AsyncIterator[Pool]:
    pool = await world.pool("fx_sealer", 4)
    yield pool
    await pool.close()


@pytest.fixture
def signer() -> SignerInMemory:
    return SignerInMemory()


@pytest.fixture
def anchors() -> AnchorsInMemory:
    return AnchorsInMemory()


@pytest.fixture
def jobs(world: World, sealer: Pool, anchors: AnchorsInMemory, signer: SignerInMemory) -> AuditJobs:
    return AuditJobs(sealer, anchors, world.clock, signer, ORIGIN)


async def slot(jobs: AuditJobs) -> None:
    """What falls due every ten minutes."""
    await jobs.anchor(None, {})  # type: ignore[arg-type]


@pytest.fixture
async def superuser(world: World) -> AsyncIterator[asyncpg.Connection]:
    connection = await world.connect("postgres")
    yield connection
    await connection.close()


async def stuff(superuser: asyncpg.Connection, count: int) -> list[bytes]:
    """Entries in bulk, past the chain, as a benchmark loads them; the hashes of all that there are."""
    await superuser.execute(
        """insert into app.audit_entries (seq, id, "timestamp", action, actor, actor_role, tenant_id, resource,
                                          request_id, diff, prev_hash, hash, merkle_batch_id)
           select s.seq, 'aud_' || s.seq, '2026-06-02Z', 'THING_NOTE', 'x', 'system', 'tnt_a', 'bulk', '', '{}',
                  sha256('x'), sha256(s.seq::text::bytea), b.id
             from (select coalesce(max(seq), 0) as last from app.audit_entries) e,
                  generate_series(e.last + 1, e.last + $1) s (seq), app.merkle_batches b
            where b.state = 'COLLECTING'""",
        count,
    )
    return [row["hash"] for row in await superuser.fetch("select hash from app.audit_entries order by seq")]


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


# ── What anybody may fetch


@pytest.fixture
async def stranger(world: World, sealer: Pool, signer: SignerInMemory) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody without credentials: whoever calls for a tenant is a fault here."""

    async def authenticate(_request: Any) -> Caller:
        raise AssertionError("the open log asks nobody who they are")

    app = app_http.create(ids=world.ids, routers=[audit_http.router], title="t", version="1", environment="local")
    app.state.services = Services(
        Edge(world.database, world.ids, authenticate, b"key"), audit_http.AuditServices(sealer, signer.log)
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test/v1/log") as client:
        yield client


async def test_a_stranger_rebuilds_every_checkpoint_from_tiles(
    world: World, jobs: AuditJobs, superuser: asyncpg.Connection, stranger: httpx.AsyncClient, signer: SignerInMemory
) -> None:
    sizes = []
    for count in (3, 253, 1, 300):
        hashes = await stuff(superuser, count)
        sizes.append(len(hashes))
        await slot(jobs)
    assert (await stranger.get("/key")).text == f"{signer.key}\n"
    for batch, size in enumerate(sizes, start=1):
        said = signed_checkpoint((await stranger.get(f"/checkpoints/{batch}")).text, signer.key)
        assert (said.size, said.root) == (size, root_of(hashes[:size]))
        found = {}
        for tile in edge_of(size):
            answer = await stranger.get(f"/tile/{tile.level}/{tile.index:03}.p/{width_at(tile, size)}")
            assert answer.status_code == 200, answer.text
            found[tile] = answer.content
        assert hash_of((0, size), found) == said.root
    assert (await stranger.get("/checkpoint")).text == (await stranger.get("/checkpoints/4")).text
    assert (await stranger.get("/tile/0/001")).content == b"".join(hashes[256:512])


async def test_each_answer_says_how_long_it_may_be_kept(
    world: World, jobs: AuditJobs, superuser: asyncpg.Connection, stranger: httpx.AsyncClient
) -> None:
    await stuff(superuser, 300)
    await slot(jobs)
    for_ever = "public, max-age=31536000, immutable"
    kept = {
        "/checkpoint": ("text/plain; charset=utf-8", "public, max-age=5"),
        "/checkpoints/1": ("text/plain; charset=utf-8", for_ever),
        "/tile/0/000": ("application/octet-stream", for_ever),
        "/tile/0/001.p/44": ("application/octet-stream", for_ever),
        "/key": ("text/plain; charset=utf-8", "public, max-age=3600"),
        "/anchors": ("application/json", "public, max-age=5"),
        "/anchors/1": ("application/json", for_ever),
    }
    for path, (kind, how_long) in kept.items():
        answer = await stranger.get(path)
        assert answer.status_code == 200, path
        assert (answer.headers["content-type"], answer.headers["cache-control"]) == (kind, how_long), path
        again = await stranger.get(path, headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content, again.headers["cache-control"]) == (304, b"", how_long)
        other = await stranger.get(path, headers={"if-none-match": '"something else"'})
        assert (other.status_code, other.content) == (200, answer.content)


async def test_anchors_are_listed_in_pages(
    world: World, jobs: AuditJobs, stranger: httpx.AsyncClient, anchors: AnchorsInMemory
) -> None:
    for batch in range(3):
        await make(world, A, f"t{batch}")
        await slot(jobs)
    first = (await stranger.get("/anchors", params={"limit": 2})).json()
    rest = (await stranger.get("/anchors", params={"limit": 2, "after": first["next"]})).json()
    listed = [*first["items"], *rest["items"]]
    assert rest["next"] is None
    assert [(one["batch_id"], one["tree_size"], one["root"], one["tx_hash"]) for one in listed] == [
        (anchor.batch_id, anchor.tree_size, anchor.root.hex(), anchor.tx_hash) for anchor in anchors.standing.values()
    ]
    one = (await stranger.get("/anchors/2")).json()
    assert {
        **listed[1],
        **{name: one[name] for name in ("block_hash", "header", "receipt_index", "receipt_proof")},
    } == one


async def test_only_what_a_checkpoint_covers_is_served(
    world: World, jobs: AuditJobs, sealer: Pool, superuser: asyncpg.Connection, stranger: httpx.AsyncClient
) -> None:
    for path in ("/checkpoint", "/checkpoints/1", "/tile/0/000.p/1", "/anchors/1"):
        assert (await stranger.get(path)).status_code == 404, "nothing is published yet"
    await stuff(superuser, 3)
    await slot(jobs)
    await stuff(superuser, 300)
    await audit.seal(sealer, world.clock.now())
    covered = await stranger.get("/tile/0/000.p/3")
    assert len(covered.content) == 3 * 32
    assert (await stranger.get("/tile/0/000.p/2")).content == covered.content[:64]
    for path in ("/tile/0/000.p/4", "/tile/0/000", "/tile/0/001.p/1", "/tile/1/000.p/1", "/checkpoints/2"):
        answer = await stranger.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND"), path


@pytest.mark.parametrize(
    "place",
    [
        "64/000", "00/000", "01/000", "x/000", "0/0", "0/1000", "0/x000/001", "0/001/002", "0/000.p/0",
        "0/000.p/01", "0/000.p/256", "0/000.p/999", "0/000.p/", "0/000.p", "0/000/",
    ],
)  # fmt: skip
async def test_what_is_no_name_of_a_tile_is_a_bad_request(stranger: httpx.AsyncClient, place: str) -> None:
    answer = await stranger.get(f"/tile/{place}")
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert answer.json()["code"] == "BAD_TILE"


@pytest.mark.parametrize("place", ["-1/000", "0/000.q/1", "0/٠٠٠"])
async def test_what_has_not_even_the_shape_of_a_tile_does_not_fit_the_schema(
    stranger: httpx.AsyncClient, place: str
) -> None:
    answer = await stranger.get(f"/tile/{place}")
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_REQUEST")


@pytest.mark.parametrize(
    "place", ["8/000", "63/000", "0/x999/x999/x999/x999/x999/x999/999", "entries/000", "5/000.p/1"]
)
async def test_a_tile_that_is_never_to_be_is_not_found(
    world: World, jobs: AuditJobs, stranger: httpx.AsyncClient, place: str
) -> None:
    await make(world, A, "t1")
    await slot(jobs)
    assert (await stranger.get(f"/tile/{place}")).status_code == 404


@pytest.mark.parametrize(
    "path", ["/checkpoints/0", "/checkpoints/x", "/anchors/99999999999999999999", "/anchors?limit=0"]
)
async def test_other_nonsense_is_refused_as_a_problem(stranger: httpx.AsyncClient, path: str) -> None:
    answer = await stranger.get(path)
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_REQUEST")


@pytest.mark.parametrize("index", [0, 7, 999, 1000, 67, 1_234_067, 999_999, 10**9])
def test_a_tiles_path_is_read_back(index: int) -> None:
    assert parsed_tile("0", tile_path(index)) == (Tile(0, index), 256)


def test_the_path_is_that_of_the_standards_example() -> None:
    assert tile_path(1_234_067) == "x001/x234/067"
    with pytest.raises(BadTile):
        parsed_tile("0", "x000/x234/067")


async def test_a_database_that_is_away_is_unavailable_and_no_fault_of_ours(
    world: World, stranger: httpx.AsyncClient, sealer: Pool
) -> None:
    await sealer.close()
    answer = await stranger.get("/checkpoint")
    assert (answer.status_code, answer.json()["code"]) == (503, "DATABASE_UNAVAILABLE")


# ── Bundles


async def test_a_bundle_of_a_resource_holds_all_its_entries_and_ties_all_its_checkpoints(
    world: World, jobs: AuditJobs, sealer: Pool, anchors: AnchorsInMemory, signer: SignerInMemory
) -> None:
    for batch in range(5):
        await make(world, A, f"noise-{batch}")
        if batch % 2 == 0:
            async with world.database.transaction(A) as tx:
                await audit.change(tx, ACTOR[A], action="THING_NOTE", resource="FXI-1", move=audit.Move())
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
        await audit.change(tx, ACTOR[A], action="THING_NOTE", resource="t1", move=audit.Move())
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
