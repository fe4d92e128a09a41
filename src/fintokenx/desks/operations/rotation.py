"""Rotating a provider's credential while the platform runs (P-21): store, record, change over.

In this order, because each step alone is harmless and the record decides:

1. The new value is stored under a name that nobody reads. A crash here leaves a value without use; run it again.
2. The version is recorded (PROVIDER_CRED_ROTATE), with the name of its value. Only now is the rotation decided.
   Recorded first, a crash would leave an entry for a value that nobody has; switched first, a change without an entry.
3. The vault is told which value is in force. A crash before this leaves the old one in use though the record says
   otherwise; :func:`finish` sees that in the record and does this step, at the next rotation and in the daily watch.

Two at once: the record takes one of them (RotatedMeanwhile for the other), and it names that one's value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from fintokenx.kernel.caller import Caller, Role, system
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.credentials import InForce, in_force, name_of_value, put_in_force
from fintokenx.kernel.db import Database
from fintokenx.kernel.errors import Invalid, NotFound
from fintokenx.kernel.ids import Entropy
from fintokenx.kernel.vault import Vault
from fintokenx.parties import auth

log = structlog.get_logger("fintokenx.vault")

VALUE_LENGTH_MAX: Final = 4096
OVERWRITTEN: Final = ""
"""What stands in the vault in place of a value that nobody accepts any more."""


class UnknownCredential(NotFound):
    """There is no such credential to rotate."""

    code = "CREDENTIAL_UNKNOWN"


class BadCredential(Invalid):
    """A credential is one line of visible characters."""

    code = "CREDENTIAL_INVALID"


class CredentialLost(Exception):
    """The record names a value that the vault does not have: it was restored from an older copy."""


@dataclass(frozen=True, slots=True)
class CredentialState:
    """One credential as the command line lists it. No value."""

    name: str
    version: int
    since: Instant | None
    is_finished: bool
    """False when the record is a version ahead of the vault."""


def new_value(entropy: Entropy) -> str:
    """A value for a credential that is ours to choose."""
    return entropy(32).hex()


async def rotate_credential(
    database: Database,
    vault: Vault,
    caller: Caller,
    *,
    name: str,
    value: str,
    names: Sequence[str],
    entropy: Entropy,
) -> InForce:
    """Put a new version of one of ``names`` in force; an interrupted earlier one is finished first.

    :raises UnknownCredential, BadCredential, WrongRole, NotAnAdministrator, RotatedMeanwhile: nothing is changed
    :raises VaultUnavailable: nothing is in force that is not recorded; run it again
    """
    must_be_rotatable(name, names)
    if not value.isprintable() or not 8 <= len(value.strip()) == len(value) <= VALUE_LENGTH_MAX:
        raise BadCredential(f"8 to {VALUE_LENGTH_MAX} characters, no space around them")
    caller.must_be(Role.PLATFORM_ADMIN, tenant_id=caller.tenant_id)
    now = await finish(database, vault, caller, name=name)
    stored_as = name_of_value(name, now.version + 1, entropy(4).hex())
    await vault.put_secret(stored_as, value)
    async with database.transaction(caller.tenant_id, request_id="rotate") as tx:
        made = await auth.rotate_credential(tx, caller, name=name, version=now.version + 1, stored_as=stored_as)
    return await _change_over(vault, made, now)


async def finish(database: Database, vault: Vault, caller: Caller, *, name: str) -> InForce:
    """Make the vault follow the record; what is in force then.

    :raises CredentialLost: it cannot, because it does not have the recorded value
    """
    now = await in_force(vault, name)
    async with database.transaction(caller.tenant_id, request_id="rotate") as tx:
        recorded = await auth.credential_version(tx, system(caller.tenant_id, "rotate"), name=name)
    if recorded is None or recorded.version <= now.version:
        return now
    try:
        await vault.secret(recorded.stored_as)
    except KeyError as fault:
        raise CredentialLost(f"{name}, version {recorded.version}") from fault
    return await _change_over(vault, recorded, now)


async def _change_over(vault: Vault, made: auth.CredentialVersion, before: InForce) -> InForce:
    new = InForce(made.version, made.stored_as, made.rotated_at, before.stored_as)
    await put_in_force(vault, made.name, new)
    log.info("credential_rotated", component="vault", resource=made.name, version=made.version)
    if before.before is not None:
        await vault.put_secret(before.before, OVERWRITTEN)  # two versions back: no overlap reaches it
    return new


async def credential_states(
    database: Database, vault: Vault, tenant_id: str, names: Sequence[str]
) -> list[CredentialState]:
    """Of every credential that can be rotated: ``names``."""
    found = []
    for name in names:
        now = await in_force(vault, name)
        async with database.transaction(tenant_id, request_id="rotate") as tx:
            recorded = await auth.credential_version(tx, system(tenant_id, "rotate"), name=name)
        finished = recorded is None or recorded.version <= now.version
        found.append(CredentialState(name, now.version, now.since, finished))
    return found


def must_be_rotatable(name: str, names: Sequence[str]) -> None:
    """:raises UnknownCredential: it names what can be rotated"""
    if name not in names:
        raise UnknownCredential(f"there are: {', '.join(names)}")
