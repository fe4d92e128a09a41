"""Credentials in versions, kept in the vault and read while the platform runs, so that they rotate without a restart.

In the vault a credential ``sumsub/app-token`` is: its first value under that very name; every later value under a name
of its own (:func:`name_of_value`); and under ``sumsub/app-token/version`` which of them is in force (:class:`InForce`).
That last secret is replaced in one step, so everybody who reads the vault changes over at once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

import structlog

from fintokenx.kernel.clock import Clock, Instant, from_wire, to_wire
from fintokenx.kernel.vault import Vault, VaultUnavailable

log = structlog.get_logger("fintokenx.vault")

REMEMBERED_SECONDS: Final = 5.0
"""How long a value that was read is used without asking the vault; so long also an outage of it goes unnoticed."""

OVERLAP: Final = timedelta(hours=24)
"""How long the version before the present one is accepted of others (business time): a webhook that was signed just
before the rotation may be delivered again for hours."""


class Credential(Protocol):
    """What a client or a receiver is given in place of a string."""

    async def value(self) -> str:
        """What to send now. :raises VaultUnavailable: not known, and the vault does not answer"""
        ...

    async def accepted(self) -> tuple[str, ...]:
        """What others may send now: the present value, and the one before it for :data:`OVERLAP`.

        :raises VaultUnavailable: not known, and the vault does not answer
        """
        ...


@dataclass(frozen=True, slots=True)
class InForce:
    """Which version of a credential is used. ``since`` is None where nobody wrote down when it was made."""

    version: int
    stored_as: str
    since: Instant | None
    before: str | None = None
    """Under which name the version before it lies; None when there is none."""

    def to_text(self) -> str:
        """As it stands in the vault."""
        since = to_wire(self.since) if self.since else None
        return json.dumps({"version": self.version, "stored_as": self.stored_as, "since": since, "before": self.before})

    @classmethod
    def from_text(cls, text: str) -> InForce:
        """:raises VaultUnavailable: what is stored is not what we write"""
        try:
            raw = json.loads(text)
            since = from_wire(raw["since"]) if raw["since"] else None
            return cls(int(raw["version"]), str(raw["stored_as"]), since, raw["before"])
        except (ValueError, KeyError, TypeError) as fault:
            raise VaultUnavailable("the version of a credential is unreadable") from fault


def name_of_value(name: str, version: int, mark: str) -> str:
    """Under which name a version's value lies. ``mark`` is drawn, so that two rotations at once store two values."""
    return f"{name}/v{version}-{mark}"


async def in_force(vault: Vault, name: str) -> InForce:
    """The version that is used now."""
    try:
        return InForce.from_text(await vault.secret(f"{name}/version"))
    except KeyError:
        return InForce(1, name, None)


async def put_in_force(vault: Vault, name: str, version: InForce) -> None:
    """Change over, for every reader of this vault, in one step."""
    await vault.put_secret(f"{name}/version", version.to_text())


async def date_first_versions(vault: Vault, names: tuple[str, ...], at: Instant) -> None:
    """Write down of new credentials when they were made; those with a date keep it."""
    for name in names:
        try:
            await vault.secret(f"{name}/version")
        except KeyError:
            await put_in_force(vault, name, InForce(1, name, at))


async def fetch(vault: Vault, name: str) -> str:
    """A credential that is read once, at boot; the log says that it was, by name (P-20)."""
    value = await vault.secret(name)
    log.info("vault_fetched", component="vault", resource=name)
    return value


class VaultCredential:
    """A :class:`Credential` that lies in the vault.

    Asked for once at boot, a vault that is down stops the start. Later the version is looked at every few seconds; when
    the vault is down by then, nothing is told (fail closed), though the old value is still known.
    """

    def __init__(
        self,
        vault: Vault,
        name: str,
        clock: Clock,
        *,
        remembered_seconds: float = REMEMBERED_SECONDS,
        machine_seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._vault = vault
        self._clock = clock
        self._remembered_seconds = remembered_seconds
        self._machine_seconds = machine_seconds
        self._held: tuple[InForce, str, str | None] | None = None
        self._looked_at = 0.0

    async def value(self) -> str:
        _, value, _ = await self._current()
        return value

    async def accepted(self) -> tuple[str, ...]:
        version, value, before = await self._current()
        over = version.since is None or self._clock.now() - version.since >= OVERLAP
        return (value,) if before is None or over else (value, before)

    async def _current(self) -> tuple[InForce, str, str | None]:
        now = self._machine_seconds()
        if self._held is not None and now - self._looked_at < self._remembered_seconds:
            return self._held
        version = await in_force(self._vault, self.name)
        if self._held is None or self._held[0] != version:
            value = await self._vault.secret(version.stored_as)
            before = await self._vault.secret(version.before) if version.before else None
            self._held = (version, value, before)
            log.info("vault_fetched", component="vault", resource=self.name, version=version.version)
        self._looked_at = now
        return self._held

    def __repr__(self) -> str:
        return f"VaultCredential({self.name!r})"
