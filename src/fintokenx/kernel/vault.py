"""The port of the key vault (SB-02, P-20): keys never leave it, the rest of the platform names them."""

from __future__ import annotations

from typing import Protocol

from fintokenx.kernel.errors import Unavailable


class VaultUnavailable(Unavailable):
    """The vault did not answer: whatever must sign, decrypt or fetch a credential fails closed."""

    def __init__(self, detail: str) -> None:
        super().__init__("vault", detail, outcome_unknown=False)


class WrappingKeyDestroyed(Exception):
    """The wrapping key was destroyed: what it has wrapped stays closed, in backups too, and nobody makes it anew."""


class NotInVault(KeyError):
    """The vault answers, and has nothing of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return (
            f"the vault has no entry {self.name!r}: `fintokenx vault list` shows its credentials, `fintokenx vault"
            " rotate` stores one; `make up` makes what a local system needs"
        )


class Vault(Protocol):
    """What the platform may ask of its vault. Key names are paths such as ``auth/jwt/1``.

    Every method raises :class:`VaultUnavailable` when the vault cannot be reached and ``KeyError`` when it
    has no such key (unless the method says that it makes one).
    """

    async def ensure_ed25519(self, name: str) -> bytes:
        """Make the Ed25519 key if there is none; return its raw 32-byte public key."""
        ...

    async def sign_ed25519(self, name: str, message: bytes) -> bytes:
        """The 64-byte signature (RFC 8032)."""
        ...

    async def ensure_secp256k1(self, name: str) -> bytes:
        """Make the secp256k1 key if there is none; return its uncompressed 65-byte public key (0x04…)."""
        ...

    async def sign_secp256k1(self, name: str, digest: bytes) -> tuple[int, int, int]:
        """Sign a 32-byte digest: (r, s, y_parity), low-S, parity recovered."""
        ...

    async def ensure_rsa(self, name: str) -> bytes:
        """Make the RSA-2048 key if there is none; return its public key (DER, SubjectPublicKeyInfo)."""
        ...

    async def sign_rsa_sha256(self, name: str, message: bytes) -> bytes:
        """The 256-byte RSASSA-PKCS1-v1_5 signature with SHA-256 (RFC 8017 §8.2), as ClearBank wants it."""
        ...

    async def hmac_sha256(self, name: str, message: bytes) -> bytes:
        """32-byte HMAC-SHA256 under a key that is made on first use."""
        ...

    async def wrap(self, name: str, data_key: bytes, *, context: bytes) -> bytes:
        """Encrypt a data key under the named AES-256 key (made on first use), bound to ``context``.

        :raises WrappingKeyDestroyed: by :meth:`destroy_wrapping_key`
        """
        ...

    async def unwrap(self, name: str, wrapped: bytes, *, context: bytes) -> bytes:
        """Undo :meth:`wrap`.

        :raises ValueError: wrong key, wrong context or changed bytes
        :raises WrappingKeyDestroyed: by :meth:`destroy_wrapping_key`
        """
        ...

    async def destroy_wrapping_key(self, name: str) -> None:
        """Destroy the key of :meth:`wrap`, for ever: no key is made under this name any more. Harmless when done twice,
        and when there never was one."""
        ...

    async def secret(self, name: str) -> str:
        """A stored credential (provider keys, database passwords)."""
        ...

    async def put_secret(self, name: str, value: str) -> None:
        """Store or replace a credential."""
        ...

    async def healthy(self) -> bool:
        """Whether the vault answers now. Never raises."""
        ...
