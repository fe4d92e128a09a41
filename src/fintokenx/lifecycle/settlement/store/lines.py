"""SQL of the lines that banks have shown us."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any, Final

from fintokenx import audit
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Row, Tx
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.settlement.transitions import LineDoubtState
from fintokenx.lifecycle.settlement.types import BankAccount, BankCredit, Form, Line, LineDoubt, Sighting

_FORM: Final = (
    "source", "transaction_id", "booked_at", "narration_length", "narration_sha256", "bank_reference", "end_to_end_id",
)  # fmt: skip
_DOUBT: Final = (
    "d.tenant_id, d.line_id, r.account, r.amount_pence, r.booked_at, d.may_be, d.state, d.opened_at, d.decided_at,"
    " d.decided_by, r.repeat_of"
)


async def known(
    tx: Tx, account: BankAccount, asked: Iterable[BankCredit], *, back_to: Instant, amount: Pence | None = None
) -> list[Line]:
    """The lines of an account that were shown ``back_to`` then or later, of one amount or of all, and those under an id
    of ``asked``. A line that a person found to be another one is that one."""
    columns = ", ".join(f"f.{name}" for name in _FORM)
    # Each step probes an index by the row before it (OFFSET 0 keeps the planner from joining them otherwise): in a
    # table that is new and without statistics it would read all of a tenant's lines for each line.
    rows = await tx.rows(
        f"""with shown as materialized (
              select n.line_id from app.line_forms n
               where n.account = $1 and n.booked_at >= $2 and ($4::bigint is null or n.amount_pence = $4)
               union
              select n.line_id from app.line_forms n
               where n.account = $1 and n.source in ('AIS', 'FPS') and n.transaction_id = any($3))
            select k.id, k.kind, k.amount_pence, d.state as doubt, {columns}
              from shown
              cross join lateral (
                select coalesce(r.repeat_of, r.id) as id from app.reconciliations r
                 where r.id = shown.line_id offset 0) r
              cross join lateral (
                select k.id, k.kind, k.amount_pence from app.reconciliations k where k.id = r.id offset 0) k
              left join lateral (
                select d.state from app.line_doubts d where d.line_id = k.id offset 0) d on true
              cross join lateral (
                select f.id, f.seen_at, {columns} from app.line_forms f where f.line_id = shown.line_id offset 0) f
             order by k.id, f.seen_at, f.id""",
        _number(account),
        back_to,
        [credit.transaction_id for credit in asked if credit.transaction_id],
        amount.value if amount is not None else None,
    )
    return [_line(list(group)) for _, group in groupby(rows, key=lambda row: row["id"])]


def _line(rows: list[Row]) -> Line:
    forms = tuple(
        Form(**{name: row[name] for name in _FORM} | {"transaction_id": row["transaction_id"] or ""}) for row in rows
    )
    first = rows[0]
    return Line(first["id"], first["kind"], Pence(first["amount_pence"]), first["doubt"], forms)


def reconciled(tx: Tx, seen: Sighting, *, kind: str, matched_to: str) -> tuple[audit.RowChange, ...]:
    """What a line turned out to be: a new line with its first form, or a doubt that has been decided."""
    if seen.was_doubt:
        key = {"tenant_id": tx.tenant_id, "id": seen.line_id}
        before, after = {"kind": "doubt", "matched_to": seen.line_id}, {"kind": kind, "matched_to": matched_to}
        return (audit.update("reconciliations", key=key, before=before, after=after),)
    row = {
        "tenant_id": tx.tenant_id,
        "id": seen.line_id,
        "account": _number(seen.account),
        "transaction_id": seen.bank_transaction_id,
        "amount_pence": seen.credit.amount,
        "booked_at": seen.credit.booked_at,
        "kind": kind,
        "matched_to": matched_to,
        "method": seen.credit.source,
        "reconciled_at": tx.at,
        "repeat_of": None,
    }
    return audit.insert("reconciliations", row), shown(tx, seen)


def shown(tx: Tx, seen: Sighting, *, has_id: bool = False) -> audit.RowChange:
    """A line is shown in a form that it was not shown in before. ``has_id``: its id is known from another form."""
    form = {name: getattr(seen.form, name) for name in _FORM}
    return audit.insert(
        "line_forms",
        {
            "tenant_id": tx.tenant_id,
            "id": tx.ids.new("frm"),
            "line_id": seen.line_id,
            "account": _number(seen.account),
            "amount_pence": seen.credit.amount,
            "seen_at": tx.at,
        }
        | form
        | {"transaction_id": None if has_id else form["transaction_id"] or None},
    )


def new_doubt(tx: Tx, seen: Sighting, may_be: tuple[str, ...]) -> audit.RowChange:
    """A line is left to a person."""
    row: dict[str, Any] = {
        "tenant_id": tx.tenant_id,
        "line_id": seen.line_id,
        "may_be": list(may_be),
        "state": LineDoubtState.OPEN,
    }
    return audit.insert("line_doubts", row | {"opened_at": tx.at, "decided_at": None, "decided_by": None})


def decided_doubt(tx: Tx, known: LineDoubt, *, state: str, by: str, repeat_of: str | None) -> list[audit.RowChange]:
    """A person has said what a line is: a new one, or ``repeat_of`` another."""
    rows = [
        audit.update(
            "line_doubts",
            key={"tenant_id": known.tenant_id, "line_id": known.line_id},
            before={"state": known.state, "decided_at": None, "decided_by": None},
            after={"state": state, "decided_at": tx.at, "decided_by": by},
        )
    ]
    if repeat_of is not None:
        rows.append(
            audit.update(
                "reconciliations",
                key={"tenant_id": known.tenant_id, "id": known.line_id},
                before={"kind": "doubt", "repeat_of": None},
                after={"kind": "repeat", "repeat_of": repeat_of},
            )
        )
    return rows


async def doubt(tx: Tx, line_id: str) -> LineDoubt | None:
    """The doubt about one line."""
    found = await _doubts(tx, "d.line_id = $1", line_id)
    return found[0] if found else None


async def doubts(tx: Tx, *, state: str | None, after: str | None, limit: int) -> list[LineDoubt]:
    """Doubts by line id, oldest first."""
    where = "($1::text is null or d.state = $1) and ($2::text is null or d.line_id > $2) order by d.line_id limit $3"
    return await _doubts(tx, where, state, after, limit)


async def _doubts(tx: Tx, where: str, *values: object) -> list[LineDoubt]:
    rows = await tx.rows(
        f"select {_DOUBT} from app.line_doubts d"
        f" join app.reconciliations r on r.tenant_id = d.tenant_id and r.id = d.line_id where {where}",
        *values,
    )
    return [_doubt(row) for row in rows]


def _doubt(row: Row) -> LineDoubt:
    values = dict(row)
    amount, may_be = Pence(values.pop("amount_pence")), tuple(values.pop("may_be"))
    return LineDoubt(amount=amount, may_be=may_be, state=LineDoubtState(values.pop("state")), **values)


def _number(account: BankAccount) -> str:
    return account.sort_code + account.account_number
