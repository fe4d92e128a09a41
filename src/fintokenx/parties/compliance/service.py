"""Open and decide cases; raise, acknowledge and close alerts. Who decides is a compliance role and nobody else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx
from fintokenx.kernel.machine import NOTHING
from fintokenx.kernel.sealing import SealedColumn, Sealer, Shredded
from fintokenx.parties import auth
from fintokenx.parties.compliance import store
from fintokenx.parties.compliance.events import AlertRaised, CaseDecided, CaseOpened, PersonalDataDisclosed
from fintokenx.parties.compliance.transitions import ALERT, CASE, AlertEvent, AlertState, CaseEvent
from fintokenx.parties.compliance.types import (
    Alert,
    AlreadyDecided,
    Case,
    Decision,
    DisclosedValue,
    Finding,
    NothingSealed,
    Rationale,
    SealedValue,
    Severity,
    UnknownAlert,
    UnknownCase,
    canonical_rationale,
    rationale_hash,
)

_DECIDERS = (Role.MLRO, Role.COMPLIANCE)
_ON_THE_WAY_IN = (auth.SubjectState.VERIFYING, auth.SubjectState.SCREENING, auth.SubjectState.IN_REVIEW)
_OPENERS = (Role.SYSTEM, *_DECIDERS)


SealedColumns = Mapping[tuple[str, str], SealedColumn]
"""By table and column."""


@dataclass(frozen=True, slots=True)
class ComplianceServices:
    """What the routes need beside a transaction."""

    sealer: Sealer
    sealed: SealedColumns
    """Every sealed column of the platform (``app.catalogue.SEALED``)."""


async def open_case(
    tx: Tx,
    caller: Caller,
    *,
    subject_id: str | None,
    resource: str,
    reason: str,
    declines_subject: bool = False,
) -> tuple[Case, audit.Changes]:
    """A case and the Changes that open it; the one that is already open for this resource and reason, with empty
    Changes. The caller records it in an entry whose ``carries`` say :data:`CASE_OPENED`.
    ``declines_subject``: a DECLINE of this case declines the subject in the same entry."""
    caller.must_be(*_OPENERS, tenant_id=tx.tenant_id)
    await store.lock(tx, f"review_queue:{resource}:{reason}")
    if (known := await store.open_case_about(tx, resource, reason)) is not None:
        return known, audit.Changes()
    case = Case(
        id=tx.ids.new("cas"),
        subject_id=subject_id,
        resource=resource,
        reason=reason,
        state=CASE.next(NOTHING, CaseEvent.OPEN).target,
        opened_at=tx.at,
        declines_subject=declines_subject,
    )
    return case, audit.Changes((store.new_case(tx, case),), (CaseOpened(case.id, resource, reason),))


async def seal_rationale(sealer: Sealer, case: Case, tenant_id: str, text: str) -> Rationale:
    """Hash and seal the reasons; before the transaction, because sealing may ask the key service.

    :raises RationaleMissing: no words
    """
    sealed = await sealer.seal(tenant_id, case.sealing_key, "rationale", canonical_rationale(text))
    return Rationale(sealed, rationale_hash(text))


async def open_rationale(sealer: Sealer, case: Case, tenant_id: str) -> str | None:
    """The reasons in clear, for a decider's eyes; None while the case is undecided, and for ever once the
    person it speaks of was erased: the case itself stays."""
    if case.rationale_sealed is None:
        return None
    try:
        return await sealer.open(tenant_id, case.sealing_key, "rationale", case.rationale_sealed)
    except Shredded:
        return None


async def decide(tx: Tx, caller: Caller, *, case_id: str, decision: Decision, rationale: Rationale) -> Case:
    """Decide a case for good. What follows from it is done by the module that asked, on :class:`CaseDecided`; only
    the decline of a subject on its way in stands in the same entry (statemachines §2).

    :raises WrongRole: anybody but ``mlro`` and ``compliance`` (CO-02)
    :raises AlreadyDecided: a decided case never reopens (statemachines §10)
    """
    caller.must_be(*_DECIDERS, tenant_id=tx.tenant_id)
    await store.lock(tx, f"review_queue:{case_id}")
    known = await _case(tx, case_id)
    if known.decided_at is not None:
        raise AlreadyDecided
    line = CASE.next(known.state, CaseEvent(decision.value.lower()))
    after = {
        "state": line.target,
        "decision": decision.value,
        "decided_at": tx.at,
        "decided_by": caller.actor,
        "rationale_sealed": rationale.sealed,
        "rationale_hash": rationale.sha256,
    }
    fact = CaseDecided(known.id, known.resource, known.reason, decision.value)
    move = audit.Changes((store.changed_case(tx, known, **after),), (fact,))
    if known.declines_subject and decision is Decision.DECLINE:
        move += await _decline_subject(tx, caller, known)
    await audit.change(tx, caller, action=line.action, resource=known.id, move=move)
    return await _case(tx, case_id)


async def case_of(tx: Tx, caller: Caller, *, case_id: str) -> Case:
    """One case. :raises UnknownCase: none in the caller's tenant"""
    caller.must_be(*_OPENERS, tenant_id=tx.tenant_id)
    return await _case(tx, case_id)


