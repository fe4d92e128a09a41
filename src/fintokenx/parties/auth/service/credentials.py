"""Which version of a provider's credential was made when, and by whom (P-21). The values lie in the vault."""

from __future__ import annotations

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx
from fintokenx.parties.auth import store
from fintokenx.parties.auth.transitions import ROLES_OF, SubjectState
from fintokenx.parties.auth.types import CredentialVersion
from fintokenx.parties.auth.types.refusals import NotAnAdministrator, RotatedMeanwhile


async def rotate_credential(tx: Tx, caller: Caller, *, name: str, version: int, stored_as: str) -> CredentialVersion:
    """Record that a credential has a new version, whose value the vault has under ``stored_as`` already.

    From the commit on the version is decided; the vault follows (``desks.operations.rotation``). Recorded as
    PROVIDER_CRED_ROTATE.

    :raises WrongRole: anybody but a platform administrator (AD-20)
    :raises NotAnAdministrator: not an active platform administrator of this tenant in person
    :raises RotatedMeanwhile: somebody else recorded this version, or a later one
    """
    caller.must_be(*ROLES_OF["PROVIDER_CRED_ROTATE"], tenant_id=tx.tenant_id)
    administrator = await store.subject(tx, caller.must_be_subject())
    if administrator is None or (administrator.role, administrator.state) != (Role.PLATFORM_ADMIN, SubjectState.ACTIVE):
        raise NotAnAdministrator
    await store.lock(tx, f"credentials:{name}")
    known = await store.newest_credential_version(tx, name)
    if known is not None and known.version >= version:
        raise RotatedMeanwhile(f"{name} is at version {known.version}")
    new = CredentialVersion(name, version, stored_as, tx.at, administrator.id)
    move = audit.Changes((store.credential_version_made(tx, new),))
    await audit.change(tx, caller, action="PROVIDER_CRED_ROTATE", resource=f"credential/{name}", move=move)
    return new


async def credential_version(tx: Tx, caller: Caller, *, name: str) -> CredentialVersion | None:
    """The newest recorded version; None while the first one, which nobody recorded, is the only one."""
    caller.must_be(Role.SYSTEM, Role.PLATFORM_ADMIN, tenant_id=tx.tenant_id)
    return await store.newest_credential_version(tx, name)


async def administrators(tx: Tx, caller: Caller) -> list[str]:
    """Subject ids of the active platform administrators of this tenant, oldest first."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    return await store.active_administrators(tx)
