"""The SQL of settlement; that of statement lines is in :mod:`lines`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fintokenx import audit
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Row, Tx
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.settlement.transitions import CollectionState, DisbursementState, InstructionState
from fintokenx.lifecycle.settlement.types import (
    BankAccount,
    Collection,
    Disbursement,
    Instruction,
    OnwardPayment,
    Price,
    Purpose,
    Reading,
)

_DISBURSEMENT: Final = (
    "tenant_id, id, listing_id, invoice_reference, token_reference, lender_subject_id, seller_subject_id, face_pence,"
    " discount_bps, discount_pence, net_advance_pence, state, fps_ref, payout_fps_ref, refund_fps_ref, chain_tx_hash,"
    " end_reason, committed_at, paid_out_at, recon_alerted_at, seller_credit_acked_at"
)
_INSTRUCTION: Final = (
    "tenant_id, end_to_end_id, leg, attempt, purpose, disbursement_id, collection_id, invoice_reference, subject_id,"
    " debtor_name, debtor_sort_code, debtor_account_number, creditor_name, creditor_sort_code, creditor_account_number,"
    " amount_pence, reference, state, bank_ref, reason_code, queued_at, sent_at, concluded_at"
)
_COLLECTION: Final = (
    "tenant_id, id, bank_transaction_id, invoice_reference, narration_match, match_method, amount_pence,"
    " allocated_pence, refund_due_pence, received_at, onward_payments, state"
)


async def lock(tx: Tx, *things: str) -> None:
    """Serialise the commands on some things until this transaction ends; sorted, so that two cannot deadlock."""
    for thing in sorted(things):
        await tx.lock(f"settlement:{thing}")


def _disbursement(row: Row) -> Disbursement:
    values = dict(row)
    price = Price(
        Pence(values.pop("face_pence")),
        values.pop("discount_bps"),
        Pence(values.pop("discount_pence")),
        Pence(values.pop("net_advance_pence")),
    )
    return Disbursement(price=price, state=DisbursementState(values.pop("state")), **values)


def _instruction(row: Row) -> Instruction:
    values = dict(row)
    debtor, creditor = (
        BankAccount(*(values.pop(f"{side}_{part}") for part in ("name", "sort_code", "account_number")))
        for side in ("debtor", "creditor")
    )
    return Instruction(
        debtor=debtor,
        creditor=creditor,
        amount=Pence(values.pop("amount_pence")),
        purpose=Purpose(values.pop("purpose")),
        state=InstructionState(values.pop("state")),
        **values,
    )


def _collection(row: Row) -> Collection:
    values = dict(row)
    onward = tuple(
        OnwardPayment(part["leg"], part["payee_subject_id"], Pence(part["amount_pence"]))
        for part in values.pop("onward_payments")
    )
    return Collection(
        amount=Pence(values.pop("amount_pence")),
        allocated=Pence(values.pop("allocated_pence")),
        refund_due=Pence(values.pop("refund_due_pence")),
        onward=onward,
        state=CollectionState(values.pop("state")),
        **values,
    )


async def disbursement(tx: Tx, disbursement_id: str) -> Disbursement | None:
    """One disbursement of the tenant."""
    row = await tx.row(f"select {_DISBURSEMENT} from app.disbursements where id = $1", disbursement_id)
    return _disbursement(row) if row else None


async def live_disbursement(tx: Tx, invoice_reference: str) -> Disbursement | None:
    """The disbursement of an invoice that is neither cancelled nor refunded; there is one at most."""
    row = await tx.row(
        f"select {_DISBURSEMENT} from app.disbursements"
        " where invoice_reference = $1 and state not in ('CANCELLED', 'REFUNDED')",
        invoice_reference,
    )
    return _disbursement(row) if row else None


def new_disbursement(new: Disbursement) -> audit.RowChange:
    """The row of a new disbursement."""
    names = [name for name in _DISBURSEMENT.split(", ") if hasattr(new, name)]
    row = {name: getattr(new, name) for name in names}
    return audit.insert("disbursements", row | _priced(new.price))


def _priced(price: Price) -> dict[str, Any]:
    return {
        "face_pence": price.face,
        "discount_bps": price.discount_bps,
        "discount_pence": price.discount,
        "net_advance_pence": price.net_advance,
    }


def changed_disbursement(known: Disbursement, **after: Any) -> audit.RowChange:
    """Columns of one disbursement change, provided that they still are what ``known`` says."""
    before = {name: getattr(known, name) for name in after}
    return audit.update("disbursements", key={"tenant_id": known.tenant_id, "id": known.id}, before=before, after=after)


async def instruction(tx: Tx, end_to_end_id: str) -> Instruction | None:
    """One try of a payment."""
    row = await tx.row(f"select {_INSTRUCTION} from app.payment_instructions where end_to_end_id = $1", end_to_end_id)
    return _instruction(row) if row else None


async def newest_of_leg(tx: Tx, leg: str) -> Instruction | None:
    """The last try of a payment."""
    row = await tx.row(
        f"select {_INSTRUCTION} from app.payment_instructions where leg = $1 order by attempt desc limit 1", leg
    )
    return _instruction(row) if row else None


async def instructions_by_reference(tx: Tx, references: Sequence[str], amount: Pence) -> list[Instruction]:
    """Payments with one of these references and this amount whose line no statement has shown yet: those that the
    bank has or had, and of those that came back only ours, whose money then stands on collections again."""
    rows = await tx.rows(
        f"""select {_INSTRUCTION} from app.payment_instructions i
             where reference = any($1) and amount_pence = $2
               and (state in ('SENT', 'SETTLED') or (state = 'RETURNED' and purpose <> 'disbursement_in'))
               and not exists (select from app.reconciliations r
                                where r.matched_to = i.end_to_end_id and r.kind in ('funding', 'return'))
             order by end_to_end_id""",
        list(references),
        amount.value,
    )
    return [_instruction(row) for row in rows]


async def held_for(tx: Tx, subject_id: str) -> list[Instruction]:
    """Payments that wait until their payee may be paid again."""
    rows = await tx.rows(
        f"select {_INSTRUCTION} from app.payment_instructions where subject_id = $1 and state = 'HELD'"
        " order by end_to_end_id",
        subject_id,
    )
    return [_instruction(row) for row in rows]


async def subjects_held_for(tx: Tx) -> list[str]:
    """Payees that payments wait for."""
    rows = await tx.rows("select distinct subject_id from app.payment_instructions where state = 'HELD' order by 1")
    return [row["subject_id"] for row in rows]


async def has_money_for(tx: Tx, subject_id: str) -> bool:
    """Whether money of or for the subject is on its way: a disbursement, a payment, or a part of a collection."""
    found = await tx.value(
        """select exists (select from app.disbursements where $1 in (lender_subject_id, seller_subject_id)
                             and state not in ('CANCELLED', 'REFUNDED', 'CLOSED'))
               or exists (select from app.payment_instructions
                           where subject_id = $1 and state in ('QUEUED', 'HELD', 'SENT'))
               or exists (select from app.collections where state <> 'DISTRIBUTED'
                             and onward_payments
                                 @> jsonb_build_array(jsonb_build_object('payee_subject_id', $1::text)))""",
        subject_id,
    )
    return bool(found)


async def any_undecided(tx: Tx, invoice_reference: str) -> bool:
    """Whether a payment of an invoice is with its bank."""
    sql = "select exists (select from app.payment_instructions where invoice_reference = $1 and state = 'SENT')"
    return bool(await tx.value(sql, invoice_reference))


async def any_under_way(tx: Tx, account: BankAccount) -> bool:
    """Whether a payment of the tenant has not come to its end, or lines of the account may have been left for later."""
    found = await tx.value(
        """select exists (select from app.payment_instructions where state in ('QUEUED', 'HELD', 'SENT'))
               or exists (select from app.disbursements where state not in ('CANCELLED', 'REFUNDED', 'CLOSED'))
               or exists (select from app.statement_readings where account = $1 and gap_since is not null)""",
        account.sort_code + account.account_number,
    )
    return bool(found)


async def invoices_with_refund_due(tx: Tx) -> list[str]:
    """Invoices whose buyers have paid more than they owed and wait for the rest."""
    rows = await tx.rows(
        "select distinct invoice_reference from app.collections"
        " where refund_due_pence > 0 and invoice_reference is not null order by 1"
    )
    return [row["invoice_reference"] for row in rows]


async def first_sent_at(tx: Tx, leg: str) -> Instant | None:
    """When a payment was sent for the first time; None before that."""
    at: Instant | None = await tx.value("select min(sent_at) from app.payment_instructions where leg = $1", leg)
    return at


async def unpaid_legs(tx: Tx, *, collection_id: str | None = None, invoice_reference: str | None = None) -> list[str]:
    """Onward payments of a collection, or of all collections of an invoice, that have not settled."""
    rows = await tx.rows(
        """select leg from app.payment_instructions
            where purpose = 'onward' and ($1::text is null or collection_id = $1)
              and ($2::text is null or invoice_reference = $2)
            group by leg having not bool_or(state = 'SETTLED') order by leg""",
        collection_id,
        invoice_reference,
    )
    return [row["leg"] for row in rows]


def new_instruction(new: Instruction) -> audit.RowChange:
    """The row of one try of a payment."""
    row = {name: getattr(new, name) for name in _INSTRUCTION.split(", ") if hasattr(new, name)}
    for side, account in (("debtor", new.debtor), ("creditor", new.creditor)):
        row |= {
            f"{side}_name": account.name,
            f"{side}_sort_code": account.sort_code,
            f"{side}_account_number": account.account_number,
        }
    return audit.insert("payment_instructions", row | {"amount_pence": new.amount})


def changed_instruction(known: Instruction, **after: Any) -> audit.RowChange:
    """Columns of one instruction change, provided that they still are what ``known`` says."""
    return audit.update(
        "payment_instructions",
        key={"tenant_id": known.tenant_id, "end_to_end_id": known.end_to_end_id},
        before={name: getattr(known, name) for name in after},
        after=after,
    )


async def collection(tx: Tx, collection_id: str) -> Collection | None:
    """One inbound credit of the tenant."""
    row = await tx.row(f"select {_COLLECTION} from app.collections where id = $1", collection_id)
    return _collection(row) if row else None


async def collections(tx: Tx, *, state: str | None, after: str | None, limit: int) -> list[Collection]:
    """Inbound credits by id, oldest first."""
    rows = await tx.rows(
        f"""select {_COLLECTION} from app.collections
             where ($1::text is null or state = $1) and ($2::text is null or id > $2) order by id limit $3""",
        state,
        after,
        limit,
    )
    return [_collection(row) for row in rows]


def new_collection(new: Collection) -> audit.RowChange:
    """The row of an inbound credit."""
    row = {name: getattr(new, name) for name in _COLLECTION.split(", ") if hasattr(new, name)}
    amounts = {
        "amount_pence": new.amount,
        "allocated_pence": new.allocated,
        "refund_due_pence": new.refund_due,
        "onward_payments": _spelled(new.onward),
    }
    return audit.insert("collections", row | amounts)


def moved_collection(known: Collection, state: str) -> audit.RowChange:
    """A collection changes its state and nothing else."""
    return _changed_collection(known, {"state": known.state}, {"state": state})


def allocated_collection(
    known: Collection, *, state: str, allocated: Pence, refund_due: Pence, onward: Sequence[OnwardPayment]
) -> audit.RowChange:
    """A collection is split."""
    before = {
        "state": known.state,
        "allocated_pence": known.allocated,
        "refund_due_pence": known.refund_due,
        "onward_payments": _spelled(known.onward),
    }
    after = {
        "state": state,
        "allocated_pence": allocated,
        "refund_due_pence": refund_due,
        "onward_payments": _spelled(onward),
    }
    return _changed_collection(known, before, after)


def _changed_collection(known: Collection, before: dict[str, Any], after: dict[str, Any]) -> audit.RowChange:
    key = {"tenant_id": known.tenant_id, "id": known.id}
    return audit.update("collections", key=key, before=before, after=after)


def _spelled(onward: Sequence[OnwardPayment]) -> list[dict[str, Any]]:
    return [
        {"leg": part.leg, "payee_subject_id": part.payee_subject_id, "amount_pence": part.amount} for part in onward
    ]


async def newest_line_at(tx: Tx, account: BankAccount) -> Instant | None:
    """When the newest line of an account that we know of was booked."""
    at: Instant | None = await tx.value(
        "select max(booked_at) from app.reconciliations where account = $1", account.sort_code + account.account_number
    )
    return at


async def oldest_open_at(tx: Tx, account: BankAccount) -> Instant | None:
    """From when on lines of an account may have been left for later: since a reading of it was not whole, since a
    payment was sent that its bank has not decided, or since a line of which a person has just said that it is new. One
    that still waits for a person is kept already, and holds nothing up: it may wait for months."""
    at: Instant | None = await tx.value(
        """select min(at) from (
             select gap_since as at from app.statement_readings where account = $1
             union all
             select sent_at from app.payment_instructions where state = 'SENT'
             union all
             select r.booked_at from app.line_doubts d join app.reconciliations r
                 on r.tenant_id = d.tenant_id and r.id = d.line_id
              where d.state = 'NEW' and r.account = $1 and r.kind = 'doubt') as open""",
        account.sort_code + account.account_number,
    )
    return at


async def reading(tx: Tx, account: BankAccount) -> Reading | None:
    """How an account's statement is being read; None while it has always been read whole."""
    row = await tx.row(
        "select tenant_id, account, gap_since, balance_gap_since from app.statement_readings where account = $1",
        account.sort_code + account.account_number,
    )
    return Reading(**dict(row)) if row else None


