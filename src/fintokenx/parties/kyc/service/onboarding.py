"""The form: sealed before the transaction, opened and submitted in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Tx
from fintokenx.kernel.ids import Ids
from fintokenx.kernel.machine import NOTHING
from fintokenx.kernel.sealing import Sealer
from fintokenx.parties import auth
from fintokenx.parties.kyc import store
from fintokenx.parties.kyc.service.running import started
from fintokenx.parties.kyc.service.standing import CUSTOMERS, only_own
from fintokenx.parties.kyc.transitions import FILE, FileEvent, GateRunEvent
from fintokenx.parties.kyc.types import (
    FORM_VERSION,
    OLDEST_YEARS,
    YOUNGEST_YEARS,
    BankAccount,
    BirthDateImplausible,
    Form,
    FormIncomplete,
    FormOutdated,
    Gate,
    OnboardingFile,
    OnboardingOpen,
    Party,
    Person,
    PersonRole,
)

_SUBMITTERS = (*CUSTOMERS, Role.PARTNER_ADMIN)
_NEEDED = (PersonRole.REPRESENTATIVE, PersonRole.DIRECTOR)


async def may_onboard(tx: Tx, caller: Caller, *, subject_id: str) -> Instant:
    """Whether the caller may hand in a form for this subject: itself, or its partner. The moment at which it asks.

    :raises NotYourSubject: a customer about somebody else
    """
    caller.must_be(*_SUBMITTERS, tenant_id=tx.tenant_id)
    only_own(caller, subject_id)
    await auth.subject(tx, subject_id)
    return tx.at


async def seal_form(
    sealer: Sealer,
    ids: Ids,
    tenant_id: str,
    *,
    form_version: str,
    company_number: str,
    persons: Sequence[Person],
    account: BankAccount,
    at: Instant,
) -> Form:
    """Check the form as of the day ``at`` and seal what is personal, each person under a key of their own, so that one
    can be erased.

    :raises FormOutdated: not the current version
    :raises FormIncomplete: no director or no representative
    :raises BirthDateImplausible: somebody is younger than 16 or older than 120 years
    """
    if form_version != FORM_VERSION:
        raise FormOutdated(f"the form is {FORM_VERSION}")
    missing = [str(role) for role in _NEEDED if not any(role in person.roles for person in persons)]
    if missing:
        raise FormIncomplete(f"no {' and no '.join(missing)}")
    for number, person in enumerate(persons):
        if not YOUNGEST_YEARS <= _years(person.born_on, at.date()) <= OLDEST_YEARS:
            raise BirthDateImplausible(f"persons.{number}.born_on")
    file_id = ids.new("onb")
    parties = [Party(f"{file_id}-00", "company")]
    for number, person in enumerate(persons, 1):
        party_id = f"{file_id}-{number:02d}"
        parties.append(
            Party(
                party_id,
                "individual",
                tuple(str(role) for role in person.roles),
                name_sealed=await sealer.seal(tenant_id, party_id, "name", person.name),
                born_on_sealed=await sealer.seal(tenant_id, party_id, "born_on", person.born_on.isoformat()),
            )
        )
    return Form(file_id, form_version, company_number, tuple(parties), account)


def _years(born_on: date, on: date) -> int:
    """The age in whole years. Who was born on 29 February has a birthday on 1 March in other years (England)."""
    return on.year - born_on.year - ((on.month, on.day) < (born_on.month, born_on.day))


async def submit(tx: Tx, caller: Caller, *, subject_id: str, form: Form) -> OnboardingFile:
    """Open a file and hand the form in: two entries, as the subject takes two steps. Gate 1 starts by job.

    :raises OnboardingOpen: one attempt at a time (KY-05)
    :raises FormIncomplete: the number is not the subject's
    :raises IllegalTransition: the subject is past onboarding
    """
    await may_onboard(tx, caller, subject_id=subject_id)
    await store.lock_subject(tx, subject_id)
    subject = await auth.subject(tx, subject_id)
    known = await store.newest_file(tx, subject_id)
    if known is not None and known.mlro_decided_at is None:
        raise OnboardingOpen
    if subject.company_number not in {None, form.company_number}:
        raise FormIncomplete("the company number is not the one this subject was created with")
    file = await _open(tx, caller, subject, form)
    return await _submit(tx, caller, file)


async def _open(tx: Tx, caller: Caller, subject: auth.Subject, form: Form) -> OnboardingFile:
    line = FILE.next(NOTHING, FileEvent.OPEN)
    file = OnboardingFile(
        id=form.file_id,
        subject_id=subject.id,
        form_version=form.form_version,
        state=line.target,
        company_name=subject.legal_name,
        company_number=form.company_number,
        opened_at=tx.at,
    )
    rows = [store.new_file(tx, file), *(store.new_party(tx, file.id, party) for party in form.parties)]
    if (account := await store.current_account(tx, subject.id)) is not None:
        rows.append(store.superseded_account(tx, account[0]))
    rows.append(store.new_account(tx, file, form.account))
    move = await auth.advance(tx, caller, subject_id=subject.id, event=auth.SubjectEvent.OPEN_ONBOARDING)
    await audit.change(tx, caller, action=line.action, resource=subject.id, move=audit.Changes(tuple(rows)) + move)
    return file


async def _submit(tx: Tx, caller: Caller, file: OnboardingFile) -> OnboardingFile:
    line = FILE.next(file.state, FileEvent.SUBMIT)
    submitted = replace(file, state=line.target, submitted_at=tx.at)
    own = audit.Changes((store.changed_file(tx, file, state=line.target, submitted_at=tx.at),))
    move = await auth.advance(tx, caller, subject_id=file.subject_id, event=auth.SubjectEvent.SUBMIT)
    run = await started(tx, file, Gate.IDENTITY, GateRunEvent.START_ON_SUBMIT)
    await audit.change(tx, caller, action=line.action, resource=file.subject_id, move=own + move + run)
    return submitted
