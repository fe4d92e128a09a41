"""From a confirmed invoice to a token on chain (TK-01 … TK-06, IX-09)."""

from __future__ import annotations

from dataclasses import replace

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx
from fintokenx.kernel.ids import token_reference
from fintokenx.kernel.machine import NOTHING
from fintokenx.lifecycle import chainwork, invoice
from fintokenx.lifecycle.chainwork.ports import Receipt, SignedTransaction
from fintokenx.lifecycle.tokenisation import store
from fintokenx.lifecycle.tokenisation.events import TokenMinted
from fintokenx.lifecycle.tokenisation.service.reads import locked_token
from fintokenx.lifecycle.tokenisation.transitions import TOKEN, TokenEvent, TokenState
from fintokenx.lifecycle.tokenisation.types import (
    InvoiceNotConfirmed,
    Kind,
    Token,
    UnknownToken,
    token_id_of,
)


def mint_key(invoice_reference: str) -> str:
    """The business key of the one mint that an invoice can have."""
    return f"mint:{invoice_reference}"


async def request(
    tx: Tx, caller: Caller, *, invoice_reference: str, reference_key: bytes
) -> tuple[Token, chainwork.ChainTransaction]:
    """Promise the token of a confirmed invoice; asked again, the token that it has.

    ``reference_key`` keys the permutation behind token references (kernel.ids).

    :raises InvoiceNotConfirmed: the invoice is in any other state and has no token (TK-01)
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    await store.lock(tx, "mint", invoice_reference)
    if (known := await store.token_of_invoice(tx, invoice_reference)) is not None:
        return known, await chainwork.locked_promise(tx, mint_key(invoice_reference))
    debt = await invoice.get(tx, caller, reference=invoice_reference)
    if debt.state is not invoice.InvoiceState.CONFIRMED:
        raise InvoiceNotConfirmed
    line = TOKEN.next(NOTHING, TokenEvent.REQUEST)
    token = Token(
        tenant_id=tx.tenant_id,
        reference=token_reference(await tx.next_number("token_numbers"), reference_key),
        invoice_reference=invoice_reference,
        obligor_id=debt.obligor_id,
        token_id_hex=token_id_of(tx.tenant_id, invoice_reference, debt.document_sha256),
        contract_address=None,
        face=debt.face_value,
        due_date=debt.maturity_date,
        document_sha256=debt.document_sha256,
        state=line.target,
        holder_subject_id=None,
        holder_wallet=None,
        requested_at=tx.at,
        minted_at=None,
        burned_at=None,
        burn_tx=None,
    )
    promise = chainwork.new_promise(
        tx,
        kind=Kind.MINT,
        business_key=mint_key(invoice_reference),
        resource=invoice_reference,
        arguments={},
        token_reference=token.reference,
    )
    move = audit.Changes((store.new_token(token), chainwork.promised_row(promise)))
    await audit.change(tx, caller, action=line.action, resource=invoice_reference, move=move)
    return token, promise


async def unrequested(tx: Tx, caller: Caller, *, limit: int = 500) -> list[invoice.Invoice]:
    """Confirmed invoices that have no token: what :func:`request` was never called for, or is about to be."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    confirmed = await invoice.page(tx, caller, state=invoice.InvoiceState.CONFIRMED, after=None, limit=limit)
    bare = set(await store.without_token(tx, [debt.reference for debt in confirmed]))
    return [debt for debt in confirmed if debt.reference in bare]


