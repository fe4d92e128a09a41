"""A vault in an encrypted file, for ``local`` only: the settings refuse it everywhere else.

What it gives: keys never leave this object, every caller goes through the same port as with an HSM, and the file alone
is worthless. What it does not give: protection from whoever can read the folder, because the master key lies in it; nor
from an older copy of the file being put back; nor from a process that reads this one's memory.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar, cast

import coincurve
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fintokenx.adapters.vault.names import must_be_a_name
from fintokenx.adapters.vault.sealed_file import Contents, SealedFile
from fintokenx.kernel.ids import Entropy
from fintokenx.kernel.vault import NotInVault, VaultUnavailable, WrappingKeyDestroyed

_NONCE_BYTES: Final = 12
_DESTROYED: Final = b""
"""What stands in the place of a destroyed key, so that none is made there again."""
_Key = TypeVar("_Key")


class LocalVault:
    """Implements ``kernel.vault.Vault``. Several objects, in several processes, may share one folder.

    A file ``<folder>/down`` is the sandbox's switch: while it is there the vault is unavailable.
    A key is known by its kind and its name, so an Ed25519 and an RSA key may share a name.
    RSA keys are drawn from OpenSSL's generator, all other keys and nonces from ``entropy``.
    """

    def __init__(self, folder: Path, entropy: Entropy) -> None:
        self._file = SealedFile(folder, entropy)
        self._entropy = entropy

    async def ensure_ed25519(self, name: str) -> bytes:
        contents = await self._with("ed25519", name, lambda: self._entropy(32))
        return _ed25519(contents, name).public_key().public_bytes_raw()

    async def sign_ed25519(self, name: str, message: bytes) -> bytes:
        return _ed25519(self._file.read(), name).sign(message)

    async def ensure_secp256k1(self, name: str) -> bytes:
        contents = await self._with("secp256k1", name, self._new_secp256k1)
        return bytes(_secp256k1(contents, name).public_key.format(compressed=False))

    async def sign_secp256k1(self, name: str, digest: bytes) -> tuple[int, int, int]:
        """Deterministic (RFC 6979). libsecp256k1 only ever makes low-S signatures (EIP-2) and gives their parity."""
        if len(digest) != 32:
            raise ValueError("a secp256k1 signature is over a 32-byte digest")
        signature = bytes(_secp256k1(self._file.read(), name).sign_recoverable(digest, hasher=None))
        return int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big"), signature[64] & 1

    async def ensure_rsa(self, name: str) -> bytes:
        contents = await self._with("rsa", name, _new_rsa)
        key = await asyncio.to_thread(_rsa, contents, name)
        return key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    async def sign_rsa_sha256(self, name: str, message: bytes) -> bytes:
        key = await asyncio.to_thread(_rsa, self._file.read(), name)
        return key.sign(message, padding.PKCS1v15(), hashes.SHA256())

    async def hmac_sha256(self, name: str, message: bytes) -> bytes:
        contents = await self._with("hmac", name, lambda: self._entropy(32))
        return hmac.new(_material(contents, "hmac", name), message, hashlib.sha256).digest()

    async def wrap(self, name: str, data_key: bytes, *, context: bytes) -> bytes:
        contents = await self._with("aes", name, lambda: self._entropy(32))
        nonce = self._entropy(_NONCE_BYTES)
        return nonce + _wrapping_key(contents, name).encrypt(nonce, data_key, context)

    async def unwrap(self, name: str, wrapped: bytes, *, context: bytes) -> bytes:
        key = _wrapping_key(self._file.read(), name)
        if len(wrapped) < _NONCE_BYTES + 16:
            raise ValueError("too short to be a wrapped key")
        try:
            return key.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], context)
        except InvalidTag as fault:
            raise ValueError("wrong key, wrong context or changed bytes") from fault

    async def destroy_wrapping_key(self, name: str) -> None:
        must_be_a_name(name)

        def destroy(current: Contents) -> Contents | None:
            if current.keys.get(f"aes:{name}") == _DESTROYED:
                return None
            return Contents({**current.keys, f"aes:{name}": _DESTROYED}, current.secrets)

        await asyncio.to_thread(self._file.update, destroy)

    async def secret(self, name: str) -> str:
        try:
            return self._file.read().secrets[name]
        except KeyError:
            raise NotInVault(name) from None

    async def put_secret(self, name: str, value: str) -> None:
        must_be_a_name(name)

        def store(contents: Contents) -> Contents | None:
            if contents.secrets.get(name) == value:
                return None
            return Contents(contents.keys, {**contents.secrets, name: value})

        await asyncio.to_thread(self._file.update, store)

    async def healthy(self) -> bool:
        try:
            self._file.read()
        except VaultUnavailable:
            return False
        return True

    async def _with(self, kind: str, name: str, make: Callable[[], bytes]) -> Contents:
        """The contents, in which there is such a key: an old one if anybody has ever made it."""
        must_be_a_name(name)
        contents = self._file.read()
        label = f"{kind}:{name}"
        if label in contents.keys:
            return contents

        def add(current: Contents) -> Contents | None:
            if label in current.keys:
                return None
            return Contents({**current.keys, label: make()}, current.secrets)

        return await asyncio.to_thread(self._file.update, add)

    def _new_secp256k1(self) -> bytes:
        while True:
            material = self._entropy(32)
            try:
                return bytes(coincurve.PrivateKey(material).secret)
            except ValueError:  # zero or above the group order: once in 2^128 draws
                continue


def _material(contents: Contents, kind: str, name: str) -> bytes:
    try:
        return contents.keys[f"{kind}:{name}"]
    except KeyError:
        raise NotInVault(name) from None


def _wrapping_key(contents: Contents, name: str) -> AESGCM:
    material = _material(contents, "aes", name)
    if material == _DESTROYED:
        raise WrappingKeyDestroyed(name)
    return AESGCM(material)


def _loaded(contents: Contents, kind: str, name: str, load: Callable[[bytes], _Key]) -> _Key:
    label = f"{kind}:{name}"
    if label not in contents.loaded:
        contents.loaded[label] = load(contents.keys[label])
    return cast("_Key", contents.loaded[label])


def _ed25519(contents: Contents, name: str) -> Ed25519PrivateKey:
    return _loaded(contents, "ed25519", name, Ed25519PrivateKey.from_private_bytes)


def _secp256k1(contents: Contents, name: str) -> coincurve.PrivateKey:
    return _loaded(contents, "secp256k1", name, coincurve.PrivateKey)


def _rsa(contents: Contents, name: str) -> rsa.RSAPrivateKey:
    """Loading checks the key and takes milliseconds, so callers do this in a thread."""

    def load(der: bytes) -> rsa.RSAPrivateKey:
        return cast("rsa.RSAPrivateKey", serialization.load_der_private_key(der, password=None))

    return _loaded(contents, "rsa", name, load)


def _new_rsa() -> bytes:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
