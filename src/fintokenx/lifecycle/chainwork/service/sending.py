"""How a promise reaches the chain exactly once: a nonce first, then bytes, then the chain's answer (TK-12)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import StaleRow, Tx
from fintokenx.kernel.machine import NOTHING
from fintokenx.lifecycle.chainwork import store
from fintokenx.lifecycle.chainwork.ports import Receipt, SignedTransaction
from fintokenx.lifecycle.chainwork.service.reads import PENDING_MAX, locked_promise
from fintokenx.lifecycle.chainwork.transitions import CHAIN_TX, ChainTxEvent, ChainTxState
from fintokenx.lifecycle.chainwork.types import ChainTransaction
from fintokenx.parties import compliance


class TooManyPending(Exception):
    """The sender has as many transactions without a block as the nodes keep for it."""


@dataclass(frozen=True, slots=True)
class Mined:
    """A transaction of ours that stands in a block."""

    signed: SignedTransaction
    receipt: Receipt


def new_promise(
    tx: Tx,
    *,
    kind: str,
    business_key: str,
    resource: str,
    arguments: dict[str, Any],
    token_reference: str | None = None,
    wallet_id: str | None = None,
) -> ChainTransaction:
    """A new promise, not recorded yet: :func:`promised_row` is for the entry that wants it."""
    return ChainTransaction(
        tenant_id=tx.tenant_id,
        id=tx.ids.new("ctx"),
        business_key=business_key,
        kind=kind,
        token_reference=token_reference,
        wallet_id=wallet_id,
        resource=resource,
        arguments=arguments,
        state=CHAIN_TX.next(NOTHING, ChainTxEvent.PROMISE).target,
        sender=None,
        nonce=None,
        tx_hash=None,
        raw=None,
        block_number=None,
        revert_reason=None,
        promised_at=tx.at,
        submitted_at=None,
        confirmed_at=None,
    )


def promised_row(promise: ChainTransaction) -> audit.RowChange:
    """It is wanted of the chain."""
    return store.new_chain_tx(promise)


async def reserve_many(
    tx: Tx, caller: Caller, *, business_keys: Sequence[str], sender: str, mined: int, lost: int | None = None
) -> list[ChainTransaction]:
    """Give promises of one sender their nonces, in this order, as many as the nodes will take.

    :raises TooManyPending: not one more
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    given: list[ChainTransaction] = []
    for business_key in business_keys:
        known = await reserve(tx, caller, business_key=business_key, sender=sender, mined=mined, lost=lost)
        given.append(known)
        if known.nonce is not None and known.nonce + 1 >= mined + PENDING_MAX:
            break
    return given


async def reserve(
    tx: Tx, caller: Caller, *, business_key: str, sender: str, mined: int, lost: int | None = None
) -> ChainTransaction:
    """Give a promise its nonce, in the order of asking; the one that it has already when somebody was faster.

    ``mined`` is the chain's transaction count of ``sender``; ``lost`` is a nonce of this promise that the chain has
    used for something else.

    :raises TooManyPending: the nodes would refuse it; then no nonce is taken
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    known = await locked_promise(tx, business_key)
    if known.state == ChainTxState.CONFIRMED or (
        known.state in (ChainTxState.RESERVED, ChainTxState.SIGNED) and known.nonce != lost
    ):
        return known
    line = CHAIN_TX.next(known.state, ChainTxEvent.RESERVE)
    nonce = await store.next_nonce(tx, sender)
    if nonce < mined:
        raise StaleRow("the chain has used this nonce already; the database learns of it")
    if nonce >= mined + PENDING_MAX:
        raise TooManyPending(sender)
    after: dict[str, Any] = {
        "state": line.target,
        "sender": sender,
        "nonce": nonce,
        "tx_hash": None,
        "raw": None,
        "block_number": None,
        "revert_reason": None,
        "submitted_at": None,
    }
    move = audit.Changes((store.changed_chain_tx(known, **after),))
    await audit.change(tx, caller, action=line.action, resource=known.resource, move=move)
    return replace(known, **after)


async def keep_signed(tx: Tx, caller: Caller, *, business_key: str, signed: SignedTransaction) -> ChainTransaction:
    """Keep the signed bytes before they are sent, so that only these can ever be sent. Not where its
    module records them with rows of its own, by :func:`signed_row`."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    known = await locked_promise(tx, business_key)
    if is_kept(known, signed):
        return known
    kept, row = signed_row(tx, known, signed)
    await audit.change(tx, caller, action="CHAIN_TX_SIGN", resource=known.resource, move=audit.Changes((row,)))
    return kept


