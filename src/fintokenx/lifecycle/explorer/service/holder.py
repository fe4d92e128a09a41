"""What the database says of a holder, and which entries of the record are behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fintokenx import audit
from fintokenx.kernel.caller import Caller
from fintokenx.kernel.db import Tx
from fintokenx.lifecycle import chainwork, tokenisation
from fintokenx.lifecycle.chainwork import ChainTransaction
from fintokenx.lifecycle.explorer.types import HolderRequired, NotYourHoldings
from fintokenx.lifecycle.tokenisation import HOLDERS, STAFF, Kind, Slice, Token, UnknownWallet


@dataclass(frozen=True, slots=True)
class OfHolder:
    """A holder's wallets (addresses), and the ids of what the database says is or was theirs."""

    subject_id: str
    wallets: tuple[str, ...]
    token_ids: tuple[str, ...]


async def of_holder(tx: Tx, caller: Caller, *, holder_subject_id: str | None) -> OfHolder:
    """The holder's own for lenders and investors, whatever they ask; for staff those of the holder they name.

    :raises NotYourHoldings: a holder names another, whether there is such a one or not
    :raises HolderRequired: staff name nobody
    :raises UnknownWallet: staff name somebody who has none in this tenant
    """
    caller.must_be(*STAFF, *HOLDERS, tenant_id=tx.tenant_id)
    is_holder = caller.party_role in HOLDERS
    own = caller.must_be_subject() if is_holder else holder_subject_id
    if own is None:
        raise HolderRequired
    if is_holder and holder_subject_id not in (None, own):
        raise NotYourHoldings
    wallets = await tokenisation.wallets_ever(tx, caller, subject_id=own)
    if not wallets and not is_holder:
        raise UnknownWallet
    return OfHolder(
        own,
        tuple(wallet.address for wallet in wallets),
        tuple(await tokenisation.ids_of_holder(tx, caller, subject_id=own)),
    )


@dataclass(frozen=True, slots=True)
class Details:
    """What the database says of some tokens, and which entry is behind each of its rows."""

    tokens: Mapping[int, Token]
    slices: Sequence[Slice]
    transactions: Sequence[ChainTransaction]
    undecided: Sequence[ChainTransaction]
    """Those of which the other rows do not say by the block whether they took effect."""
    behind: Mapping[audit.ChangedRow, audit.Behind]


async def details(tx: Tx, caller: Caller, *, token_ids: list[str], block_number: int) -> Details:
    """All about these tokens; what of it a holder may see is for the callers of this function to say."""
    caller.must_be(*STAFF, *HOLDERS, tenant_id=tx.tenant_id)
    known = await tokenisation.holding_rows(tx, caller, token_ids=token_ids, block_number=block_number)
    invoices = {token.reference: token.invoice_reference for token in known.tokens}
    rows = [
        *(row_of_token(token) for token in known.tokens),
        *(row_of_slice(piece, invoices[piece.token_reference]) for piece in known.slices),
        *(row_of_promise(promise) for promise in known.transactions),
    ]
    behind = await audit.behind(tx, caller, rows=rows)
    return Details(
        {token.token_id: token for token in known.tokens}, known.slices, known.transactions, known.undecided, behind
    )


async def may_prove(tx: Tx, caller: Caller, *, transaction_id: str, minting_wallet: str) -> bool:
    """Whether a confirmed chain transaction is about the caller's own wallets and names no other holder's."""
    caller.must_be(*HOLDERS, tenant_id=tx.tenant_id)
    promise = await chainwork.transaction_with_id(tx, caller, transaction_id=transaction_id)
    if promise is None or promise.state != chainwork.ChainTxState.CONFIRMED:
        return False
    own = [
        wallet.address for wallet in await tokenisation.wallets_ever(tx, caller, subject_id=caller.must_be_subject())
    ]
    return names_only(promise, own=own, minting_wallet=minting_wallet)


def names_only(promise: ChainTransaction, *, own: Iterable[str], minting_wallet: str) -> bool:
    """Whether one of ``own`` is named in the bytes of the transaction, and nobody else's."""
    match Kind(promise.kind):
        case Kind.TRANSFER | Kind.RECOVERY:
            named = {promise.arguments["from_wallet"], promise.arguments["to_wallet"]}
        case Kind.BURN:
            named = set(promise.arguments["holders"])
        case Kind.MINT | Kind.IDENTITY | Kind.FLAG | Kind.REMOVAL | Kind.REFRESH:
            return False
    return bool(named & set(own)) and named <= {*own, minting_wallet}


def row_of_token(token: Token) -> audit.ChangedRow:
    return audit.ChangedRow(token.invoice_reference, "tokens", "reference", token.reference)


def row_of_slice(piece: Slice, invoice_reference: str) -> audit.ChangedRow:
    return audit.ChangedRow(invoice_reference, "slices", "id", piece.id)


def row_of_promise(promise: ChainTransaction) -> audit.ChangedRow:
    return audit.ChangedRow(promise.resource, "chain_tx", "id", promise.id)
