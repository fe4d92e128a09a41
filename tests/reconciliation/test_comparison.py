"""The comparison alone, on pictures of database and chain: each kind of drift, and everything that is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.chainwork import ChainTransaction
from fintokenx.lifecycle.chainwork.ports import ChainHead
from fintokenx.lifecycle.tokenisation import Drift, DriftKind, Kind, Reconciliation, Token, Wallet
from fintokenx.lifecycle.tokenisation.ports import Logged, Standing, StandingIdentity, StandingReceivable
from fintokenx.lifecycle.tokenisation.service.chain_audit.comparison import Answers, compare, questions
from fintokenx.lifecycle.tokenisation.service.chain_audit.expectations import expected
from fintokenx.lifecycle.tokenisation.service.chain_audit.reconciliation import waiting_too_long
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
WANTED = replace(MINTED, state="MINT_SUBMITTED", holder_wallet=None, minted_at=None)
BURNING = replace(TOKEN, state="BURN_PENDING")
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


def transfer(state: str, *, block: int | None = None) -> ChainTransaction:
    """Of the whole token, from the minting wallet to Ann."""
    return promise(Kind.TRANSFER, state, block=block, from_wallet=MINTING, to_wallet=ANN, to_subject_id="sub_ann")


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


def test_what_agrees_is_no_drift_and_everything_was_looked_at() -> None:
    found = compared()
    assert found.equal
    assert (found.block_number, found.tokens, found.holdings, found.wallets) == (100, 1, 1, 1)
    assert (found.events, found.in_flight) == (9, 0)


@pytest.mark.parametrize(
    ("told", "chain"),
    [
        ({"tokens": (MINTED,)}, {"balances": {(1, MINTING): FACE}}),
        ({"tokens": (BURNED,)}, {"balances": {}, "receivables": {1: GONE}}),
        ({"tokens": (BURNED,), "slices": SLICES}, {"balances": {}, "receivables": {1: GONE}}),
        ({"tokens": (SPLIT,), "slices": SLICES}, {"balances": {(1, ANN): 4_500, (1, BEN): 1_500}}),
        ({"wallets": (UNTOLD,), "promises": ()}, {"identities": {}}),
        ({"wallets": (REVOKED,)}, {"identities": {ANN: STRIPPED}}),
        ({}, {"identities": {ANN: VOUCHED, MINTING: VOUCHED, EVE: UNKNOWN}}),
    ],
)  # fmt: skip
def test_every_settled_state_of_token_and_wallet_has_its_standing(told: dict[str, Any], chain: dict[str, Any]) -> None:
    found = compared(**told, **chain)
    assert (found.drifts, found.in_flight) == ((), 0)


def test_claims_that_have_ended_are_not_verified_and_no_drift() -> None:
    ended = datetime(2026, 6, 2, 9, 0, 59, tzinfo=UTC)
    stale = replace(VOUCHED, verified=False, expires_at_unix=int(ended.timestamp()))
    wallet = replace(WALLET, claims_expire_at=ended)
    assert compared(wallets=(wallet,), identities={ANN: stale}).equal
    [drift] = compared(wallets=(wallet,), identities={ANN: replace(stale, verified=True)}).drifts
    assert drift.kind is DriftKind.WALLET_VERIFIED


HOLDER, ANNS = f"{REFERENCE} {ANN}", f"sub_ann {ANN}"


@pytest.mark.parametrize(
    ("told", "kind", "resource", "database", "chain"),
    [
        ({"receivables": {}, "balances": {}}, "TOKEN_EXISTENCE", REFERENCE, "minted (HELD)", "not minted"),
        ({"contract": EVE}, "TOKEN_CONTRACT", REFERENCE, CONTRACT, EVE),
        ({"receivables": {1: replace(ALIVE, face_pence=7_000)}}, "TOKEN_FACE", REFERENCE, "£60.00", "£70.00"),
        ({"receivables": {1: replace(ALIVE, supply_pence=2**90)}}, "TOKEN_SUPPLY", REFERENCE, "£60.00",
         f"{2**90} pence"),
        ({"receivables": {1: replace(ALIVE, due_at_unix=2**40 - 1)}}, "TOKEN_DUE", REFERENCE, "2026-07-31T00:00:00Z",
         "second 1099511627775"),
        ({"receivables": {1: replace(ALIVE, document_sha256="cd" * 32)}}, "TOKEN_DOCUMENT", REFERENCE, DOCUMENT,
         "cd" * 32),
        ({"tokens": (BURNED,), "balances": {}, "receivables": {1: replace(GONE, burned=False)}}, "TOKEN_BURN",
         REFERENCE, "burned", "not burned"),
        ({"tokens": (BURNED,), "balances": {(1, EVE): 5}, "receivables": {1: GONE}}, "HOLDING", f"{REFERENCE} {EVE}",
         "£0.00", "£0.05"),
        ({"log": {(1, ANN): 1}}, "HOLDING_LOG", HOLDER, "£0.01", "£60.00"),
        ({"identities": {ANN: replace(VOUCHED, verified=False)}}, "WALLET_VERIFIED", ANNS, "verified", "not verified"),
        ({"identities": {ANN: replace(VOUCHED, claims=5)}}, "WALLET_CLAIMS", ANNS,
         "KYC_VERIFIED, AML_CLEARED, JURISDICTION_UK", "KYC_VERIFIED, JURISDICTION_UK"),
        ({"identities": {ANN: replace(VOUCHED, claims=7 + 64)}}, "WALLET_CLAIMS", ANNS,
         "KYC_VERIFIED, AML_CLEARED, JURISDICTION_UK", "KYC_VERIFIED, AML_CLEARED, JURISDICTION_UK, bits 0x40"),
        ({"identities": {ANN: replace(VOUCHED, expires_at_unix=2**63)}}, "WALLET_EXPIRY", ANNS, "2027-06-02T09:00:00Z",
         f"second {2**63}"),
        ({"identities": {ANN: replace(VOUCHED, is_investor=True)}}, "WALLET_ROLE", ANNS, "no investor", "investor"),
        ({"identities": {ANN: replace(VOUCHED, country=250)}}, "WALLET_COUNTRY", ANNS, "826", "250"),
    ],
)  # fmt: skip
def test_each_kind_of_drift_is_named(told: dict[str, Any], kind: str, resource: str, database: str, chain: str) -> None:
    assert compared(**told).drifts == (Drift(DriftKind[kind], resource, database, chain, "tnt_a"),)


def test_a_balance_that_moved_is_named_at_both_ends() -> None:
    found = compared(balances={(1, ANN): 0, (1, EVE): FACE})
    assert [(drift.resource, drift.database, drift.chain) for drift in found.drifts] == [
        (f"{REFERENCE} {ANN}", "£60.00", "£0.00"),
        (f"{REFERENCE} {EVE}", "£0.00", "£60.00"),
    ]
    assert {drift.kind for drift in found.drifts} == {DriftKind.HOLDING}


def test_slices_are_named_where_their_sum_is_not_what_the_wallet_holds() -> None:
    wrong = (SLICES[0], replace(SLICES[1], face=Pence(1_499)), SLICES[2])
    found = compared(tokens=(SPLIT,), slices=wrong, balances={(1, ANN): 4_500, (1, BEN): 1_500})
    assert found.drifts == (Drift(DriftKind.HOLDING, f"{REFERENCE} {BEN}", "£14.99 (slc_2)", "£15.00", "tnt_a"),)
    stolen = (*SLICES[:2], replace(SLICES[2], holder_wallet=EVE))
    found = compared(tokens=(SPLIT,), slices=stolen, balances={(1, ANN): 4_500, (1, BEN): 1_500})
    assert [(drift.resource, drift.database) for drift in found.drifts] == [
        (f"{REFERENCE} {ANN}", "£40.00 (slc_1)"),
        (f"{REFERENCE} {EVE}", "£5.00 (slc_3)"),
    ]


def test_a_revoked_claim_is_named_with_all_that_it_takes_away() -> None:
    found = compared(identities={ANN: STRIPPED})
    assert [drift.kind for drift in found.drifts] == [
        DriftKind.WALLET_VERIFIED, DriftKind.WALLET_CLAIMS, DriftKind.WALLET_EXPIRY,
    ]  # fmt: skip
    assert found.drifts[1].told() == (
        f"wallet claims sub_ann {ANN}: the database says KYC_VERIFIED, AML_CLEARED, JURISDICTION_UK, "
        "the chain says none"
    )


def test_a_wallet_that_is_gone_from_the_registry_is_named() -> None:
    found = compared(identities={})
    assert found.drifts[0] == Drift(DriftKind.WALLET_REGISTRATION, ANNS, "registered", "not registered", "tnt_a")


def test_tokens_and_wallets_that_the_database_does_not_know_are_named() -> None:
    found = compared(
        receivables={1: ALIVE, 255: replace(ALIVE, face_pence=100)},
        balances={(1, ANN): FACE, (255, EVE): 100},
        identities={ANN: VOUCHED, EVE: VOUCHED},
    )
    assert found.drifts == (
        Drift(DriftKind.UNKNOWN_TOKEN, f"0x{255:064x}", "no such token", f"face £1.00, held by {EVE} £1.00", None),
        Drift(DriftKind.UNKNOWN_WALLET, EVE, "no such wallet",
              "registered with KYC_VERIFIED, AML_CLEARED, JURISDICTION_UK", None),
    )  # fmt: skip


def test_the_log_of_a_strangers_token_must_add_up_too() -> None:
    found = compared(
        receivables={1: ALIVE, 2: ALIVE}, balances={(1, ANN): FACE, (2, EVE): 7}, log={(1, ANN): FACE, (2, EVE): 8}
    )
    assert (DriftKind.HOLDING_LOG, f"0x{2:064x} {EVE}") in [(drift.kind, drift.resource) for drift in found.drifts]


# ── In flight: as before or as after, and not otherwise


def whole(wallet: str) -> dict[str, Any]:
    """The whole of the token in a wallet."""
    return {"balances": {(1, wallet): FACE}}


NOTHING = {"receivables": {}, "balances": {}}
BURNT = {"receivables": {1: GONE}, "balances": {}}
OPEN = ("PROMISED", "RESERVED", "SIGNED")


@pytest.mark.parametrize("state", OPEN)
@pytest.mark.parametrize(
    ("token", "way", "ends", "otherwise"),
    [
        (WANTED, lambda state: promise(Kind.MINT, state), (NOTHING, whole(MINTING)), whole(EVE)),
        (MINTED, transfer, (whole(MINTING), whole(ANN)), whole(EVE)),
        (BURNING, lambda state: promise(Kind.BURN, state, holders=[ANN]), (whole(ANN), BURNT), whole(EVE)),
    ],
)
def test_a_token_in_flight_stands_as_before_or_as_after(
    state: str, token: Token, way: Callable[[str], ChainTransaction], ends: tuple[dict[str, Any], ...],
    otherwise: dict[str, Any],
) -> None:  # fmt: skip
    promises = (TOLD, way(state))
    for end in ends:
        found = compared(tokens=(token,), promises=promises, **end)
        assert (found.drifts, found.in_flight) == ((), 1)
    assert not compared(tokens=(token,), promises=promises, **otherwise).equal


@pytest.mark.parametrize(
    ("token", "way", "before"),
    [
        (MINTED, promise(Kind.MINT, "CONFIRMED", block=101), NOTHING),
        (TOKEN, transfer("CONFIRMED", block=101), whole(MINTING)),
        (BURNED, promise(Kind.BURN, "CONFIRMED", block=101, holders=[ANN]), whole(ANN)),
    ],
)
def test_what_was_confirmed_after_the_block_is_not_missed_in_it(
    token: Token, way: ChainTransaction, before: dict[str, Any]
) -> None:
    found = compared(tokens=(token,), promises=(TOLD, way), **before)
    assert (found.drifts, found.in_flight) == ((), 1)
    by_then = replace(way, block_number=100)
    assert not compared(tokens=(token,), promises=(TOLD, by_then), **before).equal


def test_a_transfer_that_is_confirmed_and_not_taken_up_has_left_the_minting_wallet() -> None:
    told = {"tokens": (MINTED,), "promises": (TOLD, transfer("CONFIRMED", block=99))}
    found = compared(**told, **whole(ANN))
    assert (found.drifts, found.in_flight) == ((), 1)
    assert {drift.kind for drift in compared(**told, **whole(MINTING)).drifts} == {DriftKind.HOLDING}


def test_a_transfer_that_was_refused_has_not_moved_anything() -> None:
    told = {"tokens": (MINTED,), "promises": (TOLD, transfer("REVERTED", block=99))}
    assert compared(**told, **whole(MINTING)).equal
    assert not compared(**told, **whole(ANN)).equal


def test_a_token_that_was_never_asked_for_does_not_exist() -> None:
    assert compared(tokens=(WANTED,), **NOTHING).equal
    assert not compared(tokens=(WANTED,), **whole(MINTING)).equal


@pytest.mark.parametrize("state", [*OPEN, "REVERTED"])
def test_claims_in_flight_stand_as_before_or_as_after(state: str) -> None:
    promises = (TOLD, telling(0, state))
    for end in (VOUCHED, STRIPPED):
        found = compared(promises=promises, identities={ANN: end})
        assert (found.drifts, found.in_flight) == ((), 1)
    assert not compared(promises=promises, identities={ANN: replace(VOUCHED, claims=5)}).equal
    found = compared(wallets=(UNTOLD,), promises=(telling(7, state),), identities={ANN: VOUCHED})
    assert (found.drifts, found.in_flight) == ((), 1)


def test_claims_that_were_confirmed_after_the_block_are_not_missed_in_it() -> None:
    late = telling(0, "CONFIRMED", block=101)
    for end in (VOUCHED, STRIPPED):
        assert compared(wallets=(REVOKED,), promises=(TOLD, late), identities={ANN: end}).equal
    first = replace(TOLD, block_number=101)
    assert compared(promises=(first,), identities={}).equal
    assert not compared(wallets=(REVOKED,), promises=(TOLD, replace(late, block_number=100))).equal


# ── Recoveries and flags

LOST = replace(REVOKED, state="LOST")
NEXT = replace(WALLET, id="wal_eve", address=EVE)
"""Ann's next wallet."""
RETIRED = replace(REVOKED, state="RETIRED")
MOVED = replace(TOKEN, holder_wallet=EVE)


