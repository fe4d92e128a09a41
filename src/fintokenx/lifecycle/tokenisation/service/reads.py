"""Reading and locking tokens and wallets, and reading what the chain was asked for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Connection, Tx
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle import chainwork, invoice
from fintokenx.lifecycle.tokenisation import store
from fintokenx.lifecycle.tokenisation.store import promises
from fintokenx.lifecycle.tokenisation.types import (
    Token,
    UnknownToken,
    UnknownWallet,
    Wallet,
)
from fintokenx.parties import auth

GIVEN_UP_AFTER: Final = timedelta(hours=2)
STAFF = (Role.SYSTEM, Role.COMPLIANCE, Role.MLRO, Role.PARTNER_ADMIN, Role.PLATFORM_ADMIN)
HOLDERS = (Role.LENDER, Role.INVESTOR)
_READERS = (*STAFF, *HOLDERS, Role.SELLER, Role.BUYER)


async def must_not_need(tx: Tx, caller: Caller, *, subject_id: str) -> None:
    """:raises auth.ErasureBlocked: the subject holds a token, or its wallet is being recovered"""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    if await store.holds_any(tx, subject_id):
        raise auth.ErasureBlocked("TOKEN_HELD")
    if await store.open_recovery(tx, subject_id) is not None:
        raise auth.ErasureBlocked("WALLET_RECOVERY")


async def token(tx: Tx, caller: Caller, *, reference: str) -> Token:
    """One token: whoever may see its invoice may see it; who holds it, only its holder and staff (CH-03).

    :raises UnknownToken: none that the caller may see
    """
    caller.must_be(*_READERS, tenant_id=tx.tenant_id)
    found = await store.token(tx, reference)
    return await _visible(tx, caller, found)


async def token_of(tx: Tx, caller: Caller, *, invoice_reference: str) -> Token:
    """The token of an invoice: whoever may see the invoice may see it, as :func:`token`.

    :raises UnknownToken: none, or none yet, that the caller may see
    """
    caller.must_be(*_READERS, tenant_id=tx.tenant_id)
    found = await store.token_of_invoice(tx, invoice_reference)
    return await _visible(tx, caller, found)


async def _visible(tx: Tx, caller: Caller, found: Token | None) -> Token:
    if found is None:
        raise UnknownToken
    try:
        await invoice.get(tx, caller, reference=found.invoice_reference)
    except invoice.UnknownInvoice as hidden:
        raise UnknownToken from hidden
    if found.holder_subject_id in (None, caller.subject_id) or caller.party_role in STAFF:
        return found
    return replace(found, holder_subject_id=None, holder_wallet=None)


async def transactions(
    tx: Tx, caller: Caller, *, reference: str, after: str | None, limit: int
) -> list[chainwork.ChainTransaction]:
    """What was wanted of the chain for a token, oldest first. :raises UnknownToken: none that the caller may see"""
    await token(tx, caller, reference=reference)
    return await promises.chain_txs_of_token(tx, reference, after=after, limit=limit)


async def wallet_of(tx: Tx, caller: Caller, *, subject_id: str) -> Wallet:
    """The wallet that a subject uses: its own, or any of the tenant for staff.

    :raises UnknownWallet: the subject has none (its lost one does not count), or it is not the caller's
    """
    caller.must_be(*STAFF, *HOLDERS, tenant_id=tx.tenant_id)
    found = await store.wallet_of(tx, subject_id)
    if found is None or (caller.party_role in HOLDERS and caller.subject_id != subject_id):
        raise UnknownWallet
    return found


async def exposure(tx: Tx, caller: Caller, *, lender_subject_id: str, obligor_id: str) -> Pence:
    """Face of all receivables against ``obligor_id`` that a lender holds now, in pence."""
    caller.must_be(*STAFF, *HOLDERS, tenant_id=tx.tenant_id)
    return await store.exposure(tx, lender_subject_id=lender_subject_id, obligor_id=obligor_id)


async def unanswered(tx: Tx, caller: Caller, *, limit: int = 200) -> list[chainwork.ChainTransaction]:
    """Chain transactions that are neither confirmed nor reverted, by sender and nonce; then what must not fail and was
    refused so long ago that its own job would have tried again by now."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    waiting = await chainwork.unanswered(tx, caller, limit=limit)
    return waiting + await promises.refused_before(tx, tx.at - GIVEN_UP_AFTER, limit=limit)


async def tokens(tx: Tx, caller: Caller, *, references: Sequence[str]) -> dict[str, Token]:
    """Those of the tenant's tokens, by reference."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    return await store.tokens(tx, references)


async def wallets_of_holder(tx: Tx, caller: Caller, token: Token) -> list[Wallet]:
    """Every wallet that the holder of a token ever had; none while it is in the minting wallet."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    return await store.wallets_of(tx, token.holder_subject_id) if token.holder_subject_id else []


async def locked_token(tx: Tx, reference: str) -> Token:
    """The token, locked until the transaction ends. :raises UnknownToken: there is none"""
    await store.lock(tx, "token", reference)
    found = await store.token(tx, reference)
    if found is None:
        raise UnknownToken
    return found


async def find_anywhere(connection: Connection, reference: str) -> dict[str, Any] | None:
    """A token in whatever tenant, its public columns; ``connection`` reads under a bypass."""
    return await store.find_anywhere(connection, reference)
