"""A vault in a PKCS#11 token (an HSM; SoftHSM2 in local and CI): keys are made inside it and never leave it (SB-02).

Private and secret keys are sensitive and not extractable. Credentials, which are there to be told, are private data
objects: the token shows them only to who has logged in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import coincurve
from pkcs11 import Mechanism
from pkcs11.exceptions import EncryptedDataInvalid, EncryptedDataLenRange, FunctionFailed, GeneralError
from pkcs11.mechanisms import GCMParams

from fintokenx.adapters.vault import token_objects as objects
from fintokenx.adapters.vault.names import must_be_a_name
from fintokenx.adapters.vault.token import Session, ask
from fintokenx.adapters.vault.uri import TokenLocation
from fintokenx.kernel.vault import VaultUnavailable

_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Of the group of secp256k1 (SEC 2 §2.4.1)."""
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_BAD_CIPHERTEXT: Final = (EncryptedDataInvalid, EncryptedDataLenRange, FunctionFailed, GeneralError)
"""What modules say of a tag that does not fit; SoftHSM says CKR_GENERAL_ERROR, as it does of a broken token."""


class Pkcs11Vault:
    """Implements ``kernel.vault.Vault``. Any number of objects, threads and processes may share one token.

    Beside the PIN's file lie ``lock``, which lets one process at a time make things, and the switch ``down``: while
    that is there the vault is unavailable. A token must be prepared once; one without our mark is refused, for it may
    have lost what it held.
    """

    def __init__(self, location: TokenLocation) -> None:
        self._location = location
        self._folder = location.folder

    async def prepare(self) -> None:
        """Mark a new token as ours. Doing it again changes nothing."""
        await ask(self._location, lambda session: objects.mark(session, self._folder))

    async def ensure_ed25519(self, name: str) -> bytes:
        return await self._ensured("ed25519", name)

    async def sign_ed25519(self, name: str, message: bytes) -> bytes:
        return await self._signed("ed25519", name, message, Mechanism.EDDSA)

    async def ensure_secp256k1(self, name: str) -> bytes:
        return await self._ensured("secp256k1", name)

    async def sign_secp256k1(self, name: str, digest: bytes) -> tuple[int, int, int]:
        """Not deterministic: the token draws the nonce. A high S, which it gives half the time, is turned (EIP-2)."""
        if len(digest) != 32:
            raise ValueError("a secp256k1 signature is over a 32-byte digest")

        def sign(session: Session) -> tuple[bytes, bytes]:
            private = objects.private_key(session, "secp256k1", name)
            return objects.public_key(session, "secp256k1", name), private.sign(digest, mechanism=Mechanism.ECDSA)

        public, signature = await ask(self._location, sign)
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        s = min(s, _ORDER - s)
        return r, s, _parity(public, digest, r, s)

    async def ensure_rsa(self, name: str) -> bytes:
        return await self._ensured("rsa", name)

    async def sign_rsa_sha256(self, name: str, message: bytes) -> bytes:
        return await self._signed("rsa", name, message, Mechanism.SHA256_RSA_PKCS)

    async def hmac_sha256(self, name: str, message: bytes) -> bytes:
        must_be_a_name(name)

        def tag(session: Session) -> bytes:
            key = objects.ensured_secret_key(session, self._folder, "hmac", name)
            return bytes(key.sign(message, mechanism=Mechanism.SHA256_HMAC))

        return await ask(self._location, tag)

    async def wrap(self, name: str, data_key: bytes, *, context: bytes) -> bytes:
        must_be_a_name(name)

        def encrypt(session: Session) -> bytes:
            key = objects.ensured_wrapping_key(session, self._folder, name)
            nonce = session.raw.generate_random(_NONCE_BYTES * 8)
            return nonce + _gcm(key.encrypt, data_key, nonce, context)

        return await ask(self._location, encrypt)

    async def unwrap(self, name: str, wrapped: bytes, *, context: bytes) -> bytes:
        def decrypt(session: Session) -> bytes:
            key = objects.wrapping_key(session, name)
            if len(wrapped) < _NONCE_BYTES + _TAG_BYTES:
                raise ValueError("too short to be a wrapped key")
            try:
                return _gcm(key.decrypt, wrapped[_NONCE_BYTES:], wrapped[:_NONCE_BYTES], context)
            except _BAD_CIPHERTEXT as fault:
                session.must_be_whole()  # else it is the token that fails, not the ciphertext
                raise ValueError("wrong key, wrong context or changed bytes") from fault

        return await ask(self._location, decrypt)

    async def destroy_wrapping_key(self, name: str) -> None:
        must_be_a_name(name)
        await ask(self._location, lambda session: objects.destroy_wrapping_key(session, self._folder, name))

    async def secret(self, name: str) -> str:
        return await ask(self._location, lambda session: objects.credential(session, name))

    async def put_secret(self, name: str, value: str) -> None:
        must_be_a_name(name)
        await ask(self._location, lambda session: objects.put_credential(session, self._folder, name, value))

    async def healthy(self) -> bool:
        try:
            await ask(self._location, Session.must_be_whole)
        except VaultUnavailable:
            return False
        return True

    async def _ensured(self, kind: str, name: str) -> bytes:
        must_be_a_name(name)
        return await ask(self._location, lambda session: objects.ensured_pair(session, self._folder, kind, name))

    async def _signed(self, kind: str, name: str, message: bytes, mechanism: Mechanism) -> bytes:
        return await ask(
            self._location,
            lambda session: bytes(objects.private_key(session, kind, name).sign(message, mechanism=mechanism)),
        )


def _gcm(work: Callable[..., Any], content: bytes, nonce: bytes, context: bytes) -> bytes:
    parameters = GCMParams(nonce, context, _TAG_BYTES * 8)
    return bytes(work(content, mechanism=Mechanism.AES_GCM, mechanism_param=parameters))


def _parity(public: bytes, digest: bytes, r: int, s: int) -> int:
    """Which of the two points with this r is the signature's: the one that leads back to the public key."""
    for parity in (0, 1):
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([parity])
        try:
            signer = coincurve.PublicKey.from_signature_and_message(signature, digest, hasher=None)
        except ValueError:
            continue
        if bytes(signer.format(compressed=False)) == public:
            return parity
    raise VaultUnavailable("the token's signature does not fit its public key")
