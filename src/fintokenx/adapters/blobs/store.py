"""Encrypted blobs over obstore: ``file://``, ``memory://`` (tests) and ``s3://`` behind one interface (SB-01).

An object is ``FXB1`` ‖ length of the key's id (1 byte) ‖ key id ‖ nonce (12 bytes) ‖ AES-256-GCM ciphertext, and lies
at ``<tenant>/<kind>/<sha256 of the clear bytes>`` under the tenant's key, or, when it is about a person, at
``<tenant>/<kind>/<subject>/<HMAC-SHA256 of the clear bytes>`` under that person's: whoever erases the person leaves
neither the bytes nor a digest to compare guesses with. The path is the associated data: an object that is moved to
another tenant, kind, person or digest does not decrypt.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import re
import time
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import obstore
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore, S3Store

from fintokenx.kernel.blobs import BlobTampered, StoredBlob
from fintokenx.kernel.db import Database
from fintokenx.kernel.errors import Unavailable
from fintokenx.kernel.ids import Entropy
from fintokenx.kernel.sealing import SUBJECT_KEYS, KeyTable, WrappedKeys
from fintokenx.kernel.vault import Vault

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Credential

_Reply = TypeVar("_Reply")

TENANT_KEYS: Final = KeyTable("ops.tenant_keys", "key_id", "blobs/kek")
KEY_ID: Final = "blobs-1"
"""The key under which new objects are written. Objects name theirs, so a later key leaves them readable."""
CREDENTIAL_LIFE_SECONDS: Final = 900
_MAGIC: Final = b"FXB1"
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_TENANT: Final = re.compile(r"tnt_[a-z0-9_]{1,40}")
_KEY_ID: Final = re.compile(rb"(?:subject/[a-z0-9_-]{1,64}|[a-z0-9-]{1,64})")
_OF_SUBJECT: Final = "subject/"
"""What the id of a person's key begins with; their subject id follows."""
_SUBJECT: Final = re.compile(r"[a-z]{2,4}_[a-z0-9_-]{1,59}")
_KIND: Final = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_KIND_LENGTH_MAX: Final = 64
_REF: Final = re.compile(
    rf"{_TENANT.pattern}/{_KIND.pattern}/(?:(?P<subject>{_SUBJECT.pattern})/)?(?P<digest>[0-9a-f]{{64}})"
)