def is_kept(known: ChainTransaction, signed: SignedTransaction) -> bool:
    """Whether these bytes, or an answer to them, stand already. :raises StaleRow: the promise has another nonce now"""
    if known.state == ChainTxState.RESERVED and known.nonce == signed.nonce and known.sender == signed.sender:
        return False
    if known.tx_hash == signed.tx_hash or known.state == ChainTxState.CONFIRMED:
        return True
    raise StaleRow("the nonce of this transaction has changed")


def _signature(tx: Tx, state: str, signed: SignedTransaction) -> dict[str, Any]:
    """The columns that a signature fills."""
    return {"state": state, "tx_hash": signed.tx_hash, "raw": signed.raw, "submitted_at": tx.at}


def signed_row(tx: Tx, known: ChainTransaction, signed: SignedTransaction) -> tuple[ChainTransaction, audit.RowChange]:
    """The bytes are kept: the promise as it is then, and its row."""
    after = _signature(tx, CHAIN_TX.next(known.state, ChainTxEvent.SIGN).target, signed)
    return replace(known, **after), store.changed_chain_tx(known, **after)


def confirmed_row(tx: Tx, known: ChainTransaction, mined: Mined, *, even_if_refused: bool = False) -> audit.RowChange:
    """The promise is kept; by ``mined``, which may be of an earlier life of the database.

    ``even_if_refused``: also of one that was refused meanwhile, for it must not fail.
    """
    refused = even_if_refused and known.state is ChainTxState.REVERTED
    event = ChainTxEvent.CONFIRM_AFTER_REFUSAL if refused else ChainTxEvent.CONFIRM
    return store.changed_chain_tx(
        known,
        **_signature(tx, CHAIN_TX.next(known.state, event).target, mined.signed),
        sender=mined.signed.sender,
        nonce=mined.signed.nonce,
        block_number=mined.receipt.block_number,
        revert_reason=None,
        confirmed_at=tx.at,
    )


def reverted_row(known: ChainTransaction, receipt: Receipt) -> audit.RowChange:
    """The chain has refused it."""
    return store.changed_chain_tx(
        known,
        state=CHAIN_TX.next(known.state, ChainTxEvent.REVERT).target,
        block_number=receipt.block_number,
        revert_reason=receipt.revert_reason,
    )


def superseded_row(refused: ChainTransaction) -> audit.RowChange:
    """What was refused gives way to what is wanted now."""
    return store.changed_chain_tx(refused, state=CHAIN_TX.next(refused.state, ChainTxEvent.SUPERSEDE).target)


async def reverted(tx: Tx, caller: Caller, *, business_key: str, receipt: Receipt) -> None:
    """Record that the chain refused something that must not fail, and tell people. Not where more follows
    from it: that is recorded with :func:`reverted_row`."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    known = await locked_promise(tx, business_key)
    if known.state != ChainTxState.SIGNED or known.tx_hash != receipt.tx_hash:
        return
    move = audit.Changes((reverted_row(known, receipt),))
    await audit.change(tx, caller, action="CHAIN_TX_REVERT", resource=known.resource, move=move)
    await alarm(tx, caller, known)


async def alarm(tx: Tx, caller: Caller, known: ChainTransaction) -> None:
    """Raise the alert about a refusal of the chain, or count it once more."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    cause = f"CHAIN_REFUSED_{known.kind.upper()}"
    move = await compliance.raise_alert(
        tx, caller, cause=cause, resource=known.resource, severity=compliance.Severity.CRITICAL
    )
    await audit.change(tx, caller, action="ALERT_RAISE", resource=known.resource, move=move)
