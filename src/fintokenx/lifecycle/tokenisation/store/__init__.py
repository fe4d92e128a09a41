"""All SQL of tokens, wallets and recoveries; what joins them with chain transactions stands in ``promises``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fintokenx import audit
from fintokenx.kernel.db import Connection, Row, Tx
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.tokenisation.store import promises
from fintokenx.lifecycle.tokenisation.transitions import RecoveryState, TokenState, WalletState
from fintokenx.lifecycle.tokenisation.types import Book, Recovery, Slice, Token, Wallet

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
_SLICES: Final = "tenant_id, id, token_reference, index, face_pence, holder_subject_id, holder_wallet"


def _token(row: Row | None) -> Token | None:
    if row is None:
        return None
    values = dict(row)
    return Token(face=Pence(values.pop("face_pence")), state=TokenState(values.pop("state")), **values)


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

    Left out are transactions whose effect is in the other rows.
    """
    tokens = await connection.fetch(f"select {_TOKENS} from app.tokens order by tenant_id, reference")
    slices = await connection.fetch(f"select {_SLICES} from app.slices order by tenant_id, token_reference, index")
    wallets = await connection.fetch(f"select {_WALLETS} from app.wallets order by tenant_id, id")
    return Book(
        tokens=[token for row in tokens if (token := _token(row))],
        slices=[Slice(face=Pence(face), **rest) for face, rest in map(_face_apart, slices)],
        wallets=[_wallet(row) for row in wallets],
        transactions=await promises.undecided(connection, block_number=block_number),
    )


def _wallet(row: Row) -> Wallet:
    return Wallet(**{**dict(row), "state": WalletState(row["state"])})


def _recovery(row: Row) -> Recovery:
    return Recovery(**{**dict(row), "state": RecoveryState(row["state"])})


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
    return _wallet(row) if row else None


async def wallet(tx: Tx, wallet_id: str) -> Wallet | None:
    """One wallet, in use or not."""
    row = await tx.row(f"select {_WALLETS} from app.wallets where id = $1", wallet_id)
    return _wallet(row) if row else None


async def wallets_of(tx: Tx, subject_id: str) -> list[Wallet]:
    """Every wallet that a subject ever had, oldest first."""
    rows = await tx.rows(
        f"select {_WALLETS} from app.wallets where subject_id = $1 order by created_at, id", subject_id
    )
    return [_wallet(row) for row in rows]


async def recovery(tx: Tx, recovery_id: str) -> Recovery | None:
    """One recovery of the tenant."""
    row = await tx.row(f"select {_RECOVERIES} from app.wallet_recoveries where id = $1", recovery_id)
    return _recovery(row) if row else None


async def open_recovery(tx: Tx, subject_id: str) -> Recovery | None:
    """The recovery of a subject's wallet that is asked for or under way."""
    row = await tx.row(
        f"select {_RECOVERIES} from app.wallet_recoveries where subject_id = $1"
        " and state not in ('DECLINED', 'COMPLETED')",
        subject_id,
    )
    return _recovery(row) if row else None


async def recoveries(tx: Tx, *, state: str | None, after: str, limit: int) -> list[Recovery]:
    """Oldest first."""
    rows = await tx.rows(
        f"select {_RECOVERIES} from app.wallet_recoveries where id > $1 and ($2::text is null or state = $2)"
        " order by id limit $3",
        after,
        state,
        limit,
    )
    return [_recovery(row) for row in rows]


async def recoveries_under_way(tx: Tx, *, limit: int) -> list[Recovery]:
    """Those that were approved and are not at their end, oldest first."""
    rows = await tx.rows(
        f"select {_RECOVERIES} from app.wallet_recoveries where state in ('APPROVED', 'MOVING', 'RETIRING')"
        " order by id limit $1",
        limit,
    )
    return [_recovery(row) for row in rows]


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
    return [_wallet(row) for row in rows]


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
