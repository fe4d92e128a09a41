"""Looks for private keys in files: what must not be there when keys live in a token (SB-02, must-show 7)."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_PEM: Final = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]{40,}")
_DER: Final = (
    bytes.fromhex("020100300506032b6570"),  # PKCS#8, Ed25519
    bytes.fromhex("020100300d06092a864886f70d0101010500"),  # PKCS#8, RSA
    bytes.fromhex("020100301006072a8648ce3d0201"),  # PKCS#8, EC
    bytes.fromhex("a00706052b8104000a"),  # SEC 1, secp256k1
)


def key_files(folder: Path) -> list[Path]:
    """Files that hold a private key in PEM, PKCS#8 or SEC 1, in binary or in base64."""
    return [path for path in files_of(folder) if _holds_a_key(path.read_bytes())]


def files_with(folder: Path, secrets: Iterable[bytes]) -> list[Path]:
    """Files that show any of these bytes, as they are or in hex."""
    wanted = [form for secret in secrets for form in (secret, secret.hex().encode())]
    return [
        path for path in files_of(folder) if any(form in content for content in [path.read_bytes()] for form in wanted)
    ]


def files_of(folder: Path) -> list[Path]:
    """All of them, however deep."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _holds_a_key(content: bytes) -> bool:
    words = _BASE64.findall(content) if b"MC" in content or b"MI" in content or b"MH" in content else []
    decoded = [base64.b64decode(word[: len(word) // 4 * 4]) for word in words]
    return bool(_PEM.search(content)) or any(mark in each for mark in _DER for each in (content, *decoded))