def recovery(state: str, *, block: int | None = None, pence: int = FACE) -> ChainTransaction:
    """Of what Ann's lost wallet holds of the token."""
    moving = [{"token_reference": REFERENCE, "token_id_hex": TOKEN.token_id_hex, "pence": pence}]
    arguments = {"recovery_id": "rec_1", "from_wallet": ANN, "to_wallet": EVE, "moving": moving}
    return promise(Kind.RECOVERY, state, block=block, **arguments)


@pytest.mark.parametrize("holder", [ANN, EVE])
@pytest.mark.parametrize(
    ("token", "promised"),
    [(TOKEN, recovery("SIGNED")), (TOKEN, recovery("REVERTED", block=90)), (MOVED, recovery("CONFIRMED", block=101))],
)
def test_while_a_recovery_is_under_way_either_wallet_may_hold(
    token: Token, promised: ChainTransaction, holder: str
) -> None:
    found = compared(tokens=(token,), promises=(TOLD, promised), balances={(1, holder): FACE})
    assert (found.drifts, found.in_flight) == ((), 1)


def test_a_recovery_under_way_excuses_no_third_holder_and_no_missing_penny() -> None:
    promises = (TOLD, recovery("SIGNED"))
    assert not compared(promises=promises, balances={(1, BEN): FACE}).equal
    assert not compared(promises=promises, balances={(1, EVE): FACE - 1}).equal
    assert not compared(promises=promises, balances={(1, EVE): FACE - 1, (1, ANN): 1}).equal


