"""A SoftHSM2 token in a folder of its own, for ``local`` and the tests. Debian: ``apt-get install softhsm2``.

The folder gets ``softhsm2.conf``, ``tokens/`` and ``pin`` (mode 0600). Both PINs are drawn here; that of the security
officer is forgotten at once. A PIN is never an argument of a program that stays: softhsm2-util takes its PINs from the
command line, which other users can read, so it gets throwaway ones, which are changed before anything is stored.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

TOKEN: Final = "fintokenx"
INSTALL: Final = "SoftHSM2 is not installed; Debian: apt-get install softhsm2 (or: make softhsm)"
_IN_CHECKOUT: Final = Path(__file__).resolve().parents[3] / ".softhsm" / "usr"
"""Where `make softhsm` unpacks Debian's package for those who are not root."""
_MODULES: Final = (
    str(_IN_CHECKOUT / "lib/softhsm/libsofthsm2.so"),
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
_CONFIGURATION: Final = """# SoftHSM2 of one local system
directories.tokendir = {tokens}
objectstore.backend = file
log.level = ERROR
slots.removable = false
"""


class SoftHsmMissing(Exception):
    """The module or softhsm2-util is not on this machine; the message says what to install."""


def module_path() -> Path:
    """Where the PKCS#11 module is. :raises SoftHsmMissing: nowhere"""
    for path in _MODULES:
        if Path(path).is_file():
            return Path(path)
    raise SoftHsmMissing(INSTALL)


def create(folder: Path) -> None:
    """Make the token, in place of a half-made one. :raises SoftHsmMissing:"""
    module = module_path()
    utility = shutil.which("softhsm2-util", path=f"{_IN_CHECKOUT / 'bin'}:{os.environ.get('PATH', os.defpath)}")
    if utility is None:
        raise SoftHsmMissing(INSTALL)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    tokens = folder / "tokens"
    shutil.rmtree(tokens, ignore_errors=True)
    tokens.mkdir(mode=0o700)
    (folder / "softhsm2.conf").write_text(_CONFIGURATION.format(tokens=tokens))
    environment = {**os.environ, "SOFTHSM2_CONF": str(folder / "softhsm2.conf")}
    throwaway, pin = secrets.token_hex(16), secrets.token_hex(32)
    command = [utility, "--module", str(module), "--init-token", "--free", "--label", TOKEN]
    subprocess.run(
        [*command, "--pin", throwaway, "--so-pin", throwaway], env=environment, check=True, capture_output=True
    )
    _write_private(folder / "pin", pin)
    # In a process of its own: this one may have the module open for another token.
    changed = subprocess.run(
        [sys.executable, "-m", "fintokenx.sandbox.softhsm", str(module)],
        env=environment,
        input=f"{throwaway}\n{pin}\n{secrets.token_hex(32)}\n",
        text=True,
        capture_output=True,
        check=False,
    )
    if changed.returncode != 0:
        raise SoftHsmMissing(f"the new token would not change its PIN: {changed.stderr.strip()[-300:]}")


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def _change_pins(module: str, throwaway: str, pin: str, officer_pin: str) -> None:
    import pkcs11

    token = pkcs11.lib(module).get_token(token_label=TOKEN)
    with token.open(rw=True, user_pin=throwaway) as session:
        session.set_pin(throwaway, pin)
    with token.open(rw=True, so_pin=throwaway) as session:
        session.set_pin(throwaway, officer_pin)


if __name__ == "__main__":
    _change_pins(sys.argv[1], *sys.stdin.read().split())
