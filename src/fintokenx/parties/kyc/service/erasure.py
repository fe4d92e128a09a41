"""What the erasure of a subject means for its onboarding files: everybody in them goes with it."""

from __future__ import annotations

from fintokenx.kernel import sealing
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx
from fintokenx.parties import auth
from fintokenx.parties.kyc import store


async def erase_persons(tx: Tx, caller: Caller, *, subject_id: str) -> None:
    """Destroy the keys of everybody who ever stood in a file of the subject, in the transaction that erases it. What
    the providers answered lies under the subject's own key and is gone already.

    :raises auth.ErasureBlocked: a file is undecided, or a gate is running
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    await store.lock_subject(tx, subject_id)
    if await store.is_being_checked(tx, subject_id):
        raise auth.ErasureBlocked("GATES_RUNNING")
    for person in await store.persons_of(tx, subject_id):
        await sealing.shred(tx, person)
