"""The object store; implements the kernel's ``Blobs`` over local folders and S3, encrypted before bytes leave us."""

from fintokenx.adapters.blobs.store import TENANT_KEYS, DataKeys, EncryptedBlobs

__all__ = ["TENANT_KEYS", "DataKeys", "EncryptedBlobs"]