async def submit(
    tx: Tx, caller: Caller, *, invoice_reference: str, signed: SignedTransaction, contract_address: str
) -> chainwork.ChainTransaction:
    """Keep the signed mint before it is sent: REQUESTED or PENDING_MINT → MINT_SUBMITTED."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    token, known = await _locked(tx, invoice_reference)
    if chainwork.is_kept(known, signed):
        return known
    action = "CHAIN_TX_SIGN"
    rows: tuple[audit.RowChange, ...] = ()
    if token.state != TokenState.MINT_SUBMITTED:
        line = TOKEN.next(token.state, TokenEvent.SUBMIT)
        action = line.action
        rows = (store.changed_token(token, state=line.target, contract_address=contract_address),)
    kept, row = chainwork.signed_row(tx, known, signed)
    await audit.change(tx, caller, action=action, resource=invoice_reference, move=audit.Changes((*rows, row)))
    return kept


async def stalled(tx: Tx, caller: Caller, *, invoice_reference: str) -> None:
    """The chain or the signer does not work: → PENDING_MINT, once."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    token, _ = await _locked(tx, invoice_reference)
    if token.state not in (TokenState.REQUESTED, TokenState.MINT_SUBMITTED):
        return
    line = TOKEN.next(token.state, TokenEvent.STALL)
    move = audit.Changes((store.changed_token(token, state=line.target),))
    await audit.change(tx, caller, action=line.action, resource=invoice_reference, move=move)


async def recovered(tx: Tx, caller: Caller, *, invoice_reference: str) -> None:
    """Blocks come again and the mint that was signed is under way: PENDING_MINT → MINT_SUBMITTED."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    token, known = await _locked(tx, invoice_reference)
    if token.state == TokenState.PENDING_MINT and known.state == chainwork.ChainTxState.SIGNED:
        await _submitted(tx, caller, token, token.contract_address)


async def _submitted(tx: Tx, caller: Caller, token: Token, contract_address: str | None) -> Token:
    line = TOKEN.next(token.state, TokenEvent.SUBMIT)
    after = {"state": line.target, "contract_address": contract_address}
    move = audit.Changes((store.changed_token(token, **after),))
    await audit.change(tx, caller, action=line.action, resource=token.invoice_reference, move=move)
    return replace(token, state=line.target, contract_address=contract_address)


async def minted(
    tx: Tx,
    caller: Caller,
    *,
    invoice_reference: str,
    mined: chainwork.Mined,
    contract_address: str,
    minting_wallet: str,
) -> None:
    """The chain has it (TK-03): token MINTED and invoice TOKENISED in one entry. Told again, nothing happens."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    token, known = await _locked(tx, invoice_reference)
    if token.minted_at is not None:
        return
    if token.state != TokenState.MINT_SUBMITTED:
        token = await _submitted(tx, caller, token, contract_address)
    line = TOKEN.next(token.state, TokenEvent.MINT)
    rows = (
        chainwork.confirmed_row(tx, known, mined, even_if_refused=True),
        store.changed_token(token, state=line.target, minted_at=tx.at, holder_wallet=minting_wallet),
    )
    tokenised = await invoice.tokenised(tx, caller, reference=invoice_reference, token_reference=token.reference)
    move = audit.Changes(rows, (TokenMinted(token.reference, invoice_reference),)) + tokenised
    await audit.change(tx, caller, action=line.action, resource=invoice_reference, move=move)


async def refused(tx: Tx, caller: Caller, *, invoice_reference: str, receipt: Receipt) -> None:
    """The chain has refused the mint: the token waits as PENDING_MINT, and people are told."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    token, known = await _locked(tx, invoice_reference)
    if known.state != chainwork.ChainTxState.SIGNED or known.tx_hash != receipt.tx_hash:
        return
    rows: tuple[audit.RowChange, ...] = (chainwork.reverted_row(known, receipt),)
    if token.state == TokenState.MINT_SUBMITTED:
        rows = (*rows, store.changed_token(token, state=TOKEN.next(token.state, TokenEvent.STALL).target))
    await audit.change(tx, caller, action="TOKEN_PENDING", resource=invoice_reference, move=audit.Changes(rows))
    await chainwork.alarm(tx, caller, known)


async def _locked(tx: Tx, invoice_reference: str) -> tuple[Token, chainwork.ChainTransaction]:
    known = await chainwork.locked_promise(tx, mint_key(invoice_reference))
    if known.token_reference is None:
        raise UnknownToken
    return await locked_token(tx, known.token_reference), known
