"""All SQL of tokens, wallets and chain transactions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fintokenx import audit
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Connection, Pool, Row, Tx
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.tokenisation.types import Book, ChainTransaction, Kind, Recovery, Slice, Token, Wallet

_TOKENS: Final = (
    "tenant_id, reference, invoice_reference, obligor_id, token_id_hex, contract_address, face_pence, due_date,"
    " document_sha256, state, holder_subject_id, holder_wallet, requested_at, minted_at, burned_at, burn_tx"
)
_WALLETS: Final = (
    "tenant_id, id, subject_id, address, key_name, claims, claims_expire_at, state, created_at, registered_at,"
    " checked_at, flagged_at"
)
_RECOVERIES: Final = (
    "tenant_id, id, subject_id, lost_wallet_id, new_wallet_id, case_id, reason, state, requested_at, requested_by,"
    " decided_at, decided_by, completed_at"
)
_IN_USE: Final = "state not in ('LOST', 'RETIRED')"
_CHAIN_TXS: Final = (
    "tenant_id, id, business_key, kind, token_reference, wallet_id, resource, arguments, state, sender, nonce, tx_hash,"
    " raw, block_number, revert_reason, promised_at, submitted_at, confirmed_at"
)
_SLICES: Final = "tenant_id, id, token_reference, index, face_pence, holder_subject_id, holder_wallet"
_OPEN: Final = ["PROMISED", "RESERVED", "SIGNED"]
_UNDECIDED: Final = (
    "state <> 'SUPERSEDED' and (kind, state) <> ('transfer', 'REVERTED')"
    " and (kind not in ('mint', 'burn', 'recovery', 'refresh') or state <> 'CONFIRMED' or block_number > $1)"
)
"""Not: mints, burns and recoveries confirmed by the block $1, which the tokens' rows tell, and confirmations of the
sanctions list, of which no row tells; what was superseded; refused transfers."""


def _token(row: Row | None) -> Token | None:
    if row is None:
        return None
    values = dict(row)
    return Token(face=Pence(values.pop("face_pence")), **values)


def _chain_tx(row: Row | None) -> ChainTransaction | None:
    if row is None:
        return None
    values = dict(row)
    return ChainTransaction(kind=Kind(values.pop("kind")), **values)


async def lock(tx: Tx, what: str, name: str) -> None:
    """Take the lock of one thing until the transaction ends."""
    await tx.lock(f"{what}:{name}")


async def token(tx: Tx, reference: str) -> Token | None:
    """One token of the tenant."""
    return _token(await tx.row(f"select {_TOKENS} from app.tokens where reference = $1", reference))


async def tokens(tx: Tx, references: Sequence[str]) -> dict[str, Token]:
    """Those of the tenant's tokens, by reference."""
    rows = await tx.rows(f"select {_TOKENS} from app.tokens where reference = any($1)", list(references))
    return {token.reference: token for row in rows if (token := _token(row))}


async def find_anywhere(connection: Connection, reference: str) -> dict[str, Any] | None:
    """A token in whatever tenant, its public columns; ``connection`` reads under a bypass."""
    row = await connection.fetchrow(
        "select tenant_id, reference, invoice_reference, face_pence, state, holder_subject_id from app.tokens"
        " where reference = $1",
        reference,
    )
    return dict(row) if row else None


async def book(connection: Connection, *, block_number: int) -> Book:
    """Everything that the chain must agree with; ``connection`` reads all tenants (fx_auditor), in one snapshot.

    Left out are transactions whose effect is in the other rows (_UNDECIDED).
    """
    tokens = await connection.fetch(f"select {_TOKENS} from app.tokens order by tenant_id, reference")
    slices = await connection.fetch(f"select {_SLICES} from app.slices order by tenant_id, token_reference, index")
    wallets = await connection.fetch(f"select {_WALLETS} from app.wallets order by tenant_id, id")
    transactions = await connection.fetch(
        f"select {_CHAIN_TXS} from app.chain_tx where {_UNDECIDED} order by tenant_id, promised_at, id",
        block_number,
    )
    return Book(
        tokens=[token for row in tokens if (token := _token(row))],
        slices=[Slice(face=Pence(face), **rest) for face, rest in map(_face_apart, slices)],
        wallets=[Wallet(**dict(row)) for row in wallets],
        transactions=[promise for row in transactions if (promise := _chain_tx(row))],
    )