def new_reading(new: Reading) -> audit.RowChange:
    """The row of the first reading of an account that was not whole."""
    return audit.insert(
        "statement_readings",
        {
            "tenant_id": new.tenant_id,
            "account": new.account,
            "gap_since": new.gap_since,
            "balance_gap_since": new.balance_gap_since,
        },
    )


def changed_reading(known: Reading, **after: Instant | None) -> audit.RowChange:
    """A gap begins or ends."""
    return audit.update(
        "statement_readings",
        key={"tenant_id": known.tenant_id, "account": known.account},
        before={name: getattr(known, name) for name in after},
        after=after,
    )


async def line_of(tx: Tx, kind: str, matched_to: str) -> str | None:
    """The line that was found to be this, if one was."""
    found: str | None = await tx.value(
        "select transaction_id from app.reconciliations where kind = $1 and matched_to = $2", kind, matched_to
    )
    return found


async def overdue(tx: Tx, *, before: Instant) -> list[tuple[str, str]]:
    """Steps that have waited since ``before``: (check | pay | token | acknowledge | allocate, id of what waits)."""
    rows = await tx.rows(
        """select 'check' as step, id from app.disbursements where state = 'COMMITTED' and committed_at < $1
           union all
           select 'pay', end_to_end_id from app.payment_instructions
            where state in ('QUEUED', 'SENT') and queued_at < $1
           union all
           select 'token', d.id from app.disbursements d
             join app.payment_instructions i on i.tenant_id = d.tenant_id and i.disbursement_id = d.id
            where d.state = 'FIAT_FINAL' and i.purpose = 'disbursement_in' and i.state = 'SETTLED'
              and i.concluded_at < $1
           union all
           select 'acknowledge', id from app.disbursements where state = 'SELLER_PAYOUT_SENT' and paid_out_at < $1
           union all
           select 'allocate', id from app.collections where state = 'MATCHED' and received_at < $1
           order by 1, 2""",
        before,
    )
    return [(row["step"], row["id"]) for row in rows]
