"""SQL that asks chain transactions for tokens, wallets and recoveries: of the engine's table it only reads."""

from __future__ import annotations

from typing import Final

from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Connection, Tx
from fintokenx.lifecycle.chainwork import COLUMNS, OPEN, ChainTransaction
from fintokenx.lifecycle.tokenisation.types import Wallet

_UNDECIDED: Final = (
    "state <> 'SUPERSEDED' and (kind, state) <> ('transfer', 'REVERTED')"
    " and (kind not in ('mint', 'burn', 'recovery', 'refresh') or state <> 'CONFIRMED' or block_number > $1)"
)
"""Not: mints, burns and recoveries confirmed by the block $1, which the tokens' rows tell, and confirmations of the
sanctions list, of which no row tells; what was superseded; refused transfers."""


async def undecided(connection: Connection, *, block_number: int) -> list[ChainTransaction]:
    """Of all tenants, those of which the other rows do not say by the block whether they took effect; ``connection``
    reads all tenants (fx_auditor)."""
    rows = await connection.fetch(
        f"select {COLUMNS} from app.chain_tx where {_UNDECIDED} order by tenant_id, promised_at, id",
        block_number,
    )
    return [ChainTransaction(**dict(row)) for row in rows]


async def chain_txs_of_tokens(tx: Tx, references: list[str]) -> list[ChainTransaction]:
    """All chain transactions of these tokens, oldest first: their own, and the recoveries that move them."""
    rows = await tx.rows(  # that a recovery has no token of its own is said so that chain_tx_of_token finds the few
        f"""select {COLUMNS} from app.chain_tx
             where token_reference = any($1)
                or (token_reference is null and kind = 'recovery'
                    and exists (select from jsonb_array_elements(arguments -> 'moving') as m
                                 where m ->> 'token_reference' = any($1)))
             order by promised_at, id""",
        references,
    )
    return [ChainTransaction(**dict(row)) for row in rows]


async def undecided_ids(tx: Tx, ids: list[str], *, block_number: int) -> set[str]:
    """Which of these chain transactions :func:`undecided` would not leave out at the block."""
    rows = await tx.rows(f"select id from app.chain_tx where {_UNDECIDED} and id = any($2)", block_number, ids)
    return {row["id"] for row in rows}


async def last_step(tx: Tx, lost_wallet_id: str) -> ChainTransaction | None:
    """The latest transaction that takes something from a lost wallet: its holdings, or its place in the registry."""
    row = await tx.row(
        f"select {COLUMNS} from app.chain_tx where wallet_id = $1 and kind in ('recovery', 'removal')"
        " order by promised_at desc, id desc limit 1",
        lost_wallet_id,
    )
    return ChainTransaction(**dict(row)) if row else None


async def moves_in_flight(tx: Tx, wallet: Wallet) -> list[str]:
    """Tokens that are on their way to or from a wallet, or arrived and were not taken up: transfers that the chain may
    still do, burns that it has not done, and what it has moved and the token's own row does not say yet."""
    rows = await tx.rows(
        """select c.token_reference from app.chain_tx c join app.tokens t on t.reference = c.token_reference
            where (c.kind = 'transfer' and $1 in (c.arguments ->> 'to_wallet', c.arguments ->> 'from_wallet')
                   and (c.state = any($2) or (c.state = 'CONFIRMED' and t.state = 'MINTED')))
               or (c.kind = 'burn' and c.state <> 'CONFIRMED' and t.holder_subject_id = $3)
            order by 1""",
        wallet.address,
        [*OPEN],
        wallet.subject_id,
    )
    return [row["token_reference"] for row in rows]


async def last_move(tx: Tx, token_reference: str) -> ChainTransaction | None:
    """The latest transfer or burn of a token."""
    row = await tx.row(
        f"select {COLUMNS} from app.chain_tx where token_reference = $1 and kind in ('transfer', 'burn')"
        " order by promised_at desc, id desc limit 1",
        token_reference,
    )
    return ChainTransaction(**dict(row)) if row else None


async def word_under_way(tx: Tx, wallet_id: str) -> ChainTransaction | None:
    """What is being said of a wallet, claims or flag, and is neither confirmed nor given up."""
    row = await tx.row(
        f"select {COLUMNS} from app.chain_tx where wallet_id = $1 and kind in ('identity', 'flag')"
        " and state not in ('CONFIRMED', 'SUPERSEDED')",
        wallet_id,
    )
    return ChainTransaction(**dict(row)) if row else None


async def refresh_under_way(tx: Tx) -> ChainTransaction | None:
    """The confirmation of the sanctions list that is neither confirmed nor given up."""
    row = await tx.row(
        f"select {COLUMNS} from app.chain_tx where kind = 'refresh' and state not in ('CONFIRMED', 'SUPERSEDED')"
    )
    return ChainTransaction(**dict(row)) if row else None


async def words(tx: Tx, wallet_id: str) -> int:
    """How often the chain was told something of a wallet; numbers the next business key."""
    return int(await tx.value("select count(*) from app.chain_tx where wallet_id = $1", wallet_id))


async def chain_txs_of_token(tx: Tx, token_reference: str, *, after: str | None, limit: int) -> list[ChainTransaction]:
    """A token's chain transactions, oldest first."""
    rows = await tx.rows(
        f"select {COLUMNS} from app.chain_tx where token_reference = $1 and ($2::text is null or id > $2)"
        " order by id limit $3",
        token_reference,
        after,
        limit,
    )
    return [ChainTransaction(**dict(row)) for row in rows]


async def refused_before(tx: Tx, at: Instant, *, limit: int) -> list[ChainTransaction]:
    """Mints, burns and steps of recoveries that the chain refused before ``at`` and that were not tried again since,
    oldest first."""
    rows = await tx.rows(
        f"select {COLUMNS} from app.chain_tx"
        " where state = 'REVERTED' and kind in ('mint', 'burn', 'recovery', 'removal')"
        " and submitted_at < $1 order by submitted_at limit $2",
        at,
        limit,
    )
    return [ChainTransaction(**dict(row)) for row in rows]
