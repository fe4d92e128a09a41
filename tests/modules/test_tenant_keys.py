"""One wrapping key for each tenant: destroying it closes all that the tenant stored, in backups too (A8, PA-10)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fintokenx.adapters.blobs import TENANT_KEYS, DataKeys, EncryptedBlobs
from fintokenx.adapters.vault import LocalVault
from fintokenx.kernel.jobs.periodic import Periodic
from fintokenx.kernel.rewrapping import EVERY, JOB, Rewrapping
from fintokenx.kernel.sealing import SUBJECT_KEYS, SealBroken, Sealer, Shredded, shred_tenant, wrapping_key_of
from fintokenx.sandbox.postgres import client_program
from tests.kernel.shop import Shop, until
from tests.support import World, world_from

pytestmark = pytest.mark.anyio
A, B = "tnt_alpha", "tnt_beta"
ANN, BOB = "sub_ann", "sub_bob"
TABLES = (SUBJECT_KEYS, TENANT_KEYS)
SECRET, CONTENT = "ann@canary.example", b"%PDF of an invoice"


@dataclass
class Stored:
    """What both tenants had stored before anything was destroyed, and the vault that they share."""

    vault: LocalVault
    sealed: dict[str, str]
    blobs: dict[str, tuple[str, str]]

    async def opened(self, world: World, folder: Path) -> dict[str, list[str]]:
        """What opens for each tenant in a process that has just started on this database and folder."""
        sealer = Sealer(world.database, self.vault, os.urandom)
        blobs = _blobs(world, self.vault, folder)
        found: dict[str, list[str]] = {A: [], B: []}
        for tenant, opens in found.items():
            try:
                assert await sealer.open(tenant, ANN, "email", self.sealed[tenant]) == SECRET
                opens.append("sealed")
            except (Shredded, SealBroken):
                pass
            for ref in self.blobs[tenant]:
                try:
                    assert await blobs.get(tenant, ref) == CONTENT
                    opens.append(ref.split("/")[1])
                except Shredded:
                    pass
        return found


ALL = ["sealed", "original_pdf", "gate-answers"]


def _blobs(world: World, vault: LocalVault, folder: Path) -> EncryptedBlobs:
    return EncryptedBlobs(f"file://{folder}", vault, DataKeys(world.database, vault, os.urandom), os.urandom)


async def _store(world: World, folder: Path) -> Stored:
    vault = LocalVault(folder / "vault", os.urandom)
    sealer, blobs = Sealer(world.database, vault, os.urandom), _blobs(world, vault, folder / "blobs")
    stored = Stored(vault, {}, {})
    for tenant in (A, B):
        stored.sealed[tenant] = await sealer.seal(tenant, ANN, "email", SECRET)
        ours = await blobs.put(tenant, "original_pdf", CONTENT)
        hers = await blobs.put(tenant, "gate-answers", CONTENT, subject_id=BOB)
        stored.blobs[tenant] = (ours.storage_ref, hers.storage_ref)
    return stored


@asynccontextmanager
async def _restored(world: World, dump: Path) -> AsyncIterator[World]:
    """Another database with what the dump holds, as somebody would who has lost the first."""
    async with world_from(world.admin_dsn, "template0") as empty:
        _postgres("psql", "--quiet", "--set", "ON_ERROR_STOP=1", "--file", str(dump), empty.dsn("postgres"))
        yield empty


def _postgres(program: str, *arguments: str) -> None:
    client = client_program(program)
    assert client is not None
    done = subprocess.run([client, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


async def test_a_backup_from_before_opens_nothing_of_a_tenant_whose_key_was_destroyed(
    world: World, tmp_path: Path
) -> None:
    stored = await _store(world, tmp_path)
    dump = tmp_path / "before.sql"
    _postgres("pg_dump", "--format=plain", "--file", str(dump), world.dsn("postgres"))
    subprocess.run(["cp", "-r", str(tmp_path / "blobs"), str(tmp_path / "backup")], check=True)
    async with _restored(world, dump) as before:
        assert await stored.opened(before, tmp_path / "backup") == {A: ALL, B: ALL}, "the backup is a good one"
    await shred_tenant(world.database, stored.vault, TABLES, A)
    assert await stored.opened(world, tmp_path / "blobs") == {A: [], B: ALL}
    async with _restored(world, dump) as after:
        rows = await _rows(after, A)
        assert rows, "the wrapped keys are all there again"
        assert await stored.opened(after, tmp_path / "backup") == {A: [], B: ALL}
        with pytest.raises(Shredded):
            await Sealer(after.database, stored.vault, os.urandom).seal(A, "sub_new", "email", SECRET)


async def test_a_process_that_has_read_a_tenants_data_forgets_its_keys_with_it(world: World, tmp_path: Path) -> None:
    stored = await _store(world, tmp_path)
    sealer = Sealer(world.database, stored.vault, os.urandom)
    assert await sealer.open(A, ANN, "email", stored.sealed[A]) == SECRET
    for _ in range(2):
        await shred_tenant(world.database, stored.vault, TABLES, A)
    with pytest.raises(Shredded):
        await sealer.open(A, ANN, "email", stored.sealed[A])


async def _rows(world: World, tenant: str) -> list[tuple[str, bool]]:
    async with world.database.transaction(tenant) as tx:
        sql = " union all ".join(f"select wrapped_by, wrapped_key is not null as kept from {t.name}" for t in TABLES)
        return [(row["wrapped_by"], row["kept"]) for row in await tx.rows(sql)]


async def _wrap_as_before(world: World, vault: LocalVault) -> None:
    """Every key under the one that all tenants shared, as they were wrapped before each had one of its own."""
    superuser = await world.connect("postgres")
    for table in TABLES:
        await superuser.execute(f"alter table {table.name} disable trigger a_only_shred")
        for row in await superuser.fetch(f"select tenant_id, {table.column} as name, * from {table.name}"):
            tenant_id, name, now = row["tenant_id"], row["name"], row["wrapped_by"]
            key = await vault.unwrap(now, row["wrapped_key"], context=table.context(now, tenant_id, name))
            shared = table.shared_wrapping_key
            wrapped = await vault.wrap(shared, key, context=table.context(shared, tenant_id, name))
            await superuser.execute(
                f"update {table.name} set wrapped_key = $3, wrapped_by = $4"
                f" where tenant_id = $1 and {table.column} = $2",
                tenant_id, name, wrapped, shared,
            )  # fmt: skip
        await superuser.execute(f"alter table {table.name} enable always trigger a_only_shred")
    await superuser.close()


async def test_what_the_shared_key_had_wrapped_is_wrapped_again_by_each_tenants_job(
    world: World, tmp_path: Path
) -> None:
    stored = await _store(world, tmp_path)
    await _wrap_as_before(world, stored.vault)
    assert {by for by, _ in await _rows(world, A)} == {"subjects/kek", "blobs/kek"}
    assert await stored.opened(world, tmp_path / "blobs") == {A: ALL, B: ALL}
    shop = Shop(world)
    try:
        periodic = (Periodic(JOB, EVERY, tenant_id=A),)
        [job] = Rewrapping(stored.vault, TABLES).jobs()
        await shop.start(periodic=periodic, **{job.name: job.handler})

        async def is_done() -> bool:
            return {by for by, _ in await _rows(world, A)} == {wrapping_key_of(A)}

        world.clock.set(world.clock.now() + EVERY)
        await until(is_done)
    finally:
        await shop.close()
    assert {by for by, _ in await _rows(world, B)} == {"subjects/kek", "blobs/kek"}, "a job is one tenant's"
    assert await stored.opened(world, tmp_path / "blobs") == {A: ALL, B: ALL}
    await shred_tenant(world.database, stored.vault, TABLES, A)
    assert await stored.opened(world, tmp_path / "blobs") == {A: [], B: ALL}