def _face_apart(row: Row) -> tuple[int, dict[str, Any]]:
    values = dict(row)
    return values.pop("face_pence"), values


async def ids_of_holder(tx: Tx, subject_id: str) -> list[str]:
    """The chain's ids of all tokens of which a subject holds some, or was the last to hold some."""
    rows = await tx.rows(
        """select t.token_id_hex from app.tokens t where t.holder_subject_id = $1
            union
           select t.token_id_hex from app.slices s
             join app.tokens t on t.tenant_id = s.tenant_id and t.reference = s.token_reference
            where s.holder_subject_id = $1""",
        subject_id,
    )
    return [row["token_id_hex"] for row in rows]


async def tokens_by_id(tx: Tx, ids: list[str]) -> list[Token]:
    """The tenant's tokens with these ids of the chain."""
    rows = await tx.rows(f"select {_TOKENS} from app.tokens where token_id_hex = any($1)", ids)
    return [found for row in rows if (found := _token(row))]


async def slices_of(tx: Tx, references: list[str]) -> list[Slice]:
    """All slices of these tokens, by token and index."""
    rows = await tx.rows(
        f"select {_SLICES} from app.slices where token_reference = any($1) order by token_reference, index", references
    )
    return [Slice(face=Pence(face), **rest) for face, rest in map(_face_apart, rows)]


async def chain_txs_of_tokens(tx: Tx, references: list[str]) -> list[ChainTransaction]:
    """All chain transactions of these tokens, oldest first: their own, and the recoveries that move them."""
    rows = await tx.rows(  # that a recovery has no token of its own is said so that chain_tx_of_token finds the few
        f"""select {_CHAIN_TXS} from app.chain_tx
             where token_reference = any($1)
                or (token_reference is null and kind = 'recovery'
                    and exists (select from jsonb_array_elements(arguments -> 'moving') as m
                                 where m ->> 'token_reference' = any($1)))
             order by promised_at, id""",
        references,
    )
    return [found for row in rows if (found := _chain_tx(row))]


async def undecided_ids(tx: Tx, ids: list[str], *, block_number: int) -> set[str]:
    """Which of these chain transactions :func:`book` would not leave out at the block."""
    rows = await tx.rows(f"select id from app.chain_tx where {_UNDECIDED} and id = any($2)", block_number, ids)
    return {row["id"] for row in rows}


async def chain_tx_by_id(tx: Tx, transaction_id: str) -> ChainTransaction | None:
    """One chain transaction of the tenant."""
    return _chain_tx(await tx.row(f"select {_CHAIN_TXS} from app.chain_tx where id = $1", transaction_id))


async def token_of_invoice(tx: Tx, invoice_reference: str) -> Token | None:
    """The token of an invoice."""
    return _token(await tx.row(f"select {_TOKENS} from app.tokens where invoice_reference = $1", invoice_reference))


async def exposure(tx: Tx, *, lender_subject_id: str, obligor_id: str) -> Pence:
    """Face that a holder holds of one debtor's receivables, whole or in slices."""
    value = await tx.value(
        """select (select coalesce(sum(t.face_pence), 0) from app.tokens t
                    where t.holder_subject_id = $1 and t.obligor_id = $2 and t.state = 'HELD')
                + (select coalesce(sum(s.face_pence), 0) from app.slices s
                     join app.tokens t on t.tenant_id = s.tenant_id and t.reference = s.token_reference
                    where s.holder_subject_id = $1 and t.obligor_id = $2 and t.state = 'FRACTIONALISED')""",
        lender_subject_id,
        obligor_id,
    )
    return Pence(int(value))


