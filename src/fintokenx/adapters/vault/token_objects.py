"""Keys and credentials as objects of a token: found, made, replaced. Everything here runs on the token thread.

A label is ``kind:name``. Making anything happens under a lock between processes, so one name has one key. A killed
process leaves no half: a pair is made as ``unfinished`` and becomes a key when its private half gets its label; the
public half, known by its id, follows at the next look. A pair of which half is gone is damage and never made anew.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pkcs11
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import Attribute, KeyType, MechanismFlag, ObjectClass

from fintokenx.adapters.vault.lock import exclusive
from fintokenx.adapters.vault.token import MARK, Session, TokenLost
from fintokenx.kernel.vault import NotInVault, WrappingKeyDestroyed

_UNFINISHED: Final = "unfinished"
_NUMBER_BYTES: Final = 8
_ED25519: Final = bytes.fromhex("06032b6570")
_SECP256K1: Final = bytes.fromhex("06052b8104000a")
"""CKA_EC_PARAMS: the object identifiers 1.3.101.112 (RFC 8410) and 1.3.132.0.10 (SEC 2)."""
_CLOSED: Final = {Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}
_SIGNS: Final = MechanismFlag.SIGN | MechanismFlag.VERIFY


def mark(session: Session, folder: Path) -> None:
    """Make the mark of a prepared token, once."""
    with exclusive(folder / "lock"):
        if not session.objects(ObjectClass.DATA, MARK):
            _new_data(session, MARK, b"prepared")


def private_key(session: Session, kind: str, name: str) -> Any:
    """The private half. :raises KeyError: no such pair"""
    found = session.key(ObjectClass.PRIVATE_KEY, f"{kind}:{name}")
    if found is None:
        raise NotInVault(name)
    return found


def public_key(session: Session, kind: str, name: str) -> bytes:
    """The public half of a pair, as the vault's port spells it. :raises KeyError: no such pair"""
    label = f"{kind}:{name}"
    private, public = (session.key(half, label) for half in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY))
    if private is None and public is None:
        raise NotInVault(name)
    if private is None:
        raise TokenLost("a private key is gone")
    if public is None:
        public = _finished(session, private.id, label)
    return _ENCODED[kind](public)


def ensured_pair(session: Session, folder: Path, kind: str, name: str) -> bytes:
    """Make the pair if there is none; its public half."""
    try:
        return public_key(session, kind, name)
    except KeyError:
        pass
    with exclusive(folder / "lock"):
        try:
            return public_key(session, kind, name)  # another process was faster
        except KeyError:
            pass
        for half in (ObjectClass.PUBLIC_KEY, ObjectClass.PRIVATE_KEY):
            for left_behind in session.objects(half, _UNFINISHED):
                left_behind.destroy()
        _, private = _MADE[kind](session.raw, session.raw.generate_random(128))
        private[Attribute.LABEL] = f"{kind}:{name}"
        return public_key(session, kind, name)


def secret_key(session: Session, kind: str, name: str) -> Any:
    """A key for HMAC or AES. :raises KeyError: no such key"""
    found = session.key(ObjectClass.SECRET_KEY, f"{kind}:{name}")
    if found is None:
        raise NotInVault(name)
    return found


def ensured_secret_key(session: Session, folder: Path, kind: str, name: str) -> Any:
    """Make the key if there is none."""
    label = f"{kind}:{name}"
    if (found := session.key(ObjectClass.SECRET_KEY, label)) is not None:
        return found
    with exclusive(folder / "lock"):
        if (found := session.key(ObjectClass.SECRET_KEY, label)) is not None:
            return found
        return _new_secret_key(session, kind, name)


def _new_secret_key(session: Session, kind: str, name: str) -> Any:
    label = f"{kind}:{name}"
    if kind == "aes":
        use = MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT
        return session.raw.generate_key(KeyType.AES, 256, store=True, label=label, capabilities=use, template=_CLOSED)
    return session.raw.generate_key(
        KeyType.GENERIC_SECRET, 256, store=True, label=label, capabilities=_SIGNS, template=_CLOSED
    )


def wrapping_key(session: Session, name: str) -> Any:
    """The key of wrap. :raises WrappingKeyDestroyed: it was, or is being. :raises KeyError: there never was one"""
    if session.objects(ObjectClass.DATA, f"destroyed:{name}"):
        raise WrappingKeyDestroyed(name)
    return secret_key(session, "aes", name)


def ensured_wrapping_key(session: Session, folder: Path, name: str) -> Any:
    """The key of wrap; made if there never was one. :raises WrappingKeyDestroyed: it was, or is being"""
    try:
        return wrapping_key(session, name)
    except KeyError:
        pass
    with exclusive(folder / "lock"):
        try:
            return wrapping_key(session, name)  # another process was faster
        except KeyError:
            return _new_secret_key(session, "aes", name)


