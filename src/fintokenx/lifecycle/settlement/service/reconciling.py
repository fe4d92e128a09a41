"""What the banks' statements say: the seller's credit, and every line on the collections account (SE-07, SE-10)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Tx
from fintokenx.lifecycle.settlement import store
from fintokenx.lifecycle.settlement.events import DisbursementClosed, ReconciliationLate
from fintokenx.lifecycle.settlement.ports import BankAccount, BankCredit, PaymentOutcome, PaymentState
from fintokenx.lifecycle.settlement.service import alerting, collecting, matching, walking
from fintokenx.lifecycle.settlement.service.readings import OVERLAP
from fintokenx.lifecycle.settlement.service.reads import locked
from fintokenx.lifecycle.settlement.transitions import DISBURSEMENT
from fintokenx.lifecycle.settlement.types import RECONCILED_WITHIN_SECONDS, Instruction, Purpose

_SHOWN: Final = {True: ("SENT", "SETTLED"), False: ("SENT", "SETTLED", "RETURNED")}
"""In which states a payment's credit may stand on collections: a lender's once it is paid, one of ours once it is back.
Of a lender's payment that went back we are shown no debit, so its credit is somebody's turn and not nothing."""


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
    await alerting.credit_seen(tx, caller, disbursement.invoice_reference)
    return True


def _shows(credit: BankCredit, payout: Instruction) -> bool:
    if credit.amount != payout.amount:
        return False
    if _is_given(credit.end_to_end_id):
        return credit.end_to_end_id == payout.end_to_end_id
    return _squeezed(payout.reference) in _squeezed(credit.narration)


def _squeezed(text: str) -> str:
    return re.sub(r"[^0-9A-Z]", "", text.upper())


async def alert_when_late(tx: Tx, caller: Caller, *, disbursement_id: str) -> None:
    """Tell somebody, once, that four hours after the advance was first sent the seller's bank has not shown it
    (SE-14): because ours has not paid it, or because theirs is silent."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    disbursement = await locked(tx, disbursement_id)
    if disbursement.state != "SELLER_PAYOUT_SENT" or disbursement.recon_alerted_at:
        return
    sent_at = await store.first_sent_at(tx, f"{disbursement_id}-P")
    if sent_at is None or tx.at - sent_at <= timedelta(seconds=RECONCILED_WITHIN_SECONDS):
        return
    row = store.changed_disbursement(disbursement, recon_alerted_at=tx.at)
    move = audit.Move((row,), (ReconciliationLate(disbursement.id, disbursement.invoice_reference),))
    move += await alerting.credit_late(tx, caller, disbursement.invoice_reference)
    await audit.change(tx, caller, action="RECON_ALERT", resource=disbursement.invoice_reference, move=move)


async def unknown_lines(
    tx: Tx, caller: Caller, *, account: BankAccount, credits_seen: list[BankCredit]
) -> list[BankCredit]:
    """The lines that nobody has dealt with yet."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    known = await store.known_lines(tx, account, [credit.transaction_id for credit in credits_seen])
    return [credit for credit in credits_seen if credit.transaction_id not in known]


async def take_line(tx: Tx, caller: Caller, *, account: BankAccount, credit: BankCredit) -> None:
    """Say what one credit on the collections account is: a lender's funding, a payment of ours that came back, or
    money that nobody has booked yet, which goes to suspense or to the invoice that it names. The same line again is
    nothing (SE-10).

    A line that names a payment without its bank's last word is left for a later reading: whether it has been or will
    be booked with the payment depends on that word. So what is on the account is in the books, once.
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    await store.lock(tx, f"line:{account.sort_code}{account.account_number}:{credit.transaction_id}")
    if await store.known_lines(tx, account, [credit.transaction_id]):
        return
    if not credit.amount:
        await _keep(tx, caller, account, credit, kind="nothing", matched_to=_name(account, credit))
        return
    ours = await _payment_of_ours(tx, credit)
    if ours is None:
        await collecting.receive(tx, caller, account=account, credit=credit)
    elif ours.state == "SENT":
        return
    elif ours.purpose is Purpose.DISBURSEMENT_IN:
        await _keep(tx, caller, account, credit, kind="funding", matched_to=ours.end_to_end_id, of=ours)
    else:
        line = store.reconciled(tx, account, credit, kind="return", matched_to=ours.end_to_end_id)
        outcome = PaymentOutcome(PaymentState.RETURNED, ours.bank_ref or credit.transaction_id)
        await walking.returned(tx, caller, end_to_end_id=ours.end_to_end_id, outcome=outcome, line=audit.Move((line,)))


async def _keep(
    tx: Tx,
    caller: Caller,
    account: BankAccount,
    credit: BankCredit,
    *,
    kind: str,
    matched_to: str,
    of: Instruction | None = None,
) -> None:
    """Keep a line that moves nothing in the books: what it shows has been booked, or it shows nothing."""
    move = audit.Move((store.reconciled(tx, account, credit, kind=kind, matched_to=matched_to),))
    resource = of.invoice_reference if of is not None else matched_to
    await audit.change(tx, caller, action="RECON_LINE", resource=resource, move=move)


def _name(account: BankAccount, credit: BankCredit) -> str:
    return f"{account.sort_code}{account.account_number}:{credit.transaction_id}"


async def _payment_of_ours(tx: Tx, credit: BankCredit) -> Instruction | None:
    """By end-to-end id, else by our reference; to the penny, never one that another line has shown before, and only
    one that this credit can be: a payment that never happened, or a lender's that went back, has no line of its own,
    so whoever pays under its name (by hand, or twice) has paid something that is not in the books."""
    if _is_given(credit.end_to_end_id):
        found = await store.instruction(tx, credit.end_to_end_id)
        named = [found] if found is not None and found.amount == credit.amount else []
    else:
        references = matching.references_in(credit.narration)
        named = await store.instructions_by_reference(tx, references, credit.amount)
    if len(named) != 1:
        return None
    ours = await walking.locked(tx, named[0].end_to_end_id)
    if ours is None or ours.state not in _SHOWN[ours.purpose is Purpose.DISBURSEMENT_IN]:
        return None
    kinds = ("funding", "return")
    seen = [await store.line_of(tx, kind, ours.end_to_end_id) for kind in kinds]
    return None if any(seen) else ours


def _is_given(end_to_end_id: str) -> bool:
    """ISO 20022 has a word for a payer who gave none."""
    return end_to_end_id not in ("", "NOTPROVIDED")