async def holds_any(tx: Tx, subject_id: str) -> bool:
    """Whether the subject holds a token that is not destroyed, or a part of one."""
    found = await tx.value(
        "select exists (select from app.tokens where holder_subject_id = $1 and state <> 'BURNED')"
        " or exists (select from app.slices s join app.tokens t"
        " on t.tenant_id = s.tenant_id and t.reference = s.token_reference"
        " where s.holder_subject_id = $1 and t.state <> 'BURNED')",
        subject_id,
    )
    return bool(found)


async def wallet_of(tx: Tx, subject_id: str) -> Wallet | None:
    """The wallet that a subject uses: none while its lost one is not followed by the next."""
    row = await tx.row(f"select {_WALLETS} from app.wallets where subject_id = $1 and {_IN_USE}", subject_id)
    return Wallet(**dict(row)) if row else None


async def wallet(tx: Tx, wallet_id: str) -> Wallet | None:
    """One wallet, in use or not."""
    row = await tx.row(f"select {_WALLETS} from app.wallets where id = $1", wallet_id)
    return Wallet(**dict(row)) if row else None


async def wallets_of(tx: Tx, subject_id: str) -> list[Wallet]:
    """Every wallet that a subject ever had, oldest first."""
    rows = await tx.rows(
        f"select {_WALLETS} from app.wallets where subject_id = $1 order by created_at, id", subject_id
    )
    return [Wallet(**dict(row)) for row in rows]


async def recovery(tx: Tx, recovery_id: str) -> Recovery | None:
    """One recovery of the tenant."""
    row = await tx.row(f"select {_RECOVERIES} from app.wallet_recoveries where id = $1", recovery_id)
    return Recovery(**dict(row)) if row else None


async def open_recovery(tx: Tx, subject_id: str) -> Recovery | None:
    """The recovery of a subject's wallet that is asked for or under way."""
    row = await tx.row(
        f"select {_RECOVERIES} from app.wallet_recoveries where subject_id = $1"
        " and state not in ('DECLINED', 'COMPLETED')",
        subject_id,
    )
    return Recovery(**dict(row)) if row else None


async def recoveries(tx: Tx, *, state: str | None, after: str, limit: int) -> list[Recovery]:
    """Oldest first."""
    rows = await tx.rows(
        f"select {_RECOVERIES} from app.wallet_recoveries where id > $1 and ($2::text is null or state = $2)"
        " order by id limit $3",
        after,
        state,
        limit,
    )
    return [Recovery(**dict(row)) for row in rows]


async def recoveries_under_way(tx: Tx, *, limit: int) -> list[Recovery]:
    """Those that were approved and are not at their end, oldest first."""
    rows = await tx.rows(
        f"select {_RECOVERIES} from app.wallet_recoveries where state in ('APPROVED', 'MOVING', 'RETIRING')"
        " order by id limit $1",
        limit,
    )
    return [Recovery(**dict(row)) for row in rows]


async def last_step(tx: Tx, lost_wallet_id: str) -> ChainTransaction | None:
    """The latest transaction that takes something from a lost wallet: its holdings, or its place in the registry."""
    return _chain_tx(
        await tx.row(
            f"select {_CHAIN_TXS} from app.chain_tx where wallet_id = $1 and kind in ('recovery', 'removal')"
            " order by promised_at desc, id desc limit 1",
            lost_wallet_id,
        )
    )


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
        _OPEN,
        wallet.subject_id,
    )
    return [row["token_reference"] for row in rows]


async def held_in(tx: Tx, wallet: Wallet, *, limit: int) -> list[Token]:
    """Tokens of which a wallet holds the whole or a part, and that are not destroyed."""
    rows = await tx.rows(
        f"""select {_TOKENS} from app.tokens t where t.state <> 'BURNED'
               and case when exists (select from app.slices s where s.token_reference = t.reference)
                        then exists (select from app.slices s where s.token_reference = t.reference
                                        and s.holder_subject_id = $1 and s.holder_wallet = $2)
                        else t.holder_subject_id = $1 and t.holder_wallet = $2 end
               and (t.holder_subject_id = $1
                    or t.reference in (select s.token_reference from app.slices s where s.holder_subject_id = $1))
             order by reference limit $3""",
        wallet.subject_id,
        wallet.address,
        limit,
    )
    return [found for row in rows if (found := _token(row))]


