"""Blobs at rest: ciphertext under the tenant's own key, bound to its place, and read back whole or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fintokenx.adapters.blobs import TENANT_KEYS, DataKeys, EncryptedBlobs
from fintokenx.adapters.vault import LocalVault
from fintokenx.kernel.blobs import Blobs, BlobTampered
from fintokenx.kernel.errors import Unavailable
from fintokenx.kernel.sealing import KEY_LIFE_SECONDS, Shredded, shred, shred_tenant, wrapping_key_of
from fintokenx.kernel.vault import VaultUnavailable
from tests.support import World

pytestmark = pytest.mark.anyio
A, B = "tnt_alpha", "tnt_beta"
CONTENT = b"%PDF-1.7 canary-4711 of an invoice"


class Seconds:
    """A hand-moved machine clock for the memory of keys."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class House:
    """A store in a folder, its keys and its vault; ``blobs()`` is a fresh process."""

    world: World
    folder: Path
    vault: LocalVault
    seconds: Seconds

    def keys(self) -> DataKeys:
        return DataKeys(self.world.database, self.vault, os.urandom, seconds=self.seconds)

    def blobs(self, keys: DataKeys | None = None) -> Blobs:
        return EncryptedBlobs(f"file://{self.folder / 'blobs'}", self.vault, keys or self.keys(), os.urandom)

    def path(self, storage_ref: str) -> Path:
        return self.folder / "blobs" / storage_ref

    def switch_vault(self, *, down: bool) -> None:
        switch = self.folder / "vault" / "down"
        switch.touch() if down else switch.unlink()


@pytest.fixture
def house(world: World, tmp_path: Path) -> House:
    return House(world, tmp_path, LocalVault(tmp_path / "vault", os.urandom), Seconds())


async def test_bytes_come_back_and_the_reference_names_them(house: House) -> None:
    stored = await house.blobs().put(A, "original_pdf", CONTENT)
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert (stored.storage_ref, stored.sha256, stored.size_bytes) == (
        f"{A}/original_pdf/{digest}",
        digest,
        len(CONTENT),
    )
    assert await house.blobs().get(A, stored.storage_ref) == CONTENT


ANN, BOB = "sub_ann", "sub_bob"


async def test_what_is_about_a_person_dies_with_that_persons_key(house: House) -> None:
    """SB-01: under the person's key, at a name that tells nothing of the bytes; the tenant's own blobs stay."""
    blobs = house.blobs()
    hers, his = [await blobs.put(A, "gate-answers", CONTENT, subject_id=subject_id) for subject_id in (ANN, BOB)]
    ours = await blobs.put(A, "gate-answers", CONTENT)
    assert hers.storage_ref.startswith(f"{A}/gate-answers/{ANN}/")
    assert hers.sha256 not in hers.storage_ref
    assert hers.storage_ref.rsplit("/", 1)[1] != his.storage_ref.rsplit("/", 1)[1]
    assert house.path(hers.storage_ref).read_bytes().startswith(b"FXB1\x0fsubject/sub_ann")
    assert await house.blobs().get(A, hers.storage_ref) == CONTENT
    assert await blobs.put(A, "gate-answers", CONTENT, subject_id=ANN) == hers, "the same bytes, the same place"
    async with house.world.database.transaction(A) as tx:
        await shred(tx, ANN)
    for process in (blobs, house.blobs()):
        with pytest.raises(Shredded):
            await process.get(A, hers.storage_ref)
        with pytest.raises(Shredded):
            await process.put(A, "gate-answers", b"more", subject_id=ANN)
    assert await blobs.get(A, his.storage_ref) == await blobs.get(A, ours.storage_ref) == CONTENT


async def test_a_blob_of_one_person_opens_neither_as_anothers_nor_as_the_tenants(house: House) -> None:
    blobs = house.blobs()
    hers, his = [await blobs.put(A, "gate-answers", CONTENT, subject_id=subject_id) for subject_id in (ANN, BOB)]
    ours = await blobs.put(A, "gate-answers", CONTENT)
    content = house.path(hers.storage_ref).read_bytes()
    for other in (his, ours):
        house.path(other.storage_ref).write_bytes(content)
        with pytest.raises(BlobTampered):
            await blobs.get(A, other.storage_ref)
    house.path(hers.storage_ref).write_bytes(content.replace(b"subject/sub_ann", b"subject/sub_bob"))
    with pytest.raises(BlobTampered):
        await blobs.get(A, hers.storage_ref)


