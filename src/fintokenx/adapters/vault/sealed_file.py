"""One encrypted file that several processes read and change: atomic, durable, locked, and closed when damaged.

Layout: ``<folder>/store/`` holds ``vault.sealed`` (``FXV1`` ‖ nonce ‖ AES-256-GCM of JSON) and ``master.key`` (32
bytes, mode 0600). The folder ``store`` comes into being whole, by one rename, so a missing file in it is damage and
never a new beginning: a vault that lost its keys must not quietly make others.
"""

from __future__ import annotations

import base64
import json
import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fintokenx.adapters.vault.lock import exclusive
from fintokenx.kernel.ids import Entropy
from fintokenx.kernel.vault import VaultUnavailable

_MAGIC: Final = b"FXV1"
_NONCE_BYTES: Final = 12
_HEADER_BYTES: Final = len(_MAGIC) + _NONCE_BYTES
_PURPOSE: Final = b"fintokenx local vault v1"


@dataclass(frozen=True, slots=True)
class Contents:
    """What the file holds, decrypted. Never changed in place: a change makes another one."""

    keys: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Private key material under ``kind:name``."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    loaded: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """Key objects built from ``keys``; gone with this value when the file changes."""

    def to_json(self) -> bytes:
        keys = {name: base64.b64encode(material).decode() for name, material in self.keys.items()}
        return json.dumps({"keys": keys, "secrets": dict(self.secrets)}).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Contents:
        raw = json.loads(text)
        return cls({name: base64.b64decode(material) for name, material in raw["keys"].items()}, raw["secrets"])


class SealedFile:
    """The file, its master key and its lock. Methods block; all of them raise :class:`VaultUnavailable`."""

    def __init__(self, folder: Path, entropy: Entropy) -> None:
        self._folder = folder
        self._store = folder / "store"
        self._entropy = entropy
        self._cached: tuple[bytes, Contents] | None = None

    def read(self) -> Contents:
        """The contents now; empty before the first write. Costs a 16-byte read while nobody has changed the file.

        The file's identity is its nonce, which is fresh with every write: inode numbers and times can repeat.
        """
        try:
            if self._is_down():
                raise VaultUnavailable("switched off")
            if not self._store.exists():
                if self._cached is not None:
                    raise VaultUnavailable("the vault is gone")
                return Contents()
            with (self._store / "vault.sealed").open("rb") as file:
                header = file.read(_HEADER_BYTES)
                if self._cached is not None and self._cached[0] == header:
                    return self._cached[1]
                contents = self._decrypted(header, file.read())
        except OSError as fault:
            raise VaultUnavailable(type(fault).__name__) from fault
        self._cached = (header, contents)
        return contents

    def update(self, change: Callable[[Contents], Contents | None]) -> Contents:
        """Replace the contents by ``change(current)`` while no other process can; None leaves them as they are.

        On disk when this returns.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with exclusive(self._folder / "lock"):
                current = self.read()
                changed = change(current)
                if changed is None:
                    return current
                if self._store.exists():
                    self._replace(self._store, self._encrypted(changed, self._master_key()))
                else:
                    self._create(changed)
                return self.read()
        except OSError as fault:
            raise VaultUnavailable(type(fault).__name__) from fault

    def _is_down(self) -> bool:
        return (self._folder / "down").exists()

    def _create(self, contents: Contents) -> None:
        with tempfile.TemporaryDirectory(prefix=".new-", dir=self._folder, ignore_cleanup_errors=True) as name:
            fresh = Path(name) / "store"
            fresh.mkdir(mode=0o700)
            master_key = self._entropy(32)
            _write(fresh / "master.key", master_key)
            _write(fresh / "vault.sealed", self._encrypted(contents, master_key))
            _sync_folder(fresh)
            fresh.rename(self._store)
            _sync_folder(self._folder)

    def _replace(self, store: Path, sealed: bytes) -> None:
        _write(store / "vault.sealed.new", sealed)
        (store / "vault.sealed.new").replace(store / "vault.sealed")
        _sync_folder(store)

    def _master_key(self) -> bytes:
        path = self._store / "master.key"
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise VaultUnavailable("others may read the master key; set its mode to 0600")
        key = path.read_bytes()
        if len(key) != 32:
            raise VaultUnavailable("the master key is damaged")
        return key

    def _encrypted(self, contents: Contents, master_key: bytes) -> bytes:
        nonce = self._entropy(_NONCE_BYTES)
        return _MAGIC + nonce + AESGCM(master_key).encrypt(nonce, contents.to_json(), _PURPOSE)

    def _decrypted(self, header: bytes, ciphertext: bytes) -> Contents:
        if len(header) != _HEADER_BYTES or not header.startswith(_MAGIC):
            raise VaultUnavailable("the vault file is damaged")
        try:
            text = AESGCM(self._master_key()).decrypt(header[len(_MAGIC) :], ciphertext, _PURPOSE)
        except InvalidTag as fault:
            raise VaultUnavailable("the vault file is damaged") from fault
        return Contents.from_json(text)


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
