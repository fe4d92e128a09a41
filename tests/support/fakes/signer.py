"""The log's key in memory; it can be away like a vault, and counts what it was asked to sign."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fintokenx.audit import LogIdentity
from fintokenx.kernel.notes import VerifierKey
from fintokenx.kernel.vault import VaultUnavailable
from tests.support.fakes.anchors import CHAIN_ID, CONTRACT

ORIGIN = "log.example/tests"


@dataclass
class SignerInMemory:
    """Passes as ``audit.ports.CheckpointSigner``."""

    seed: bytes = b"\x2a" * 32
    away: bool = False
    signed: list[bytes] = field(default_factory=list)

    async def sign(self, message: bytes) -> bytes:
        """By the key. :raises VaultUnavailable: away"""
        self._must_answer()
        self.signed.append(message)
        return Ed25519PrivateKey.from_private_bytes(self.seed).sign(message)

    async def public_key(self) -> bytes:
        """The key's public half. :raises VaultUnavailable: away"""
        self._must_answer()
        return Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()

    def _must_answer(self) -> None:
        if self.away:
            raise VaultUnavailable("down for a test")

    @property
    def key(self) -> VerifierKey:
        """By which its notes are known."""
        public = Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()
        return VerifierKey(ORIGIN, public)

    @property
    def log(self) -> LogIdentity:
        """The log that it signs for."""
        return LogIdentity(self.key, CHAIN_ID, CONTRACT)


def with_another_signature(note: str) -> str:
    """The note with a signature whose bytes are not the key's."""
    head, encoded = note.rstrip("\n").rsplit(" ", 1)
    content = bytearray(base64.b64decode(encoded))
    content[-1] ^= 1
    return f"{head} {base64.b64encode(bytes(content)).decode()}\n"