@pytest.mark.parametrize("subject_id", ["", "../x", "ann", "sub_ann/x", "sub_" + "a" * 61])
async def test_a_strange_subject_id_is_refused(house: House, subject_id: str) -> None:
    with pytest.raises(ValueError, match="subject"):
        await house.blobs().put(A, "gate-answers", CONTENT, subject_id=subject_id)


async def test_at_rest_there_is_only_ciphertext_with_the_id_of_its_key(house: House) -> None:
    stored = await house.blobs().put(A, "original_pdf", CONTENT)
    at_rest = house.path(stored.storage_ref).read_bytes()
    assert b"canary" not in at_rest
    assert b"PDF" not in at_rest
    assert at_rest.startswith(b"FXB1\x07blobs-1")
    async with house.world.database.transaction(A) as tx:
        assert await tx.value("select key_id from ops.tenant_keys") == "blobs-1"
    for path in house.folder.rglob("*"):
        assert not path.is_file() or b"canary" not in path.read_bytes()


async def test_storing_the_same_bytes_twice_is_harmless_and_mends(house: House) -> None:
    blobs = house.blobs()
    first = await blobs.put(A, "original_pdf", CONTENT)
    path = house.path(first.storage_ref)
    path.write_bytes(b"damaged")
    assert await blobs.put(A, "original_pdf", CONTENT) == first
    assert await blobs.get(A, first.storage_ref) == CONTENT
    assert [found.name for found in path.parent.iterdir()] == [first.sha256]


async def test_tenants_that_store_the_same_bytes_share_nothing(house: House) -> None:
    """SB-01: A's object in B's place does not decrypt, whichever way it got there."""
    blobs = house.blobs()
    of_a, of_b = await blobs.put(A, "pdf", CONTENT), await blobs.put(B, "pdf", CONTENT)
    house.path(of_b.storage_ref).write_bytes(house.path(of_a.storage_ref).read_bytes())
    with pytest.raises(BlobTampered):
        await blobs.get(B, of_b.storage_ref)
    with pytest.raises(KeyError):
        await blobs.get(B, of_a.storage_ref)


async def test_an_object_in_the_place_of_another_kind_or_digest_is_refused(house: House) -> None:
    blobs = house.blobs()
    pdf, other = await blobs.put(A, "pdf", CONTENT), await blobs.put(A, "pdf", b"other")
    ocr = await blobs.put(A, "ocr", CONTENT)
    at_rest = house.path(pdf.storage_ref).read_bytes()
    for ref in (other.storage_ref, ocr.storage_ref):
        house.path(ref).write_bytes(at_rest)
        with pytest.raises(BlobTampered):
            await blobs.get(A, ref)


async def test_every_changed_byte_and_every_cut_is_noticed(house: House) -> None:
    blobs = house.blobs()
    stored = await blobs.put(A, "pdf", CONTENT)
    path = house.path(stored.storage_ref)
    whole = path.read_bytes()
    changed = [whole[:n] + bytes([whole[n] ^ 1]) + whole[n + 1 :] for n in range(len(whole))]
    for damaged in [*changed, *(whole[:n] for n in range(len(whole))), whole + b"\0"]:
        path.write_bytes(damaged)
        with pytest.raises(BlobTampered):
            await blobs.get(A, stored.storage_ref)