@pytest.mark.parametrize("holder", [ANN, EVE])
def test_of_a_split_token_only_the_lost_wallets_parts_may_be_in_either(holder: str) -> None:
    promises = (TOLD, recovery("SIGNED", pence=4_500))
    balances = {(1, holder): 4_500, (1, BEN): 1_500}
    assert compared(tokens=(SPLIT,), slices=SLICES, promises=promises, balances=balances).equal
    assert not compared(
        tokens=(SPLIT,), slices=SLICES, promises=promises, balances={(1, holder): 4_000, (1, BEN): 2_000}
    ).equal


def test_a_retired_wallet_must_be_out_of_the_registry() -> None:
    wallets, identities = (RETIRED, NEXT), {ANN: UNKNOWN, EVE: VOUCHED}
    here: dict[str, Any] = {"tokens": (MOVED,), "balances": {(1, EVE): FACE}, "wallets": wallets}
    removed = promise(Kind.REMOVAL, "CONFIRMED", block=50, recovery_id="rec_1", wallet=ANN)
    of_next = replace(TOLD, wallet_id="wal_eve")
    assert compared(**here, promises=(TOLD, removed, of_next), identities=identities).equal
    found = compared(**here, promises=(TOLD, removed, of_next), identities={**identities, ANN: STRIPPED})
    assert [drift.kind for drift in found.drifts] == [DriftKind.WALLET_REGISTRATION, DriftKind.WALLET_COUNTRY]


