"""The port of the object store (SB-01): bytes go in clear and come back clear; at rest they are ciphertext."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """Where a blob lies and what it was. ``sha256`` is the lower-case hex digest of the clear bytes."""

    storage_ref: str
    sha256: str
    size_bytes: int


class BlobTampered(Exception):
    """The stored bytes do not decrypt, or are not the bytes that were stored."""


class Blobs(Protocol):
    """Encrypted storage per tenant. Storing the same bytes under the same kind twice is harmless."""

    async def put(self, tenant_id: str, kind: str, content: bytes, *, subject_id: str | None = None) -> StoredBlob:
        """Encrypt and store; durable when this returns. Under the tenant's data key, or under that of the person whom
        it is about, with whom it dies.

        :raises Shredded: this person, or the tenant, was erased
        """
        ...

    async def get(self, tenant_id: str, storage_ref: str) -> bytes:
        """The clear bytes. :raises KeyError: no such blob. :raises BlobTampered: changed at rest

        :raises Shredded: the person whom it was about, or the tenant, was erased
        """
        ...