class DataKeys:
    """The data keys of tenants and of their people, wrapped by the vault. The id of a person's is ``subject/<id>``."""

    def __init__(
        self, database: Database, vault: Vault, entropy: Entropy, *, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._keys = WrappedKeys(TENANT_KEYS, database, vault, entropy, seconds=seconds)
        self._subjects = WrappedKeys(SUBJECT_KEYS, database, vault, entropy, seconds=seconds)

    async def to_write(self, tenant_id: str, subject_id: str | None = None) -> tuple[str, bytes]:
        """The key's id and the key; made on first use. :raises Shredded: the keys were destroyed"""
        if subject_id is not None:
            return _OF_SUBJECT + subject_id, await self._subjects.ensure(tenant_id, subject_id)
        return KEY_ID, await self._keys.ensure(tenant_id, KEY_ID)

    async def to_read(self, tenant_id: str, key_id: str) -> bytes | None:
        """The key of that id, None when there is none. :raises Shredded: it was destroyed"""
        if key_id.startswith(_OF_SUBJECT):
            return await self._subjects.find(tenant_id, key_id.removeprefix(_OF_SUBJECT))
        return await self._keys.find(tenant_id, key_id)


class EncryptedBlobs:
    """Implements ``kernel.blobs.Blobs``. Both methods may open a short transaction of their own: call them outside
    yours. They raise ``Unavailable`` when the store does not answer (repeating is safe: same bytes, same place),
    ``VaultUnavailable`` when a key is needed and the vault does not, and ``Shredded`` when the keys were destroyed.

    ``store_url`` is ``file:///folder``, ``memory:///`` or ``s3://bucket/prefix?region=…&endpoint=…``. The credentials
    of S3 are the vault's secrets ``blobs/s3/access_key_id`` and ``blobs/s3/secret_access_key``.
    """

    def __init__(self, store_url: str, vault: Vault, keys: DataKeys, entropy: Entropy) -> None:
        url = urlsplit(store_url)
        self._keys = keys
        self._entropy = entropy
        self._folder = Path(unquote(url.path)) if url.scheme == "file" else None
        self._store = _opened(store_url, vault)

    async def put(self, tenant_id: str, kind: str, content: bytes, *, subject_id: str | None = None) -> StoredBlob:
        """:raises ValueError: not a tenant or subject id, or a kind other than lower-case words joined by ``.``, ``_``
            or ``-``

        An object that is already there is written anew: that is as harmless, and mends what was damaged.
        """
        if not _TENANT.fullmatch(tenant_id) or not _KIND.fullmatch(kind) or len(kind) > _KIND_LENGTH_MAX:
            raise ValueError("not a tenant id or not a kind")
        if subject_id is not None and not _SUBJECT.fullmatch(subject_id):
            raise ValueError("not a subject id")
        key_id, key = await self._keys.to_write(tenant_id, subject_id)
        digest = (await asyncio.to_thread(hashlib.sha256, content)).hexdigest()
        name = digest if subject_id is None else f"{subject_id}/{await _keyed(key, content)}"
        ref = f"{tenant_id}/{kind}/{name}"
        nonce = self._entropy(_NONCE_BYTES)
        ciphertext = await asyncio.to_thread(AESGCM(key).encrypt, nonce, content, ref.encode())
        header = _MAGIC + bytes([len(key_id)]) + key_id.encode()
        await _answered(obstore.put_async(self._store, ref, header + nonce + ciphertext))
        if self._folder is not None:
            await asyncio.to_thread(_make_durable, self._folder, ref)
        return StoredBlob(ref, digest, len(content))

    async def get(self, tenant_id: str, storage_ref: str) -> bytes:
        """Another tenant's reference, and one that could not be ours, are as good as missing."""
        ref = _REF.fullmatch(storage_ref)
        if ref is None or not storage_ref.startswith(f"{tenant_id}/"):
            raise KeyError(storage_ref)
        try:
            result = await _answered(obstore.get_async(self._store, storage_ref))
            stored = bytes(await _answered(result.bytes_async()))
        except FileNotFoundError as fault:
            raise KeyError(storage_ref) from fault
        return await self._decrypted(tenant_id, ref, stored)

    async def _decrypted(self, tenant_id: str, ref: re.Match[str], stored: bytes) -> bytes:
        key_id, nonce, ciphertext = _taken_apart(stored)
        subject_id = ref["subject"]
        if (key_id.removeprefix(_OF_SUBJECT) if key_id.startswith(_OF_SUBJECT) else None) != subject_id:
            raise BlobTampered("it names the key of somebody else")
        try:
            key = await self._keys.to_read(tenant_id, key_id)
        except ValueError as fault:
            raise BlobTampered("the key does not unwrap") from fault
        if key is None:
            raise BlobTampered("it names a key that does not exist")
        try:
            content = await asyncio.to_thread(AESGCM(key).decrypt, nonce, ciphertext, ref[0].encode())
        except InvalidTag as fault:
            raise BlobTampered("it does not decrypt") from fault
        if subject_id is not None:
            digest = await _keyed(key, content)
        else:
            digest = (await asyncio.to_thread(hashlib.sha256, content)).hexdigest()
        if not hmac.compare_digest(ref["digest"], digest):
            raise BlobTampered("it is not what was stored")
        return content


async def _keyed(key: bytes, content: bytes) -> str:
    """Hex HMAC of the bytes, under a key that is derived for this alone."""
    name_key = hmac.digest(key, b"fintokenx/blob-name/1", "sha256")
    return (await asyncio.to_thread(hmac.digest, name_key, content, "sha256")).hex()


def _taken_apart(stored: bytes) -> tuple[str, bytes, bytes]:
    """Key id, nonce and ciphertext. :raises BlobTampered: no such layout"""
    start = len(_MAGIC) + 1
    nonce_at = start + (stored[start - 1] if len(stored) >= start else 0)
    key_id = stored[start:nonce_at]
    if (
        not stored.startswith(_MAGIC)
        or not _KEY_ID.fullmatch(key_id)
        or len(stored) < nonce_at + _NONCE_BYTES + _TAG_BYTES
    ):
        raise BlobTampered("not one of our objects")
    return key_id.decode(), stored[nonce_at : nonce_at + _NONCE_BYTES], stored[nonce_at + _NONCE_BYTES :]


def _opened(store_url: str, vault: Vault) -> LocalStore | MemoryStore | S3Store:
    url = urlsplit(store_url)
    match url.scheme:
        case "file" if not url.netloc:
            return LocalStore.from_url(f"file://{url.path}", mkdir=True)
        case "memory":
            return MemoryStore()
        case "s3":
            options = dict(parse_qsl(url.query))
            if unknown := sorted(set(options) - {"region", "endpoint"}):
                raise ValueError(f"unknown options of the object store: {', '.join(unknown)}")
            plain_http = options.get("endpoint", "").startswith("http://")
            return S3Store.from_url(
                f"s3://{url.netloc}{url.path}",
                config={"region": options.get("region", "eu-west-2"), **_endpoint(options)},
                client_options={"allow_http": plain_http, "connect_timeout": "5s", "timeout": "30s"},
                retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=20)},
                credential_provider=_from_vault(vault),
            )
    raise ValueError("the object store is file://, memory:// or s3://")


def _endpoint(options: dict[str, str]) -> S3Config:
    return {"endpoint": options["endpoint"]} if "endpoint" in options else {}


def _from_vault(vault: Vault) -> Callable[[], Coroutine[Any, Any, S3Credential]]:
    async def credentials() -> S3Credential:
        """Asked for again every quarter of an hour, so that a rotation needs no restart (P-21)."""
        return {
            "access_key_id": await vault.secret("blobs/s3/access_key_id"),
            "secret_access_key": await vault.secret("blobs/s3/secret_access_key"),
            "token": None,
            "expires_at": datetime.fromtimestamp(time.time() + CREDENTIAL_LIFE_SECONDS, UTC),
        }

    return credentials


async def _answered(reply: Awaitable[_Reply]) -> _Reply:
    try:
        return await reply
    except FileNotFoundError:
        raise
    except (BaseError, OSError) as fault:
        raise Unavailable("object store", type(fault).__name__, outcome_unknown=False) from fault


def _make_durable(folder: Path, ref: str) -> None:
    """obstore renames into place but leaves flushing to the system; a crash must not lose what was acknowledged."""
    path = folder / ref
    for target in (path, *path.parents):
        descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if target == folder:
            return
