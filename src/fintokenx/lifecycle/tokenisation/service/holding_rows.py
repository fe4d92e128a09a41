"""What the database says of somebody's holdings, for the explorer, which puts it beside the chain.

Whoever may look at all may ask; what of it a holder may see is for the explorer to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fintokenx.kernel.caller import Caller
from fintokenx.kernel.db import Tx
from fintokenx.lifecycle.chainwork import ChainTransaction
from fintokenx.lifecycle.tokenisation import store
from fintokenx.lifecycle.tokenisation.service.reads import HOLDERS, STAFF
from fintokenx.lifecycle.tokenisation.store import promises
from fintokenx.lifecycle.tokenisation.types import Slice, Token, Wallet


@dataclass(frozen=True, slots=True)
class HoldingRows:
    """All rows about some tokens."""

    tokens: Sequence[Token]
    slices: Sequence[Slice]
    transactions: Sequence[ChainTransaction]
    undecided: Sequence[ChainTransaction]
    """Those of which the other rows do not say by the block whether they took effect."""


async def holding_rows(tx: Tx, caller: Caller, *, token_ids: list[str], block_number: int) -> HoldingRows:
    """All rows about the tenant's tokens with these ids of the chain, as seen from a block."""
    caller.must_be(*STAFF, *HOLDERS, tenant_id=tx.tenant_id)
    tokens = await store.tokens_by_id(tx, token_ids)
    references = [token.reference for token in tokens]
    slices = await store.slices_of(tx, references)
    transactions = await promises.chain_txs_of_tokens(tx, references)
    ids = await promises.undecided_ids(tx, [each.id for each in transactions], block_number=block_number)
    return HoldingRows(tokens, slices, transactions, [each for each in transactions if each.id in ids])


async def find_token(tx: Tx, caller: Caller, *, reference: str) -> Token | None:
    """A token of the tenant, if there is such a one."""
    caller.must_be(*STAFF, *HOLDERS, tenant_id=tx.tenant_id)
    return await store.token(tx, reference)


async def wallets_ever(tx: Tx, caller: Caller, *, subject_id: str) -> list[Wallet]:
    """Every wallet that a subject ever had, oldest first."""
    caller.must_be(*STAFF, *HOLDERS, tenant_id=tx.tenant_id)
    return await store.wallets_of(tx, subject_id)


async def ids_of_holder(tx: Tx, caller: Caller, *, subject_id: str) -> list[str]:
    """The chain's ids of all tokens of which a subject holds some, or was the last to hold some."""
    caller.must_be(*STAFF, *HOLDERS, tenant_id=tx.tenant_id)
    return await store.ids_of_holder(tx, subject_id)
