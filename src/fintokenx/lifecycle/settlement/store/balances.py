"""SQL of the books against the bank's balance."""

from __future__ import annotations

from typing import Any, Final

from fintokenx import audit
from fintokenx.kernel.db import Tx
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.settlement.transitions import DifferenceState
from fintokenx.lifecycle.settlement.types import BankAccount, Difference

_DIFFERENCE: Final = "tenant_id, id, account, bank_pence, books_pence, state, opened_at, closed_at"


async def open_difference(tx: Tx, account: BankAccount) -> Difference | None:
    """The open difference of an account; there is one at most."""
    row = await tx.row(
        f"select {_DIFFERENCE} from app.balance_differences where account = $1 and state = 'OPEN'",
        account.sort_code + account.account_number,
    )
    if row is None:
        return None
    values = dict(row)
    bank, books = Pence(values.pop("bank_pence")), Pence(values.pop("books_pence"))
    return Difference(bank=bank, books=books, state=DifferenceState(values.pop("state")), **values)


def new_difference(new: Difference) -> audit.RowChange:
    """The row of a difference that has just been found."""
    row: dict[str, Any] = {name: getattr(new, name) for name in _DIFFERENCE.split(", ") if hasattr(new, name)}
    return audit.insert("balance_differences", row | {"bank_pence": new.bank, "books_pence": new.books})


def changed_difference(known: Difference, *, bank: Pence, books: Pence, **after: Any) -> audit.RowChange:
    """A difference becomes another one, or ends."""
    before = {name: getattr(known, name) for name in after}
    return audit.update(
        "balance_differences",
        key={"tenant_id": known.tenant_id, "id": known.id},
        before=before | {"bank_pence": known.bank, "books_pence": known.books},
        after=after | {"bank_pence": bank, "books_pence": books},
    )


async def leaving(tx: Tx) -> list[Pence]:
    """Amounts of the payments from collections that the bank may have made: sent, and not decided."""
    rows = await tx.rows(
        "select amount_pence from app.payment_instructions where state = 'SENT' and purpose <> 'disbursement_in'"
    )
    return [Pence(row["amount_pence"]) for row in rows]


async def in_doubt(tx: Tx, account: BankAccount) -> list[Pence]:
    """Amounts of the lines of an account that are not booked because a person is to say what they are, or has just
    said that they are new."""
    rows = await tx.rows(
        """select r.amount_pence from app.line_doubts d join app.reconciliations r
               on r.tenant_id = d.tenant_id and r.id = d.line_id
            where d.state in ('OPEN', 'NEW') and r.account = $1 and r.kind = 'doubt'""",
        account.sort_code + account.account_number,
    )
    return [Pence(row["amount_pence"]) for row in rows]


async def queued(tx: Tx) -> list[str]:
    """End-to-end ids of the payments that are to be sent."""
    rows = await tx.rows("select end_to_end_id from app.payment_instructions where state = 'QUEUED' order by 1")
    return [row["end_to_end_id"] for row in rows]