def destroy_wrapping_key(session: Session, folder: Path, name: str) -> None:
    """The mark that it is destroyed stands before it goes: a process that is killed in between leaves it destroyed."""
    with exclusive(folder / "lock"):
        session.must_be_whole()
        if not session.objects(ObjectClass.DATA, f"destroyed:{name}"):
            _new_data(session, f"destroyed:{name}", b"for ever")
        for key in session.objects(ObjectClass.SECRET_KEY, f"aes:{name}"):
            key.destroy()
        session.keys.pop((ObjectClass.SECRET_KEY, f"aes:{name}"), None)


def credential(session: Session, name: str) -> str:
    """The newest value of a credential. :raises KeyError: there is none"""
    numbered = _values(session, f"secret:{name}")
    if not numbered:
        session.must_be_whole()
        raise NotInVault(name)
    return max(numbered)[1].decode()


def put_credential(session: Session, folder: Path, name: str, value: str) -> None:
    """Store or replace it. The new one stands before the old one goes, so readers always find one."""
    label = f"secret:{name}"
    with exclusive(folder / "lock"):
        session.must_be_whole()
        old = session.objects(ObjectClass.DATA, label)
        number = max((number for number, _ in _values(session, label)), default=0)
        _new_data(session, label, (number + 1).to_bytes(_NUMBER_BYTES, "big") + value.encode())
        for replaced in old:
            replaced.destroy()


def _values(session: Session, label: str) -> list[tuple[int, bytes]]:
    """More than one only while it is being replaced, or after a process was killed at that."""
    raw = [bytes(found[Attribute.VALUE]) for found in session.objects(ObjectClass.DATA, label)]
    return [(int.from_bytes(each[:_NUMBER_BYTES], "big"), each[_NUMBER_BYTES:]) for each in raw]


def _new_data(session: Session, label: str, value: bytes) -> None:
    session.raw.create_object(
        {
            Attribute.CLASS: ObjectClass.DATA,
            Attribute.TOKEN: True,
            Attribute.PRIVATE: True,
            Attribute.LABEL: label,
            Attribute.VALUE: value,
        }
    )


def _finished(session: Session, pair_id: bytes, label: str) -> Any:
    halves = [
        half
        for half in session.objects(ObjectClass.PUBLIC_KEY, _UNFINISHED)
        if isinstance(half, pkcs11.Key) and half.id == pair_id
    ]
    if len(halves) != 1:
        raise TokenLost("a public key is gone")
    halves[0][Attribute.LABEL] = label
    return halves[0]


_Pair = tuple[pkcs11.PublicKey, pkcs11.PrivateKey]


def _new_curve_pair(kind: KeyType, parameters: bytes, session: pkcs11.Session, pair_id: bytes) -> _Pair:
    curve = session.create_domain_parameters(kind, {Attribute.EC_PARAMS: parameters}, local=True)
    return curve.generate_keypair(
        id=pair_id, label=_UNFINISHED, store=True, capabilities=_SIGNS, private_template=_CLOSED
    )


def _new_ed25519(session: pkcs11.Session, pair_id: bytes) -> _Pair:
    return _new_curve_pair(KeyType.EC_EDWARDS, _ED25519, session, pair_id)


def _new_secp256k1(session: pkcs11.Session, pair_id: bytes) -> _Pair:
    return _new_curve_pair(KeyType.EC, _SECP256K1, session, pair_id)


def _new_rsa(session: pkcs11.Session, pair_id: bytes) -> _Pair:
    return session.generate_keypair(
        KeyType.RSA, 2048, id=pair_id, label=_UNFINISHED, store=True, capabilities=_SIGNS, private_template=_CLOSED
    )


def _point(public: Any) -> bytes:
    """CKA_EC_POINT is the point in a DER OCTET STRING; some modules leave that away."""
    point = bytes(public[Attribute.EC_POINT])
    return point[2:] if point[:2] == bytes([4, len(point) - 2]) else point


def _rsa_der(public: Any) -> bytes:
    exponent, modulus = (int.from_bytes(public[part], "big") for part in (Attribute.PUBLIC_EXPONENT, Attribute.MODULUS))
    return (
        RSAPublicNumbers(exponent, modulus).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )


_MADE: Final[dict[str, Callable[[pkcs11.Session, bytes], _Pair]]] = {
    "ed25519": _new_ed25519,
    "secp256k1": _new_secp256k1,
    "rsa": _new_rsa,
}
_ENCODED: Final[dict[str, Callable[[Any], bytes]]] = {
    "ed25519": _point,
    "secp256k1": _point,
    "rsa": _rsa_der,
}
