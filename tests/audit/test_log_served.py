"""The open log as anybody may fetch it: tiles, checkpoints, anchors, and how long each may be kept (AD-10, AD-13)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest

from fintokenx import audit
from fintokenx.app import http as app_http
from fintokenx.audit import http as audit_http
from fintokenx.audit.jobs import AuditJobs
from fintokenx.audit.service.open_log import parsed_tile, tile_path
from fintokenx.audit.types.refusals import BadTile
from fintokenx.kernel.caller import Caller
from fintokenx.kernel.db import Pool
from fintokenx.kernel.merkle import root_of
from fintokenx.kernel.notes import signed_checkpoint
from fintokenx.kernel.tiles import Tile, edge_of, hash_of, width_at
from fintokenx.web.edge import Edge
from fintokenx.web.services import Services
from tests.audit.log_house import anchors, jobs, sealer, signer, slot, stuff, superuser
from tests.database.things import A, make
from tests.support import World
from tests.support.fakes.anchors import AnchorsInMemory
from tests.support.fakes.signer import SignerInMemory

pytestmark = pytest.mark.anyio
__all__ = ["anchors", "jobs", "sealer", "signer", "superuser"]

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
