"""Holdings and claims on chain equal the database's, at one block; a drift is somebody's business (TK-14)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Final

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.clock import Instant, to_wire
from fintokenx.kernel.db import Pool, Tx
from fintokenx.lifecycle import chainwork
from fintokenx.lifecycle.chainwork.ports import StateNotKept
from fintokenx.lifecycle.tokenisation import store
from fintokenx.lifecycle.tokenisation.ports import ChainState, Progress
from fintokenx.lifecycle.tokenisation.service.chain_audit.comparison import Answers, compare, questions
from fintokenx.lifecycle.tokenisation.service.chain_audit.expectations import expected
from fintokenx.lifecycle.tokenisation.types import Book, Drift, DriftKind, Reconciliation
from fintokenx.parties import compliance

TRIES_MAX: Final = 5
"""How many blocks may pass out of a node's memory before it counts as one that cannot be asked."""

CAUSE: Final = "CHAIN_DRIFT"


def _silent(_what: str, _done: int, _total: int) -> None:
    """Tell nobody."""


WAITING_MAX: Final = timedelta(minutes=10)
"""What the chain has not answered for longer is told; it takes blocks of seconds."""


async def reconcile(
    pool: Pool, chain: ChainState, *, now: Instant | None = None, progress: Progress = _silent
) -> Reconciliation:
    """Compare all tenants' tokens, holdings and wallets with the chain; ``pool`` logs in as fx_auditor.

    First the block, then the database in one snapshot, then the chain at that block: whatever the block holds the
    snapshot knows of. The chain is asked while no transaction is open. By ``now`` it is told what waits too long.

    :raises ChainUnavailable: no node answers, or none keeps a block for as long as its state takes to read
    """
    await chain.logged((await chain.head()).number, progress)  # the long part, before a block is chosen
    for _ in range(TRIES_MAX - 1):
        with suppress(StateNotKept):
            return await _at_one_block(pool, chain, now, progress)
    return await _at_one_block(pool, chain, now, progress)


async def _at_one_block(pool: Pool, chain: ChainState, now: Instant | None, progress: Progress) -> Reconciliation:
    at = await chain.head()
    book = await _book(pool, at.number)
    minting_wallet = await chain.minting_wallet()
    wanted = expected(book, at=at, minting_wallet=minting_wallet)
    logged = await chain.logged(at.number, progress)
    asked = questions(wanted, logged)
    total = len(asked.token_ids) + len(asked.holdings) + len(asked.wallets)
    progress("things on chain", 0, total)
    standing = await chain.standing(
        at.number, token_ids=asked.token_ids, holdings=asked.holdings, wallets=asked.wallets
    )
    progress("things on chain", total, total)
    found = compare(wanted, Answers(at, await chain.contract_address(), minting_wallet, logged, standing))
    late = waiting_too_long(book, before=now - WAITING_MAX) if now else ()
    return replace(found, drifts=(*found.drifts, *late))


def waiting_too_long(book: Book, *, before: Instant) -> tuple[Drift, ...]:
    """Promises from before then that the chain has not answered."""
    return tuple(
        Drift(
            DriftKind.WAITING,
            f"{promise.kind} {promise.business_key}",
            f"{promise.state} since {to_wire(promise.submitted_at or promise.promised_at)}"
            + (f" with nonce {promise.nonce} of {promise.sender}" if promise.nonce is not None else ""),
            "nothing",
            promise.tenant_id,
        )
        for promise in book.transactions
        if promise.state
        in (chainwork.ChainTxState.PROMISED, chainwork.ChainTxState.RESERVED, chainwork.ChainTxState.SIGNED)
        and promise.promised_at < before
    )


async def _book(pool: Pool, block_number: int) -> Book:
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        return await store.book(connection, block_number=block_number)


async def raise_drift(tx: Tx, caller: Caller, *, drift: Drift) -> None:
    """Tell people that database and chain differ, once per thing while the alert is open."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    resource = _named(drift)
    move = await compliance.raise_alert(
        tx, caller, cause=CAUSE, resource=resource, severity=compliance.Severity.CRITICAL
    )
    await audit.change(tx, caller, action="ALERT_RAISE", resource=resource, move=move)


async def clear_drifts_but(tx: Tx, caller: Caller, *, drifts: Sequence[Drift]) -> None:
    """These are all the drifts of this tenant: what was told of others is over."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    standing = {_named(drift) for drift in drifts}
    await compliance.clear_alerts_but(tx, caller, cause=CAUSE, standing=standing)


def _named(drift: Drift) -> str:
    return f"{drift.kind.name} {drift.resource}"
