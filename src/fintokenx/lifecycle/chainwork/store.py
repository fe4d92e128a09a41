"""All SQL that drives chain transactions, whatever they are about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fintokenx import audit
from fintokenx.kernel.db import Pool, Row, Tx
from fintokenx.lifecycle.chainwork.transitions import ChainTxState
from fintokenx.lifecycle.chainwork.types import ChainTransaction

COLUMNS: Final = (
    "tenant_id, id, business_key, kind, token_reference, wallet_id, resource, arguments, state, sender, nonce, tx_hash,"
    " raw, block_number, revert_reason, promised_at, submitted_at, confirmed_at"
)
OPEN: Final = (ChainTxState.PROMISED, ChainTxState.RESERVED, ChainTxState.SIGNED)


def _chain_tx(row: Row | None) -> ChainTransaction | None:
    return ChainTransaction(**{**dict(row), "state": ChainTxState(row["state"])}) if row else None


async def lock(tx: Tx, business_key: str) -> None:
    """Take the lock of one promise until the transaction ends."""
    await tx.lock(f"chain_tx:{business_key}")


async def chain_tx(tx: Tx, business_key: str) -> ChainTransaction | None:
    """The chain transaction of one promise."""
    return _chain_tx(await tx.row(f"select {COLUMNS} from app.chain_tx where business_key = $1", business_key))


async def chain_tx_by_id(tx: Tx, transaction_id: str) -> ChainTransaction | None:
    """One chain transaction of the tenant."""
    return _chain_tx(await tx.row(f"select {COLUMNS} from app.chain_tx where id = $1", transaction_id))


async def open_chain_txs(tx: Tx, *, limit: int) -> list[ChainTransaction]:
    """What the chain has not answered yet, in the order in which it must reach the chain."""
    rows = await tx.rows(
        f"select {COLUMNS} from app.chain_tx where state = any($1) order by sender nulls last, nonce limit $2",
        list(OPEN),
        limit,
    )
    return [ChainTransaction(**dict(row)) for row in rows]


async def promised_chain_txs(tx: Tx, *, kinds: Sequence[str], per_kind: int) -> list[ChainTransaction]:
    """What has no nonce yet, of each kind the oldest, so that no kind waits behind another."""
    rows = await tx.rows(
        f"""select oldest.* from unnest($1::text[]) as k (kind) cross join lateral (
              select {COLUMNS} from app.chain_tx c where c.state = 'PROMISED' and c.kind = k.kind
               order by promised_at, id limit $2) as oldest""",
        list(kinds),
        per_kind,
    )
    return [ChainTransaction(**dict(row)) for row in rows]


async def next_nonce(tx: Tx, sender: str) -> int:
    """Take the sender's next nonce, for a promise that this transaction gives it to: else there is no commit."""
    tx.wrote = True
    return int(await tx.value("select fx.next_nonce($1)", sender))


async def sender_has_mined(pool: Pool, sender: str, count: int) -> None:
    """Keep the chain's own count of a sender; ``pool`` logs in as fx_worker. See fx.sender_has_mined for what it
    refuses."""
    await pool.execute("select fx.sender_has_mined($1, $2)", sender, count)


async def senders(pool: Pool) -> dict[str, int]:
    """The next nonce of every sender; ``pool`` logs in as fx_auditor."""
    return {
        row["sender"]: row["next_nonce"]
        for row in await pool.fetch("select sender, next_nonce from ops.chain_senders order by sender")
    }


async def hashes_at(pool: Pool, sender: str, *, first: int, last: int) -> list[str]:
    """Of what was signed for these nonces, in whatever tenant; ``pool`` logs in as fx_auditor."""
    rows = await pool.fetch(
        "select tx_hash from app.chain_tx where sender = $1 and nonce between $2 and $3 and tx_hash is not null",
        sender,
        first,
        last,
    )
    return [row["tx_hash"] for row in rows]


def new_chain_tx(promise: ChainTransaction) -> audit.RowChange:
    """Something wanted of the chain."""
    return audit.insert("chain_tx", {name: getattr(promise, name) for name in ChainTransaction.__slots__})


def changed_chain_tx(promise: ChainTransaction, **after: Any) -> audit.RowChange:
    """Change named columns of a chain transaction."""
    key = {"tenant_id": promise.tenant_id, "id": promise.id}
    return audit.update("chain_tx", key=key, before={name: getattr(promise, name) for name in after}, after=after)