async def cases(tx: Tx, caller: Caller, *, state: str | None, after: str, limit: int) -> list[Case]:
    """The queue, oldest first, decided ones included for ever (CO-01)."""
    caller.must_be(*_DECIDERS, tenant_id=tx.tenant_id)
    return await store.cases(tx, state=state, after=after, limit=limit)


async def must_not_need(tx: Tx, caller: Caller, *, subject_id: str) -> None:
    """:raises auth.ErasureBlocked: a question about the subject waits for a person"""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    if await store.has_open_case(tx, subject_id):
        raise auth.ErasureBlocked("CASE_OPEN")


async def raise_alert(tx: Tx, caller: Caller, *, cause: str, resource: str, severity: Severity) -> audit.Changes:
    """The Changes that raise an alert, or count one more occurrence of the one that is open for this cause.

    The caller records it in an entry whose ``carries`` say :data:`ALERT_RAISED`, such as ALERT_RAISE.
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    await store.lock(tx, f"alerts:{cause}:{resource}")
    if (known := await store.open_alert(tx, cause, resource)) is not None:
        row = store.changed_alert(tx, known, last_seen_at=tx.at, occurrences=known.occurrences + 1)
        return audit.Changes((row,))
    alert = Alert(
        id=tx.ids.new("alt"),
        cause=cause,
        resource=resource,
        severity=severity.value,
        state=ALERT.next(NOTHING, AlertEvent.RAISE).target,
        raised_at=tx.at,
        last_seen_at=tx.at,
        occurrences=1,
    )
    return audit.Changes((store.new_alert(tx, alert),), (AlertRaised(alert.id, cause, resource, severity.value),))


async def clear_alert(tx: Tx, caller: Caller, *, cause: str, resource: str) -> None:
    """The cause is gone by itself: an alert that nobody has taken up ends, recorded as ALERT_CLEAR. One that somebody
    has acknowledged stays with them. The same cause raises a new alert from now on."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    if await store.open_alert(tx, cause, resource) is None:
        return  # the usual case, without a lock
    await store.lock(tx, f"alerts:{cause}:{resource}")
    known = await store.open_alert(tx, cause, resource)
    if known is None or known.state != AlertState.RAISED:
        return
    line = ALERT.next(known.state, AlertEvent.CLEAR)
    row = store.changed_alert(tx, known, state=line.target, closed_at=tx.at, closed_by=caller.actor)
    await audit.change(tx, caller, action=line.action, resource=resource, move=audit.Changes((row,)))


async def clear_alerts_but(tx: Tx, caller: Caller, *, cause: str, standing: Collection[str]) -> None:
    """Whoever looks at all that this cause may be true of found it true of the resources ``standing`` and of no other:
    clear the alerts about others."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    for known in await store.raised_alerts(tx, cause):
        if known.resource not in standing:
            await clear_alert(tx, caller, cause=cause, resource=known.resource)


async def acknowledge_alert(tx: Tx, caller: Caller, *, alert_id: str) -> Alert:
    """Say that somebody is looking at it."""
    caller.must_be(*_DECIDERS, tenant_id=tx.tenant_id)
    known = await _locked_alert(tx, alert_id)
    line = ALERT.next(known.state, AlertEvent.ACKNOWLEDGE)
    row = store.changed_alert(tx, known, state=line.target, acknowledged_at=tx.at, acknowledged_by=caller.actor)
    await audit.change(tx, caller, action=line.action, resource=alert_id, move=audit.Changes((row,)))
    return replace(known, state=line.target, acknowledged_at=tx.at, acknowledged_by=caller.actor)


async def close_alert(tx: Tx, caller: Caller, *, alert_id: str, finding: Finding) -> Alert:
    """Say what it was. The same cause raises a new alert from now on."""
    caller.must_be(*_DECIDERS, tenant_id=tx.tenant_id)
    known = await _locked_alert(tx, alert_id)
    line = ALERT.next(known.state, AlertEvent.CLOSE)
    row = store.changed_alert(
        tx, known, state=line.target, closed_at=tx.at, closed_by=caller.actor, finding=finding.value
    )
    await audit.change(tx, caller, action=line.action, resource=alert_id, move=audit.Changes((row,)))
    return replace(known, state=line.target, closed_at=tx.at, closed_by=caller.actor, finding=finding.value)


async def alerts(tx: Tx, caller: Caller, *, state: str | None, after: str, limit: int) -> list[Alert]:
    """The tenant's alerts, oldest first."""
    caller.must_be(*_DECIDERS, tenant_id=tx.tenant_id)
    return await store.alerts(tx, state=state, after=after, limit=limit)