@pytest.mark.parametrize(
    ("tenant_id", "kind"),
    [
        ("tnt_../x", "pdf"),
        ("../tnt_alpha", "pdf"),
        ("tnt_alpha\n", "pdf"),
        ("", "pdf"),
        ("TNT_alpha", "pdf"),
        (A, ".."),
        (A, "a/b"),
        (A, "a..b"),
        (A, ""),
        (A, "PDF"),
        (A, "x" * 65),
        (A, "pdf\n"),
    ],
)
async def test_no_tenant_and_no_kind_leads_out_of_its_folder(house: House, tenant_id: str, kind: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        await house.blobs().put(tenant_id, kind, CONTENT)
    assert not any(path.is_file() for path in (house.folder / "blobs").rglob("*"))


async def test_a_reference_that_could_not_be_ours_is_as_good_as_missing(house: House) -> None:
    blobs = house.blobs()
    stored = await blobs.put(A, "pdf", CONTENT)
    digest = stored.sha256
    for ref in (
        f"{A}/pdf/{'0' * 64}",
        f"{A}/../{A}/pdf/{digest}",
        f"{A}/../{digest}",
        f"{A}//{digest}",
        f"{A}/pdf/{digest}/",
        f"/{stored.storage_ref}",
        f"{stored.storage_ref}\n",
        "../vault/store/master.key",
        "",
    ):
        with pytest.raises(KeyError):
            await blobs.get(A, ref)


async def test_the_row_holds_a_wrapped_key_that_only_its_tenant_sees(house: House) -> None:
    await house.blobs().put(A, "pdf", CONTENT)
    _, key = await house.keys().to_write(A)
    async with house.world.database.transaction(A) as tx:
        wrapped = await tx.value("select wrapped_key from ops.tenant_keys where wrapped_by = 'tenant/tnt_alpha/wrap'")
    assert key not in wrapped
    async with house.world.database.transaction(B) as tx:
        assert await tx.value("select count(*) from ops.tenant_keys") == 0
    with pytest.raises(ValueError):
        await house.vault.unwrap(wrapping_key_of(A), wrapped, context=f"ops.tenant_keys|{B}|blobs-1".encode())


async def test_processes_that_race_for_the_first_key_agree_on_one(house: House) -> None:
    several = [house.blobs() for _ in range(6)]
    refs = await asyncio.gather(*(blobs.put(A, f"k{n}", CONTENT) for n, blobs in enumerate(several)))
    for stored in refs:
        assert await house.blobs().get(A, stored.storage_ref) == CONTENT
    async with house.world.database.transaction(A) as tx:
        assert await tx.value("select count(*) from ops.tenant_keys") == 1


async def test_a_vault_that_is_down_stops_new_keys_but_not_those_in_memory(house: House) -> None:
    blobs = house.blobs()
    stored = await blobs.put(A, "pdf", CONTENT)
    house.switch_vault(down=True)
    assert await blobs.get(A, stored.storage_ref) == CONTENT
    with pytest.raises(VaultUnavailable):
        await house.blobs().get(A, stored.storage_ref)
    with pytest.raises(VaultUnavailable):
        await blobs.put(B, "pdf", CONTENT)
    house.seconds.now += KEY_LIFE_SECONDS
    with pytest.raises(VaultUnavailable):
        await blobs.get(A, stored.storage_ref)
    house.switch_vault(down=False)
    assert await blobs.get(A, stored.storage_ref) == CONTENT


async def test_destroyed_keys_leave_no_readable_blob_and_let_none_be_written(house: House) -> None:
    """PA-10: offboarding."""
    blobs = house.blobs()
    of_a, of_b = await blobs.put(A, "pdf", CONTENT), await blobs.put(B, "pdf", CONTENT)
    await shred_tenant(house.world.database, house.vault, (TENANT_KEYS,), A)
    for each in (blobs, house.blobs()):
        with pytest.raises(Shredded):
            await each.get(A, of_a.storage_ref)
        with pytest.raises(Shredded):
            await each.put(A, "pdf", CONTENT)
        assert await each.get(B, of_b.storage_ref) == CONTENT


async def test_a_data_key_is_neither_replaced_nor_revived(house: House) -> None:
    await house.blobs().put(A, "pdf", CONTENT)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with house.world.database.transaction(A) as tx:
            await tx.write("update ops.tenant_keys set wrapped_key = '\\x00'")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with house.world.database.transaction(A) as tx:
            await tx.write("delete from ops.tenant_keys")
    await shred_tenant(house.world.database, house.vault, (TENANT_KEYS,), A)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with house.world.database.transaction(A) as tx:
            await tx.write("update ops.tenant_keys set wrapped_key = '\\x00', shredded_at = null")


async def test_a_store_that_cannot_write_is_unavailable(house: House) -> None:
    blobs = house.blobs()
    (house.folder / "blobs" / A).write_text("a file where the tenant's folder should be")
    with pytest.raises(Unavailable) as caught:
        await blobs.put(A, "pdf", CONTENT)
    assert caught.value.system == "object store"


async def test_only_stores_that_we_know_are_opened(house: House) -> None:
    for url in ("https://example.org/x", "/tmp/x", "s3://bucket?secret=1", "gs://bucket", "file://relative/x"):
        with pytest.raises(ValueError, match="object store"):
            EncryptedBlobs(url, house.vault, house.keys(), os.urandom)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=5000))