async def slices_in(tx: Tx, wallet: Wallet, token_reference: str) -> list[Slice]:
    """A wallet's parts of a token."""
    rows = await tx.rows(
        f"select {_SLICES} from app.slices where token_reference = $1 and holder_subject_id = $2"
        " and holder_wallet = $3 order by index",
        token_reference,
        wallet.subject_id,
        wallet.address,
    )
    return [Slice(face=Pence(face), **rest) for face, rest in map(_face_apart, rows)]


async def chain_tx(tx: Tx, business_key: str) -> ChainTransaction | None:
    """The chain transaction of one promise."""
    return _chain_tx(await tx.row(f"select {_CHAIN_TXS} from app.chain_tx where business_key = $1", business_key))


async def last_move(tx: Tx, token_reference: str) -> ChainTransaction | None:
    """The latest transfer or burn of a token."""
    return _chain_tx(
        await tx.row(
            f"select {_CHAIN_TXS} from app.chain_tx where token_reference = $1 and kind in ('transfer', 'burn')"
            " order by promised_at desc, id desc limit 1",
            token_reference,
        )
    )


async def word_under_way(tx: Tx, wallet_id: str) -> ChainTransaction | None:
    """What is being said of a wallet, claims or flag, and is neither confirmed nor given up."""
    return _chain_tx(
        await tx.row(
            f"select {_CHAIN_TXS} from app.chain_tx where wallet_id = $1 and kind in ('identity', 'flag')"
            " and state not in ('CONFIRMED', 'SUPERSEDED')",
            wallet_id,
        )
    )


async def refresh_under_way(tx: Tx) -> ChainTransaction | None:
    """The confirmation of the sanctions list that is neither confirmed nor given up."""
    return _chain_tx(
        await tx.row(
            f"select {_CHAIN_TXS} from app.chain_tx where kind = 'refresh' and state not in ('CONFIRMED', 'SUPERSEDED')"
        )
    )


async def words(tx: Tx, wallet_id: str) -> int:
    """How often the chain was told something of a wallet; numbers the next business key."""
    return int(await tx.value("select count(*) from app.chain_tx where wallet_id = $1", wallet_id))


async def chain_txs_of_token(tx: Tx, token_reference: str, *, after: str | None, limit: int) -> list[ChainTransaction]:
    """A token's chain transactions, oldest first."""
    rows = await tx.rows(
        f"select {_CHAIN_TXS} from app.chain_tx where token_reference = $1 and ($2::text is null or id > $2)"
        " order by id limit $3",
        token_reference,
        after,
        limit,
    )
    return [found for row in rows if (found := _chain_tx(row))]


async def open_chain_txs(tx: Tx, *, limit: int) -> list[ChainTransaction]:
    """What the chain has not answered yet, in the order in which it must reach the chain."""
    rows = await tx.rows(
        f"select {_CHAIN_TXS} from app.chain_tx where state = any($1) order by sender nulls last, nonce limit $2",
        _OPEN,
        limit,
    )
    return [found for row in rows if (found := _chain_tx(row))]


async def promised_chain_txs(tx: Tx, *, per_kind: int) -> list[ChainTransaction]:
    """What has no nonce yet, of each kind the oldest, so that no kind waits behind another."""
    rows = await tx.rows(
        f"""select oldest.* from unnest($1::text[]) as k (kind) cross join lateral (
              select {_CHAIN_TXS} from app.chain_tx c where c.state = 'PROMISED' and c.kind = k.kind
               order by promised_at, id limit $2) as oldest""",
        list(Kind),
        per_kind,
    )
    return [found for row in rows if (found := _chain_tx(row))]


async def refused_before(tx: Tx, at: Instant, *, limit: int) -> list[ChainTransaction]:
    """Mints, burns and steps of recoveries that the chain refused before ``at`` and that were not tried again since,
    oldest first."""
    rows = await tx.rows(
        f"select {_CHAIN_TXS} from app.chain_tx"
        " where state = 'REVERTED' and kind in ('mint', 'burn', 'recovery', 'removal')"
        " and submitted_at < $1 order by submitted_at limit $2",
        at,
        limit,
    )
    return [found for row in rows if (found := _chain_tx(row))]


