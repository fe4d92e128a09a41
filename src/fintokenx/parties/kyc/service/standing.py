"""Where a subject stands, and whether it may act."""

from __future__ import annotations

from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx
from fintokenx.parties import auth
from fintokenx.parties.kyc import store
from fintokenx.parties.kyc.service.renewing import is_cleared
from fintokenx.parties.kyc.types import (
    PROVIDERS,
    BankAccount,
    ClearanceLapsed,
    Gate,
    Gates,
    GateState,
    NoDesignatedAccount,
    NotYourSubject,
    SubjectNotActive,
)

CUSTOMERS = (Role.SELLER, Role.BUYER, Role.LENDER, Role.INVESTOR, Role.BROKER)
STAFF = (Role.PARTNER_ADMIN, Role.PLATFORM_ADMIN, Role.MLRO, Role.COMPLIANCE, Role.SYSTEM)
_SEE_FREEZES = (Role.MLRO, Role.COMPLIANCE, Role.SYSTEM)


def only_own(caller: Caller, subject_id: str) -> None:
    """:raises NotYourSubject: a customer asks about somebody else"""
    if caller.party_role in CUSTOMERS and caller.subject_id != subject_id:
        raise NotYourSubject


async def must_be_active(tx: Tx, subject_id: str) -> auth.Subject:
    """The subject, which has passed gates 1 to 3 and is neither suspended nor frozen; it stays so until
    the transaction ends.

    A door for the modules above, inside their commands: they have checked their caller.

    :raises SubjectNotActive: any other state
    """
    subject = await auth.held_subject(tx, subject_id)
    if subject.state != auth.SubjectState.ACTIVE:
        raise SubjectNotActive
    return subject


async def must_be_cleared(tx: Tx, subject_id: str) -> None:
    """The checks behind the subject's clearance still count. A door for the modules above, inside their commands.

    :raises ClearanceLapsed: they are older than a year and were not passed anew
    """
    if not is_cleared(await auth.subject(tx, subject_id), tx.at):
        raise ClearanceLapsed


async def designated_account(tx: Tx, subject_id: str) -> BankAccount:
    """Where the subject's money goes. A door for the modules above.

    :raises NoDesignatedAccount: none named yet
    """
    found = await store.current_account(tx, subject_id)
    if found is None:
        raise NoDesignatedAccount
    return found[1]


async def gates(tx: Tx, caller: Caller, *, subject_id: str) -> Gates:
    """Gates 1 to 3 of the subject's latest attempt (KY-01); a customer sees only their own."""
    caller.must_be(*CUSTOMERS, *STAFF, tenant_id=tx.tenant_id)
    only_own(caller, subject_id)
    subject = await auth.subject(tx, subject_id)
    file = await store.newest_file(tx, subject_id)
    runs = await store.newest_runs(tx, file.id) if file else {}
    states = []
    for gate in Gate:
        if run := runs.get(gate):
            states.append(GateState(gate, run.provider, run.state, run.verdict, run.started_at, run.finished_at))
        else:
            states.append(GateState(gate, PROVIDERS[gate], "NOT_STARTED"))
    state = subject.state if caller.party_role in _SEE_FREEZES else subject.shown_state
    return Gates(subject_id, state, tuple(states))
