"""From when the statement of collections is to be read, and what is known of the readings that were not whole.

A line that is not booked today must still be asked for tomorrow: the window begins before the oldest thing left open.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Tx
from fintokenx.lifecycle.settlement import store
from fintokenx.lifecycle.settlement.ports import BankAccount
from fintokenx.lifecycle.settlement.service import alerting, instructing
from fintokenx.lifecycle.settlement.types import RECONCILED_WITHIN_SECONDS, Reading
from fintokenx.parties import compliance, partner

UNREADABLE: Final = "STATEMENT_UNREADABLE"
NOT_TAKEN: Final = "STATEMENT_LINE_NOT_TAKEN"
OVERLAP: Final = timedelta(hours=48)
"""Banks book late: every reading goes this far behind what is known."""


async def statement(tx: Tx, caller: Caller) -> tuple[BankAccount, Instant]:
    """The collections account and from when to read it: before the newest line that is known, before now (a bank may
    date a line in the future), before the first reading that was not whole, before the oldest undecided payment, and
    before a line that a person has just called new. A line that waits for a person does not hold it back."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    account = await instructing.collections_account(tx)
    newest = await store.newest_line_at(tx, account) or (await partner.tenant(tx)).opened_at
    oldest_open = await store.oldest_open_at(tx, account) or tx.at
    return account, min(newest, oldest_open, tx.at) - OVERLAP


async def not_read(tx: Tx, caller: Caller, *, account: BankAccount) -> None:
    """The bank did not show the statement: remember since when, and tell somebody, once, after four hours (SE-14)."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    since = await _gap_since(tx, caller, account)
    if tx.at - since > timedelta(seconds=RECONCILED_WITHIN_SECONDS):
        await alerting.alert_once(tx, caller, cause=UNREADABLE, resource=_number(account))


async def not_taken(tx: Tx, caller: Caller, *, account: BankAccount) -> None:
    """Lines were shown that could not be booked: remember since when, and tell somebody at once, once."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    await _gap_since(tx, caller, account)
    await alerting.alert_once(tx, caller, cause=NOT_TAKEN, resource=_number(account))


async def whole(tx: Tx, caller: Caller, *, account: BankAccount) -> None:
    """The statement was read and every line dealt with: nothing is missing any more."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    known = await store.reading(tx, account)
    if known is None or known.gap_since is None:
        return
    move = audit.Changes((store.changed_reading(known, gap_since=None),))
    await audit.change(tx, caller, action="RECON_WHOLE", resource=_number(account), move=move)
    for cause in (UNREADABLE, NOT_TAKEN):
        await compliance.clear_alert(tx, caller, cause=cause, resource=_number(account))


async def _gap_since(tx: Tx, caller: Caller, account: BankAccount) -> Instant:
    await store.lock(tx, f"reading:{_number(account)}")
    known = await store.reading(tx, account)
    if known is not None and known.gap_since is not None:
        return known.gap_since
    row = (
        store.changed_reading(known, gap_since=tx.at)
        if known is not None
        else store.new_reading(Reading(tx.tenant_id, _number(account), tx.at))
    )
    await audit.change(tx, caller, action="RECON_GAP", resource=_number(account), move=audit.Changes((row,)))
    return tx.at


def _number(account: BankAccount) -> str:
    return account.sort_code + account.account_number
