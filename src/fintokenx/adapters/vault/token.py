"""One process's way to its PKCS#11 tokens: one module at a time, one thread, one session per token, mended when lost.

PKCS#11 keeps state per process: a module is initialised once, and who logs in on one session is logged in on all of
its token. So the state is this file's and not a vault object's; all vault objects of a process share it. Every call
runs on one thread of its own: no two threads ever meet in a session, and the event loop never waits for the token.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

import pkcs11
from pkcs11 import Attribute, ObjectClass
from pkcs11.exceptions import PinIncorrect, PinLenRange, PinLocked

from fintokenx.adapters.vault.uri import TokenLocation
from fintokenx.kernel.vault import VaultUnavailable

ANSWER_SECONDS: Final = 20.0
"""A token that is silent for so long is unavailable. Includes waiting for calls before it and making an RSA key."""

MARK: Final = "fintokenx:vault"
"""Label of an object that every prepared token holds: where it is missing, everything else is missing too."""

_Result = TypeVar("_Result")


class TokenLost(pkcs11.PKCS11Error):
    """The token answers, but what it held is not there."""


@dataclass
class Session:
    """An open, logged-in session, and the key objects found in it so far. Use it on the token thread only."""

    raw: pkcs11.Session
    keys: dict[tuple[ObjectClass, str], Any] = field(default_factory=dict)

    def objects(self, kind: ObjectClass, label: str) -> list[pkcs11.Object]:
        """All objects of this kind and label."""
        return list(self.raw.get_objects({Attribute.CLASS: kind, Attribute.LABEL: label}))

    def key(self, kind: ObjectClass, label: str) -> Any:
        """The one key of this kind and label. None only where the token is whole and has no such key.

        :raises TokenLost: it has two, or has lost what it had
        """
        if (known := self.keys.get((kind, label))) is not None:
            return known
        found = self.objects(kind, label)
        if len(found) > 1:
            raise TokenLost("two keys of one name")
        if not found:
            self.must_be_whole()
            return None
        self.keys[kind, label] = found[0]
        return found[0]

    def must_be_whole(self) -> None:
        """A token that has lost its objects must not look like one that never had any.

        :raises TokenLost: the mark of a prepared token is not there
        """
        if not self.objects(ObjectClass.DATA, MARK):
            raise TokenLost("never prepared, or its objects are gone")


class _Host:
    """The module of this process. Use it on the token thread only."""

    def __init__(self) -> None:
        self._module: Any = None
        self._loaded_for: tuple[str, str | None] | None = None
        self._sessions: dict[TokenLocation, Session] = {}
        self._refused_pins: dict[TokenLocation, str] = {}

    def call(self, location: TokenLocation, work: Callable[[Session], _Result]) -> _Result:
        """Do ``work``, once more on a fresh session when the first one was lost.

        Whatever is done may be done twice: to find, to sign, to replace; keys are looked for before they are made.
        """
        if (location.folder / "down").exists():
            raise VaultUnavailable("switched off")
        try:
            return work(self._session(location))
        except (pkcs11.PKCS11Error, OSError):
            self._drop()
        try:
            return work(self._session(location))
        except (pkcs11.PKCS11Error, OSError) as fault:
            self._drop()
            raise VaultUnavailable(f"{type(fault).__name__} {fault}".strip()) from fault

    def _session(self, location: TokenLocation) -> Session:
        configuration = str(location.softhsm_configuration) if location.softhsm_configuration else None
        wanted = (str(location.module_path), configuration)
        if self._loaded_for != wanted:
            self._drop()
            self._load(location, configuration)
            self._loaded_for = wanted
        if location not in self._sessions:
            self._sessions[location] = self._opened(location)
        return self._sessions[location]

    def _load(self, location: TokenLocation, configuration: str | None) -> None:
        if configuration is not None:
            os.environ["SOFTHSM2_CONF"] = configuration  # SoftHSM reads it when it is initialised
        if not location.module_path.exists():
            raise VaultUnavailable("there is no PKCS#11 module at module-path")
        self._module = pkcs11.lib(str(location.module_path))  # loads and initialises, or initialises again

    def _opened(self, location: TokenLocation) -> Session:
        pin = _pin(location)
        if self._refused_pins.get(location) == pin:
            raise VaultUnavailable("the token refused this PIN")  # asking again would lock the token
        wanted: dict[str, str | bytes] = {"token_label": location.token}
        if location.serial:
            wanted["token_serial"] = location.serial.encode()
        token = self._module.get_token(**wanted)
        try:
            session = Session(token.open(rw=True, user_pin=pin))
        except (PinIncorrect, PinLenRange, PinLocked) as fault:
            self._refused_pins[location] = pin
            raise VaultUnavailable("the token refuses the PIN") from fault
        self._refused_pins.pop(location, None)
        return session

    def _drop(self) -> None:
        """Forget all sessions and end the module: an initialised module does not see that a token is back."""
        self._sessions.clear()
        self._loaded_for = None
        module, self._module = self._module, None
        if module is not None:
            with suppress(pkcs11.PKCS11Error):
                module.finalize()


def _pin(location: TokenLocation) -> str:
    if stat.S_IMODE(location.pin_path.stat().st_mode) & 0o077:
        raise VaultUnavailable("others may read the PIN; set the mode of its file to 0600")
    return location.pin_path.read_text().strip()


_HOST: Final = _Host()
_THREAD: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pkcs11")


async def ask(
    location: TokenLocation, work: Callable[[Session], _Result], *, seconds: float = ANSWER_SECONDS
) -> _Result:
    """Do ``work`` with a session of the token, on the token thread.

    :raises VaultUnavailable: switched off, no module, no token, no login, no answer in time; asking later is safe
    """
    answer = asyncio.get_running_loop().run_in_executor(_THREAD, partial(_HOST.call, location, work))
    try:
        return await asyncio.wait_for(answer, seconds)
    except TimeoutError as fault:
        raise VaultUnavailable("no answer in time") from fault
