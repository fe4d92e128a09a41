"""Transfers and burns: doors that promise them, and what the chain's answer does (TK-11 … TK-13)."""

from __future__ import annotations

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx
from fintokenx.lifecycle import chainwork, invoice
from fintokenx.lifecycle.chainwork.ports import Receipt
from fintokenx.lifecycle.tokenisation import store
from fintokenx.lifecycle.tokenisation.events import TokenBurned, TransferConfirmed, TransferRefused
from fintokenx.lifecycle.tokenisation.service.reads import locked_token
from fintokenx.lifecycle.tokenisation.store import promises
from fintokenx.lifecycle.tokenisation.transitions import TOKEN, TokenEvent, TokenState
from fintokenx.lifecycle.tokenisation.types import (
    BusinessKeyReused,
    Kind,
    Token,
    TokenIsMoving,
    TransferNotConfirmed,
    UnknownToken,
    WalletNotRegistered,
)


async def transfer(
    tx: Tx, caller: Caller, *, token_reference: str, to_subject_id: str, business_key: str
) -> audit.Changes:
    """Promise to move the whole token from the minting wallet to a subject's wallet; recorded as FIAT_IN.

    The token keeps its state until :func:`held`. What became of it is told as TransferConfirmed or TransferRefused.
    The same promise again adds nothing.

    :raises WalletNotRegistered: the receiver has no wallet that the registry vouches for
    :raises TokenIsMoving: another transfer is under way, or done and not taken up
    :raises BusinessKeyReused: the key was given to something else
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    token = await locked_token(tx, token_reference)
    if (known := await chainwork.find_promise(tx, business_key)) is not None:
        _refuse_other(known, Kind.TRANSFER, token_reference, to_subject_id=to_subject_id)
        return audit.Changes()
    TOKEN.next(token.state, TokenEvent.HOLD)
    await _refuse_while_moving(tx, token)
    await store.lock(tx, "wallet", to_subject_id)  # whoever declares it lost sees this transfer, or this one sees that
    wallet = await store.wallet_of(tx, to_subject_id)
    if wallet is None or not wallet.registered:
        raise WalletNotRegistered
    promise = chainwork.new_promise(
        tx,
        kind=Kind.TRANSFER,
        business_key=business_key,
        resource=token.invoice_reference,
        arguments={"to_subject_id": to_subject_id, "to_wallet": wallet.address, "from_wallet": token.holder_wallet},
        token_reference=token_reference,
    )
    tx.enqueue("tokenisation.transfer", {"business_key": business_key}, dedupe_key=promise.id)
    return audit.Changes((chainwork.promised_row(promise),))


async def held(
    tx: Tx, caller: Caller, *, token_reference: str, by_subject_id: str, transfer_business_key: str
) -> audit.Changes:
    """MINTED → HELD by the receiver of a confirmed transfer; recorded as FUND_INVOICE.

    :raises TransferNotConfirmed: the chain has not moved this token to this subject under this key
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    token = await locked_token(tx, token_reference)
    known = await chainwork.find_promise(tx, transfer_business_key)
    if (
        known is None
        or (known.kind, known.state, known.token_reference)
        != (Kind.TRANSFER, chainwork.ChainTxState.CONFIRMED, token_reference)
        or known.arguments["to_subject_id"] != by_subject_id
    ):
        raise TransferNotConfirmed
    after = {
        "state": TOKEN.next(token.state, TokenEvent.HOLD).target,
        "holder_subject_id": by_subject_id,
        "holder_wallet": known.arguments["to_wallet"],
    }
    return audit.Changes((store.changed_token(token, **after),))


