"""What the banks' statements say: the seller's credit, and every line on the collections account (SE-07, SE-10)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Tx
from fintokenx.lifecycle.settlement import store
from fintokenx.lifecycle.settlement.events import DisbursementClosed, ReconciliationLate
from fintokenx.lifecycle.settlement.ports import BankAccount, BankCredit, PaymentOutcome, PaymentState
from fintokenx.lifecycle.settlement.service import collecting, instructing, matching, walking
from fintokenx.lifecycle.settlement.service.reads import locked
from fintokenx.lifecycle.settlement.transitions import DISBURSEMENT
from fintokenx.lifecycle.settlement.types import RECONCILED_WITHIN_SECONDS, Disbursement, Instruction
from fintokenx.parties import partner

OVERLAP = timedelta(hours=48)
"""Banks book late: every reading goes this far behind the newest line that is known."""


@dataclass(frozen=True, slots=True)
class Watch:
    """A payout whose credit the seller's bank is to show."""

    payout: Instruction
    since: Instant
    at: Instant
    paid_out_at: Instant


async def watched(tx: Tx, caller: Caller, *, disbursement_id: str) -> Watch | None:
    """What to look for on the seller's account; None when nothing is waited for (any more)."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    disbursement = await store.disbursement(tx, disbursement_id)
    payout = await store.newest_of_leg(tx, f"{disbursement_id}-P")
    if disbursement is None or payout is None or payout.sent_at is None:
        return None
    if disbursement.state != "SELLER_PAYOUT_SENT" or disbursement.paid_out_at is None:
        return None
    return Watch(payout, payout.sent_at - OVERLAP, tx.at, disbursement.paid_out_at)


async def acknowledge(tx: Tx, caller: Caller, *, watch: Watch, credits_seen: list[BankCredit]) -> bool:
    """F3b → F4 CLOSED when one of the lines is the payout, to the penny; a line is used once. Says whether it was."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    payout = watch.payout
    disbursement = await locked(tx, payout.disbursement_id or "")
    if disbursement.state != "SELLER_PAYOUT_SENT":
        return True
    used = await store.known_lines(tx, payout.creditor, [credit.transaction_id for credit in credits_seen])
    fitting = [credit for credit in credits_seen if credit.transaction_id not in used and _shows(credit, payout)]
    if not fitting:
        return False
    transition = DISBURSEMENT.next(disbursement.state, "acknowledge")
    rows = (
        store.changed_disbursement(disbursement, state=transition.target, seller_credit_acked_at=tx.at),
        store.reconciled(tx, payout.creditor, fitting[0], kind="seller_credit", matched_to=payout.end_to_end_id),
    )
    move = audit.Move(rows, (DisbursementClosed(disbursement.id, disbursement.invoice_reference),))
    await audit.change(tx, caller, action=transition.action, resource=disbursement.invoice_reference, move=move)
    return True


def _shows(credit: BankCredit, payout: Instruction) -> bool:
    if credit.amount != payout.amount:
        return False
    if credit.end_to_end_id:
        return credit.end_to_end_id == payout.end_to_end_id
    return _squeezed(payout.reference) in _squeezed(credit.narration)


def _squeezed(text: str) -> str:
    return re.sub(r"[^0-9A-Z]", "", text.upper())


async def alert_when_late(tx: Tx, caller: Caller, *, disbursement_id: str) -> None:
    """Tell somebody, once, that the seller's bank has not shown the advance for four hours (SE-14)."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    disbursement = await locked(tx, disbursement_id)
    if disbursement.state != "SELLER_PAYOUT_SENT" or disbursement.recon_alerted_at or not _is_late(tx, disbursement):
        return
    row = store.changed_disbursement(disbursement, recon_alerted_at=tx.at)
    move = audit.Move((row,), (ReconciliationLate(disbursement.id, disbursement.invoice_reference),))
    await audit.change(tx, caller, action="RECON_ALERT", resource=disbursement.invoice_reference, move=move)


def _is_late(tx: Tx, disbursement: Disbursement) -> bool:
    since = disbursement.paid_out_at
    return since is not None and tx.at - since > timedelta(seconds=RECONCILED_WITHIN_SECONDS)


async def statement(tx: Tx, caller: Caller) -> tuple[BankAccount, Instant]:
    """The collections account and from when to read it."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    account = await instructing.collections_account(tx)
    newest = await store.newest_line_at(tx, account) or (await partner.tenant(tx)).opened_at
    return account, newest - OVERLAP


async def unknown_lines(
    tx: Tx, caller: Caller, *, account: BankAccount, credits_seen: list[BankCredit]
) -> list[BankCredit]:
    """The lines that nobody has dealt with yet."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    known = await store.known_lines(tx, account, [credit.transaction_id for credit in credits_seen])
    return [credit for credit in credits_seen if credit.transaction_id not in known]


async def take_line(tx: Tx, caller: Caller, *, account: BankAccount, credit: BankCredit) -> None:
    """Say what one credit on the collections account is: a lender's funding, a payment of ours that came back, or
    an obligor's money. The same line again is nothing (SE-10)."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    await store.lock(tx, f"line:{account.sort_code}{account.account_number}:{credit.transaction_id}")
    if await store.known_lines(tx, account, [credit.transaction_id]):
        return
    ours = await _payment_of_ours(tx, credit)
    if ours is None:
        await collecting.receive(tx, caller, account=account, credit=credit)
        return
    kind = "funding" if _same(ours.creditor, account) else "return"
    line = audit.Move((store.reconciled(tx, account, credit, kind=kind, matched_to=ours.end_to_end_id),))
    if kind == "funding":
        await audit.change(tx, caller, action="RECON_LINE", resource=ours.invoice_reference, move=line)
        return
    outcome = PaymentOutcome(PaymentState.RETURNED, ours.bank_ref or credit.transaction_id)
    await walking.returned(tx, caller, end_to_end_id=ours.end_to_end_id, outcome=outcome, line=line)


async def _payment_of_ours(tx: Tx, credit: BankCredit) -> Instruction | None:
    """By end-to-end id, else by our reference; to the penny, and never one that another line has shown before."""
    if credit.end_to_end_id:
        found = await store.instruction(tx, credit.end_to_end_id)
        named = [found] if found is not None and found.amount == credit.amount else []
    else:
        references = matching.references_in(credit.narration)
        named = await store.instructions_by_reference(tx, references, credit.amount)
    if len(named) != 1:
        return None
    kinds = ("funding", "return")
    seen = [await store.line_of(tx, kind, named[0].end_to_end_id) for kind in kinds]
    return None if any(seen) else named[0]


def _same(one: BankAccount, other: BankAccount) -> bool:
    return (one.sort_code, one.account_number) == (other.sort_code, other.account_number)
