"""All SQL of the ledger."""

from __future__ import annotations

from collections.abc import Sequence

from fintokenx import audit
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Tx
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.ledger.types import Account, AccountBalance, AccountKind, Line


async def lock_accounts(tx: Tx, codes: Sequence[str]) -> set[str]:
    """Serialise the opening of accounts; returns those that exist. Sorted, so that two journals cannot deadlock."""
    for code in sorted(codes):
        await tx.lock(f"account:{code}")
    rows = await tx.rows("select code from app.ledger_accounts where code = any($1)", list(codes))
    return {row["code"] for row in rows}


def open_account(tx: Tx, account: Account) -> audit.RowChange:
    """The row of a new account."""
    return audit.insert(
        "ledger_accounts",
        {"tenant_id": tx.tenant_id, "code": account.code, "kind": account.kind, "opened_at": tx.at},
    )


def journal(tx: Tx, *, journal_id: str, kind: str, resource: str, lines: Sequence[Line]) -> list[audit.RowChange]:
    """The rows of a journal and its lines."""
    head = audit.insert(
        "journals",
        {
            "tenant_id": tx.tenant_id,
            "id": journal_id,
            "kind": kind,
            "resource": resource,
            "currency": "GBP",
            "posted_at": tx.at,
        },
    )
    return [
        head,
        *(
            audit.insert(
                "journal_lines",
                {
                    "tenant_id": tx.tenant_id,
                    "journal_id": journal_id,
                    "line_no": number,
                    "account_code": line.account.code,
                    "debit_pence": line.debit,
                    "credit_pence": line.credit,
                },
            )
            for number, line in enumerate(lines, start=1)
        ),
    ]


async def balances(tx: Tx) -> list[AccountBalance]:
    """Totals per account, by code."""
    rows = await tx.rows(
        """select a.code, a.kind, coalesce(sum(l.debit_pence), 0)::bigint as debit,
                  coalesce(sum(l.credit_pence), 0)::bigint as credit
             from app.ledger_accounts a
             left join app.journal_lines l on l.tenant_id = a.tenant_id and l.account_code = a.code
            group by a.code, a.kind order by a.code"""
    )
    return [
        AccountBalance(row["code"], AccountKind(row["kind"]), Pence(row["debit"]), Pence(row["credit"])) for row in rows
    ]


async def asset_balance(tx: Tx, code: str) -> Pence:
    """Debit less credit of an account; zero when it was never used."""
    total = "coalesce(sum(debit_pence - credit_pence), 0)::bigint"
    return Pence(await tx.value(f"select {total} from app.journal_lines where account_code = $1", code))


async def movements_since(tx: Tx, code: str, since: Instant) -> list[Pence]:
    """Debit less credit of each line of an account that was posted at ``since`` or later."""
    rows = await tx.rows(
        """select l.debit_pence - l.credit_pence as pence
             from app.journals j
             join app.journal_lines l on l.tenant_id = j.tenant_id and l.journal_id = j.id
            where j.posted_at >= $2 and l.account_code = $1""",
        code,
        since,
    )
    return [Pence(row["pence"]) for row in rows]


async def client_balance(tx: Tx, code: str) -> Pence:
    """Credit less debit of a client account; zero when it was never used."""
    return Pence(await tx.value("select balance_pence from ops.client_balances where account_code = $1", code) or 0)
