"""Subjects: created here, moved by the gates above through :func:`advance`, never edited by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from fintokenx import audit
from fintokenx.kernel.bus import Fact
from fintokenx.kernel.caller import HOME_TENANT, STAFF, Caller, Role
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Tx
from fintokenx.kernel.machine import NOTHING
from fintokenx.parties.auth import events, store
from fintokenx.parties.auth.transitions import (
    CUSTOMERS,
    MAGIC_LINK,
    ROLES_OF,
    SESSION,
    SUBJECT,
    MagicLinkEvent,
    SessionEvent,
    SubjectEvent,
    SubjectState,
)
from fintokenx.parties.auth.types import SANCTIONS, Subject
from fintokenx.parties.auth.types.refusals import (
    NotASubjectRole,
    NotOfThePlatform,
    ReasonRequired,
    StaffExists,
    SubjectExists,
    UnknownSubject,
)

_RUN_BY: Final = (Role.SYSTEM, Role.MLRO, Role.COMPLIANCE)


@dataclass(frozen=True, slots=True)
class SealedPerson:
    """The representative of a subject. Sealed before the transaction, under the id that the subject will have."""

    representative_name_sealed: str
    email_sealed: str
    email_index: str
    """From :func:`email_index_of`."""


async def create_subject(
    tx: Tx,
    caller: Caller,
    *,
    subject_id: str,
    role: Role,
    legal_name: str,
    company_number: str,
    person: SealedPerson | None,
) -> Subject:
    """A company in one role, for ever (AU-04). Recorded as SUBJECT_CREATE.

    ``subject_id`` is fresh, from ``ids.new("sub")``: sealing needs it before the transaction. ``person`` is None for
    a company that was only named so far.

    :raises SubjectExists: the company is here already in this role (AU-05)
    :raises NotASubjectRole: staff are created by :func:`create_staff`, system and agents not at all
    """
    caller.must_be(*ROLES_OF["SUBJECT_CREATE"], tenant_id=tx.tenant_id)
    if role not in (*CUSTOMERS, Role.PARTNER_ADMIN):
        raise NotASubjectRole(role)
    await store.lock(tx, f"subjects:{company_number}:{role}")
    if await store.subject_of_company(tx, company_number, role) is not None:
        raise SubjectExists(f"{company_number} as {role}")
    return await _create(
        tx, caller, SubjectEvent.CREATE, _new(tx, subject_id, role, legal_name, company_number, person)
    )


async def create_staff(
    tx: Tx, caller: Caller, *, subject_id: str, role: Role, employer: str, person: SealedPerson
) -> Subject:
    """Somebody of the platform's own, active at once; recorded as STAFF_CREATE. ``employer`` is the company's name.

    :raises NotASubjectRole: not a role of staff
    :raises NotOfThePlatform: an administrator of the platform in a partner's tenant
    :raises StaffExists: the address signs in somebody of that role here: the four eyes of one person would be two
    """
    caller.must_be(*ROLES_OF["STAFF_CREATE"], tenant_id=tx.tenant_id)
    if role not in STAFF:
        raise NotASubjectRole(role)
    if role is Role.PLATFORM_ADMIN and tx.tenant_id != HOME_TENANT:
        raise NotOfThePlatform(f"{role} is created in {HOME_TENANT}")
    await store.lock(tx, f"subjects:{person.email_index}:{role}")
    if await store.subjects_of_email(tx, person.email_index, role):
        raise StaffExists(role)
    return await _create(tx, caller, SubjectEvent.CREATE_STAFF, _new(tx, subject_id, role, employer, None, person))


def _new(
    tx: Tx, subject_id: str, role: Role, legal_name: str, company_number: str | None, person: SealedPerson | None
) -> Callable[[SubjectState], Subject]:
    return lambda state: Subject(
        tenant_id=tx.tenant_id,
        id=subject_id,
        role=role,
        legal_name=legal_name,
        company_number=company_number,
        representative_name_sealed=person.representative_name_sealed if person else None,
        email_sealed=person.email_sealed if person else None,
        email_index=person.email_index if person else None,
        state=state,
        suspension_reason=None,
        frozen_from=None,
        created_at=tx.at,
        last_kyc_run_at=None,
        last_screening_at=None,
    )


async def _create(tx: Tx, caller: Caller, event: SubjectEvent, in_state: Callable[[SubjectState], Subject]) -> Subject:
    creation = SUBJECT.next(NOTHING, event)
    new = in_state(creation.target)
    move = audit.Changes((store.subject_created(new),), (events.SubjectCreated(new.id, new.role.value),))
    await audit.change(tx, caller, action=creation.action, resource=new.id, move=move)
    return new


async def subject(tx: Tx, subject_id: str) -> Subject:
    """:raises UnknownSubject: none in this tenant"""
    found = await store.subject(tx, subject_id)
    if found is None:
        raise UnknownSubject
    return found


async def visible_subject(tx: Tx, caller: Caller, *, subject_id: str) -> Subject:
    """A subject that the caller may look at: itself, or any of the tenant for its partner and for staff.

    :raises UnknownSubject: none, or not one that the caller may see
    """
    caller.must_be(*ROLES_OF["SUBJECT_CREATE"], *CUSTOMERS, *STAFF, Role.PARTNER_ADMIN, tenant_id=tx.tenant_id)
    if caller.party_role in CUSTOMERS and caller.subject_id != subject_id:
        raise UnknownSubject
    return await subject(tx, subject_id)


async def held_subject(tx: Tx, subject_id: str) -> Subject:
    """The subject, which stays as it is until this transaction ends: for commands that begin business with it.

    Whoever freezes or erases it waits, and then sees the business. :raises UnknownSubject: none in this tenant
    """
    await store.hold(tx, f"subjects:{subject_id}")
    return await subject(tx, subject_id)


async def find_subject(tx: Tx, subject_id: str) -> Subject | None:
    """The subject, or None when there is none in this tenant."""
    return await store.subject(tx, subject_id)


async def subject_of_company(tx: Tx, *, company_number: str, role: Role) -> Subject | None:
    """The one subject of a company in a role, or None (AU-05)."""
    return await store.subject_of_company(tx, company_number, role)


async def sanctioned(tx: Tx) -> list[str]:
    """Ids of subjects that are frozen because a sanctions list names them."""
    return await store.sanctioned(tx)


async def active_holders(tx: Tx, after: str, limit: int) -> list[Subject]:
    """Active lenders and investors by id: those after the id ``after``, at most ``limit``."""
    return await store.active_holders(tx, after=after, limit=limit)


async def advance(tx: Tx, caller: Caller, *, subject_id: str, event: SubjectEvent, reason: str = "") -> audit.Changes:
    """Move a subject along its machine; the caller records the Changes under the transition's action.

    The action is :func:`action_of` ``(event)``. A freeze or an erasure ends the subject's sessions and links in the
    same entry (AU-12). ``reason`` is a code: such as ``CH_STALE`` for SUSPEND; ``SANCTIONS`` for a FREEZE after a true
    hit, which reaches the chain's sanctions list, too (MO-06); none for any other freeze.

    :raises WrongRole: the caller's role may not record that action
    :raises UnknownSubject: none in this tenant, or a customer meant somebody else
    :raises IllegalTransition: not in the present state
    :raises ReasonRequired: a suspension without a reason
    """
    caller.must_be(*ROLES_OF[action_of(event)], tenant_id=tx.tenant_id)
    if caller.party_role in CUSTOMERS and caller.must_be_subject() != subject_id:
        raise UnknownSubject
    if event is SubjectEvent.SUSPEND and not reason:
        raise ReasonRequired
    await store.lock(tx, f"subjects:{subject_id}")
    before = await subject(tx, subject_id)
    target = before.frozen_from if event is SubjectEvent.UNFREEZE else None
    state = SUBJECT.next(before.state, event, to=target).target
    after = {"state": state, **_with(event, before, reason)}
    told = _TOLD.get(event)
    facts = (told(before, state, reason),) if told else ()
    move = audit.Changes((store.subject_changed(before, after),), facts)
    if event in _LOCKED_OUT_BY:
        move += await _locked_out(tx, subject_id, event)
    return move


def action_of(event: SubjectEvent) -> str:
    """The action under which an event is recorded."""
    return next(line.action for line in SUBJECT.transitions if line.event == event)


def _with(event: SubjectEvent, before: Subject, reason: str) -> dict[str, Any]:
    """The columns that change together with the state."""
    match event:
        case SubjectEvent.SUSPEND:
            return {"suspension_reason": reason}
        case SubjectEvent.RESUME:
            return {"suspension_reason": None}
        case SubjectEvent.FREEZE:
            return {"frozen_from": before.state, "freeze_ground": SANCTIONS if reason == SANCTIONS else None}
        case SubjectEvent.UNFREEZE:
            return {"frozen_from": None, "freeze_ground": None}
        case SubjectEvent.ERASE:
            # An address that signs nobody in, in no row; what stands in entries cannot be read without the key.
            return {"representative_name_sealed": None, "email_sealed": None, "email_index": None}
        case _:
            return {}


_LOCKED_OUT_BY: Final = (SubjectEvent.FREEZE, SubjectEvent.ERASE)

_TOLD: Final[dict[SubjectEvent, Callable[[Subject, str, str], Fact]]] = {
    SubjectEvent.ACTIVATE: lambda who, _state, _reason: events.SubjectActive(who.id, who.role.value),
    SubjectEvent.APPROVE: lambda who, _state, _reason: events.SubjectActive(who.id, who.role.value),
    SubjectEvent.DECLINE: lambda who, _state, _reason: events.SubjectDeclined(who.id, who.role.value),
    SubjectEvent.SUSPEND: lambda who, _state, reason: events.SubjectSuspended(who.id, who.role.value, reason),
    SubjectEvent.RESUME: lambda who, _state, _reason: events.SubjectResumed(who.id, who.role.value),
    SubjectEvent.FREEZE: lambda who, _state, _reason: events.SubjectFrozen(who.id, who.role.value),
    SubjectEvent.UNFREEZE: lambda who, state, _reason: events.SubjectUnfrozen(who.id, who.role.value, state),
    SubjectEvent.ERASE: lambda who, _state, _reason: events.SubjectErased(who.id, who.role.value),
}


_SESSION_ENDS: Final = {SubjectEvent.FREEZE: SessionEvent.FREEZE, SubjectEvent.ERASE: SessionEvent.ERASE}
_LINK_ENDS: Final = {SubjectEvent.FREEZE: MagicLinkEvent.FREEZE, SubjectEvent.ERASE: MagicLinkEvent.ERASE}


async def _locked_out(tx: Tx, subject_id: str, event: SubjectEvent) -> audit.Changes:
    sessions = await store.live_sessions_of(tx, subject_id)
    links = await store.live_links_of_subject(tx, subject_id)
    return audit.Changes(
        (
            *(store.session_revoked(tx, s, state=SESSION.next(s.state, _SESSION_ENDS[event]).target) for s in sessions),
            *(store.link_moved(link, state=MAGIC_LINK.next(link.state, _LINK_ENDS[event]).target) for link in links),
        )
    )


async def gate_ran(
    tx: Tx,
    caller: Caller,
    *,
    subject_id: str,
    kyc_run_at: Instant | None = None,
    screening_at: Instant | None = None,
    cleared_at: Instant | None = None,
) -> audit.Changes:
    """Keep the times of the latest runs (KY-18), and of the checks on which its clearance rests; adds up with
    :func:`advance` in one entry.

    :raises UnknownSubject: none in this tenant
    """
    caller.must_be(*_RUN_BY, tenant_id=tx.tenant_id)
    await store.lock(tx, f"subjects:{subject_id}")
    before = await subject(tx, subject_id)
    times = {"last_kyc_run_at": kyc_run_at, "last_screening_at": screening_at, "cleared_at": cleared_at}
    after = {name: at for name, at in times.items() if at is not None}
    return audit.Changes((store.subject_changed(before, after),)) if after else audit.Changes()