async def test_whatever_is_put_comes_back(house: House, content: bytes) -> None:
    """In memory, so that ``memory://`` has its turn."""
    blobs = EncryptedBlobs("memory:///", house.vault, house.keys(), os.urandom)
    stored = await blobs.put(A, "any", content)
    assert await blobs.get(A, stored.storage_ref) == content


@dataclass
class Bucket:
    """A server that speaks enough of S3's REST (path style) to take and give whole objects."""

    objects: dict[str, bytes] = field(default_factory=dict)
    authorisations: set[str] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request_line := await reader.readline():
            method, path, _ = request_line.decode().split()
            headers = {}
            while line := (await reader.readline()).decode().strip():
                name, _, value = line.partition(": ")
                headers[name.lower()] = value
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.authorisations.add(headers.get("authorization", ""))
            writer.write(self._reply(method, path, body))
            await writer.drain()
        writer.close()

    def _reply(self, method: str, path: str, body: bytes) -> bytes:
        if method == "PUT":
            self.objects[path] = body
            return b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 0\r\n\r\n'
        if path not in self.objects:
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        found = self.objects[path]
        head = (
            f'HTTP/1.1 200 OK\r\nETag: "1"\r\nLast-Modified: Tue, 02 Jun 2026 09:00:00 GMT\r\n'
            f"Content-Length: {len(found)}\r\n\r\n"
        )
        return head.encode() + found


@asynccontextmanager
async def a_bucket() -> AsyncIterator[tuple[Bucket, str]]:
    """The bucket and the store URL that leads to it."""
    bucket = Bucket()
    server = await asyncio.start_server(bucket.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield bucket, f"s3://papers/firm?region=eu-west-1&endpoint=http://127.0.0.1:{port}"
    finally:
        server.close()


async def test_s3_gets_ciphertext_signed_with_the_vaults_credentials(house: House) -> None:
    await house.vault.put_secret("blobs/s3/access_key_id", "AKIAFROMTHEVAULT")
    await house.vault.put_secret("blobs/s3/secret_access_key", "secret-from-the-vault")
    async with a_bucket() as (bucket, url):
        blobs = EncryptedBlobs(url, house.vault, house.keys(), os.urandom)
        stored = await blobs.put(A, "pdf", CONTENT)
        assert await blobs.get(A, stored.storage_ref) == CONTENT
        assert list(bucket.objects) == [f"/papers/firm/{stored.storage_ref}"]
        assert b"canary" not in b"".join(bucket.objects.values())
        for authorisation in bucket.authorisations:
            assert "Credential=AKIAFROMTHEVAULT/" in authorisation
            assert "/eu-west-1/s3/" in authorisation
        with pytest.raises(KeyError):
            await blobs.get(A, f"{A}/pdf/{'0' * 64}")


async def test_s3_without_credentials_in_the_vault_is_unavailable_and_asked_for_nothing(house: House) -> None:
    async with a_bucket() as (bucket, url):
        blobs = EncryptedBlobs(url, house.vault, house.keys(), os.urandom)
        with pytest.raises(Unavailable):
            await blobs.put(A, "pdf", CONTENT)
        assert bucket.objects == {}
        assert bucket.authorisations == set()


async def test_s3_that_does_not_answer_is_unavailable(house: House) -> None:
    await house.vault.put_secret("blobs/s3/access_key_id", "AKIAFROMTHEVAULT")
    await house.vault.put_secret("blobs/s3/secret_access_key", "secret-from-the-vault")
    async with a_bucket() as (_, url):
        pass
    blobs = EncryptedBlobs(url, house.vault, house.keys(), os.urandom)
    with pytest.raises(Unavailable):
        await blobs.get(A, f"{A}/pdf/{'0' * 64}")
