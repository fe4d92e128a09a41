"""Where a token is, as an RFC 7512 URI: ``pkcs11:token=<label>?module-path=<path>&pin-source=file:<path>``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from fintokenx.kernel.settings import BadSettings

SOFTHSM_CONFIGURATION: Final = "fx-softhsm2-conf"
_PATH_ATTRIBUTES: Final = ("token", "serial")
_QUERY_ATTRIBUTES: Final = ("module-path", "pin-source", SOFTHSM_CONFIGURATION)
_CREDENTIALS: Final = ("pin-value",)
_NAME: Final = re.compile(r"[a-z0-9-]+")


@dataclass(frozen=True, slots=True)
class TokenLocation:
    """A token and how to log in to it. The PIN itself stands in a file of its owner's alone (P-19)."""

    token: str
    module_path: Path
    pin_path: Path
    serial: str = ""
    softhsm_configuration: Path | None = None
    """What SoftHSM is told through SOFTHSM2_CONF; our own query attribute, as RFC 7512 §2.3 allows."""

    @property
    def folder(self) -> Path:
        """Where the PIN lies; lock and switch lie beside it."""
        return self.pin_path.parent

    @property
    def uri(self) -> str:
        """As :meth:`parse` reads it."""
        path = [f"token={_quoted(self.token)}", *([f"serial={_quoted(self.serial)}"] if self.serial else [])]
        query = [f"module-path={_quoted(str(self.module_path))}", f"pin-source=file:{_quoted(str(self.pin_path))}"]
        if self.softhsm_configuration is not None:
            query.append(f"{SOFTHSM_CONFIGURATION}={_quoted(str(self.softhsm_configuration))}")
        return f"pkcs11:{';'.join(path)}?{'&'.join(query)}"

    @classmethod
    def parse(cls, uri: str) -> TokenLocation:
        """Read the URI. :raises BadSettings: an attribute is missing, doubled, unknown, or carries a credential"""
        scheme, _, rest = uri.partition(":")
        if scheme != "pkcs11":
            raise BadSettings("vault: a token's URI begins with pkcs11:")
        path, _, query = rest.partition("?")
        found = _attributes(path, ";", _PATH_ATTRIBUTES) | _attributes(query, "&", _QUERY_ATTRIBUTES)
        for wanted in ("token", "module-path", "pin-source"):
            if not found.get(wanted):
                raise BadSettings(f"vault: the pkcs11 URI lacks {wanted}")
        pin_source = found["pin-source"]
        pin_path = Path(pin_source.removeprefix("file:").removeprefix("//"))
        if not pin_source.startswith("file:") or not pin_path.is_absolute():
            raise BadSettings("vault: pin-source must be file:<absolute path>")
        if not Path(found["module-path"]).is_absolute():
            raise BadSettings("vault: module-path must be an absolute path")
        configuration = found.get(SOFTHSM_CONFIGURATION)
        return cls(
            token=found["token"],
            module_path=Path(found["module-path"]),
            pin_path=pin_path,
            serial=found.get("serial", ""),
            softhsm_configuration=Path(configuration) if configuration else None,
        )


def _attributes(text: str, separator: str, known: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.split(separator) if text else []:
        name, equals, value = part.partition("=")
        if name in _CREDENTIALS:
            raise BadSettings(f"vault: {name} would put a credential into the settings; use pin-source=file:<path>")
        if not equals or name not in known:
            # What is not a plain name may be a piece of a credential: it is not repeated.
            raise BadSettings(f"vault: unknown attribute {name if _NAME.fullmatch(name) and equals else ''}".rstrip())
        if name in found:
            raise BadSettings(f"vault: {name} stands twice in the pkcs11 URI")
        try:
            found[name] = unquote(value, errors="strict")
        except UnicodeDecodeError:
            raise BadSettings(f"vault: {name} is not UTF-8") from None
    return found


def _quoted(text: str) -> str:
    return quote(text, safe="/.-_~:")
