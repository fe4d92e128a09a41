"""A person's data is destroyed, for good: one entry, one key, one transaction (AD-14, SB-01, CO-09)."""

from __future__ import annotations

from fintokenx import audit
from fintokenx.kernel import sealing
from fintokenx.kernel.caller import Caller
from fintokenx.kernel.db import Tx
from fintokenx.kernel.sealing import Sealer
from fintokenx.parties.auth import store
from fintokenx.parties.auth.service.subjects import action_of, advance, subject
from fintokenx.parties.auth.transitions import ROLES_OF, SubjectEvent, SubjectState
from fintokenx.parties.auth.types import Erasure
from fintokenx.parties.auth.types.refusals import ErasureBlocked, UnknownSubject

_ACTION = action_of(SubjectEvent.ERASE)


async def seal_reason(sealer: Sealer, caller: Caller, *, erasure_id: str, reason: str) -> str:
    """Why somebody is erased, sealed before the transaction under a key that outlives theirs; it is free text, and
    must not stand in the record in clear.

    :raises WrongRole: whoever may not erase anybody
    """
    caller.must_be(*ROLES_OF[_ACTION], tenant_id=caller.tenant_id)
    return await sealer.seal(caller.tenant_id, erasure_id, "reason", reason)


async def erase(tx: Tx, caller: Caller, *, subject_id: str, erasure_id: str, reason_sealed: str) -> Erasure:
    """Destroy the key of a subject's person, in the transaction that records it; asked again, the first erasure.

    The company's name and number stay: they are business records of the other parties too. Modules above refuse in
    step while they need the person, and destroy the keys of whoever else stands behind the company. A freeze is the
    one legal hold that there is.

    :raises UnknownSubject: none in this tenant
    :raises ErasureBlocked: frozen, or in open business; ``why`` names it
    :raises IllegalTransition: on its way through the gates: decline it first
    """
    caller.must_be(*ROLES_OF[_ACTION], tenant_id=tx.tenant_id)
    await store.lock(tx, f"subjects:{subject_id}")
    known = await subject(tx, subject_id)
    if known.state == SubjectState.ERASED:
        return await _erasure(tx, subject_id)
    if known.state == SubjectState.FROZEN:
        raise ErasureBlocked("SUBJECT_FROZEN")
    move = await advance(tx, caller, subject_id=subject_id, event=SubjectEvent.ERASE)
    erasure = Erasure(erasure_id, subject_id, tx.at, caller.actor, reason_sealed)
    await sealing.shred(tx, subject_id)
    await store.forget_code(tx, subject_id)
    own = audit.Changes((store.erased(tx, erasure),))
    await audit.change(tx, caller, action=_ACTION, resource=subject_id, move=move + own)
    return erasure


async def _erasure(tx: Tx, subject_id: str) -> Erasure:
    found = await store.erasure_of(tx, subject_id)
    if found is None:
        raise UnknownSubject
    return found