async def burn(tx: Tx, caller: Caller, *, token_reference: str, reason: str, business_key: str) -> audit.Changes:
    """HELD → BURN_PENDING and the promise to burn; recorded as BURN_REQUEST. The same promise again adds nothing.

    ``reason``: at most 31 capital letters and underscores, e.g. ``SETTLED``; it stands on chain.

    :raises TokenIsMoving: a transfer is under way
    :raises BusinessKeyReused: the key was given to something else
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    if not 1 <= len(reason) <= 31 or not reason.isascii():
        raise ValueError("a burn's reason is 1 to 31 ASCII characters")
    token = await locked_token(tx, token_reference)
    if (known := await chainwork.find_promise(tx, business_key)) is not None:
        _refuse_other(known, Kind.BURN, token_reference, reason=reason)
        return audit.Changes()
    line = TOKEN.next(token.state, TokenEvent.BURN)
    await _refuse_while_moving(tx, token)
    holders = await _holders(tx, token)
    promise = chainwork.new_promise(
        tx,
        kind=Kind.BURN,
        business_key=business_key,
        resource=token.invoice_reference,
        arguments={"reason": reason, "holders": holders},
        token_reference=token_reference,
    )
    tx.enqueue("tokenisation.burn", {"business_key": business_key}, dedupe_key=promise.id)
    return audit.Changes((store.changed_token(token, state=line.target), chainwork.promised_row(promise)))


async def _holders(tx: Tx, token: Token) -> list[str]:
    """Every wallet in which the token can be when it burns. They stand in the promise, so that its bytes can be made
    again whatever wallets follow.

    A recovery under way moves it between wallets that are there by now; one that is not waits for the burn: under this
    lock each sees the other.
    """
    if token.holder_subject_id is None:
        return [token.holder_wallet] if token.holder_wallet else []
    await store.lock(tx, "wallet", token.holder_subject_id)
    return [wallet.address for wallet in await store.wallets_of(tx, token.holder_subject_id)]


def _refuse_other(known: chainwork.ChainTransaction, kind: Kind, token_reference: str, **arguments: str) -> None:
    promised = {name: known.arguments.get(name) for name in arguments}
    if (known.kind, known.token_reference, promised) != (kind, token_reference, arguments):
        raise BusinessKeyReused


async def _refuse_while_moving(tx: Tx, token: Token) -> None:
    last = await promises.last_move(tx, token.reference)
    if last is None or last.state == chainwork.ChainTxState.REVERTED:
        return
    if last.state != chainwork.ChainTxState.CONFIRMED or token.state == TokenState.MINTED:
        raise TokenIsMoving


async def promised(tx: Tx, caller: Caller, *, business_key: str) -> chainwork.ChainTransaction:
    """A promise with a job of its own as it stands. :raises UnknownChainTransaction: there is none under this key"""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    return await chainwork.locked_promise(tx, business_key)


async def transferred(tx: Tx, caller: Caller, *, business_key: str, mined: chainwork.Mined) -> None:
    """The chain has moved the token. Told again, nothing happens."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    known, token = await _locked(tx, business_key)
    if known.state == chainwork.ChainTxState.CONFIRMED:
        return
    fact = TransferConfirmed(business_key, token.reference, mined.signed.tx_hash)
    move = audit.Changes((chainwork.confirmed_row(tx, known, mined),), (fact,))
    await audit.change(tx, caller, action="TOKEN_TRANSFER", resource=known.resource, move=move)


async def transfer_refused(tx: Tx, caller: Caller, *, business_key: str, receipt: Receipt) -> None:
    """The compliance contract has said no, for good. Told again, or of bytes that have been replaced since, nothing
    happens."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    known, token = await _locked(tx, business_key)
    if known.state != chainwork.ChainTxState.SIGNED or known.tx_hash != receipt.tx_hash:
        return
    fact = TransferRefused(business_key, token.reference, receipt.revert_reason)
    move = audit.Changes((chainwork.reverted_row(known, receipt),), (fact,))
    await audit.change(tx, caller, action="CHAIN_TX_REVERT", resource=known.resource, move=move)


async def burned(tx: Tx, caller: Caller, *, business_key: str, mined: chainwork.Mined) -> None:
    """The chain has burned it: token BURNED and invoice SETTLED in one entry. Told again, nothing happens."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    known, token = await _locked(tx, business_key)
    if token.state == TokenState.BURNED:
        return
    line = TOKEN.next(token.state, TokenEvent.BURNED)
    rows = (
        chainwork.confirmed_row(tx, known, mined, even_if_refused=True),
        store.changed_token(token, state=line.target, burned_at=tx.at, burn_tx=mined.signed.tx_hash),
    )
    settled = await invoice.settled(tx, caller, reference=token.invoice_reference)
    move = audit.Changes(rows, (TokenBurned(token.reference, token.invoice_reference),)) + settled
    await audit.change(tx, caller, action=line.action, resource=known.resource, move=move)


async def _locked(tx: Tx, business_key: str) -> tuple[chainwork.ChainTransaction, Token]:
    known = await chainwork.locked_promise(tx, business_key)
    if known.token_reference is None:
        raise UnknownToken
    return known, await locked_token(tx, known.token_reference)
