"""Reading and locking chain transactions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx
from fintokenx.lifecycle.chainwork import store
from fintokenx.lifecycle.chainwork.types import ChainTransaction, UnknownChainTransaction

PENDING_MAX: Final = 200
"""So many transactions of one sender may wait for a block: a nonce further ahead the nodes refuse (Besu:
--tx-pool-max-future-by-sender)."""
_WITH_NONCE_MAX: Final = 2000
_STAFF: Final = (Role.SYSTEM, Role.COMPLIANCE, Role.MLRO, Role.PARTNER_ADMIN, Role.PLATFORM_ADMIN)
_HOLDERS: Final = (Role.LENDER, Role.INVESTOR)


async def chain_transaction(tx: Tx, caller: Caller, *, business_key: str) -> ChainTransaction:
    """What became of one promise. :raises UnknownChainTransaction: nothing was ever promised under this key"""
    caller.must_be(*_STAFF, tenant_id=tx.tenant_id)
    found = await store.chain_tx(tx, business_key)
    if found is None:
        raise UnknownChainTransaction
    return found


async def transaction_with_id(tx: Tx, caller: Caller, *, transaction_id: str) -> ChainTransaction | None:
    """One chain transaction of the tenant; what of it a holder may see is for the callers of this function to say."""
    caller.must_be(*_STAFF, *_HOLDERS, tenant_id=tx.tenant_id)
    return await store.chain_tx_by_id(tx, transaction_id)


async def unanswered(tx: Tx, caller: Caller, *, limit: int = 200) -> list[ChainTransaction]:
    """Chain transactions that are neither confirmed nor reverted, by sender and nonce."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    return await store.open_chain_txs(tx, limit=limit)


async def to_drive(tx: Tx, caller: Caller, *, kinds: Sequence[str]) -> list[ChainTransaction]:
    """What has a nonce, by sender and nonce; then what wants one, of each kind as many as one sender may have."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    waiting = await store.open_chain_txs(tx, limit=_WITH_NONCE_MAX)
    given = [promise for promise in waiting if promise.nonce is not None]
    return given + await store.promised_chain_txs(tx, kinds=kinds, per_kind=PENDING_MAX)


async def find_promise(tx: Tx, business_key: str) -> ChainTransaction | None:
    """The promise under a key, for commands that have asked who calls."""
    return await store.chain_tx(tx, business_key)


async def locked_promise(tx: Tx, business_key: str) -> ChainTransaction:
    """The promise, locked until the transaction ends. :raises UnknownChainTransaction: there is none"""
    await store.lock(tx, business_key)
    found = await store.chain_tx(tx, business_key)
    if found is None:
        raise UnknownChainTransaction
    return found
