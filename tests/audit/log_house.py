"""What the tests of the open log share: a sealer, its key, anchors, and slots."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from fintokenx.audit.jobs import AuditJobs
from fintokenx.kernel.db import Pool
from tests.support import World
from tests.support.fakes.anchors import AnchorsInMemory
from tests.support.fakes.signer import ORIGIN, SignerInMemory


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