async def _decline_subject(tx: Tx, caller: Caller, case: Case) -> audit.Changes:
    """A subject that is frozen, or past this already, stays as it is."""
    subject = await auth.subject(tx, str(case.subject_id))
    if subject.state not in _ON_THE_WAY_IN:
        return audit.Changes()
    return await auth.advance(tx, caller, subject_id=subject.id, event=auth.SubjectEvent.DECLINE)


async def _case(tx: Tx, case_id: str) -> Case:
    if (known := await store.case(tx, case_id)) is None:
        raise UnknownCase
    return known


async def _locked_alert(tx: Tx, alert_id: str) -> Alert:
    await store.lock(tx, f"alerts:{alert_id}")
    if (known := await store.alert(tx, alert_id)) is None:
        raise UnknownAlert
    return known


async def record_disclosure(
    tx: Tx, caller: Caller, *, entry_ids: Sequence[str], fields: Collection[str], sealed: SealedColumns
) -> list[SealedValue]:
    """Find these fields in these entries, and record that the caller is told them: one entry per person, under that
    person's id, naming fields and entries and no value (SB-05). Tell them only once this has committed.

    :raises audit.UnknownEntry: none that the caller may see
    :raises NothingSealed: nothing of the kind stands in them
    """
    found = await find_sealed(tx, caller, entry_ids=entry_ids, fields=fields, sealed=sealed)
    for owner in sorted({value.owner for value in found}):
        theirs = [value for value in found if value.owner == owner]
        fact = PersonalDataDisclosed(
            owner,
            tuple(dict.fromkeys(value.entry_id for value in theirs)),
            tuple(dict.fromkeys(value.field for value in theirs)),
        )
        move = audit.Changes(facts=(fact,))
        await audit.change(tx, caller, action="PERSONAL_DATA_DISCLOSE", resource=owner, move=move)
    return found


async def find_sealed(
    tx: Tx, caller: Caller, *, entry_ids: Sequence[str], fields: Collection[str], sealed: SealedColumns
) -> list[SealedValue]:
    """What :func:`record_disclosure` records, for one that was recorded; raises as it does."""
    caller.must_be(Role.SYSTEM, *_DECIDERS, tenant_id=tx.tenant_id)
    found: list[SealedValue] = []
    for entry_id in dict.fromkeys(entry_ids):
        entry = await audit.entry_of(tx, caller, entry_id=entry_id)
        found += [value async for value in _sealed_in(tx, caller, entry, fields, sealed)]
    if not found:
        raise NothingSealed
    return found


async def disclose(sealer: Sealer, tenant_id: str, values: Sequence[SealedValue]) -> list[DisclosedValue]:
    """Salt and value of what :func:`record_disclosure` found, neither where the person was erased."""
    told = []
    for value in values:
        try:
            salt, clear = await sealer.disclose(tenant_id, value.owner, value.field, value.sealed)
        except Shredded:
            told.append(DisclosedValue(value.entry_id, value.pointer, value.field, None, None))
        else:
            told.append(DisclosedValue(value.entry_id, value.pointer, value.field, salt.hex(), clear))
    return told


async def _sealed_in(
    tx: Tx, caller: Caller, entry: audit.Entry, fields: Collection[str], sealed: SealedColumns
) -> AsyncIterator[SealedValue]:
    for number, change in enumerate(json.loads(entry.diff)["rows"]):
        for part, name, text in _texts(change):
            column = sealed.get((change["table"], name))
            if column is None or column.is_secret or column.field not in fields:
                continue
            owner = await _owner_of(tx, caller, change, column)
            yield SealedValue(entry.id, f"/diff/rows/{number}/{part}/{name}", column.field, owner, text)


def _texts(change: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Part of the operation, column and text of whatever is sealed in it."""
    for part in ("row", "before", "after"):
        for name, text in change.get(part, {}).items():
            if isinstance(text, str) and text.startswith("sealed:"):
                yield part, name, text


async def _owner_of(tx: Tx, caller: Caller, change: Mapping[str, Any], column: SealedColumn) -> str:
    """Whose key it is under: the operation says so, or else its row does. Owners never change."""
    known = {**change.get("key", {}), **change.get("row", {})}
    if column.owner[0] not in known:
        known |= await audit.present_row(tx, caller, table=change["table"], key=change["key"])
    return next(str(known[name]) for name in column.owner if known.get(name) is not None)
