"""Lines that are known, in whatever form they are shown, and those that a person must decide (SE-10, ADR 0014)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role, system
from fintokenx.kernel.db import Tx
from fintokenx.kernel.machine import NOTHING
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.settlement import store
from fintokenx.lifecycle.settlement.ports import BankAccount, BankCredit
from fintokenx.lifecycle.settlement.service import alerting
from fintokenx.lifecycle.settlement.service.line_identity import (
    MAY_MOVE_IN_WITHIN,
    Verdict,
    form_of,
    identify,
)
from fintokenx.lifecycle.settlement.store import lines as lines_store
from fintokenx.lifecycle.settlement.transitions import LINE_DOUBT, LineDoubtEvent
from fintokenx.lifecycle.settlement.types import Line, LineDoubt, NotThatLine, Sighting, Statement, UnknownLineDoubt
from fintokenx.parties import compliance

DOUBTFUL: Final = "LINE_DOUBTFUL"
_READERS: Final = (Role.SYSTEM, Role.COMPLIANCE, Role.MLRO, Role.PARTNER_ADMIN, Role.PLATFORM_ADMIN)


async def lock(tx: Tx, account: BankAccount) -> None:
    """One at a time says what the lines of an account are: each verdict depends on all others."""
    await store.lock(tx, f"lines:{account.sort_code}{account.account_number}")


async def verdicts(tx: Tx, statement: Statement, *, amount: Pence | None = None) -> Sequence[Verdict | None]:
    """What each credit of a statement is, by what is known now; None for those of another amount than ``amount``."""
    back_to = statement.since - MAY_MOVE_IN_WITHIN
    numbers = [number for number, credit in enumerate(statement.credits) if amount in (None, credit.amount)]
    asked = [statement.credits[number] for number in numbers]
    known = await lines_store.known(tx, statement.account, asked, back_to=back_to, amount=amount)
    found = identify(asked, known, account=_number(statement), since=statement.since)
    by_number = dict(zip(numbers, found, strict=True))
    return [by_number.get(number) for number in range(len(statement.credits))]


def sighting(tx: Tx, statement: Statement, credit: BankCredit, line: Line | None = None) -> Sighting:
    """A credit under the id of its line; a fresh one where that is not known."""
    return Sighting(
        account=statement.account,
        credit=credit,
        line_id=line.id if line is not None else tx.ids.new("rec"),
        form=form_of(credit, _number(statement)),
        was_doubt=line is not None and line.waits_to_be_booked,
    )


async def note_form(tx: Tx, caller: Caller, seen: Sighting, line: Line) -> None:
    """Keep what a known line is shown as now, so that it is known by that too."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    ids = {form.transaction_id for form in line.forms if form.source == seen.form.source}
    move = audit.Changes((lines_store.shown(tx, seen, has_id=seen.form.transaction_id in ids),))
    await audit.change(tx, caller, action="RECON_SAME", resource=line.id, move=move)


async def doubt(tx: Tx, caller: Caller, seen: Sighting, may_be: tuple[str, ...]) -> None:
    """Leave a line to a person: it is kept, not booked, and somebody is told."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    transition = LINE_DOUBT.next(NOTHING, LineDoubtEvent.OPEN)
    rows = lines_store.reconciled(tx, seen, kind="doubt", matched_to=seen.line_id)
    move = audit.Changes((*rows, lines_store.new_doubt(tx, seen, may_be)))
    await audit.change(tx, caller, action=transition.action, resource=seen.line_id, move=move)
    await alerting.alert_once(tx, caller, cause=DOUBTFUL, resource=seen.line_id)


async def doubts(tx: Tx, caller: Caller, *, state: str | None, after: str | None, limit: int) -> list[LineDoubt]:
    """The tenant's doubts about lines, oldest first, for staff."""
    caller.must_be(*_READERS, tenant_id=tx.tenant_id)
    return await lines_store.doubts(tx, state=state, after=after, limit=limit)


async def decide(tx: Tx, caller: Caller, *, line_id: str, same_as: str | None) -> LineDoubt:
    """Say that a line is new, and the next reading books it; or that it is ``same_as`` a known one, and nothing is
    booked for it ever.

    :raises UnknownLineDoubt: there is no such doubt
    :raises NotThatLine: it cannot be that line
    :raises IllegalTransition: it has been decided
    """
    caller.must_be(Role.COMPLIANCE, Role.MLRO, tenant_id=tx.tenant_id)
    await store.lock(tx, f"doubt:{line_id}")
    known = await lines_store.doubt(tx, line_id)
    if known is None:
        raise UnknownLineDoubt
    transition = LINE_DOUBT.next(
        known.state, LineDoubtEvent.IT_IS_NEW if same_as is None else LineDoubtEvent.IT_IS_KNOWN
    )
    if same_as is not None and same_as not in known.may_be:
        raise NotThatLine
    rows = lines_store.decided_doubt(tx, known, state=transition.target, by=caller.actor, repeat_of=same_as)
    await audit.change(tx, caller, action=transition.action, resource=line_id, move=audit.Changes(tuple(rows)))
    await compliance.clear_alert(tx, system(tx.tenant_id, "line doubt"), cause=DOUBTFUL, resource=line_id)
    if same_as is None:
        tx.enqueue("settlement.collect", {}, dedupe_key=line_id)
    decided = await lines_store.doubt(tx, line_id)
    return decided or known


def _number(statement: Statement) -> str:
    return statement.account.sort_code + statement.account.account_number
