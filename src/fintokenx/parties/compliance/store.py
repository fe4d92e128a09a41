"""All SQL of compliance, and the row operations on its own tables."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fintokenx import audit
from fintokenx.kernel.db import Row, Tx
from fintokenx.parties.compliance.transitions import AlertState, CaseState
from fintokenx.parties.compliance.types import Alert, Case

_CASE = (
    "id, subject_id, resource, reason, state, opened_at, declines_subject, assigned_to, decided_at, decided_by,"
    " decision, rationale_sealed, rationale_hash"
)
_ALERT = (
    "id, cause, resource, severity, state, raised_at, last_seen_at, occurrences, acknowledged_at, acknowledged_by,"
    " closed_at, closed_by, finding"
)


async def lock(tx: Tx, what: str) -> None:
    """Make the commands on ``what`` of this tenant wait for each other until the transaction ends."""
    await tx.lock(what)


def _case(row: Row | None) -> Case | None:
    return Case(**{**dict(row), "state": CaseState(row["state"])}) if row else None


def _alert(row: Row | None) -> Alert | None:
    return Alert(**{**dict(row), "state": AlertState(row["state"])}) if row else None


async def case(tx: Tx, case_id: str) -> Case | None:
    """One case of the pinned tenant."""
    return _case(await tx.row(f"select {_CASE} from app.review_queue where id = $1", case_id))


async def open_case_about(tx: Tx, resource: str, reason: str) -> Case | None:
    """The undecided case for this reason, if there is one; never more than one."""
    return _case(
        await tx.row(
            f"select {_CASE} from app.review_queue where resource = $1 and reason = $2 and decided_at is null",
            resource,
            reason,
        )
    )


async def has_open_case(tx: Tx, subject_id: str) -> bool:
    """Whether a question about the subject waits for a person."""
    sql = "select exists (select from app.review_queue where subject_id = $1 and decided_at is null)"
    return bool(await tx.value(sql, subject_id))


async def cases(tx: Tx, *, state: str | None, after: str, limit: int) -> list[Case]:
    """Oldest first."""
    rows = await tx.rows(
        f"select {_CASE} from app.review_queue where id > $1 and ($2::text is null or state = $2) order by id limit $3",
        after,
        state,
        limit,
    )
    return [Case(**dict(row)) for row in rows]


async def alert(tx: Tx, alert_id: str) -> Alert | None:
    """One alert of the pinned tenant."""
    return _alert(await tx.row(f"select {_ALERT} from app.alerts where id = $1", alert_id))


async def open_alert(tx: Tx, cause: str, resource: str) -> Alert | None:
    """The alert for this cause that nobody has closed, if there is one; never more than one."""
    return _alert(
        await tx.row(
            f"select {_ALERT} from app.alerts where cause = $1 and resource = $2 and closed_at is null", cause, resource
        )
    )


async def raised_alerts(tx: Tx, cause: str) -> list[Alert]:
    """The alerts for this cause that nobody has taken up."""
    rows = await tx.rows(f"select {_ALERT} from app.alerts where state = 'RAISED' and cause = $1 order by id", cause)
    return [Alert(**dict(row)) for row in rows]


async def alerts(tx: Tx, *, state: str | None, after: str, limit: int) -> list[Alert]:
    """Oldest first."""
    rows = await tx.rows(
        f"select {_ALERT} from app.alerts where id > $1 and ($2::text is null or state = $2) order by id limit $3",
        after,
        state,
        limit,
    )
    return [Alert(**dict(row)) for row in rows]


def new_case(tx: Tx, opened: Case) -> audit.RowChange:
    """The row of a case that was not there before."""
    return audit.insert("review_queue", {"tenant_id": tx.tenant_id, **asdict(opened)})


def changed_case(tx: Tx, known: Case, **after: Any) -> audit.RowChange:
    """Change named columns, provided that they still are what ``known`` says."""
    return _changed(tx, "review_queue", known, after)


def new_alert(tx: Tx, raised: Alert) -> audit.RowChange:
    """The row of an alert that was not there before."""
    return audit.insert("alerts", {"tenant_id": tx.tenant_id, **asdict(raised)})


def changed_alert(tx: Tx, known: Alert, **after: Any) -> audit.RowChange:
    """Change named columns, provided that they still are what ``known`` says."""
    return _changed(tx, "alerts", known, after)


def _changed(tx: Tx, table: str, known: Case | Alert, after: dict[str, Any]) -> audit.RowChange:
    before = {column: getattr(known, column) for column in after}
    return audit.update(table, key={"tenant_id": tx.tenant_id, "id": known.id}, before=before, after=after)
