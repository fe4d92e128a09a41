"""Pictures of database and chain that agree, to be changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.chainwork import ChainTransaction
from fintokenx.lifecycle.chainwork.ports import ChainHead
from fintokenx.lifecycle.tokenisation import Kind, Reconciliation, Token, Wallet
from fintokenx.lifecycle.tokenisation.ports import Logged, Standing, StandingIdentity, StandingReceivable
from fintokenx.lifecycle.tokenisation.service.chain_audit.comparison import Answers, compare, questions
from fintokenx.lifecycle.tokenisation.service.chain_audit.expectations import expected
from fintokenx.lifecycle.tokenisation.types import Book, Slice

THEN = datetime(2026, 6, 2, 9, tzinfo=UTC)

ENDS = datetime(2027, 6, 2, 9, tzinfo=UTC)

BLOCK = ChainHead(100, int(THEN.timestamp()) + 60)

CONTRACT, MINTING, ANN, BEN, EVE = (f"0x{letter * 40}" for letter in "cdabe")

FACE = 6_000

DOCUMENT = "ab" * 32

REFERENCE = "FXR-INV-00001"

TOKEN = Token(
    tenant_id="tnt_a",
    reference=REFERENCE,
    invoice_reference="FXI-00001",
    obligor_id="sub_buyer",
    token_id_hex="0x" + "01".rjust(64, "0"),
    contract_address=CONTRACT,
    face=Pence(FACE),
    due_date=date(2026, 7, 31),
    document_sha256=DOCUMENT,
    state="HELD",
    holder_subject_id="sub_ann",
    holder_wallet=ANN,
    requested_at=THEN,
    minted_at=THEN,
    burned_at=None,
    burn_tx=None,
)

MINTED = replace(TOKEN, state="MINTED", holder_subject_id=None, holder_wallet=MINTING)

BURNED = replace(TOKEN, state="BURNED", burned_at=THEN, burn_tx="0x" + "00" * 32)

SPLIT = replace(TOKEN, state="FRACTIONALISED")

SLICES = (
    Slice("tnt_a", "slc_1", REFERENCE, 0, Pence(4_000), "sub_ann", ANN),
    Slice("tnt_a", "slc_2", REFERENCE, 1, Pence(1_500), "sub_ben", BEN),
    Slice("tnt_a", "slc_3", REFERENCE, 2, Pence(500), "sub_ann", ANN),
)

ABSENT = StandingReceivable(False, False, 0, 0, 0, "00" * 32)

ALIVE = StandingReceivable(True, False, FACE, FACE, TOKEN.due_at_unix, DOCUMENT)

GONE = replace(ALIVE, burned=True, supply_pence=0)

WALLET = Wallet("tnt_a", "wal_ann", "sub_ann", ANN, "wallet/ann", 7, ENDS, "REGISTERED", THEN, THEN)

UNTOLD = replace(WALLET, claims=0, claims_expire_at=None, state="CREATED", registered_at=None)

REVOKED = replace(WALLET, claims=0, claims_expire_at=None, state="REVOKED")

VOUCHED = StandingIdentity(True, True, 7, False, 826, int(ENDS.timestamp()))

STRIPPED = StandingIdentity(True, False, 0, False, 826, 0)

UNKNOWN = StandingIdentity(False, False, 0, False, 0, 0)


def promise(kind: Kind, state: str, *, block: int | None = None, **arguments: Any) -> ChainTransaction:
    """What was wanted of the chain for Ann's token or wallet."""
    of_wallet = kind in (Kind.IDENTITY, Kind.FLAG, Kind.RECOVERY, Kind.REMOVAL)
    of_token = kind in (Kind.MINT, Kind.TRANSFER, Kind.BURN)
    return ChainTransaction(
        tenant_id="tnt_a",
        id="ctx_1",
        business_key="key",
        kind=kind,
        token_reference=REFERENCE if of_token else None,
        wallet_id="wal_ann" if of_wallet else None,
        resource="FXI-00001",
        arguments=arguments,
        state=state,
        sender=None,
        nonce=None,
        tx_hash=None,
        raw=None,
        block_number=block,
        revert_reason=None,
        promised_at=THEN,
        submitted_at=None,
        confirmed_at=None,
    )


def telling(claims: int, state: str, *, block: int | None = None, until: datetime = ENDS) -> ChainTransaction:
    """A registration of Ann's wallet."""
    wanted = {"wallet": ANN, "claims": claims, "is_investor": False, "expires_at_unix": int(until.timestamp())}
    return promise(Kind.IDENTITY, state, block=block, **wanted)


TOLD = telling(7, "CONFIRMED", block=10)


def compared(
    *,
    tokens: tuple[Token, ...] = (TOKEN,),
    slices: tuple[Slice, ...] = (),
    wallets: tuple[Wallet, ...] = (WALLET,),
    promises: tuple[ChainTransaction, ...] = (TOLD,),
    receivables: dict[int, StandingReceivable] | None = None,
    balances: dict[tuple[int, str], int] | None = None,
    log: dict[tuple[int, str], int] | None = None,
    identities: dict[str, StandingIdentity] | None = None,
    contract: str = CONTRACT,
) -> Reconciliation:
    """A database against a chain; what is not said agrees with Ann holding the whole token."""
    balances = {(1, ANN): FACE} if balances is None else balances
    log = balances if log is None else log
    identities = {ANN: VOUCHED} if identities is None else identities
    receivables = {1: ALIVE} if receivables is None else receivables
    logged = Logged(9, frozenset(receivables), log, frozenset(identities))
    wanted = expected(Book(tokens, slices, wallets, promises), at=BLOCK, minting_wallet=MINTING)
    asked = questions(wanted, logged)
    standing = Standing(
        {token_id: receivables.get(token_id, ABSENT) for token_id in asked.token_ids},
        {holding: balances.get(holding, 0) for holding in asked.holdings},
        {wallet: identities.get(wallet, UNKNOWN) for wallet in asked.wallets},
    )
    return compare(wanted, Answers(BLOCK, contract, MINTING, logged, standing))
