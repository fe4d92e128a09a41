"""Signed notes and checkpoints: C2SP signed-note and tlog-checkpoint, with Ed25519 alone."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_ED25519: Final = b"\x01"
_SIGNATURES_MAX: Final = 16


class BadNote(Exception):
    """The text is no note, or no checkpoint, or nobody whom we know signed it; the message says which."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint says: whose log, how many leaves, their RFC 6962 root."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The note's text, which is what is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The name and the Ed25519 public key by which a note's signature is known."""

    name: str
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """Its first four bytes: SHA-256(name ‖ LF ‖ 0x01 ‖ key)."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public_key).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_ED25519 + self.public_key).decode()}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read what ``str`` writes. :raises BadNote: not a verifier key of this kind"""
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        content = _decoded(encoded)
        if not is_key_name(name) or content[:1] != _ED25519 or len(content) != 33:
            raise BadNote("this is no Ed25519 verifier key")
        key = cls(name, content[1:])
        if key.key_id.hex() != key_id:
            raise BadNote("the verifier key's id is not that of its name and key")
        return key


def is_key_name(name: str) -> bool:
    """Whether the note format takes this as a name: not empty, no white space, no plus, nothing unprintable."""
    return bool(name) and name.isprintable() and "+" not in name and not any(char.isspace() for char in name)


def signed_note(text: str, key: VerifierKey, signature: bytes) -> str:
    """The note: its text, a blank line, one signature line. :raises BadNote: the signature is not by this key"""
    note = f"{text}\n— {key.name} {base64.b64encode(key.key_id + signature).decode()}\n"
    opened_note(note, key)
    return note


def opened_note(note: str, key: VerifierKey) -> str:
    """The text of a note that ``key`` has signed. :raises BadNote: it has not"""
    text, lines = _parted(note)
    for line in lines:
        name, _, encoded = line.removeprefix("— ").partition(" ")
        content = _decoded(encoded)
        if name == key.name and content[:4] == key.key_id:
            try:
                Ed25519PublicKey.from_public_bytes(key.public_key).verify(content[4:], text.encode())
            except InvalidSignature as fault:
                raise BadNote("the signature is not the log's") from fault
            return text
    raise BadNote("the log's key has not signed it")


def signed_checkpoint(note: str, key: VerifierKey) -> Checkpoint:
    """What a checkpoint says that ``key``'s log has signed. :raises BadNote: it has not, or it is none"""
    opened_note(note, key)
    said = checkpoint_of(note)
    if said.origin != key.name:
        raise BadNote(f"it is of another log ({said.origin})")
    return said


def checkpoint_of(note: str) -> Checkpoint:
    """What a note says as a checkpoint; who signed it is not looked at. :raises BadNote: it is none"""
    lines = _parted(note)[0].split("\n")
    if len(lines) < 4 or not all(lines[:3]):
        raise BadNote("this is no checkpoint")
    origin, size, root = lines[0], lines[1], _decoded(lines[2])
    if not size.isdecimal() or not size.isascii() or str(int(size)) != size or len(root) != 32:
        raise BadNote("this is no checkpoint")
    return Checkpoint(origin, int(size), root)


def _parted(note: str) -> tuple[str, list[str]]:
    """The text and the signature lines."""
    text, blank, signatures = note.rpartition("\n\n")
    lines = signatures.split("\n")
    if not blank or lines[-1] or not 1 <= len(lines) - 1 <= _SIGNATURES_MAX:
        raise BadNote("this is no signed note")
    if any(char < " " and char != "\n" for char in note) or not all(line.startswith("— ") for line in lines[:-1]):
        raise BadNote("this is no signed note")
    return text + "\n", lines[:-1]


def _decoded(text: str) -> bytes:
    """Base64 in its one spelling: bits that nothing says are zero."""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as fault:
        raise BadNote("base64 is broken") from fault
    if base64.b64encode(content).decode() != text:
        raise BadNote("base64 is broken")
    return content
