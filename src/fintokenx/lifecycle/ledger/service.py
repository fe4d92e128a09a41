"""Journals that balance; the trial balance."""

from __future__ import annotations

from collections.abc import Sequence

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Tx
from fintokenx.kernel.money import Pence, total
from fintokenx.lifecycle.ledger import store
from fintokenx.lifecycle.ledger.types import Account, Line, TrialBalance, Unbalanced

_MAY_READ = (Role.SYSTEM, Role.PARTNER_ADMIN, Role.COMPLIANCE, Role.MLRO, Role.PLATFORM_ADMIN)
_MAY_POST = (Role.SYSTEM, Role.COMPLIANCE, Role.LENDER)


async def post(tx: Tx, caller: Caller, *, kind: str, resource: str, lines: Sequence[Line]) -> audit.Changes:
    """The rows of one journal, opening its accounts where needed, for the command above to record.

    The database checks at COMMIT that it balances, and at once that no client account goes negative.

    :raises Unbalanced: debits and credits differ, or there is nothing to post
    """
    caller.must_be(*_MAY_POST, tenant_id=tx.tenant_id)
    debits, credit_total = total([line.debit for line in lines]), total([line.credit for line in lines])
    if debits != credit_total or not debits:
        raise Unbalanced(f"{kind}: {debits} against {credit_total}")
    accounts: dict[str, Account] = {line.account.code: line.account for line in lines}
    open_already = await store.lock_accounts(tx, list(accounts))
    opened = [store.open_account(tx, account) for code, account in accounts.items() if code not in open_already]
    rows = store.journal(tx, journal_id=tx.ids.new("jnl"), kind=kind, resource=resource, lines=lines)
    return audit.Changes(rows=(*opened, *rows))


async def trial_balance(tx: Tx, caller: Caller) -> TrialBalance:
    """Every account of the tenant with its totals."""
    caller.must_be(*_MAY_READ, tenant_id=tx.tenant_id)
    accounts = await store.balances(tx)
    return TrialBalance(tuple(accounts), total([a.debit for a in accounts]), total([a.credit for a in accounts]))


async def client_balance(tx: Tx, caller: Caller, *, account: Account) -> Pence:
    """What we hold on a client account."""
    caller.must_be(*_MAY_READ, tenant_id=tx.tenant_id)
    return await store.client_balance(tx, account.code)


async def asset_balance(tx: Tx, caller: Caller, *, account: Account) -> Pence:
    """What the books say that we have on an asset account; below zero where more has left it."""
    caller.must_be(*_MAY_READ, tenant_id=tx.tenant_id)
    return await store.asset_balance(tx, account.code)


async def movements_since(tx: Tx, caller: Caller, *, account: Account, since: Instant) -> list[Pence]:
    """What was booked on an asset account at ``since`` or later, line by line; below zero what left it."""
    caller.must_be(*_MAY_READ, tenant_id=tx.tenant_id)
    return await store.movements_since(tx, account.code, since)