async def without_token(tx: Tx, invoice_references: list[str]) -> list[str]:
    """Those of the invoices that have no token, in the given order."""
    rows = await tx.rows(
        """select w.reference from unnest($1::text[]) with ordinality as w (reference, n)
            where not exists (select from app.tokens t where t.invoice_reference = w.reference) order by w.n""",
        invoice_references,
    )
    return [row["reference"] for row in rows]


async def wallets(tx: Tx, *, after: str, limit: int) -> list[Wallet]:
    """Wallets that are not retired, by id, from the one after ``after``."""
    rows = await tx.rows(
        f"select {_WALLETS} from app.wallets where id > $1 and state <> 'RETIRED' order by id limit $2", after, limit
    )
    return [Wallet(**dict(row)) for row in rows]


async def with_unflagged_wallet(tx: Tx, subject_ids: list[str]) -> list[str]:
    """Those of the subjects that have a wallet, not retired, which the chain's sanctions list does not name."""
    rows = await tx.rows(
        "select distinct subject_id from app.wallets"
        " where subject_id = any($1) and state <> 'RETIRED' and flagged_at is null order by subject_id",
        subject_ids,
    )
    return [row["subject_id"] for row in rows]


async def without_wallet(tx: Tx, subject_ids: list[str]) -> set[str]:
    """Those of the subjects that have no wallet in use."""
    rows = await tx.rows(
        f"""select w.id from unnest($1::text[]) as w (id)
            where not exists (select from app.wallets h where h.subject_id = w.id and {_IN_USE})""",
        subject_ids,
    )
    return {row["id"] for row in rows}


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


def new_token(token: Token) -> audit.RowChange:
    """A token that is wanted."""
    names = [name for name in Token.__slots__ if name != "face"]
    return audit.insert("tokens", {"face_pence": token.face, **{name: getattr(token, name) for name in names}})


def changed_token(token: Token, **after: Any) -> audit.RowChange:
    """Change named columns of a token."""
    key = {"tenant_id": token.tenant_id, "reference": token.reference}
    return audit.update("tokens", key=key, before={name: getattr(token, name) for name in after}, after=after)


def new_wallet(wallet: Wallet) -> audit.RowChange:
    """A wallet that has a key."""
    return audit.insert("wallets", {name: getattr(wallet, name) for name in Wallet.__slots__})


def changed_wallet(wallet: Wallet, **after: Any) -> audit.RowChange:
    """Change named columns of a wallet."""
    key = {"tenant_id": wallet.tenant_id, "id": wallet.id}
    return audit.update("wallets", key=key, before={name: getattr(wallet, name) for name in after}, after=after)


def changed_slice(piece: Slice, **after: Any) -> audit.RowChange:
    """Change named columns of a part of a token."""
    key = {"tenant_id": piece.tenant_id, "id": piece.id}
    return audit.update("slices", key=key, before={name: getattr(piece, name) for name in after}, after=after)


def new_recovery(recovery: Recovery) -> audit.RowChange:
    """A recovery that is asked for."""
    return audit.insert("wallet_recoveries", {name: getattr(recovery, name) for name in Recovery.__slots__})


def changed_recovery(recovery: Recovery, **after: Any) -> audit.RowChange:
    """Change named columns of a recovery."""
    key = {"tenant_id": recovery.tenant_id, "id": recovery.id}
    before = {name: getattr(recovery, name) for name in after}
    return audit.update("wallet_recoveries", key=key, before=before, after=after)


def new_chain_tx(promise: ChainTransaction) -> audit.RowChange:
    """Something wanted of the chain."""
    return audit.insert("chain_tx", {name: getattr(promise, name) for name in ChainTransaction.__slots__})


def changed_chain_tx(promise: ChainTransaction, **after: Any) -> audit.RowChange:
    """Change named columns of a chain transaction."""
    key = {"tenant_id": promise.tenant_id, "id": promise.id}
    return audit.update("chain_tx", key=key, before={name: getattr(promise, name) for name in after}, after=after)