@pytest.mark.parametrize("stands", [STRIPPED, UNKNOWN])
def test_while_a_wallet_is_being_removed_it_may_be_registered_or_not(stands: StandingIdentity) -> None:
    removing = promise(Kind.REMOVAL, "SIGNED", recovery_id="rec_1", wallet=ANN)
    revoked = telling(0, "CONFIRMED", block=20)
    found = compared(
        tokens=(MOVED,),
        balances={(1, EVE): FACE},
        wallets=(LOST, NEXT),
        promises=(TOLD, revoked, removing, replace(TOLD, wallet_id="wal_eve")),
        identities={ANN: stands, EVE: VOUCHED},
    )
    assert (found.drifts, found.in_flight) == ((), 1)


def test_a_flag_is_compared_and_may_be_either_while_it_is_on_its_way() -> None:
    flagged = {ANN: replace(VOUCHED, flagged=True)}
    assert [drift.kind for drift in compared(identities=flagged).drifts] == [DriftKind.WALLET_FLAG]
    named = (replace(WALLET, flagged_at=THEN),)
    assert compared(wallets=named, identities=flagged).equal
    assert [drift.kind for drift in compared(wallets=named).drifts] == [DriftKind.WALLET_FLAG]
    under_way = (TOLD, promise(Kind.FLAG, "SIGNED", wallet=ANN, flagged=True))
    assert compared(promises=under_way, identities=flagged).equal
    assert compared(promises=under_way).equal


@pytest.mark.parametrize("state", ["PROMISED", "RESERVED", "SIGNED", "CONFIRMED", "REVERTED", "SUPERSEDED"])
def test_what_the_chain_has_not_answered_for_long_is_named_and_what_it_has_is_not(state: str) -> None:
    reserved = replace(promise(Kind.MINT, state), sender=ANN, nonce=7)
    book = Book([], [], [], [reserved])
    late = waiting_too_long(book, before=THEN + timedelta(seconds=1))
    assert [drift.kind for drift in late] == (
        [DriftKind.WAITING] if state in ("PROMISED", "RESERVED", "SIGNED") else []
    )
    assert all(f"nonce 7 of {ANN}" in drift.told() and "waits too long mint key" in drift.told() for drift in late)
    assert waiting_too_long(book, before=THEN) == ()
