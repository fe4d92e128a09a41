"""Payments to be made: who pays whom, how much, and under which ids and references.

References of ours never look like an invoice's: a payment that comes back to the collections account must not be taken
for a buyer's.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from fintokenx import audit
from fintokenx.kernel.db import Tx
from fintokenx.kernel.machine import NOTHING
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.settlement import store
from fintokenx.lifecycle.settlement.ports import BankAccount
from fintokenx.lifecycle.settlement.transitions import INSTRUCTION, InstructionEvent, InstructionState
from fintokenx.lifecycle.settlement.types import RETRY_SECONDS, Disbursement, Instruction, Purpose, end_to_end_id
from fintokenx.parties import kyc, partner

PAY_JOB = "settlement.pay"

_WORDS = {Purpose.PAYOUT: "ADVANCE", Purpose.REFUND: "REFUND", Purpose.ONWARD: "SETTLE"}


async def collections_account(tx: Tx) -> BankAccount:
    """Where this tenant's money is held."""
    account = (await partner.tenant(tx)).terms.collections
    return BankAccount(account.name, account.sort_code, account.account_number)


async def designated_account(tx: Tx, subject_id: str) -> BankAccount:
    """Where a customer's money goes. :raises kyc.NoDesignatedAccount: none named yet"""
    account = await kyc.designated_account(tx, subject_id)
    return BankAccount(account.account_name, account.sort_code, account.account_number)


def funding_reference(disbursement_id: str) -> str:
    """What collections sees of a lender's payment: ``FXD-`` and the random end of the id, 18 characters."""
    return "FXD-" + disbursement_id[-14:].upper()


async def funding(tx: Tx, disbursement: Disbursement) -> audit.Changes:
    """Queue the lender's payment into collections; its end-to-end id is the disbursement's id."""
    debtor = await designated_account(tx, disbursement.lender_subject_id)
    return _queued(
        tx,
        InstructionEvent.QUEUE_IN,
        Instruction(
            tenant_id=tx.tenant_id,
            end_to_end_id=disbursement.id,
            leg=disbursement.id,
            attempt=1,
            purpose=Purpose.DISBURSEMENT_IN,
            disbursement_id=disbursement.id,
            collection_id=None,
            invoice_reference=disbursement.invoice_reference,
            subject_id=disbursement.lender_subject_id,
            debtor=debtor,
            creditor=await collections_account(tx),
            amount=disbursement.price.net_advance,
            reference=funding_reference(disbursement.id),
            state=InstructionState.QUEUED,
            bank_ref=None,
            reason_code=None,
            queued_at=tx.at,
            sent_at=None,
            concluded_at=None,
        ),
    )


async def outward(
    tx: Tx,
    *,
    purpose: Purpose,
    leg: str,
    invoice_reference: str,
    subject_id: str,
    amount: Pence,
    disbursement_id: str | None = None,
    collection_id: str | None = None,
    creditor: BankAccount | None = None,
) -> audit.Changes:
    """Queue a payment from collections to ``creditor``, else to the customer's designated account as it stands now."""
    word = _WORDS[purpose]
    return _queued(
        tx,
        InstructionEvent(f"queue {purpose.value}"),
        Instruction(
            tenant_id=tx.tenant_id,
            end_to_end_id=leg,
            leg=leg,
            attempt=1,
            purpose=purpose,
            disbursement_id=disbursement_id,
            collection_id=collection_id,
            invoice_reference=invoice_reference,
            subject_id=subject_id,
            debtor=await collections_account(tx),
            creditor=creditor or await designated_account(tx, subject_id),
            amount=amount,
            reference=f"FX {word} {invoice_reference.removeprefix('FXI-')}",
            state=InstructionState.QUEUED,
            bank_ref=None,
            reason_code=None,
            queued_at=tx.at,
            sent_at=None,
            concluded_at=None,
        ),
    )


def again(tx: Tx, rejected: Instruction) -> audit.Changes:
    """Queue the next try of a payment that was rejected for now, later each time (SE-09)."""
    attempt = rejected.attempt + 1
    following = replace(
        rejected,
        end_to_end_id=end_to_end_id(rejected.leg, attempt),
        attempt=attempt,
        state=InstructionState.QUEUED,
        bank_ref=None,
        reason_code=None,
        queued_at=tx.at,
        sent_at=None,
        concluded_at=None,
    )
    seconds = RETRY_SECONDS[min(rejected.attempt, len(RETRY_SECONDS)) - 1]
    return _queued(tx, InstructionEvent.QUEUE_AGAIN, following, delay_seconds=seconds)


def _queued(tx: Tx, event: InstructionEvent, new: Instruction, *, delay_seconds: int = 0) -> audit.Changes:
    INSTRUCTION.next(NOTHING, event)
    tx.enqueue(
        PAY_JOB,
        {"end_to_end_id": new.end_to_end_id},
        dedupe_key=new.end_to_end_id,
        run_at=tx.at + timedelta(seconds=delay_seconds),
    )
    return audit.Changes((store.new_instruction(new),))
